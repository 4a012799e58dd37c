"""Columns of a file: the index of a data frame, text, and the features of a model, by their names.

The rules take names and values, wherever these come from.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.text.numbers import is_decimal_comma, looks_numeric
from estep_xp.files.errors import InputError, show_token

# What pandas and readr call the column of an index or of row names that had no name.
_INDEX_NAME = re.compile(r"Unnamed: 0(\.\d+)*|__index_level_\d+__|\.\.\.1", re.ASCII)
_WHOLE = re.compile(r"\d{1,15}(\.0*)?", re.ASCII)
_MISSING = frozenset(
    ("", "na", "nan", "n/a", "#n/a", "null", "none", "\\n")
)  # \N is that of databases
_MAX_LIST_LENGTH = 200  # characters


def find_index(
    path: Path, names: Sequence[str], first_values: Callable[[int], Sequence[str]]
) -> dict[int, int | None]:
    """Return the columns that a data frame has written its index into.

    Such a column is called as pandas calls it, or it comes first and has no name, and it holds
    whole numbers that ascend: 0, 1, 2 ..., or some of these where rows were left out.

    Parameters
    ----------
    path : Path
        The file, for errors.
    names : sequence of str
        The names of all columns.
    first_values : callable
        Gives the first values of a column, as they are written.

    Returns
    -------
    dict
        The first value of each such column.

    Raises
    ------
    InputError
        If a column has such a name and whole numbers in another order: they may be a shuffled
        index, or data, and only a person can tell.
    """
    index: dict[int, int | None] = {}
    all_so_far = True
    for column, name in enumerate(names):
        if not (_INDEX_NAME.fullmatch(name) or (not name and all_so_far)):
            all_so_far = False
            continue
        values = [value.strip() for value in first_values(column)]
        if not values or not all(map(_WHOLE.fullmatch, values)):
            continue  # an unnamed column of data
        numbers = np.asarray(values, dtype=np.float64)
        if not (np.diff(numbers) > 0).all():
            raise InputError(
                f"{path} column {column_label(names, column)}",
                "holds whole numbers, which may be data or a data frame's index; choose with "
                "--columns",
            )
        index[column] = int(numbers[0])
    return index


def require_ascending(path: Path, label: str, values: NDArray[np.float64]) -> None:
    """Raise InputError unless the values of an index are whole numbers that ascend.

    Parameters
    ----------
    path : Path
        The file, for the error.
    label : str
        How a message calls the column.
    values : ndarray of shape (n,)
        The last value of the rows before, if there is one, and those of some rows.
    """
    if not ((np.diff(values) > 0).all() and (values == np.floor(values)).all()):
        raise InputError(
            f"{path} column {label}",
            "begins like a data frame's index, whole numbers that ascend, and goes on otherwise; "
            "choose with --columns",
        )


def is_hole(field: str) -> bool:
    """Whether a field of a text says that nothing was observed: it is empty, NA or NaN, say."""
    return field.strip().casefold() in _MISSING


def find_text(values: Iterable[str]) -> str | None:
    """Return the first of a column's values if it is a column of text, None if it may hold numbers.

    One row may be bad; a column is text if none of several rows holds a number.
    """
    values = [value.strip() for value in values]
    present = [value for value in values if not is_hole(value)]
    if len(values) < 2 or any(looks_numeric(value) or is_decimal_comma(value) for value in present):
        return None
    return present[0] if present else ""


def text_error(
    path: Path,
    names: Sequence[str] | None,
    column: int,
    found: str,
    others: Sequence[int],
    hint: str = "choose others with --columns",
) -> InputError:
    """Return the error that a column holds no numbers.

    Parameters
    ----------
    path : Path
        The file.
    names : sequence of str or None
        The names of its columns.
    column : int
        The column.
    found : str
        What it holds.
    others : sequence of int
        The columns that may hold numbers, which the error suggests.
    hint : str, optional
        What to do if there are none.
    """
    if others:
        words = [column_label(names, other) for other in others]
        if names is None or not all(re.fullmatch(r"[\w.-]+", word) for word in words):
            words = [str(other) for other in others]
        if len(",".join(words)) <= _MAX_LIST_LENGTH:
            hint = f"choose others, say --columns {','.join(words)}"
    return InputError(
        f"{path} column {column_label(names, column)}",
        f"holds {found}; must hold real numbers; {hint}",
    )


def find_columns(
    option: str, chosen: str, names: Sequence[str] | None, n_columns: int
) -> list[int]:
    """Return the indices of the columns that an option lists, by names or numbers.

    Parameters
    ----------
    option : str
        Its name, for errors.
    chosen : str
        What it lists, with commas between.
    names : sequence of str or None
        The names of all columns, where they have names.
    n_columns : int
        How many columns there are.

    Raises
    ------
    InputError
        If there is no such column, or one is listed twice.
    """
    columns: list[int] = []
    try:
        words = next(csv.reader([chosen], skipinitialspace=True), [""])
    except csv.Error as error:
        raise InputError(option, f"is not a list of names: {error}") from None
    for position, word in enumerate(words or [""], start=1):
        token = word.strip()
        try:
            column = _find_column(token, names or (), n_columns)
        except ValueError as error:
            raise InputError(option, str(error), position=position, token=token) from None
        if column in columns:
            raise InputError(option, "is there twice", position=position, token=token)
        columns.append(column)
    return columns


def _find_column(token: str, names: Sequence[str], n_columns: int) -> int:
    """Return the index of the column of that name, or else number; ValueError if there is none."""
    if names.count(token) > 1:
        raise ValueError("several columns have this name; give its number, counted from 0")
    if token in names:
        return names.index(token)
    if token.isascii() and token.isdigit() and len(token) < 10 and int(token) < n_columns:
        return int(token)
    numbers = f"a number from 0 to {n_columns - 1}"
    raise ValueError(f"must be {list_names(names)} or {numbers}" if names else f"must be {numbers}")


def find_features(path: Path, names: Sequence[str], features: Sequence[str]) -> list[int]:
    """Return the columns that are called as the features of a model, in the model's order.

    Parameters
    ----------
    path : Path
        The file, for errors.
    names : sequence of str
        The names of its columns.
    features : sequence of str
        The names of the model's features.

    Raises
    ------
    InputError
        If a feature has no column, or several.
    """
    places = {name: column for column, name in enumerate(names)}
    lacking = [number for number, feature in enumerate(features) if feature not in places]
    if lacking:
        noun = "column" if len(lacking) == 1 else "columns"
        raise InputError(
            str(path),
            f"has no {noun} {list_names(features, lacking)}, which the model needs; it has "
            f"{list_names(names)}; choose with --columns, in the order of the model's features "
            f"({list_names(features)}), where names differ",
        )
    wanted = set(features)
    require_distinct(path, [name for name in names if name in wanted])
    return [places[feature] for feature in features]


def match_features(
    columns: Sequence[int], names: Sequence[str], features: Sequence[str]
) -> tuple[list[int], str | None]:
    """Return the columns that a person has chosen in the order of the model's features.

    Columns that are called as the features go by these names; columns of other names stand for the
    features in the order in which they were given, and a note says so.

    Parameters
    ----------
    columns : sequence of int
        The chosen columns, as many as there are features.
    names : sequence of str
        The names of all columns.
    features : sequence of str
        The names of the model's features.

    Raises
    ------
    InputError
        If a column that is called as one feature would stand for another one.
    """
    chosen = [names[column] for column in columns]
    if sorted(chosen) == sorted(features):
        return [columns[chosen.index(feature)] for feature in features], None
    others = {}
    for position, (name, feature) in enumerate(zip(chosen, features, strict=True), start=1):
        if name == feature:
            continue
        if name in features:
            raise InputError(
                "--columns",
                f"would stand for the model's feature {show_token(feature)}; the model's features "
                f"are {list_names(features)}",
                position=position,
                token=name,
            )
        others[name] = feature
    pairs = ", ".join(
        f"{show_token(name)} for {show_token(feature)}" for name, feature in others.items()
    )
    return list(columns), f"columns stand for features of other names: {pairs}"


def require_distinct(path: Path, names: Sequence[str]) -> None:
    """Raise InputError if two of these columns have one name."""
    for name, count in Counter(names).items():
        if count > 1:
            called = f"are called {show_token(name)}" if name else "have no name"
            raise InputError(
                str(path),
                f"{count} columns {called}; give them names of their own, or choose others with "
                "--columns",
            )


def column_label(names: Sequence[str] | None, column: int) -> str:
    """Return how a message calls a column: by its name, or by its number if it has none."""
    if names is None:
        return str(column)
    return show_token(names[column]) if names[column] else f"{column} (without a name)"


def list_names(names: Sequence[str], columns: Iterable[int] | None = None) -> str:
    """Return names for a message, all or those of some columns; the first ones of many."""
    words: list[str] = []
    for column in range(len(names)) if columns is None else columns:
        word = column_label(names, column)
        if sum(map(len, words)) + len(word) > _MAX_LIST_LENGTH:
            return ", ".join([*words, "..."])
        words.append(word)
    return ", ".join(words)
