"""How records are shown: in a line of text, and as a table in a notebook.

A record may hold anything while JAX rebuilds it: tracers, placeholder objects, None. So nothing
here fails, and nothing computes what does not exist yet, such as a Dask graph.
"""

from __future__ import annotations

import html
import math
from typing import Any, TypeVar

import numpy as np

from estep_xp.arrays.namespace import is_concrete, is_tracer, library_of, to_host
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.text import shortened, shown

Class = TypeVar("Class", bound=type)

_FEW = 6  # numbers of an array that are shown one by one
_MOST = 300  # characters of a record


def summarized(record: Class) -> Class:
    """Give a class of records its texts, made of what its method `_shown_fields` gives by name."""

    def __repr__(self: Any) -> str:
        entries = ", ".join(f"{name}={value}" for name, value in _entries(self))
        return shortened(f"{type(self).__name__}({entries})", _MOST)

    def _repr_html_(self: Any) -> str:
        name = html.escape(type(self).__name__)
        rows = "".join(
            f"<tr><th>{html.escape(label)}</th><td>{html.escape(value)}</td></tr>"
            for label, value in _entries(self)
        )
        return f"<table><caption>{name}</caption>{rows}</table>"

    for method in (__repr__, _repr_html_):
        setattr(record, method.__name__, method)
    return record


def sizes(names: str, field: str, array: Any) -> dict[str, Any]:
    """Sizes of the array of a field by names of one letter; the array if it has not as many."""
    shape = _shape(array)
    if shape is None or len(shape) != len(names):
        return {field: array}
    return {
        name: _Text("unknown" if math.isnan(size) else str(size))
        for name, size in zip(names, shape, strict=True)
    }


def parameters(names: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Fields, if all of them have few numbers; or else sizes of the first one."""
    if all(_few(value) is not None for value in fields.values()):
        return fields
    return sizes(names, *next(iter(fields.items())))


def total(array: Any) -> Any:
    """The sum of an array whose numbers are at hand; any other value as it is."""
    host = _host(array)
    if host is None:
        return array
    return quietly(lambda: host.sum(dtype=np.float64))


class _Text(str):
    """What is shown without quotes."""

    __slots__ = ()


def _entries(record: Any) -> list[tuple[str, str]]:
    return [(name, _text(value)) for name, value in record._shown_fields().items()]


def _text(value: Any) -> str:
    if isinstance(value, _Text):
        return value
    if hasattr(type(value), "_shown_fields"):
        return repr(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):  # a family of the user's
        fields = (f"{name}={_text(field)}" for name, field in value._asdict().items())
        return shortened(f"{type(value).__name__}({', '.join(fields)})", _MOST // 2)
    if value is None or isinstance(value, (bool, int, str)):
        return shown(value)
    few, shape = _few(value), _shape(value)
    if few is not None:
        return _numbers(few.tolist())
    if shape is None:
        return type(value).__name__
    kind = "array" if is_concrete(value) else "traced" if is_tracer(value) else "lazy"
    return f"{kind} of shape {shape}" if shape or kind == "array" else kind


def _numbers(values: Any) -> str:
    if isinstance(values, list):
        return f"[{', '.join(map(_numbers, values))}]"
    return f"{values:.6g}" if isinstance(values, float) else repr(values)


def _few(value: Any) -> np.ndarray[Any, Any] | None:
    """The values of an array or a list, if they are few and can be read in this process."""
    shape = _shape(value)
    return _host(value) if shape is not None and math.prod(shape) <= _FEW else None


def _host(value: Any) -> np.ndarray[Any, Any] | None:
    """The values of an array or a list, if they can be read in this process."""
    try:
        if library_of(value) and not is_concrete(value):
            return None
        host = to_host(value)
    except Exception:  # ragged, deleted, of a device without numbers ...
        return None
    return host if host.dtype.kind in "fiub" else None


def _shape(value: Any) -> tuple[Any, ...] | None:
    """The shape of an array or a list; None of anything else."""
    try:
        array = value if hasattr(value, "shape") else np.asarray(value)
        return None if array.dtype == object else tuple(array.shape)
    except Exception:
        return None
