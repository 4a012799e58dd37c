"""The way from the components of a mixture to the family that answers for them.

`family_of` knows three kinds: the package's own families answer themselves, a user's class answers
through `OpenFamily`, and the log-densities that `posterior` is given through `GivenFamily`.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp import execution
from estep_xp.arrays.block import expand_components, expand_rows
from estep_xp.arrays.namespace import library_of
from estep_xp.arrays.validation import check_shape, check_whole
from estep_xp.families.family import Evaluated, Family
from estep_xp.families.open_family import OpenFamily

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Components
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.namespace import Space
    from estep_xp.execution import Options

__all__ = ["Evaluated", "Family", "Given", "GivenFamily", "family_of"]


class Given(NamedTuple):
    """The components of `posterior`: its rows are log-densities already."""

    def log_prob(self, x: Array) -> Array:
        """Return the rows."""
        return x


class GivenFamily(OpenFamily):
    """Log-densities (n, k) in the place of observations."""

    __slots__ = ()

    _is_builtin = True

    def _evaluate(self, ops: BlockOps, prepared: Array | None, x: Array) -> Evaluated:
        joint = x if prepared is None else x + expand_components(prepared, ops.axis)
        return Evaluated(x, joint)


def family_of(components: Any, k: int | None = None) -> Family:
    """Return what answers for components, of which there are k where they do not say."""
    of: Any = type(components)
    if _is_family(of):
        family: Family = components
        return family
    kind = GivenFamily if isinstance(components, Given) else OpenFamily
    return kind(components, k)


@functools.lru_cache(maxsize=128)  # an abstract class's own answer takes five times as long
def _is_family(kind: type[Any]) -> bool:
    return issubclass(kind, Family)


def check_options(family: Family, block_size: int | None, workers: int | None) -> Options:
    """How rows are driven through a family; a user's gets one thread, unless more are asked for."""
    options = execution.check_options(block_size, workers)
    if options.workers is None and not family._is_builtin:
        options = options._replace(workers=1)  # code by others may not expect several threads
    return options


def estimable(components: Any) -> Family:
    """Return the family of components that have an M-step; TypeError for any other."""
    family = family_of(components)
    if missing := family._missing_method():
        name = type(components).__name__
        raise TypeError(
            f"components are a {name}, which has a density but no M-step: {name} {missing}; "
            "expected one of the package's families, such as FullGaussian, or a NamedTuple of "
            "arrays with methods statistics(x, responsibilities) and maximize(counts, statistics)"
        )
    return family


def sampleable(components: Any) -> Family:
    """Return the family of components that rows can be drawn from; TypeError for any other."""
    family = family_of(components)
    if missing := family._cannot_sample():
        raise TypeError(f"components are a {type(components).__name__}, which {missing}")
    return family


def with_marginals(components: Any) -> Family:
    """Return the family of components whose features can be taken apart; else TypeError."""
    family = family_of(components)
    shape = family._rows_shape()
    if not family._has_marginals or shape is None or len(shape) != 2:
        raise TypeError(
            f"components are a {type(components).__name__}, whose rows have no features to choose "
            "from; expected a family of several features, such as FullGaussian"
        )
    return family


def arrays_of(components: Components) -> dict[str, Any]:
    """The named arrays of a family that is a NamedTuple; other objects keep theirs private."""
    if _is_family(type(components)):
        return family_of(components)._parameters()
    fields: tuple[str, ...] = getattr(components, "_fields", ())
    values = {name: getattr(components, name) for name in fields}
    return {f"components.{name}": v for name, v in values.items() if library_of(v)}


def n_columns_of(part: Any, name: str) -> int:
    """How many columns a part of a product takes; 0 for a single one, given as rows (n,)."""
    shape = family_of(part)._rows_shape()
    if shape is not None:
        return 0 if len(shape) == 1 else int(shape[1])
    univariate = all(len(getattr(a, "shape", ())) < 2 for a in arrays_of(part).values())
    if callable(getattr(part, "features", None)):
        found = check_whole(f"{type(part).__name__}.features()", part.features(), 1)
        return 0 if univariate and found == 1 else found
    if univariate:
        return 0
    raise TypeError(
        f"{name} is a {type(part).__name__}, which has no method features() that says how many "
        "columns of x it takes"
    )


def with_support(family: Any) -> Any:
    """Return what knows the support of a family, class or components; a user's is not known."""
    if isinstance(family, type):
        return family if issubclass(family, Family) else Family
    return family_of(family)._static_support()


def check_components(space: Space, components: Components, k: int) -> Components:
    """Components with everything checked that can be, and as many as there are weights."""
    checked = family_of(components)._checked(space)
    found = family_of(checked)._n_components()
    if found is not None and found != k:
        field = getattr(checked, "_fields", ("components",))[0]
        raise ValueError(
            f"weights has shape ({k},) but {field} describe {found} components; expected one "
            "weight for each component"
        )
    return checked


def check_rows_shape(name: str, components: Components, x: Array) -> None:
    """Raise unless `x` has the shape of observations that `components` describe."""
    expected = family_of(components)._rows_shape()
    if expected is None:
        if len(x.shape) == 0:
            raise ValueError(f"{name} has shape (); expected (n, ...), one row an observation")
        return
    if len(expected) == len(x.shape) == 1:
        return
    hint = hint_for_rows(name, tuple(x.shape), len(expected), expected[-1])
    check_shape(name, x, expected, f" for {type(components).__name__} components{hint}")


def starts_from_centres(family: Any) -> bool:
    """Whether a family, its class or components, is built around centres."""
    return bool(getattr(family, "_starts_from_centres", False))


def has_centres(components: Any) -> bool:
    """Whether components have means that can be moved to those of their rows."""
    return callable(getattr(components, "_move", None))


def n_axes_of_rows(family: type) -> int | None:
    """Number of axes of the observations of a family's class; None where it may be 1 or 2."""
    return getattr(family, "_n_axes", None)


def hint_for_rows(name: str, shape: tuple[Any, ...], n_axes: int, d: Any = None) -> str:
    """What to give for rows that are to have so many axes, and d features if that is known."""
    if n_axes == 1 and len(shape) == 2 and shape[1] == 1:
        return f"; give {name}[:, 0]"
    if n_axes == 2 and len(shape) == 1:
        rows, row = f"{name}[:, None] for n rows of one feature", f"{name}[None, :] for one row"
        hints = [rows] if d in (None, 1) else []
        hints += [row] if d is None or d == shape[0] else []
        return f"; give {', '.join(hints)}" if hints else ""
    return ""


def nan_where_infinite(ops: BlockOps, x: Array) -> Array:
    """Zeros (rows,), but NaN for rows that are not finite, where no one can check the results.

    An infinite observation is infinitely far from every mean, which looks like any other outlier.
    """
    nothing = 0.0 * x
    if x.ndim > 1:
        others = tuple(range(x.ndim - 1)) if ops.axis == 0 else tuple(range(1, x.ndim))
        nothing = ops.xp.sum(nothing, axis=others)
    # It has no derivative, or one that is NaN further on would come back to x.
    return ops.xp.where(nothing == 0, ops.xp.zeros_like(nothing), math.nan)


def mark_nonfinite_rows(ops: BlockOps, x: Array, values: Array) -> Array:
    """Values of a block (components by rows), but NaN for rows that are not finite."""
    return values + expand_rows(nan_where_infinite(ops, x), ops.axis)
