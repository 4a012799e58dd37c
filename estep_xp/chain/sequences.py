"""Where the sequences are that lie one after the other in the rows of x."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp.arrays.namespace import is_concrete, is_within_reach, library_of, to_host
from estep_xp.arrays.text import shown
from estep_xp.arrays.validation import check_shape, raise_bad_value, shape_text

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray, Array, Namespace
    from estep_xp.arrays.namespace import Space


class Sequences(NamedTuple):
    """n rows in s sequences: arrays of the space."""

    first: AnyArray  # (n,) flags of first rows of sequences
    last: AnyArray  # (n,) flags of last rows
    index: AnyArray  # (n,) the sequence of each row
    starts: AnyArray  # (s,) the first row of each sequence
    ends: AnyArray  # (s,) the last row of each sequence
    valid: AnyArray | None = None  # (), whether traced lengths are good; None where they are

    @property
    def n_sequences(self) -> int:
        """Number of sequences s."""
        return int(self.ends.shape[0])

    @property
    def lengths(self) -> AnyArray:
        """Numbers (s,) of rows."""
        return self.ends - self.starts + 1

    def spread(self, xp: Namespace, values: Array) -> Array:
        """Values (s,) of sequences at each of their rows (n,)."""
        if self.n_sequences == 1:
            return xp.broadcast_to(values, self.index.shape)
        return xp.take(values, self.index, axis=0)


class KnownSequences(NamedTuple):
    """Sequences of known lengths, on the host, without arrays of n entries."""

    starts: np.ndarray[Any, Any]  # (s,) the first row of each sequence
    ends: np.ndarray[Any, Any]  # (s,) the last row of each sequence

    @property
    def n_sequences(self) -> int:
        """Number of sequences s."""
        return len(self.ends)

    @property
    def lengths(self) -> np.ndarray[Any, Any]:
        """Numbers (s,) of rows."""
        return self.ends - self.starts + 1

    def of_rows(self) -> Sequences:
        """Each row's flags and sequence, arrays of NumPy."""
        n = int(self.ends[-1]) + 1 if len(self.ends) else 0
        first, last = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        first[self.starts], last[self.ends] = True, True
        index = np.repeat(np.arange(len(self.ends)), self.lengths)
        return Sequences(first, last, index, self.starts, self.ends)

    def between(self, start: int, stop: int) -> tuple[slice, KnownSequences]:
        """Which sequences have rows from start to stop, and where these are, counted from start."""
        begin, end = np.searchsorted(self.ends, [start, stop - 1]).tolist()
        which = slice(begin, end + 1)
        starts = np.maximum(self.starts[which], start) - start
        ends = np.minimum(self.ends[which], stop - 1) - start
        return which, KnownSequences(starts, ends)


def find_sequences(space: Space, lengths: Any, n: float) -> Sequences | KnownSequences:
    """Where sequences of these lengths are among n rows; one sequence by default.

    Raises
    ------
    ValueError, TypeError
        If the lengths are no positive integers (s,) that sum to n. Traced ones can't be checked:
        `valid` says then whether they are good.
    """
    if math.isnan(n):
        raise ValueError("x has chunks of unknown lengths; call x.compute_chunk_sizes() first")
    n = int(n)
    if lengths is None:
        return _of_host(np.asarray([n] if n else [], dtype=np.int64))
    array = _as_integers(lengths)
    if not is_within_reach(array):
        return _of_traced(space.xp, array, n)
    host = to_host(array if is_concrete(array) else array.compute())
    bad = np.flatnonzero(host < 1)
    if len(bad):
        raise_bad_value("lengths", (int(bad[0]),), host[bad[0]], "lengths must be at least 1 row")
    long = np.flatnonzero(host > n)  # before they are added, since sums of integers may overflow
    if len(long):
        expected = f"lengths must sum to the number of rows of x, {n}"
        raise_bad_value("lengths", (int(long[0]),), host[long[0]], expected)
    if host.sum() != n:
        raise ValueError(
            f"lengths sum to {host.sum()} but x has {n} rows; expected the length of each "
            "sequence, one after the other"
        )
    return _of_host(host.astype(np.int64))


def refuse_lengths(lengths: Any) -> None:
    """Raise for lengths beside a mixture, whose rows do not depend on each other."""
    if lengths is not None:
        raise TypeError(
            "lengths are given with a Mixture, whose rows are independent; leave them out, or "
            "give an HMM"
        )


def _as_integers(lengths: Any) -> AnyArray:
    """Lengths as an array (s,) of integers."""
    array: Any = lengths
    if isinstance(lengths, np.generic) or not library_of(lengths):
        try:
            array = np.asarray(lengths)
        except (TypeError, ValueError):
            raise TypeError(f"lengths are {shown(lengths)}; expected integers (s,)") from None
        if array.size == 0 and array.ndim == 1:
            array = array.astype(np.int64)
    if array.ndim != 1:
        raise ValueError(f"lengths has shape {shape_text(tuple(array.shape))}; expected (s,)")
    check_shape("lengths", array, ("s",))
    if "int" not in str(array.dtype):
        wrong = (
            [i for i, one in enumerate(lengths) if not _is_whole(one)]
            if _can_be_read(array)
            else []
        )
        named = f", and lengths[{wrong[0]}] is {shown(lengths[wrong[0]])}" if wrong else ""
        raise TypeError(f"lengths has dtype {array.dtype}{named}; lengths must be integers")
    return array


def _can_be_read(array: Any) -> bool:
    return is_concrete(array) and str(array.dtype) != "bool"


def _is_whole(value: Any) -> bool:
    try:
        return bool(int(value) == value)
    except (TypeError, ValueError, OverflowError):
        return False


def _of_host(lengths: np.ndarray[Any, Any]) -> KnownSequences:
    ends = np.cumsum(lengths) - 1
    return KnownSequences(ends - lengths + 1, ends)


def _of_traced(xp: Namespace, lengths: Array, n: int) -> Sequences:
    """The same of lengths that do not exist yet, whose number alone is known."""
    s = lengths.shape[0]
    sums = xp.cumulative_sum(lengths)
    rows = xp.arange(n, dtype=sums.dtype)
    index = xp.searchsorted(sums, rows, side="right")
    # Bad lengths must not lead out of the arrays: their results are made NaN in the end.
    index = xp.where(index < s, index, s - 1)
    changes = index[1:] != index[:-1]
    edge = xp.ones((min(n, 1),), dtype=changes.dtype)
    first, last = xp.concat([edge, changes]), xp.concat([changes, edge])
    ends = xp.where(sums > n, n, sums) - 1
    ends = xp.where(ends < 0, 0, ends)
    starts = ends - lengths + 1
    starts = xp.where(starts < 0, 0, starts)
    valid = xp.all(lengths > 0) & (sums[-1] == n)
    return Sequences(first, last, index, starts, ends, valid)
