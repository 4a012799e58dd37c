"""Data frames and series as NumPy arrays: of pandas, polars, pyarrow, of which none is imported.

A frame is a list of columns, each a series that knows how to become a NumPy array. Where that is an
array of objects (nullable columns, columns of mixed numbers) the objects are inspected.
"""

from __future__ import annotations

import numbers
from decimal import Decimal
from typing import Any

import numpy as np

from estep_xp.arrays.kinds import check_host_kind
from estep_xp.arrays.text import shown

# How the types of columns of categories begin: those of pandas, polars (two of them), pyarrow.
_CATEGORIES = ("category", "Categorical", "Enum", "dictionary")

# What NumPy's kinds of dtypes hold that are no real numbers.
_OTHERS = {"M": "dates", "m": "durations", "c": "complex numbers", "U": "text", "T": "text"}


def as_numpy(name: str, value: Any) -> np.ndarray[Any, Any]:
    """A frame or series, an argument of that name, as an array of real numbers.

    Missing values become NaN, which is judged as any other NaN.

    Raises
    ------
    TypeError, ValueError
        Naming the column that holds no numbers.
    """
    columns = _columns(value)
    if not columns or _is_plain(value):
        return _numbers(name, name, value)
    arrays = []
    for label, column in columns:
        place = f"{name} column {label!r}"
        arrays.append(_numbers(place, name, column))
        if arrays[-1].ndim != 1:
            raise TypeError(f"{place} holds lists; {name} must hold real numbers")
    return np.stack(arrays, axis=1)


def column_names(value: Any) -> tuple[Any, ...]:
    """Names of the columns of a data frame; none of anything else."""
    if isinstance(value, (np.ndarray, list, tuple)):
        return ()
    return tuple(label for label, _ in _columns(value) or ())


def _columns(value: Any) -> list[tuple[Any, Any]] | None:
    """Columns of a frame by name, which need not be unique; None of anything else."""
    if not hasattr(value, "__array__") or getattr(value, "ndim", 2) != 2:
        return None
    if hasattr(value, "column_names") and hasattr(value, "columns"):  # pyarrow
        return list(zip(value.column_names, value.columns, strict=True))
    if hasattr(value, "iter_columns"):  # polars
        return [(column.name, column) for column in value.iter_columns()]
    if hasattr(value, "columns") and hasattr(value, "items"):  # pandas and libraries like it
        return list(value.items())
    return None


def _is_plain(frame: Any) -> bool:
    """Whether all columns are NumPy's numbers, which the frame may hold as one array."""
    kinds = {
        t.kind if isinstance(t, np.dtype) and t.itemsize <= 8 else ""  # long doubles are named
        for t in getattr(frame, "dtypes", [""])
    }
    return kinds <= set("fiu") or kinds == {"b"}


def _numbers(place: str, name: str, series: Any) -> np.ndarray[Any, Any]:
    """A series as an array of numbers; `place` is where it stands."""
    kind = str(getattr(series, "dtype", getattr(series, "type", "")))
    if kind.startswith(_CATEGORIES):
        raise TypeError(f"{place} holds categories; {name} must hold real numbers")
    if kind.startswith("Struct"):  # of polars, which NumPy would show as a matrix
        raise TypeError(f"{place} holds records ({kind}); {name} must hold real numbers")
    try:
        array = np.asarray(series)
    except Exception as error:  # each library has errors of its own: 128-bit integers of polars
        raise TypeError(f"{place} ({kind}) cannot be a NumPy array: {error}") from error
    if array.dtype == object:
        return _from_objects(place, name, array)
    if array.dtype.kind in _OTHERS:
        what = _OTHERS[array.dtype.kind]
        raise TypeError(f"{place} holds {what} ({array.dtype}); {name} must hold real numbers")
    check_host_kind(place, array, name)
    return array


def _from_objects(place: str, name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    objects = array.ravel().tolist()
    kinds = set(map(type, objects))
    missing = {kind for kind in kinds if kind.__name__ in ("NoneType", "NAType")}
    bad = {kind for kind in kinds - missing if not _is_number(kind)}
    for index, value in zip(np.ndindex(array.shape), objects, strict=True):
        if type(value) in bad:
            what = "text" if isinstance(value, str) else type(value).__name__
            where = f"{shown(value)} in row {index[0]}" if index else shown(value)
            raise TypeError(f"{place} holds {what} ({where}); {name} must hold real numbers")
    try:
        floats = [np.nan if type(value) in missing else float(value) for value in objects]
    except OverflowError:
        raise ValueError(
            f"{place} holds an integer that is too large for a float; {name} must be finite"
        ) from None
    return np.asarray(floats, dtype=np.float64).reshape(array.shape)


def _is_number(kind: type) -> bool:
    long = issubclass(kind, np.longdouble) and not issubclass(kind, float)
    return issubclass(kind, (numbers.Real, Decimal, np.bool_)) and not long
