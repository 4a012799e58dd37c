"""Columns that ``run --keep`` carries from DATA to OUT as they stand: their names and their values.

A piece is what one block of a file holds of them, one sequence of values a column: words of a text,
a NumPy array, an array of pyarrow. Pieces are cut by slices, and made into text or pyarrow's arrays
by whoever writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from estep_xp.cli.read.columns import find_columns
from estep_xp.cli.read.rows import Source
from estep_xp.files.errors import InputError

Piece = tuple[Any, ...]

_SPECIAL = re.compile(r'[",\r\n]')
_ZERO_SECONDS = re.compile(r"(?<=:\d\d)\.0+(?=\D|$)")  # 12:00:00.000000 is 12:00:00


def choose_kept(
    source: Source, chosen: str | None, results: Sequence[str]
) -> tuple[list[int], list[str]]:
    """Return the columns that ``--keep`` names, and what they are called in OUT.

    Parameters
    ----------
    source : Source
        The file.
    chosen : str or None
        Names, or numbers counted from 0, separated by commas; or ``all``.
    results : sequence of str
        The names of the columns beside which they will stand.

    Raises
    ------
    InputError
        If there is no such column, or two columns of OUT would have one name.
    """
    if chosen is None:
        return [], []
    everything = chosen.strip() == "all"
    if everything:
        columns = list(range(source.n_columns))
    else:
        columns = find_columns("--keep", chosen, source.names, source.n_columns)
    names = [
        f"column_{column}"
        if source.names is None or not source.names[column]
        else source.names[column]
        for column in columns
    ]
    taken = set(results)
    for position, name in enumerate(names, start=1):
        if name in taken:
            what = "results have a column" if name in results else "another column is"
            called = "of that name" if name in results else "called so"
            raise InputError(
                "--keep",
                f"{what} {called}; rename it in DATA, or name the columns to keep without it",
                position=position,
                token=name,
            )
        taken.add(name)
    return columns, names


def as_text(values: Iterable[Any]) -> list[str]:
    """Return the values of a column, from all pieces, as words for a CSV file."""
    return list(chain.from_iterable(map(_words, values)))


def as_arrow(pyarrow: Any, values: Sequence[Any]) -> Any:
    """Return the values of a column, from all pieces, as an array of pyarrow."""
    arrays = [_arrow_array(pyarrow, one) for one in values]
    return pyarrow.chunked_array(arrays)


def quote_csv(words: Sequence[str]) -> list[str]:
    """Return words as fields of a CSV file, in quotes where these are needed."""
    if not _SPECIAL.search("".join(words)):
        return list(words)
    return [_quote(word) if _SPECIAL.search(word) else word for word in words]


def _words(values: Any) -> list[str]:
    """Return the values of one column in one piece as words."""
    if isinstance(values, list):
        return values
    if isinstance(values, np.ndarray):
        return list(map(str, values.tolist()))
    if hasattr(values, "dictionary_decode"):
        values = values.dictionary_decode()
    if str(values.type).startswith(("timestamp", "time", "date", "duration", "decimal")):
        words = values.cast("string").to_pylist()
        return ["" if word is None else _ZERO_SECONDS.sub("", word) for word in words]
    return ["" if value is None else str(value) for value in values.to_pylist()]


def _arrow_array(pyarrow: Any, values: Any) -> Any:
    """Return the values of one column in one piece as an array of pyarrow."""
    if isinstance(values, list):
        return pyarrow.array(values, pyarrow.string())
    if isinstance(values, np.ndarray):
        dtype = values.dtype.newbyteorder("=")
        if dtype.kind == "f" and dtype.itemsize not in (4, 8):  # kinds that Parquet lacks
            dtype = np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)
        return pyarrow.array(np.ascontiguousarray(values, dtype=dtype))
    return values.dictionary_decode() if hasattr(values, "dictionary_decode") else values


def _quote(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'
