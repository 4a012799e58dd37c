"""Blocks of rows, and the rows that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.read.columns import column_label, is_hole, require_ascending
from estep_xp.cli.text.numbers import format_exact
from estep_xp.files.errors import InputError

_MAX_NAMED = 5  # bad rows listed in the error, which counts all of them


class Block(NamedTuple):
    """Some rows of a file.

    Attributes
    ----------
    x : ndarray of shape (n, d)
        The columns that a mixture is about.
    kept : sequence of tuples
        The columns to be carried along as they stand, in pieces that follow each other; each has a
        sequence of values for every column.
    """

    x: NDArray[np.float64]
    kept: Sequence[tuple[Any, ...]] = ()

    def cut(self, start: int, stop: int) -> Block:
        """Return the rows from `start` to `stop`."""
        kept = [tuple(column[start:stop] for column in piece) for piece in self.kept]
        return Block(self.x[start:stop], kept)


class Source(Protocol):
    """A file of rows, open to be read once from its beginning.

    Attributes
    ----------
    names : tuple of str or None
        The names of its columns, where it has names.
    n_columns : int
        How many columns there are.
    total : int or None
        How much there is to read, in units of its own; None where that is unknown.
    notes : list of str
        What a person should know of how the file was read.
    index : list of int
        Columns that were left out as a data frame's index, and must go on as one.
    """

    names: tuple[str, ...] | None
    n_columns: int
    total: int | None
    notes: list[str]
    index: list[int]

    @property
    def position(self) -> int:
        """How much has been read, in the units of `total`."""
        ...

    def place_of(self, row: int) -> str:
        """Return where a row that has been read stands: "line 3" of a text."""
        ...

    def find_index(self) -> dict[int, int | None]:
        """Return the columns that a data frame has written its index into.

        With each comes its first value, where it need be checked that it ascends.
        """
        ...

    def blocks(
        self, columns: Sequence[int], bad: BadRows, kept: Sequence[int] = ()
    ) -> Iterator[Block]:
        """Yield the chosen columns of all rows, block by block, less the rows added to `bad`.

        Columns to be kept come along as one piece.
        """
        ...


class BadRows:
    """The rows of a file that cannot be read: counted, and the first ones named.

    Parameters
    ----------
    path : Path
        The file.
    holes : bool
        Whether an empty field, NA or NaN is a value that was not observed, which is NaN in blocks,
        and not a bad one.

    Attributes
    ----------
    hint : str
        What else to say, where it helps.
    """

    def __init__(self, path: Path, *, holes: bool = False) -> None:
        self.path = path
        self.holes = holes
        self.count = 0
        self.hint = ""
        self._places: list[str] = []
        self._first: InputError | None = None

    def add(
        self, place: str, expectation: str, *, position: int | None = None, token: str | None = None
    ) -> None:
        """Count one more bad row.

        Parameters
        ----------
        place : str
            Where it stands: "line 3" of a text, "row 2" of an array.
        expectation : str
            What was expected there.
        position : int, optional
            Which of its values is bad, counted from 1.
        token : str, optional
            That value; None where it is missing.
        """
        self.count += 1
        if self.count <= _MAX_NAMED:
            self._places.append(place)
        if self._first is None:
            field = f"{self.path} {place}"
            self._first = InputError(field, expectation, position=position, token=token)

    def add_not_finite(self, block: NDArray[np.float64], columns: Sequence[int], row: int) -> None:
        """Count the rows of `block` that hold infinity, or NaN where that is no hole.

        Parameters
        ----------
        block : ndarray of shape (n, d)
            Some of the rows of an array.
        columns : sequence of int
            Which columns of the array the block holds.
        row : int
            The number of the block's first row in the array.
        """
        finite = np.isfinite(block)
        if self.holes:
            finite |= np.isnan(block)
        for index in np.flatnonzero(~finite.all(axis=1)):
            column = int(np.argmin(finite[index]))
            token = str(block[index, column])
            place, position = f"row {row + index}", columns[column] + 1
            self.add(place, "must be a finite number", position=position, token=token)

    def raise_if_any(self) -> None:
        """Raise InputError if there are any: what is wrong with the first, how many, and where."""
        if self._first is None:
            return
        first = self._first
        places = ", ".join(self._places) + (", ..." if self.count > _MAX_NAMED else "")
        rows = "1 bad row" if self.count == 1 else f"{self.count} bad rows"
        hint = self.hint
        if not self.holes and first.token is not None and is_hole(first.token):
            hint += "; choose what is done about holes with --missing"
        expectation = f"{first.expectation} ({rows}: {places}){hint}"
        raise InputError(
            first.field, expectation, position=first.position, token=first.token
        ) from None


def read_blocks(
    source: Source, columns: Sequence[int], path: Path, n_rows: int, *, holes: bool = False
) -> Iterator[NDArray[np.float64]]:
    """Yield the rows of a file, and nothing beside them; see `read_rows`."""
    for block in read_rows(source, columns, path, n_rows, holes=holes):
        yield block.x


def read_rows(
    source: Source,
    columns: Sequence[int],
    path: Path,
    n_rows: int,
    kept: Sequence[int] = (),
    *,
    holes: bool = False,
) -> Iterator[Block]:
    """Yield the rows of a file in blocks of one size; the last one may be smaller.

    After the first bad row nothing more is yielded, but the file is read to its end, to count them.

    Parameters
    ----------
    source : Source
        The file.
    columns : sequence of int
        The columns to read.
    path : Path
        The file's name, for errors.
    n_rows : int
        How many rows a block has.
    kept : sequence of int
        Columns to be carried along as they stand.
    holes : bool
        Whether values may be missing; they are NaN.

    Raises
    ------
    InputError
        After the last row, if there was a bad one or none at all.
    """
    bad = BadRows(path, holes=holes)
    empty = True
    blocks = source.blocks([*columns, *source.index] if source.index else columns, bad, kept)
    if source.index:
        blocks = _without_index(blocks, source, path)
    for block in _regroup(blocks, n_rows):
        empty = False
        if not bad.count:
            yield block
    bad.raise_if_any()
    if empty:
        raise InputError(str(path), "holds no rows")


def require_support(
    blocks: Iterable[Block], components: Any, columns: Sequence[int], source: Source, path: Path
) -> Iterator[Block]:
    """Yield the blocks; InputError at the first row that a family of components cannot have.

    Parameters
    ----------
    blocks : iterable of Block
        The rows.
    components : Family
        The components, of counts, say.
    columns : sequence of int
        The columns that were read.
    source : Source
        The file that they come from.
    path : Path
        Its name, for errors.
    """
    if components._has_full_support:
        yield from blocks
        return
    n_before = 0
    support = components._static_support()
    for block in blocks:
        refuse_outside(support, block.x, columns, source, path, n_before)
        n_before += len(block.x)
        yield block


def refuse_outside(
    support: Any,
    block: NDArray[np.float64],
    columns: Sequence[int],
    source: Source,
    path: Path,
    n_before: int,
) -> None:
    """Raise InputError at the first value that is outside a support; NaN is a hole.

    Parameters
    ----------
    support : Any
        What answers `_supports` and `_support`: the class of a family, say.
    block : ndarray of shape (n, d)
        Some rows.
    columns : sequence of int
        The columns that were read.
    source : Source
        The file that they come from.
    path : Path
        Its name, for the error.
    n_before : int
        How many rows come before these.
    """
    bad = np.argwhere(~(support._supports(block) | np.isnan(block)))
    if len(bad):
        row, feature = bad[0].tolist()
        raise InputError(
            f"{path} {source.place_of(n_before + row)}",
            support._support,
            position=columns[feature] + 1,
            token=format_exact(block[row, feature].item()),
        )


def _without_index(blocks: Iterable[Block], source: Source, path: Path) -> Iterator[Block]:
    """Yield the blocks less their last columns, which must ascend like an index to the end."""
    n_index = len(source.index)
    last = np.empty((0, n_index))
    for x, kept in blocks:
        index = np.concatenate([last, x[:, -n_index:]])
        for column, values in zip(source.index, index.T, strict=True):
            require_ascending(path, column_label(source.names, column), values)
        last = index[-1:]
        yield Block(x[:, :-n_index], kept)


def _regroup(blocks: Iterable[Block], n_rows: int) -> Iterator[Block]:
    """Yield the same rows in blocks of `n_rows`: compiled code wants few shapes."""
    waiting: list[Block] = []
    count = 0
    for block in blocks:
        start, end = 0, len(block.x)
        while count + end - start >= n_rows:
            stop = start + n_rows - count
            yield _join([*waiting, block.cut(start, stop)])
            waiting, count, start = [], 0, stop
        if start < end:
            waiting.append(block.cut(start, end))
            count += end - start
    if waiting:
        yield _join(waiting)


def read_whole(blocks: Iterable[Block]) -> Block:
    """Return all rows of a file as one block."""
    return _join(list(blocks))


def _join(blocks: Sequence[Block]) -> Block:
    """Return blocks as one; the pieces of what is kept stay as they are."""
    x = np.concatenate([block.x for block in blocks])
    return Block(x, [piece for block in blocks for piece in block.kept])
