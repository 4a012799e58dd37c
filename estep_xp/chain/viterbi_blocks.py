"""The Viterbi recursion on NumPy, over blocks of rows side by side, so that a step does many rows.

Rows are cut into B blocks of L rows, wherever sequences begin. Forward, the values with which a
block begins are at first a guess: those that some rows before it lead to from all states alike. As
a rule all paths that may still win have passed through one state by then, and the guess is right.
Where the end of a block says otherwise, its successor runs again from there. Blocks that do not
settle, as in chains whose states are hardly ever left, run from each state at once, which gives
their matrices. Backward the same, with states for values.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.arrays.agreement import agree

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]
    Flags = Any

_WARM_UP = 64  # rows that lead to a guess
_SWEEPS = 3  # over blocks that disagree, before they run from each state
_MOST_STATES = 32  # for which that takes less time than sweeps
_CENTRE = 4  # rows after which values are centred: their size is what they round by
_CACHED = 1 << 15  # numbers that stay in the cache
_FEW_STATES = 4  # whose scores are gathered faster state by state
_LEAST = -float(np.finfo(np.float64).max)


def most_likely_path(
    log_prob: Floats, log_initial: Floats, log_transitions: Floats, first: Flags, last: Flags
) -> Ints:
    """States (n,) of the most likely path through each sequence; any states if none is possible.

    `first` and `last` (n,) flag the first and last rows of sequences. At ties the last row has the
    lowest state, and then, backwards, each row the lowest that leads to its successor's.
    """
    n, k = log_prob.shape
    if n == 0:
        return np.zeros(0, dtype=np.intp)
    length = min(n, max(4 * _WARM_UP, math.isqrt(n) // (1 if k <= 8 else 2)))
    blocks = _Blocks(log_prob, log_initial, log_transitions, first, last, length)
    return blocks.trace_back(blocks.find_values())


class _Blocks:
    """Blocks of rows, and what happens at each row of all of them.

    Arrays have their rows first, then states, then blocks: (L, k, B).
    """

    def __init__(
        self,
        log_prob: Floats,
        log_initial: Floats,
        log_transitions: Floats,
        first: Flags,
        last: Flags,
        length: int,
    ) -> None:
        self._log_prob, self._log_initial = log_prob, log_initial
        self._transitions = log_transitions
        self._n, self._k = log_prob.shape
        self._length, self._count = length, -(-self._n // length)
        self._first, self._last = self._lay_out(first[:, None]), self._lay_out(last[:, None])

    def find_values(self) -> Floats:
        """Values (L, k, B) of the best paths to each state, but for a constant in each row."""
        every = np.arange(self._count)
        values = self._emissions(every)
        warm = slice(self._length - min(self._length, _WARM_UP), None)
        flat = np.zeros((self._k, self._count))
        start = np.roll(self._run(values[warm], flat, self._first[warm]), 1, axis=-1)
        self._run(values, start, self._first, keep=True)
        for sweep in range(self._count):
            ends, begins_anew = values[-1, :, :-1], self._first[0, 0, 1:]
            same = agree(start[:, 1:], ends, logs=True, roundings=64).all(axis=0)
            wrong = 1 + np.flatnonzero(~(same | begins_anew))
            if not wrong.size:
                break
            if sweep == _SWEEPS:
                self._settle_values(values, int(wrong[0]))
                break
            start[:, wrong] = ends[:, wrong - 1]
            self._rerun(values, start[:, wrong], wrong)
        return values

    def trace_back(self, values: Floats) -> Ints:
        """States (n,) of the best paths, given the values."""
        # One more "state", which comes after last rows: nothing is added to their values.
        into = np.concatenate([self._transitions.T, np.zeros((1, self._k))])
        after = np.full(self._count, self._k)
        path = np.empty((self._length, self._count), dtype=np.intp)
        begins = slice(None, min(self._length, _WARM_UP))
        guess = self._trace(values[begins], into, after, self._last[begins])
        after[:-1] = guess[0, 1:]
        wrong = np.arange(self._count)
        for sweep in range(self._count):
            path[:, wrong] = self._trace(
                values[..., wrong], into, after[wrong], self._last[..., wrong]
            )
            wrong = np.flatnonzero((path[0, 1:] != after[:-1]) & ~self._last[-1, 0, :-1])
            if not wrong.size:
                break
            if sweep == _SWEEPS:
                self._settle_path(path, values, into, int(wrong[-1]))
                break
            after[wrong] = path[0, wrong + 1]
        return path.T.reshape(-1)[: self._n]

    def _emissions(self, columns: Ints) -> Floats:
        """Log-densities of some blocks, shifted row by row, with log-initials in first rows."""
        emissions = self._lay_out(self._log_prob, columns)
        top = emissions.max(axis=1, keepdims=True)
        emissions -= np.maximum(top, _LEAST, out=top)
        begin, block = np.nonzero(self._first[:, 0, columns])
        emissions[begin, :, block] += self._log_initial
        return emissions

    def _lay_out(self, rows: Any, columns: Ints | None = None) -> Any:
        """Rows (n, any) as (L, any, B), of some blocks or all; zeros after the last row."""
        length, whole = self._length, self._n // self._length
        columns = np.arange(self._count) if columns is None else columns
        blocks = np.zeros((length, rows.shape[1], columns.size), dtype=rows.dtype)
        inner = columns[columns < whole]
        cut = rows[: whole * length].reshape(whole, length, rows.shape[1])
        cut = cut if inner.size == whole else cut[inner]
        blocks[..., : inner.size] = cut.transpose(1, 2, 0)
        if inner.size < columns.size:
            blocks[: self._n - whole * length, :, -1] = rows[whole * length :]
        return blocks

    def _run(self, emissions: Floats, start: Floats, first: Flags, *, keep: bool = False) -> Floats:
        """Values after the rows, from those before; written over the emissions to be kept.

        `start` may be (k, m, blocks): m starts of each block.
        """
        many = start.ndim == 3
        step = _max_plus_step(self._transitions, start[0].size)
        values, reached = start.reshape(self._k, -1).copy(), np.empty((self._k, start[0].size))
        resets = first.any(axis=(1, 2))
        axes = tuple(range(start.ndim - 1))
        for row, emission in enumerate(emissions):
            step(values, reached)
            view, added = reached.reshape(start.shape), emission[:, None] if many else emission
            view += added
            if resets[row]:
                np.copyto(view, added, where=first[row])
            if row % _CENTRE == _CENTRE - 1 or row == len(emissions) - 1:
                top = view.max(axis=axes)
                view -= np.maximum(top, _LEAST, out=top)
            if keep:
                emission[...] = reached
            values, reached = reached, values
        return values.reshape(start.shape)

    def _rerun(self, values: Floats, start: Floats, columns: Ints) -> None:
        """Replace the values of some blocks by those from another start."""
        some = self._emissions(columns)
        self._run(some, start, self._first[..., columns], keep=True)
        values[..., columns] = some

    def _settle_values(self, values: Floats, begin: int) -> None:
        """Replace the values of all blocks from one on, whose predecessor's are right."""
        columns, k = np.arange(begin, self._count), self._k
        if k > _MOST_STATES:
            for one in columns[:, None]:
                self._rerun(values, values[-1, :, one - 1].T, one)
            return
        # What becomes of each single state in a block is its matrix.
        single = np.where(np.eye(k, dtype=bool)[..., None], 0.0, -math.inf)
        several = np.repeat(single, columns.size, axis=-1)
        matrices = self._run(self._emissions(columns), several, self._first[..., columns])
        start = np.empty((k, columns.size))
        start[:, 0] = values[-1, :, begin - 1]
        for i in range(columns.size - 1):
            reached = (start[:, i] + matrices[..., i]).max(axis=1)
            start[:, i + 1] = reached - max(reached.max(), _LEAST)
        self._rerun(values, start, columns)

    def _trace(self, values: Floats, into: Floats, after: Ints, last: Flags) -> Ints:
        """States of the best paths through rows, given the states after them."""
        path = np.empty((len(values), after.size), dtype=np.intp)
        ends = last.any(axis=(1, 2))
        few, state = self._k <= _FEW_STATES, after
        by_state = np.ascontiguousarray(into.T)
        scores = np.empty((self._k, after.size) if few else (after.size, self._k))
        for row in range(len(values) - 1, -1, -1):
            if ends[row]:
                state = np.where(last[row, 0], self._k, state)
            # Modes other than "raise" write into `out` itself.
            if few:
                np.take(by_state, state, axis=1, out=scores, mode="clip")
                scores += values[row]
                state = scores.argmax(axis=0)
            else:
                np.take(into, state, axis=0, out=scores, mode="clip")
                scores += values[row].T
                state = scores.argmax(axis=1)
            path[row] = state
        return path

    def _settle_path(self, path: Ints, values: Floats, into: Floats, end: int) -> None:
        """Replace the states of all blocks up to one, whose successor's are right."""
        columns, k = np.arange(end + 1), self._k
        after = np.empty(columns.size, dtype=np.intp)
        after[end] = path[0, end + 1]
        if k <= _MOST_STATES:
            # Where each state leads to in a block is its map.
            every, several = np.repeat(np.arange(k), columns.size), np.tile(columns, k)
            begins = self._trace(values[..., several], into, every, self._last[..., several])[0]
            begins = begins.reshape(k, -1)
            for block in range(end, 0, -1):
                after[block - 1] = begins[after[block], block]
            path[:, columns] = self._trace(
                values[..., columns], into, after, self._last[..., columns]
            )
            return
        for block in range(end, -1, -1):
            one = slice(block, block + 1)
            path[:, one] = self._trace(values[..., one], into, after[one], self._last[..., one])
            after[block - 1] = path[0, block]


def _max_plus_step(transitions: Floats, width: int) -> Callable[[Floats, Floats], None]:
    """A function that writes max_i values[i] + transitions[i, j] into `reached`."""
    k = len(transitions)
    columns = transitions[:, :, None]
    if k * k * width <= _CACHED:
        sums = np.empty((k, k, width))

        def step_at_once(values: Floats, reached: Floats) -> None:
            np.add(values[:, None, :], columns, out=sums)
            np.maximum.reduce(sums, axis=0, out=reached)

        return step_at_once
    few = max(1, _CACHED // (k * width))
    sums, most = np.empty((few, k, width)), np.empty((k, width))

    def step(values: Floats, reached: Floats) -> None:
        reached.fill(-math.inf)
        for i in range(0, k, few):
            some = slice(i, min(i + few, k))
            out = sums[: some.stop - i]
            np.add(values[some, None, :], columns[some], out=out)
            np.maximum(reached, np.maximum.reduce(out, axis=0, out=most), out=reached)

    return step
