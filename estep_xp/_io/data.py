"""DATA: which format a file has, and which of its columns a mixture is about."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from estep_xp._io.arrays import open_npy, open_npz
from estep_xp._io.delimited import DelimitedFile
from estep_xp._io.errors import InputError
from estep_xp._io.files import reading
from estep_xp._io.parquet import ParquetSource
from estep_xp._io.rows import Source

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_SUFFIXES = (".csv", ".tsv", ".npy", ".npz", ".parquet")


def open_data(path: Path, array: str | None, stack: ExitStack) -> Source:
    """Open a file of rows, in the format that its name's ending says.

    Parameters
    ----------
    path : Path
        A .csv, .tsv, .npy, .npz or .parquet file.
    array : str or None
        Which array of a .npz archive.
    stack : ExitStack
        Closes the file.

    Raises
    ------
    InputError
        If there is no such file, or it is not what its name says.
    SystemFailure
        If it cannot be read, or a package for it is missing.
    """
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(
            str(path), f"must end in one of {' '.join(_SUFFIXES)}, which is its format"
        )
    if array is not None and suffix != ".npz":
        raise InputError("--array", f"is for .npz archives; {path} is none")
    if suffix == ".npz":
        return open_npz(path, array, stack)
    if suffix == ".npy":
        return open_npy(path, stack)
    if suffix == ".parquet":
        return ParquetSource(path, stack)
    with reading(path):
        file = stack.enter_context(path.open("rb"))
    return DelimitedFile(path, file, _DELIMITERS[suffix])


def choose_columns(
    source: Source,
    path: Path,
    chosen: str | None,
    n_features: int | None,
    owner: str = "the model",
) -> Sequence[int]:
    """Return the indices of the columns to read.

    Parameters
    ----------
    source : Source
        The file.
    path : Path
        Its name, for errors.
    chosen : str or None
        Names, or numbers counted from 0, separated by commas; all columns if None.
    n_features : int or None
        How many columns the mixture is about; None if any number will do.
    owner : str
        What says so, for the error.

    Raises
    ------
    InputError
        If there is no such column, or their number is not `n_features`.
    """
    if chosen is None:
        columns = list(range(source.n_columns))
        field = str(path)
    else:
        columns = _find_columns(source, chosen)
        field = "--columns"
    if not columns:
        raise InputError(field, "has no columns")
    if n_features is None or len(columns) == n_features:
        return columns
    found, hint = _counted(len(columns), "column"), ""
    if chosen is None and source.names is not None:
        found += f" ({', '.join(source.names)})"
        if len(columns) < n_features and ";" in "".join(source.names):
            hint = "; semicolons do not separate columns"
    if chosen is None and len(columns) > n_features:
        hint = "; choose with --columns"
    raise InputError(field, f"has {found}; {owner} has {_counted(n_features, 'feature')}{hint}")


def _find_columns(source: Source, chosen: str) -> list[int]:
    """Return the indices of the columns that `chosen` lists."""
    columns: list[int] = []
    for word in next(csv.reader([chosen], skipinitialspace=True), [""]):
        token = word.strip()
        position = len(columns) + 1
        try:
            column = _find_column(source, token)
        except ValueError as error:
            raise InputError("--columns", str(error), position=position, token=token) from None
        if column in columns:
            raise InputError("--columns", "is there twice", position=position, token=token)
        columns.append(column)
    return columns


def _find_column(source: Source, token: str) -> int:
    """Return the index of the column of that name, or else number; ValueError if there is none."""
    names = source.names or ()
    if names.count(token) > 1:
        raise ValueError("several columns have this name; give its number, counted from 0")
    if token in names:
        return names.index(token)
    if token.isascii() and token.isdigit() and len(token) < 10 and int(token) < source.n_columns:
        return int(token)
    numbers = f"a number from 0 to {source.n_columns - 1}"
    raise ValueError(f"must be {', '.join(names)} or {numbers}" if names else f"must be {numbers}")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
