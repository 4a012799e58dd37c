"""DATA: which format a file has, and which of its columns a mixture is about."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from estep_xp.cli.read.arrays import open_npy, open_npz
from estep_xp.cli.read.columns import (
    column_label,
    find_columns,
    find_features,
    list_names,
    match_features,
)
from estep_xp.cli.read.delimited import DelimitedFile
from estep_xp.cli.read.dialect import Dialect
from estep_xp.cli.read.parquet import ParquetSource
from estep_xp.cli.read.rows import Source
from estep_xp.cli.read.signatures import require_text
from estep_xp.cli.system import terminal
from estep_xp.cli.system.files import STANDARD_INPUT, translate_read_errors
from estep_xp.cli.text.numbers import format_count
from estep_xp.files.errors import InputError

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_SUFFIXES = (".csv", ".tsv", ".npy", ".npz", ".parquet")


def open_data(
    path: Path,
    array: str | None,
    stack: ExitStack,
    *,
    dialect: Dialect | None = None,
    features: Sequence[str] = (),
    place: Path | None = None,
    suffix: str | None = None,
) -> Source:
    """Open a file of rows, in the format that its name's ending says.

    Parameters
    ----------
    path : Path
        A .csv, .tsv, .npy, .npz or .parquet file; or STANDARD_INPUT, which is CSV.
    array : str or None
        Which array of a .npz archive.
    stack : ExitStack
        Closes the file.
    dialect : Dialect, optional
        The format of a text, as far as options give it.
    features : sequence of str, optional
        The names of a model's features: a text whose first line holds them has a heading.
    place : Path, optional
        Where the content lies, if not at `path`: the file was sent to us under that name, say.
    suffix : str, optional
        The ending that the name should have.

    Raises
    ------
    InputError
        If there is no such file, or it is not what its name says.
    SystemFailure
        If it cannot be read, or a package for it is missing.
    """
    if path is STANDARD_INPUT:
        suffix = ".csv"
    suffix = path.suffix.lower() if suffix is None else suffix
    if suffix not in _SUFFIXES:
        if (place or path).is_file():
            with translate_read_errors(path), (place or path).open("rb") as file:
                require_text(path, file.read(64))  # a workbook, say: what to do about it
        raise InputError(
            str(path), f"must end in one of {' '.join(_SUFFIXES)}, which is its format"
        )
    if array is not None and suffix != ".npz":
        raise InputError("--array", f"is for .npz archives; {path} is none")
    given = dialect or Dialect()
    if suffix not in _DELIMITERS:
        for option, value in given._asdict().items():
            if value is not None:
                raise InputError(f"--{option}", f"is for .csv and .tsv files; {path} is none")
    place = place or path
    if suffix == ".npz":
        return open_npz(path, array, stack, place)
    if suffix == ".npy":
        return open_npy(path, stack, place)
    if suffix == ".parquet":
        return ParquetSource(path, stack, place)
    with translate_read_errors(path):
        opened = terminal.open_stdin() if path is STANDARD_INPUT else place.open("rb")
        text = stack.enter_context(opened)
    return DelimitedFile(path, text, given, preferred=_DELIMITERS[suffix], features=features)


def choose_columns(
    source: Source,
    path: Path,
    chosen: str | None,
    n_features: int | None,
    owner: str = "the model",
    features: Sequence[str] | None = None,
    option: str = "--columns",
    besides: Sequence[int] = (),
) -> Sequence[int]:
    """Return the indices of the columns to read.

    Where a model's features and the file's columns have names, these decide. Otherwise all columns
    are read in their order, less a data frame's index. What is left out, and what else a person
    should know, is added to the notes of the source.

    Parameters
    ----------
    source : Source
        The file.
    path : Path
        Its name, for errors.
    chosen : str or None
        Names, or numbers counted from 0, separated by commas, to read instead.
    n_features : int or None
        How many columns the mixture is about; None if any number will do.
    owner : str
        What says so, for the error.
    features : sequence of str, optional
        The names of these columns, if the model has names.
    option : str
        What lists the chosen ones, for errors.
    besides : sequence of int, optional
        Columns that are none of the mixture's: labels of sequences.

    Raises
    ------
    InputError
        If there is no such column, or their number is not `n_features`.
    """
    if chosen is not None:
        columns: Sequence[int] = find_columns(option, chosen, source.names, source.n_columns)
        for column in besides:
            if column in columns:
                label = column_label(source.names, column)
                raise InputError(option, f"lists {label}, which --sequence names; leave it out")
        _require_number(len(columns), n_features, option, owner)
        if features is not None and source.names is not None:
            columns, note = match_features(columns, source.names, features)
            source.notes += [] if note is None else [f"note: {path}: {note}"]
        return columns
    if features is not None and source.names is not None:
        return find_features(path, source.names, features)
    columns = _leave_index_out(source, path, n_features)
    if besides:
        columns = [column for column in columns if column not in besides]
    names = source.names or ()
    found = f" ({list_names(names, columns)})" if names else ""
    _require_number(len(columns), n_features, str(path), owner, found, bool(source.index))
    nameless = [column for column in columns if names and not names[column]]
    if nameless:
        source.notes.append(
            f"note: {path}: column {column_label(names, nameless[0])} is read as data; leave it "
            "out with --columns if it is none"
        )
    return columns


def _leave_index_out(source: Source, path: Path, n_features: int | None) -> Sequence[int]:
    """Return all columns less those of a data frame's index, which `source` is told to check."""
    index = source.find_index()
    if source.n_columns == n_features and 0 not in index.values():
        # The model needs all columns, and this one does not begin at 0: it may be data.
        index = {}
    if not index:
        return range(source.n_columns)
    words = [column_label(source.names, column) for column in index]
    one = len(words) == 1
    noun = "column" if one else "columns"
    left_out = f"{noun} {', '.join(words)}, a data frame's index"
    if len(index) == source.n_columns:
        raise InputError(str(path), f"has nothing but {left_out}; choose with --columns")
    source.index = [column for column, first in index.items() if first is not None]
    source.notes.append(
        f"note: {path}: {noun} {', '.join(words)} {'was' if one else 'were'} left out as a data "
        f"frame's index; choose {'it' if one else 'them'} with --columns if "
        f"{'it is' if one else 'they are'} data"
    )
    return [column for column in range(source.n_columns) if column not in index]


def _require_number(
    n_columns: int,
    n_features: int | None,
    field: str,
    owner: str,
    names: str = "",
    has_index: bool = False,
) -> None:
    """Raise InputError unless there are as many columns as features, or some if any will do."""
    if not n_columns:
        raise InputError(field, "has no columns")
    if n_features is None or n_columns == n_features:
        return
    found = format_count(n_columns, "column") + names
    if has_index:
        found += " beside a data frame's index"
    hint = "" if field == "--columns" or n_columns < n_features else "; choose with --columns"
    raise InputError(field, f"has {found}; {owner} has {format_count(n_features, 'feature')}{hint}")
