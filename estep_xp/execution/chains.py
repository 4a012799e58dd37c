"""How recursions from row to row are driven: what a chain's formulas ask of a driver."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from estep_xp.arrays.namespace import numpy_namespace

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array, Namespace, ResultT


class Recursion(Protocol):
    """One step of a message from row to row; a positive factor of a message says nothing."""

    @property
    def one(self) -> float:
        """An entry of the message that enters a row at a reset."""
        ...

    @property
    def zero(self) -> float:
        """Beside it, off the diagonal of the matrix that changes no message."""
        ...

    def step(
        self,
        xp: Namespace,
        joint: Any,
        matrix: Any,
        evidence: Any,
        reset: Any,
        reference: Any,
        axes: tuple[int, ...] = (0,),
        *,
        rescale: bool = True,
    ) -> tuple[Any, Any]:
        """Go on by a row: the message that leaves it, and the one that has entered it."""
        ...

    def prepare_rows(self, matrix: Any, evidence: Any) -> Any:
        """What several rows on NumPy need to be taken at once; None where a step a row is best."""
        ...

    def steps_in_range(self, least: float, dtype: Any) -> int:
        """How many rows messages may go on without being rescaled, given the least entry."""
        ...

    def apply(self, xp: Namespace, matrix: Any, joint: Any) -> Any:
        """Send a message through a matrix."""
        ...

    def rescale(self, xp: Namespace, joint: Any, reference: Any, axes: tuple[int, ...]) -> Any:
        """The message by a factor that keeps its numbers in range."""
        ...


class ChainKernel(Protocol):
    """A computation on the rows of sequences. Hashable: what it is compiled for."""

    def run(self, ops: ChainOps, *arrays: Any) -> Any:
        """Compute nested tuples of arrays of log-densities (n, k), and what else it takes."""
        ...

    def results_like(self, *arrays: Any) -> Any:
        """Stand-ins of the shapes of what `run` computes, without computing it."""
        ...


class ForwardKernel(ChainKernel, Protocol):
    """A kernel whose formulas have no derivatives by probabilities of 0, and another one that has.

    Its arrays are log-densities, initial probabilities and transitions, where sequences are, others
    and, if there are any, probabilities to start from. The last and the first two are parameters.
    """

    def normalize_all(self, xp: Namespace, parameters: Any, sequences: Any) -> tuple[Any, ...]:
        """Parameters made to sum to 1; their derivatives go through this."""
        ...

    def run_linearly(
        self, ops: ChainOps, log_prob: Any, parameters: Any, known: Any, *others: Any
    ) -> Any:
        """Compute something of normalised parameters whose derivatives by those of 0 are wanted.

        `known` are the same parameters, by which there are no derivatives.
        """
        ...


class TotalKernel(ChainKernel, Protocol):
    """Values of sequences (s,), whose weighted total has derivatives by another kernel's sums."""

    def run(self, ops: ChainOps, *arrays: Any) -> tuple[Any, Any]:
        """Compute the values (s,), and numbers (n,) that tell more of them."""
        ...

    def normalize(self, xp: Namespace, *parameters: Any) -> tuple[Any, ...]:
        """Parameters made to sum to 1; their derivatives go through this."""
        ...

    def derivatives(self, ops: ChainOps, *arrays: Any) -> tuple[Any, tuple[Any, ...]]:
        """Values (s,), and derivatives of the total by log-densities and normalised parameters."""
        ...


