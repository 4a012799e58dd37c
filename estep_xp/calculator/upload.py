"""A column of an uploaded file, as text for the field of observations."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from estep_xp.calculator.fields import MAX_OBSERVATIONS, format_list
from estep_xp.calculator.formats import list_arrays, recognise_format
from estep_xp.cli.read.data import choose_columns, open_data
from estep_xp.cli.read.delimited import DelimitedFile
from estep_xp.cli.read.rows import Source, read_blocks
from estep_xp.cli.text.errors import SystemFailure
from estep_xp.files.errors import InputError, escape, format_line

MAX_BYTES = 2_000_000
_MAX_COLUMNS = 1000
_MAX_TRIED = 10  # columns tried if none was chosen
_MAX_NAME_LENGTH = 60
# Hints at options, which the page lacks: "; choose others, say --columns a,b".
_OPTION = re.compile(r"; [^;(]*--[a-z]+[^;(]*?(?= \(|;|$)")


class Upload(NamedTuple):
    """What an uploaded file holds.

    Attributes
    ----------
    columns : list of str
        Names of its columns.
    column : int
        The one that was read, counted from 0.
    x : str
        Its numbers; empty if there is an error.
    error : str
        Why it could not be read; empty if it could.
    note : str
        What a person should know of how it was read, one note a line; mostly empty.
    """

    columns: list[str]
    column: int
    x: str
    error: str
    note: str = ""


class _File(NamedTuple):
    """A file: the name that it was sent under, where it lies, and the ending it should have."""

    path: Path
    place: Path
    suffix: str

    def open(self, array: str | None, stack: ExitStack) -> Source:
        """Open the file; a source can be read only once."""
        return open_data(self.path, array, stack, place=self.place, suffix=self.suffix)


class _Column(NamedTuple):
    """A column: its name, the array of an archive that it stands in, and its number there."""

    name: str
    array: str | None
    number: int


def read_upload(content: bytes, name: str, column: int | None) -> Upload:
    """Return one column of an uploaded file: the chosen one, or the first that holds numbers.

    Parameters
    ----------
    content : bytes
        The file, in any format that the command line takes.
    name : str
        Its name.
    column : int or None
        Which column, counted from 0.
    """
    path = Path(name[-_MAX_NAME_LENGTH:] or "file")
    columns: list[_Column] = []
    tried = column or 0
    error = ""
    with TemporaryDirectory() as folder:
        place = Path(folder, "upload")
        place.write_bytes(content)
        try:
            file = _File(path, place, recognise_format(path, place))
            columns = _list_columns(file)
            choices, note = (
                ([column], "") if column is not None else _default_columns(file, columns)
            )
        except (InputError, SystemFailure) as trouble:
            return Upload(_shown_names(columns), 0, "", _without_options(str(trouble)))
        for tried in choices[:_MAX_TRIED]:
            try:
                numbers, more = _read_numbers(file, columns, tried)
            except (InputError, SystemFailure) as trouble:
                error = error or _without_options(str(trouble))
            else:
                return Upload(_shown_names(columns), tried, format_list(numbers), "", note or more)
    return Upload(_shown_names(columns), choices[0], "", error, note)


def _list_columns(file: _File) -> list[_Column]:
    """Return the columns of a file: of an archive, those of all its arrays."""
    arrays: list[str | None] = [*list_arrays(file.place)] if file.suffix == ".npz" else [None]
    _require_at_most(file, len(arrays), "arrays")
    columns: list[_Column] = []
    for array in arrays or [None]:
        with ExitStack() as stack:
            try:
                source = file.open(array, stack)
            except InputError:
                if len(arrays) < 2:
                    raise
                continue  # try the other arrays
            _require_at_most(file, source.n_columns, "columns")
            names = source.names or [""] * source.n_columns
            for j, name in enumerate(names):
                words = [array if len(arrays) > 1 else None, name or f"column {j}"]
                columns.append(_Column(" ".join(filter(None, words)), array, j))
    _require_at_most(file, len(columns), "columns")
    if not columns:
        raise InputError(str(file.path), "holds no array of rows of numbers")
    return columns


def _default_columns(file: _File, columns: list[_Column]) -> tuple[list[int], str]:
    """Return the columns to try if none was chosen, all but a data frame's index, and a note."""
    with ExitStack() as stack:
        source = file.open(columns[0].array, stack)
        chosen = choose_columns(source, file.path, None, None)
        return [*chosen, *range(source.n_columns, len(columns))], _join_notes(source)


def _read_numbers(file: _File, columns: list[_Column], tried: int) -> tuple[list[float], str]:
    """Return the numbers of one column, and a note."""
    if not 0 <= tried < len(columns):
        raise InputError(str(file.path), f"has no column {tried}")
    _, array, number = columns[tried]
    with ExitStack() as stack:
        source = file.open(array, stack)
        if not isinstance(
            source, DelimitedFile
        ):  # compressed formats may hold many rows in few bytes
            _require_at_most(file, source.total or 0, "rows")
        numbers: list[float] = []
        for block in read_blocks(source, [number], file.path, MAX_OBSERVATIONS):
            numbers += block[:, 0].tolist()
        _require_at_most(file, len(numbers), "rows")
        return numbers, _join_notes(source)


def _require_at_most(file: _File, count: int, noun: str) -> None:
    """Raise InputError if there is more than the page takes."""
    if noun == "rows":
        most, expectation = MAX_OBSERVATIONS, f"the page takes {MAX_OBSERVATIONS} observations"
    else:
        most, expectation = _MAX_COLUMNS, f"at most {_MAX_COLUMNS} are taken"
    if count > most:
        raise InputError(str(file.path), f"has {count} {noun}; {expectation}")


def _shown_names(columns: list[_Column]) -> list[str]:
    return [escape(column.name) for column in columns]


def _join_notes(source: Source) -> str:
    return "\n".join(map(_without_options, source.notes))


def _without_options(message: str) -> str:
    """Return a message of the command line without its hints at options."""
    return format_line(_OPTION.sub("", message))
