"""What the E-step says about rows, and the columns in which files of results hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


class Column(NamedTuple):
    """A column of the files of results, or a block of columns: one for each component.

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


# The schema that the CSV, .npy and Parquet writers read: one record is one column, or one block.
COLUMNS = (
    Column("responsibility", "responsibilities", "<f8", True, lambda r: r.responsibilities),
    Column("label", "label", "<i8", False, lambda r: r.labels),
    Column("log_likelihood", "log_likelihood", "<f8", False, lambda r: r.log_likelihood),
)


def column_dtypes(k: int) -> dict[str, str]:
    """Return the names of a table's columns and their dtypes, for `k` components."""
    return {
        name: column.dtype
        for column in COLUMNS
        for name in (
            [f"{column.name}_{j}" for j in range(k)] if column.per_component else [column.name]
        )
    }


def column_values(results: Results) -> list[NDArray[Any]]:
    """Return the columns of a table, each of shape (n,), in the order of `column_dtypes`."""
    return [
        values
        for column in COLUMNS
        for values in (
            column.values(results).T if column.per_component else [column.values(results)]
        )
    ]


def structured_dtype(k: int) -> np.dtype[np.void]:
    """Return the dtype of a structured array of results on `k` components."""
    return np.dtype(
        [
            (column.field, column.dtype, (k,))
            if column.per_component
            else (column.field, column.dtype)
            for column in COLUMNS
        ]
    )


def structured_rows(results: Results) -> NDArray[np.void]:
    """Return results as a structured array, one record a row."""
    n, k = results.responsibilities.shape
    rows = np.empty(n, dtype=structured_dtype(k))
    for column in COLUMNS:
        rows[column.field] = column.values(results)
    return rows


def csv_heading(k: int, *first: str) -> str:
    """Return the line of names above a table of results on `k` components."""
    return f"{','.join([*first, *column_dtypes(k)])}\n"


def csv_lines(results: Results, *first: NDArray[np.float64]) -> Iterator[str]:
    """Yield one line of CSV a row; numbers are written so that they read back exactly.

    Parameters
    ----------
    results : Results
        The rows.
    *first : ndarray of shape (n,)
        Columns that come before those of the results.
    """
    columns = [column.tolist() for column in (*first, *column_values(results))]
    for row in zip(*columns, strict=True):
        yield f"{','.join(map(repr, row))}\n"
