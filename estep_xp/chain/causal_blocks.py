"""Messages forward on NumPy, over blocks of rows side by side, each from earlier rows alone.

Blocks are as long in any call, and what is done in one of them depends on no other column: not
even the last bit of a message knows of the rows to come, or of how many there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.arrays.agreement import agree
from estep_xp.chain.recursion import Recursion, Scaled

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray, Array, Namespace

_LENGTH = 256  # rows of a block
_WARM_UP = 64  # rows that lead to a guess of the message that a block begins with
_SWEEPS = 2  # over blocks whose guess was wrong, before their matrices are computed
_MOST_STATES = 16  # for which matrices take less time than sweeps


@dataclass(frozen=True)
class _ByColumns(Scaled):
    """Sums of products one by one: those of a BLAS may round by where a column stands."""

    def apply(self, xp: Namespace, matrix: Array, joint: Array) -> Array:
        """Multiply matrices and vectors."""
        own = matrix.shape[2:]  # of each block, if there are any
        beside = (*matrix.shape[:2], *(1,) * (joint.ndim - 1 - len(own)), *own)
        product: Array = xp.sum(xp.reshape(matrix, beside) * joint[None, ...], axis=1)
        return product


def causal_messages(recursion: Recursion, matrices: Any, evidence: Any, first: Any) -> AnyArray:
    """Messages that enter rows (n, k), given matrices (k, k) or (n, k, k) and `first` (n,) flags.

    A block begins with what the rows before it lead to from no knowledge. Where the end of its
    predecessor says otherwise, it runs again from there; and if that does not settle soon, as in
    chains whose states are hardly ever left, from what the matrices of blocks say.
    """
    blocks = _Blocks(recursion, matrices, evidence, first)
    if len(evidence) > blocks.length:
        blocks.settle()
    else:
        blocks.run(blocks.knows_nothing, blocks.every)
    return blocks.entered.transpose(2, 0, 1).reshape(-1, evidence.shape[1])[: len(evidence)]


class _Blocks:
    """Blocks of rows (rows of a block, k, blocks), and the messages that enter these."""

    def __init__(self, recursion: Recursion, matrices: Any, evidence: Any, first: Any) -> None:
        n, self._k = evidence.shape
        self.length = max(1, min(n, _LENGTH))
        count = max(2, -(-n // self.length))  # a single column would be summed in another order
        self._recursion = _ByColumns() if isinstance(recursion, Scaled) else recursion
        self._evidence = _lay_out(evidence, self.length, count)
        self._begins = _lay_out(first, self.length, count)
        self._varies = matrices.ndim == 3
        self._matrices = _lay_out(matrices, self.length, count) if self._varies else matrices
        self.entered = np.empty_like(self._evidence)
        self.every = np.arange(count)
        self.knows_nothing = np.full_like(self._evidence[0], self._recursion.one)

    def settle(self) -> None:
        """Compute the messages of all blocks."""
        warm = self.run(self.knows_nothing, self.every, since=self.length - _WARM_UP)
        start = np.roll(warm, 1, axis=-1)
        ends = self.run(start, self.every)
        for sweep in range(self.every.size):
            logs = self._recursion.zero == -math.inf
            same = agree(start[:, 1:], ends[:, :-1], logs=logs).all(axis=0)
            wrong = 1 + np.flatnonzero(~(same | self._begins[0, 1:]))
            if not wrong.size:
                return
            settled = sweep == _SWEEPS and self._k <= _MOST_STATES
            if settled:
                wrong = np.arange(wrong[0], self.every.size)
                start[:, wrong] = self._starts_by_matrices(ends, int(wrong[0]))
            else:
                start[:, wrong] = ends[:, wrong - 1]
            some = wrong if wrong.size > 1 else np.repeat(wrong, 2)
            ends[:, some] = self.run(start[:, some], some)
            if settled:
                return

    def run(self, start: Any, columns: Any, since: int = 0, *, keep: bool = True) -> AnyArray:
        """Messages that leave some blocks, from those before their rows; the others are kept.

        `start` may be (k, m, blocks): m starts of each block.
        """
        joint, many = start, start.ndim == 3
        axes = tuple(range(start.ndim - 1))
        nothing = np.zeros_like(start)
        for row in range(since, self.length):
            reset = self._begins[row][columns]
            evidence = self._evidence[row][:, columns]
            joint, entered = self._recursion.step(
                np,
                joint,
                self._matrices[row][..., columns] if self._varies else self._matrices,
                evidence[:, None] if many else evidence,
                reset if reset.any() else None,
                nothing,
                axes,
            )
            if keep:
                self.entered[row][:, columns] = entered
        return joint

    def _starts_by_matrices(self, ends: Any, begin: int) -> AnyArray:
        """The messages before all blocks from one on, whose predecessor's are right."""
        columns, recursion = np.arange(begin, self.every.size), self._recursion
        some = columns if columns.size > 1 else np.repeat(columns, 2)
        # What becomes of each single state in a block is its matrix.
        single = np.where(np.eye(self._k, dtype=bool), recursion.one, recursion.zero)
        single = np.repeat(single[..., None].astype(ends.dtype), some.size, axis=-1)
        matrices = self.run(single, some, keep=False)
        start = np.empty((self._k, columns.size), dtype=ends.dtype)
        start[:, 0] = ends[:, begin - 1]
        for i in range(columns.size - 1):
            twice = np.repeat(start[:, i : i + 1], 2, axis=1)
            reached = recursion.apply(np, matrices[..., i], twice)
            start[:, i + 1] = recursion.rescale(np, reached, np.zeros_like(twice), (0,))[:, 0]
        return start


def _lay_out(rows: Any, length: int, count: int) -> Any:
    """Rows (n, ...) as (rows of a block, ..., blocks); zeros after the last row."""
    padded = np.zeros((count * length, *rows.shape[1:]), dtype=rows.dtype)
    padded[: len(rows)] = rows
    cut = padded.reshape(count, length, *rows.shape[1:])
    return np.ascontiguousarray(np.moveaxis(cut, 0, -1))
