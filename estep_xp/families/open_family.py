"""A user's family: a class of the open protocol, seen as a `Family`.

``log_prob(x) -> (n, k)`` is enough for the E-step and its gradients. With two more methods the
class is estimated like the package's own:

``statistics(x, responsibilities)``
    Return a NamedTuple of sums over rows, each with a leading axis k, linear in the
    responsibilities (n, k).
``maximize(counts, statistics)``
    Return the components that make these most likely; counts (k,) are sums of responsibilities.

Optional are ``start(x, responsibilities)``, a class method that returns components to begin with,
``n_parameters()``, and ``sample(random, labels)``, which draws one row for each label (n,) by a
NumPy generator, or a JAX key.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from estep_xp.arrays.block import expand_like
from estep_xp.arrays.validation import shape_text
from estep_xp.families.family import Evaluated
from estep_xp.families.row_family import RowFamily

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Components, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.namespace import Space
    from estep_xp.arrays.random import Random


# The record of sums that a class of components gives. Drivers add up plain arrays, and a compiled
# program does not call the class again.
_RECORDS: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()


class OpenFamily(RowFamily):
    """Components of a user's class."""

    __slots__ = ("components", "k")

    _is_builtin = False
    _has_full_support = False

    def __init__(self, components: Any, k: int | None = None) -> None:
        self.components = components
        self.k = k

    def _checked(self, space: Space) -> Components:
        del space
        return self.components

    def _n_components(self) -> int | None:
        return self.k

    def _rows_shape(self) -> None:
        return None

    def _n_parameters(self) -> int:
        own = getattr(self.components, "n_parameters", None)
        if own is not None:
            return int(own())
        return super()._n_parameters()

    def _parameters(self) -> dict[str, Array]:
        fields: tuple[str, ...] = getattr(self.components, "_fields", ())
        return {name: getattr(self.components, name) for name in fields}

    def _evaluate(self, ops: BlockOps, prepared: Array | None, x: Array) -> Evaluated:
        if prepared is not None:
            self.k = int(prepared.shape[0])
        return super()._evaluate(ops, prepared, x)

    def _log_prob_of_rows(self, xp: Namespace, x: Array) -> Array:
        log_prob = self.components.log_prob(x)
        expected = (x.shape[0], self.k)
        actual = getattr(log_prob, "shape", None)
        if actual is None or tuple(actual) != expected:
            got = _name(log_prob) if actual is None else f"shape {shape_text(tuple(actual))}"
            raise ValueError(
                f"components.log_prob(x) gives {got}; expected shape {shape_text(expected)}: one "
                "row an observation, one column a weight"
            )
        return xp.astype(log_prob, x.dtype, copy=False)

    def _cannot_sample(self) -> str | None:
        if callable(getattr(self.components, "sample", None)):
            return None
        return "has no method sample(random, labels) that draws one row for each label"

    def _sample(self, xp: Namespace, random: Random, labels: Array) -> Array:
        del xp
        rows: Array = self.components.sample(random.source(), labels)
        if getattr(rows, "shape", ())[:1] != labels.shape:
            raise ValueError(
                f"{_name(self.components)}.sample(random, labels) gives shape "
                f"{shape_text(tuple(getattr(rows, 'shape', ())))}; expected one row for each label"
            )
        return rows

    def _missing_method(self) -> str | None:
        for method in ("statistics", "maximize"):
            if not callable(getattr(self.components, method, None)):
                return f"has no method {method}"
        return None if hasattr(self.components, "_fields") else "is no NamedTuple"

    def _statistics_of_rows(self, xp: Namespace, x: Array, responsibilities: Array) -> Any:
        sums = self.components.statistics(x, responsibilities)
        if not (isinstance(sums, tuple) and hasattr(sums, "_fields")):
            raise TypeError(
                f"{_name(self.components)}.statistics(x, responsibilities) gives a {_name(sums)}; "
                "expected a NamedTuple of sums over rows, each with a leading axis of components"
            )
        k = responsibilities.shape[1]
        for name, array in zip(sums._fields, sums, strict=True):
            shape = getattr(array, "shape", None)
            if not shape or shape[0] != k:
                got = _name(array) if shape is None else f"shape {shape_text(tuple(shape))}"
                raise ValueError(
                    f"{_name(self.components)}.statistics(x, responsibilities).{name} is of {got}; "
                    f"expected a leading axis of {k}, one entry a component"
                )
        _RECORDS[type(self.components)] = type(sums)
        return type(sums)(*(xp.astype(array, x.dtype, copy=False) for array in sums))

    def _moments(self, *sums: Array) -> Any:
        return _RECORDS[type(self.components)](*sums)

    def _n_sums(self) -> int:
        return len(_RECORDS[type(self.components)]._fields)

    def _check_moments(self, name: str, moments: Any) -> None:
        if not (isinstance(moments, tuple) and hasattr(moments, "_fields")):
            raise TypeError(f"{name} is a {_name(moments)}; expected a NamedTuple of sums")
        for field, array in zip(moments._fields, moments, strict=True):
            shape = getattr(array, "shape", None)
            if shape is None or (self.k is not None and tuple(shape[:1]) != (self.k,)):
                got = _name(array) if shape is None else f"shape {shape_text(tuple(shape))}"
                raise ValueError(
                    f"{name}.{field} is of {got}; expected a leading axis of {self.k}, one entry a "
                    "component"
                )

    def _maximize(
        self, xp: Namespace, counts: Array, empty: Array, moments: Any, floor: Any
    ) -> Components:
        del floor
        # A living component's statistics stand in for those of an empty one, which may be any
        # numbers; their result is discarded.
        living = xp.reshape(xp.argmax(xp.where(empty, -1.0, counts)), (1,))

        def replaced(array: Array) -> Array:
            return xp.where(expand_like(empty, array), xp.take(array, living, axis=0), array)

        sums = type(moments)(*map(replaced, moments))
        new = self.components.maximize(replaced(counts), sums)
        if type(new) is not type(self.components):
            raise TypeError(
                f"{_name(self.components)}.maximize(counts, statistics) gives a {_name(new)}; "
                f"expected a {_name(self.components)}"
            )
        for field, old, one in zip(new._fields, self.components, new, strict=True):
            _check_like(f"{_name(new)}.maximize(counts, statistics).{field}", one, old)
        pairs = zip(self.components, new, strict=True)
        kept: Components = type(new)(*(_keep_empty(xp, empty, old, one) for old, one in pairs))
        return kept


def _check_like(name: str, new: Any, old: Any) -> None:
    """Raise unless a parameter of an M-step has the shape of the old one."""
    shape, expected = (getattr(value, "shape", ()) for value in (new, old))
    if hasattr(old, "shape") and tuple(shape) != tuple(expected):
        got, wanted = shape_text(tuple(shape)), shape_text(tuple(expected))
        raise ValueError(f"{name} is of shape {got}; expected shape {wanted}, as before")


def _keep_empty(xp: Namespace, empty: Array, old: Any, new: Any) -> Any:
    """Parameters of an M-step, but the old ones of components that have lost their rows."""
    shape = getattr(new, "shape", ())
    if not shape or shape[0] != empty.shape[0]:  # of all components together
        return new
    return xp.where(expand_like(empty, new), old, new)


def _name(value: Any) -> str:
    return type(value).__name__
