"""What the E-step says about rows, and the columns in which files of results hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Results(NamedTuple):
    """The E-step's results for some rows.

    Attributes
    ----------
    responsibilities : ndarray of shape (n, k)
        Responsibilities.
    labels : ndarray of shape (n,)
        Most responsible component of each row; -1 where no component has any density.
    log_likelihood : ndarray of shape (n,)
        Log-likelihood of each row.
    """

    responsibilities: NDArray[np.float64]
    labels: NDArray[np.int64]
    log_likelihood: NDArray[np.float64]


class Field(NamedTuple):
    """A column of the files that commands write, or a block of columns side by side.

    Attributes
    ----------
    name : str
        Its name in a structured array, where the columns of a block share a field.
    columns : tuple of str
        The names of its columns in a table.
    dtype : str
        The dtype of its values, byte order included.
    is_block : bool
        Whether its values have a second axis, of the columns.
    """

    name: str
    columns: tuple[str, ...]
    dtype: str
    is_block: bool


class Column(NamedTuple):
    """What files of results hold of a row: a number, or one for each component.

    Attributes
    ----------
    name : str
        Its name in a table; one for each component ends in ``_0``, ``_1`` and so on.
    field : str
        Its name in a structured array, where all components share a field.
    dtype : str
        The dtype of its values, byte order included.
    per_component : bool
        Whether there is one for each component.
    values : callable
        Takes the values, of shape (n,) or (n, k), from results.
    """

    name: str
    field: str
    dtype: str
    per_component: bool
    values: Callable[[Results], NDArray[Any]]

    def describe(self, k: int) -> Field:
        """Return the field that it is in files, for `k` components."""
        names = [f"{self.name}_{j}" for j in range(k)] if self.per_component else [self.name]
        return Field(self.field, tuple(names), self.dtype, self.per_component)


# The schema of results in every format: one record is one column, or one block.
COLUMNS = (
    Column("responsibility", "responsibilities", "<f8", True, lambda r: r.responsibilities),
    Column("label", "label", "<i8", False, lambda r: r.labels),
    Column("log_likelihood", "log_likelihood", "<f8", False, lambda r: r.log_likelihood),
)


def result_fields(k: int) -> list[Field]:
    """Return the fields of results on `k` components."""
    return [column.describe(k) for column in COLUMNS]


def result_values(results: Results) -> list[NDArray[Any]]:
    """Return the values of each field, of shape (n,) or (n, k), in the order of the fields."""
    return [column.values(results) for column in COLUMNS]


def column_names(fields: Iterable[Field]) -> list[str]:
    """Return the names of all columns of a table."""
    return [name for field in fields for name in field.columns]


def split_columns(values: Iterable[NDArray[Any]]) -> list[NDArray[Any]]:
    """Return the values of fields as columns, each of shape (n,)."""
    return [column for value in values for column in (value.T if value.ndim == 2 else [value])]


def csv_heading(k: int, *first: str) -> str:
    """Return the line of names above a table of results on `k` components."""
    return f"{','.join([*first, *column_names(result_fields(k))])}\n"


def csv_lines(columns: Iterable[NDArray[Any]]) -> Iterator[str]:
    """Yield one line of CSV a row, without its end; numbers read back exactly.

    Parameters
    ----------
    columns : iterable of ndarray of shape (n,)
        The columns.
    """
    words = [list(map(repr, column.tolist())) for column in columns]
    return map(",".join, zip(*words, strict=True))