@dataclass(frozen=True)
class ChainOps:
    """Layout of the rows of chains in a driver, and what goes from row to row.

    This class uses the standard alone, row after row in a plain loop. Its layout is that of users:
    rows first, then components, axis 1; numbers of rows are (n,). Drivers subclass it, and may cut
    rows into blocks that lie side by side, (rows of a block, k, blocks) and (rows, blocks).
    """

    xp: Namespace

    axis = 1  # of components

    @property
    def values_visible(self) -> bool:
        """Whether arrays are NumPy's, whose values may decide how to compute."""
        return self.xp is numpy_namespace

    def by_rows(self) -> ChainOps:
        """The same in the layout of users, row after row."""
        return self

    def cut(self, rows: Array, fill: float) -> Array:
        """Rows (n, ...) in this layout; `fill` is what rows hold that are appended to them."""
        del fill
        return rows

    def join(self, values: Array) -> Array:
        """Rows (n, ...) of values in this layout."""
        return values

    def expand(self, values: Array) -> Array:
        """Numbers of rows, to be broadcast against rows."""
        return self.xp.expand_dims(values, axis=self.axis)

    def previous(self, values: Array) -> Array:
        """For each row the values of the row before; those of the first row are its own."""
        return self.xp.concat([values[:1, ...], values[:-1, ...]], axis=0)

    def following(self, values: Array) -> Array:
        """For each row the values of the row after; those of the last row are its own."""
        return self.xp.concat([values[1:, ...], values[-1:, ...]], axis=0)

    def are_at_least(self, values: Array, least: float) -> bool:
        """Whether all values are known to be so large."""
        del values, least
        return False

    def sum_states(self, values: Array) -> Array:
        """Sums over the states of each row."""
        return self.xp.sum(values, axis=self.axis)

    def max_states(self, values: Array) -> Array:
        """The largest number of each row."""
        return self.xp.max(values, axis=self.axis)

    def multiply_(self, values: Array, factors: Array) -> Array:
        """Products, written over the values where arrays can be written on."""
        return values * factors

    def take(self, values: Array, rows: Any) -> Array:
        """Values of some rows (s, ...) by their numbers (s,)."""
        return self.xp.take(values, rows, axis=0)

    def change(
        self, values: Array, flags: Array, rows: Any, function: Callable[[Array], Array]
    ) -> Array:
        """`function(values)` in the flagged rows, whose numbers are `rows`; may overwrite them."""
        del rows
        return self.xp.where(self.expand(flags), function(values), values)

    def messages(
        self,
        recursion: Recursion,
        matrices: Array,
        evidence: Array,
        resets: Array,
        reference: Array,
        *,
        reverse: bool = False,
    ) -> Array:
        """The message that enters each row, from the first to the last or in reverse.

        `matrices` are (k, k), or one for each row, by which messages enter it.
        """
        xp = self.xp
        n = evidence.shape[0]
        if n == 0:
            return evidence
        joint = evidence[0, ...] * 0.0
        entered: list[Any] = []
        for i in range(n):
            t = n - 1 - i if reverse else i
            matrix = matrices if matrices.ndim == 2 else matrices[t, ...]
            joint, message = recursion.step(
                xp, joint, matrix, evidence[t, ...], resets[t, ...], reference[t, ...]
            )
            entered.append(message)
        return xp.stack(entered[::-1] if reverse else entered)

    def map_rows(
        self,
        function: Callable[..., tuple[Array, ...]],
        *rows: Array,
        over: tuple[Array, ...] = (),
    ) -> Any:
        """Call `function(*rows)`, which treats every row alone.

        The first results may be written over the arrays `over`, of the same shapes and dtype; and
        so may anything that the function computes of them.
        """
        del over
        return function(*rows)

    def scan(
        self,
        step: Callable[[Any, tuple[Any, ...]], tuple[Any, Any]],
        state: Any,
        rows: tuple[Array, ...],
        *,
        reverse: bool = False,
    ) -> Any:
        """Results (n, ...) of `state, result = step(state, row)`, from row to row."""
        n = rows[0].shape[0]
        results: list[Any] = [None] * n
        for t in reversed(range(n)) if reverse else range(n):
            state, results[t] = step(state, tuple(array[t, ...] for array in rows))
        return self.xp.stack(results)

    def sum_pairs(self, left: Array, right: Array) -> Array:
        """Sum (k, k) over rows t of left_t−1(i) right_t(j)."""
        return self.xp.matrix_transpose(left[:-1, ...]) @ right[1:, ...]

    def sum_exp_pairs(self, left: Array, right: Array, wanted: Array) -> Array:
        """Sum (k, k) over rows t of exp(left_t−1(i) + right_t(j)), a factor of which may be inf.

        Pairs that are not `wanted` (k, k) may be left out.
        """
        del wanted
        xp = self.xp
        before = self.previous(left)
        rows = [
            self.sum_rows(xp.exp(before[:, i : i + 1, ...] + right)) for i in range(left.shape[1])
        ]
        return xp.stack(rows)

    def sum_rows(self, values: Array) -> Array:
        """Sum (k, ...) over all rows."""
        return self.xp.sum(values, axis=0)

    def sum_sequences(self, values: Array, starts: Any, index: Array) -> Array:
        """Sums (s,) over the rows of each sequence, given first rows and each row's sequence."""
        del index
        xp = self.xp
        bounds = [*(int(start) for start in starts), values.shape[0]]
        sums = [xp.sum(values[a:b]) for a, b in itertools.pairwise(bounds)]
        return xp.stack(sums) if sums else values

    def cond(
        self, flag: Any, if_true: Callable[[], ResultT], if_false: Callable[[], ResultT]
    ) -> ResultT:
        """Return what one of two functions returns."""
        return if_true() if bool(flag) else if_false()


def stand_in(*shape: int) -> Any:
    """Array of a shape that takes no memory."""
    return np.broadcast_to(np.zeros(()), shape)
