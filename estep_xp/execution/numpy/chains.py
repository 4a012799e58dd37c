"""Recursions from row to row on NumPy: blocks of rows side by side, one step for all of them.

A step on one row costs a few calls of NumPy, whatever little there is to compute. So the rows are
cut into some hundred blocks, (rows of a block, k, blocks) in memory, and a step goes on by a row in
each. Where a block starts follows from where the one before it ends, which is not known yet:

1. It is guessed, by steps over the last rows before the block from nothing: chains forget. All
   blocks are run, and the guesses are compared with the ends. The first block is right; if all
   agree, all are. Otherwise the ends are the next guess.
2. If that does not end, each block is run on all k messages that say one state for certain: a
   matrix, k times the work, by which a loop over blocks finds their starts.
3. Of many states that is more work than it saves calls: then one block is run after the other.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.arrays.agreement import agree
from estep_xp.execution.chains import ChainOps, Recursion

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import AnyArray, Namespace

_FEW_ROWS = 256  # that are not worth blocks
_WARM_UP = 64  # rows from which the start of a block is guessed
_SWEEPS = 2  # runs over all blocks before the guesses are given up
_TILE = 64  # rows and blocks whose order is changed at a time
_ARRAYS = 3  # of all rows, for evidence and the messages of two directions
_CACHED = 1 << 15  # elements of an array of which several are worked on in the cache
_MOST_COLUMNS = 20  # states; of more, blocks are rather run one after the other
_DOUBT = 20.0  # in the logarithms of another guess

# Rows of a block for each square root of their number. With more of them, calls cost more than they
# compute; with fewer, what a step works on leaves the cache.
_SHARE, _MANY_STATES, _SHARE_OF_MANY = 1.0, 8, 0.5


def ops_for(xp: Namespace, n: int, k: int) -> NumpyChainOps:
    """The layout of n rows and k states."""
    if n <= _FEW_ROWS:
        return NumpyChainOps(xp, n, max(n, 1))
    share = _SHARE_OF_MANY if k > _MANY_STATES else _SHARE
    return NumpyChainOps(xp, n, max(2 * _WARM_UP, math.ceil(share * math.sqrt(n))))


@dataclass(frozen=True)
class NumpyChainOps(ChainOps):
    """The layout (rows of a block, k, blocks); numbers of rows are (rows of a block, blocks)."""

    n: int
    length: int  # rows of a block
    room: list[AnyArray] = field(default_factory=list, compare=False)  # for arrays of all rows

    def _empty(self, shape: tuple[int, ...], dtype: Any) -> AnyArray:
        """Room for an array (rows of a block, k, blocks), of which an E-step takes three.

        They are allocated as one: a system hands out large stretches of memory in large pages,
        and a chain of 1e5 rows took a quarter of its time to be given small ones.
        """
        if not self.room:
            self.room.extend(np.empty((_ARRAYS, *shape), dtype))
        if self.room[-1].shape == shape and self.room[-1].dtype == dtype:
            return self.room.pop()
        return np.empty(shape, dtype)

    def by_rows(self) -> ChainOps:
        """The layout of users, and a plain loop."""
        return ChainOps(self.xp)

    def cut(self, rows: AnyArray, fill: float) -> AnyArray:
        """Rows (n, ...) block beside block; `fill` stands in rows appended to the last."""
        length, n_full = self.length, self.n // self.length
        n_blocks = max(1, -(-self.n // length))
        shape = (min(length, self.n), *rows.shape[1:], n_blocks)
        blocks = self._empty(shape, rows.dtype) if rows.ndim == 2 else np.empty(shape, rows.dtype)
        whole = rows[: n_full * length].reshape(n_full, length, *rows.shape[1:])
        if n_full:
            blocks[..., :n_full] = np.moveaxis(whole, 0, -1)
        rest = self.n - n_full * length
        if rest:
            blocks[:rest, ..., -1] = rows[n_full * length :]
            blocks[rest:, ..., -1] = fill
        return blocks

    def join(self, values: AnyArray) -> AnyArray:
        """Rows (n, ...) in their order."""
        length, *states, blocks = values.shape
        rows = np.empty((blocks, length, *states), values.dtype)
        for i in range(0, length, _TILE):
            for b in range(0, blocks, _TILE):
                tile = values[i : i + _TILE, ..., b : b + _TILE]
                rows[b : b + _TILE, i : i + _TILE] = np.moveaxis(tile, -1, 0)
        return rows.reshape(-1, *states)[: self.n]

    def previous(self, values: AnyArray) -> AnyArray:
        """Values one row before, the last of the block before for a block's first."""
        shifted = np.empty_like(values)
        shifted[1:] = values[:-1]
        shifted[:1, ..., 1:] = values[-1:, ..., :-1]
        shifted[:1, ..., :1] = values[:1, ..., :1]
        return shifted

    def following(self, values: AnyArray) -> AnyArray:
        """Values one row after."""
        shifted = np.empty_like(values)
        shifted[:-1] = values[1:]
        shifted[-1:, ..., :-1] = values[:1, ..., 1:]
        shifted[-1:, ..., -1:] = values[-1:, ..., -1:]
        return shifted

    def are_at_least(self, values: AnyArray, least: float) -> bool:
        """Whether all values are so large."""
        return bool((values >= least).all())

    def multiply_(self, values: AnyArray, factors: AnyArray) -> AnyArray:
        """Products, written over the values."""
        return np.multiply(values, factors, out=values)

    def take(self, values: AnyArray, rows: AnyArray) -> AnyArray:
        """Values (s, ...) of some rows."""
        return values[rows % self.length, ..., rows // self.length]

    def change(
        self,
        values: AnyArray,
        flags: AnyArray,
        rows: AnyArray,
        function: Callable[[AnyArray], AnyArray],
    ) -> AnyArray:
        """Overwrite some rows by a function of them."""
        del flags
        values[rows % self.length, ..., rows // self.length] = function(self.take(values, rows))
        return values

    def messages(
        self,
        recursion: Recursion,
        matrices: AnyArray,
        evidence: AnyArray,
        resets: AnyArray,
        reference: AnyArray,
        *,
        reverse: bool = False,
    ) -> AnyArray:
        """Messages of all blocks, by guesses that are checked or by matrices."""
        if rest := self.n % self.length:
            # One reset keeps appended rows apart; each more would cost all blocks a step.
            resets = resets.copy()
            resets[rest + 1 :, -1] = False
        run = _Run(self.xp, recursion, matrices, evidence, resets, reference, reverse)
        entered = self._empty(evidence.shape, evidence.dtype)
        blocks = evidence.shape[-1]
        starts = np.full(evidence.shape[1:], recursion.one, evidence.dtype)
        if blocks == 1:
            run.go(starts, entered)
            return entered
        guesses = run.shift(run.go(starts, last=_WARM_UP))
        sweeps = _SWEEPS
        if recursion.zero == -math.inf:
            # Where transitions are impossible, chains may never forget: that is found out first.
            others = starts - _DOUBT * np.arange(starts.shape[0], dtype=starts.dtype)[:, None]
            others = run.shift(run.go(others, last=_WARM_UP))
            sweeps = _SWEEPS if _all_agree(recursion, guesses, others) else 0
        starts = guesses
        for _ in range(sweeps):
            ends = run.shift(run.go(starts, entered))
            if _all_agree(recursion, starts, ends):
                return entered
            starts = ends
        if starts.shape[0] > _MOST_COLUMNS:
            run.go_block_by_block(entered)
        else:
            run.go(run.find_starts(), entered)
        return entered

    def map_rows(
        self,
        function: Callable[..., tuple[AnyArray, ...]],
        *rows: AnyArray,
        over: tuple[AnyArray, ...] = (),
    ) -> Any:
        """Call `function` on a few rows of all blocks at a time, which stay in the cache."""
        n = rows[0].shape[0]
        size = max(1, _CACHED // max(1, math.prod(rows[0].shape[1:])))
        results: list[AnyArray] = []
        for start in range(0, max(n, 1), size):
            piece = slice(start, start + size)
            pieces = [array[piece] for array in rows]
            values = function(*pieces)
            if not results:
                fresh = [np.empty((n, *one.shape[1:]), one.dtype) for one in values[len(over) :]]
                results = [*over, *fresh]
            for result, one in zip(results, values, strict=True):
                if not any(one is own for own in pieces):  # else it is where it belongs
                    result[piece] = one
        return tuple(results)

    def sum_pairs(self, left: AnyArray, right: AnyArray) -> AnyArray:
        """Sum over rows of outer products, one product of matrices for each row of blocks."""
        if left.shape[-1] == 1:
            return left[:-1, :, 0].T @ right[1:, :, 0]
        within = np.matmul(left[:-1], right[1:].swapaxes(1, 2)).sum(axis=0)
        return within + left[-1, :, :-1] @ right[0, :, 1:].T

    def sum_exp_pairs(self, left: AnyArray, right: AnyArray, wanted: AnyArray) -> AnyArray:
        """Sum of exponentials of the wanted pairs."""
        before = self.previous(left)
        sums = np.zeros(wanted.shape, left.dtype)
        for i, row in enumerate(wanted):
            which = np.flatnonzero(row)
            terms = before[:, i : i + 1] + right[:, which]
            sums[i, which] = np.exp(terms, out=terms).sum(axis=-1).sum(axis=0)
        return sums

    def sum_rows(self, values: AnyArray) -> AnyArray:
        """Sum over rows and blocks."""
        return values.sum(axis=-1).sum(axis=0)

    def sum_sequences(self, values: AnyArray, starts: AnyArray, index: AnyArray) -> AnyArray:
        """Pairwise sums of stretches of rows."""
        del index
        if len(starts) == 1:
            return values.sum(keepdims=True)
        return np.add.reduceat(values, starts) if len(starts) else values


@dataclass(frozen=True)
class _Run:
    """A recursion over blocks that lie side by side."""

    xp: Namespace
    recursion: Recursion
    matrices: AnyArray
    evidence: AnyArray
    resets: AnyArray
    reference: AnyArray
    reverse: bool
    part_of: tuple[_Run, slice] | None = None  # a run over more blocks, and which these are

    def go(
        self, joint: AnyArray, entered: AnyArray | None = None, *, last: int | None = None
    ) -> AnyArray:
        """Run from starts (k, blocks) to the ends, over the last rows or all of them.

        Messages (k, columns, blocks) are several for each block, scaled alike.
        """
        n = self.evidence.shape[0]
        columns = joint.ndim == 3
        axes = (0, 1) if columns else (0,)
        has_reset = self.resets.any(axis=1).tolist()
        step = self.recursion.step
        every = self._steps_in_range()
        fixed = self.matrices.ndim == 2
        i = n - min(last or n, n)
        while i < n:
            row = n - 1 - i if self.reverse else i
            several = self._go_on(joint, row, has_reset, entered)
            if several is not None:
                count, joint = several
                i += count
                continue
            evidence, reference = self.evidence[row], self.reference[row]
            if columns:
                evidence, reference = evidence[:, None], reference[:, None]
            joint, message = step(
                self.xp,
                joint,
                self.matrices if fixed else self.matrices[row],
                evidence,
                self.resets[row] if has_reset[row] else None,
                reference,
                axes,
                rescale=i % every == 0 or i == n - 1,
            )
            if entered is not None:
                entered[row] = message
            i += 1
        return joint

    @functools.cached_property
    def _several(self) -> Any:
        """What taking several rows at once needs; None where it does not pay."""
        if self.part_of is not None:
            run, blocks = self.part_of
            shared = run._several
            return None if shared is None else shared.of_blocks(self.evidence, blocks)
        if self.matrices.ndim > 2:
            return None
        return self.recursion.prepare_rows(self.matrices, self.evidence)

    def _go_on(
        self, joint: AnyArray, row: int, has_reset: list[bool], entered: AnyArray | None
    ) -> tuple[int, AnyArray] | None:
        """Take several rows at once, if that is possible: how many, and what leaves the last."""
        several = self._several
        if several is None:
            return None
        step = -1 if self.reverse else 1
        count = several.room(row, step, has_reset)
        if not count:
            return None
        end = row + step * count
        rows = slice(row, end if end >= 0 else None, step)
        evidence, reference = self.evidence[rows], self.reference[rows]
        if joint.ndim == 3:
            evidence, reference = evidence[:, :, None], reference[:, :, None]
        flags = (self.resets[t] if has_reset[t] else None for t in range(row, end, step))
        out = None if entered is None else entered[rows]
        joint = several.go_on(joint, rows, evidence, reference, flags, out)
        return None if joint is None else (count, joint)

    def _steps_in_range(self) -> int:
        least = float(self.matrices.min(initial=1.0))
        return self.recursion.steps_in_range(least, self.matrices.dtype)

    def shift(self, ends: AnyArray) -> AnyArray:
        """Starts of blocks, given the ends of the blocks before them."""
        starts = np.full_like(ends, self.recursion.one)
        if self.reverse:
            starts[..., :-1] = ends[..., 1:]
        else:
            starts[..., 1:] = ends[..., :-1]
        return starts

    def go_block_by_block(self, entered: AnyArray) -> None:
        """Run over all rows, each block from the end of the one before."""
        blocks = self.evidence.shape[-1]
        message = np.full((*entered.shape[1:-1], 1), self.recursion.one, entered.dtype)
        for b in range(blocks - 1, -1, -1) if self.reverse else range(blocks):
            message = self._block(b).go(message, entered[..., b : b + 1])

    def _block(self, b: int) -> _Run:
        one = slice(b, b + 1)
        matrices = self.matrices if self.matrices.ndim == 2 else self.matrices[..., one]
        evidence, resets = self.evidence[..., one], self.resets[..., one]
        rows = (matrices, evidence, resets, self.reference[..., one], self.reverse)
        return _Run(self.xp, self.recursion, *rows, part_of=(self, one))

    def find_starts(self) -> AnyArray:
        """Starts of blocks by the matrix of each block."""
        recursion, (_, k, blocks) = self.recursion, self.evidence.shape
        certain = np.full((k, k, blocks), recursion.zero, self.evidence.dtype)
        certain[np.arange(k), np.arange(k)] = recursion.one
        matrices = self.go(certain)
        starts = np.empty((k, blocks), self.evidence.dtype)
        message = np.full(k, recursion.one, self.evidence.dtype)
        nothing = np.zeros_like(message)
        begins_anew = self.resets.any(axis=0)
        order = range(blocks - 1, -1, -1) if self.reverse else range(blocks)
        for b in order:
            starts[:, b] = message
            if begins_anew[b]:  # whatever has entered the block, a message of zeros or NaN, too
                message = matrices[:, 0, b]
            else:
                message = recursion.apply(self.xp, matrices[..., b], message)
            message = recursion.rescale(self.xp, message, nothing, (0,))
        return starts


def _all_agree(recursion: Recursion, guesses: AnyArray, ends: AnyArray) -> bool:
    """Whether messages are the same to rounding; NaN is the same as NaN."""
    flags = agree(guesses, ends, logs=recursion.zero == -math.inf)
    return bool((flags | (np.isnan(guesses) & np.isnan(ends))).all())
