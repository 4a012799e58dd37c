"""Arrays inside records, which may hold other records: a mixture, its components, their parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def is_nested(value: Any) -> bool:
    """Whether this is a record, or a sequence of records, and no array."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return True
    return isinstance(value, (list, tuple)) and bool(value) and all(map(is_nested, value))


def map_arrays(function: Callable[..., Any], record: Any, *others: Any) -> Any:
    """A record with `function(array)` in place of each array; of several, `function(a, b)`."""
    if not is_nested(record):
        return function(record, *others)
    items = (map_arrays(function, *parts) for parts in zip(record, *others, strict=True))
    return type(record)(*items) if hasattr(record, "_fields") else tuple(items)


def named_arrays(record: Any, prefix: str = "") -> dict[str, Any]:
    """The arrays of a record by the names under which a user finds them, as parts[0].means."""
    named: dict[str, Any] = {}
    if hasattr(record, "_fields"):
        items = [(f"{prefix}.{f}" if prefix else f, getattr(record, f)) for f in record._fields]
    else:
        items = [(f"{prefix}[{i}]", item) for i, item in enumerate(record)]
    for name, value in items:
        named |= named_arrays(value, name) if is_nested(value) else {name: value}
    return named


def leaves_of(record: Any) -> list[Any]:
    """The arrays of a record, in order."""
    return list(named_arrays(record).values())
