"""Arguments that name a family and give rows for it, without a mixture: checks."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np

from estep_xp.arrays.array_types import Array
from estep_xp.arrays.namespace import Space, is_concrete, to_host
from estep_xp.arrays.nested import map_arrays
from estep_xp.arrays.suspects import suspects
from estep_xp.arrays.text import shown
from estep_xp.arrays.validation import (
    check_non_negative,
    check_shape,
    shape_text,
)
from estep_xp.families import contract
from estep_xp.families.hints import described, hint_for_family


def check_family(family: Any) -> None:
    """Raise unless this is the class of a family, or components."""
    if not hasattr(family, "log_prob"):
        plain = family is None or isinstance(family, (type, str))
        given = shown(family) if plain else described(family)
        raise TypeError(
            f"family is {given}; expected the class of a family, such as FullGaussian itself"
            f"{hint_for_family(family)}"
        )
    if isinstance(family, type) and getattr(family, "_needs_template", False):
        raise TypeError(
            f"family is the class {family.__name__}, which does not say what shapes its fields "
            f"have; give components {family.__name__}(...) of the wished shapes as family"
        )


def give_arrays(space: Space, family: Any) -> Any:
    """A template of the package's own families with arrays of a space for its lists."""
    if not isinstance(family, contract.Family):
        return family
    named = family._parameters()
    if all(hasattr(field, "shape") for field in named.values()):
        return family
    given = iter([space.parameter(name, value) for name, value in named.items()])
    return map_arrays(lambda _: next(given), family)


def class_of(family: Any) -> Any:
    """The class of a family, which may be given as components."""
    return family if isinstance(family, type) else type(family)


def check_template(family: Any, k: int, *, for_start: bool = False) -> None:
    """Raise unless components of the wished shapes are as many as are wished."""
    if isinstance(family, type):
        return
    if for_start and contract.family_of(family)._starts_any_number():
        return
    found = contract.estimable(family)._n_components()
    if found is not None and found != k:
        raise ValueError(
            f"family describes {found} components but n_components is {k}; expected components of "
            "the wished shapes, or their class"
        )


def check_rows(x: Array, family: Any) -> None:
    """Raise unless `x` has as many axes as rows of the family, and features."""
    if not isinstance(family, type):
        contract.check_rows_shape("x", family, x)
    else:
        n_axes = contract.n_axes_of_rows(family)
        if n_axes is not None:
            hint = contract.hint_for_rows("x", tuple(x.shape), n_axes)
            check_shape("x", x, ("n", "d")[:n_axes], f" for {family.__name__} components{hint}")
        elif x.ndim not in (1, 2):
            shape = shape_text(tuple(x.shape))
            raise ValueError(f"x has shape {shape}; expected (n,) or (n, d)")
    if x.shape[-1] == 0 and x.ndim > 1:
        raise ValueError(f"x has shape {shape_text(tuple(x.shape))}; expected at least one feature")


def check_sample_weight(space: Space, sample_weight: Any, n: Any) -> Array:
    """Weights (n,) of rows as an array of `space`: non-negative and finite, and not all zero."""
    weight = space.parameter("sample_weight", sample_weight)
    check_shape("sample_weight", weight, (n,), ": one weight a row of x")
    weight = check_non_negative(space, "sample_weight", weight)
    if is_concrete(weight) and not to_host(weight).any():
        raise ValueError("sample_weight sums to 0; at least one weight must be positive")
    return weight


def raise_for_bad_rows(
    space: Space,
    family: Any,
    columns: tuple[Any, ...],
    x: Array,
    weight: Array | None = None,
) -> None:
    """Raise for the first row that no family takes, unless its weight is 0; or for all of them."""
    xp = space.xp
    known = contract.with_support(family)
    good = xp.isfinite(x) & known._supports(x)
    good = good if len(x.shape) == 1 else xp.all(good, axis=1)
    if weight is not None:
        good = good | (weight == 0)
    found = suspects(space, x, xp.where(good, xp.astype(good, space.dtype), math.nan))
    if found is not None:
        found.check("x", np.isfinite(found.rows), "must be finite", columns)
        found.check("x", to_host(known._supports(found.rows)), known._support, columns)
    raise_too_wide(space)


def raise_too_wide(space: Space) -> NoReturn:
    """Raise for rows of which a variance overflows."""
    raise ValueError(
        f"x varies too much: the variance of a feature is too large for {space.dtype}; give x in "
        "larger units"
    )
