"""A column of an uploaded file, as text for the field of observations."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from estep_xp._calculator.fields import MOST_OBSERVATIONS, list_text
from estep_xp._io.delimited import DelimitedFile
from estep_xp._io.errors import InputError, escaped
from estep_xp._io.rows import good_blocks

MOST_BYTES = 2_000_000
_MOST_COLUMNS = 1000
_MOST_TRIED = 10  # columns that are tried for numbers if none was chosen
_LONGEST_NAME = 60


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
    """

    columns: list[str]
    column: int
    x: str
    error: str


def read_upload(content: bytes, name: str, column: int | None) -> Upload:
    """Return one column of an uploaded file: the chosen one, or the first that holds numbers.

    Parameters
    ----------
    content : bytes
        The file: comma-separated values, or tab-separated ones if its name says so.
    name : str
        Its name.
    column : int or None
        Which column, counted from 0.
    """
    path = Path(name[-_LONGEST_NAME:] or "file")
    error = ""
    try:
        columns = _columns(content, path)
    except InputError as trouble:
        return Upload([], 0, "", str(trouble))
    chosen = range(len(columns))[:_MOST_TRIED] if column is None else [column]
    for tried in chosen:
        try:
            return Upload(columns, tried, list_text(_numbers(content, path, tried)), "")
        except InputError as trouble:
            error = error or str(trouble)
    return Upload(columns, chosen[0], "", error)


def _columns(content: bytes, path: Path) -> list[str]:
    if b";" in content.partition(b"\n")[0]:  # or "0,5;1" would be two columns, 0 and "5;1"
        raise InputError(str(path), "must separate columns by commas, not semicolons")
    with _open(content, path) as file:
        if file.n_columns > _MOST_COLUMNS:
            expectation = f"has {file.n_columns} columns; at most {_MOST_COLUMNS} are taken"
            raise InputError(str(path), expectation)
        names = file.names or (f"column {j}" for j in range(file.n_columns))
        return list(map(escaped, names))


def _numbers(content: bytes, path: Path, column: int) -> list[float]:
    """Return the numbers of one column."""
    with _open(content, path) as file:
        if not 0 <= column < file.n_columns:
            raise InputError(str(path), f"has no column {column}")
        numbers: list[float] = []
        for block in good_blocks(file, [column], path, MOST_OBSERVATIONS):
            numbers += block[:, 0].tolist()
    if len(numbers) > MOST_OBSERVATIONS:
        expectation = f"has {len(numbers)} rows; the page takes {MOST_OBSERVATIONS} observations"
        raise InputError(str(path), expectation)
    return numbers


@contextmanager
def _open(content: bytes, path: Path) -> Iterator[DelimitedFile]:
    """Open the file anew: it is read in one direction, once."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield DelimitedFile(path, file, preferred="\t" if path.suffix.lower() == ".tsv" else ",")
