"""Units of features in which squares stay within reach, for any library, compiled or not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from estep_xp.arrays.namespace import is_concrete, to_host
from estep_xp.em.arguments import class_of
from estep_xp.families import contract

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace
    from estep_xp.arrays.namespace import Space


def units_of(xp: Namespace, x: Array, weight: Array | None) -> Array | None:
    """Power of two (d,) near the largest number of each feature; None where no unit is needed."""
    if weight is not None:
        x = xp.where((weight > 0)[:, None], x, 0.0)
    high, low = xp.max(x, axis=0), xp.min(x, axis=0)
    largest = xp.where(high > -low, high, -low)
    if is_concrete(largest):
        host, room = to_host(largest), float(xp.finfo(x.dtype).max) ** 0.25
        if ((host == 0) | ((host < room) & (host > 1.0 / room))).all():
            return None
    return _nearest_power_of_two(xp, largest)


def _nearest_power_of_two(xp: Namespace, sizes: Array) -> Array:
    """Powers of two within a factor of two of positive sizes, exactly; 1 for any others.

    By products alone: a compiled exp2 or power may be off by its rounding.
    """
    limits = xp.finfo(sizes.dtype)
    # A quarter of the largest number has a reciprocal that is not flushed to zero.
    most, least = 0.25 * float(limits.max), float(limits.smallest_normal)
    powers = xp.ones_like(sizes)
    step = math.frexp(most)[1] // 2 + 1
    steps = [2.0 ** (1 << i) for i in range(step.bit_length())][::-1]
    for factor in steps:
        larger, smaller = powers * factor, powers / factor
        powers = xp.where((larger <= sizes) & (larger <= most), larger, powers)
        powers = xp.where((smaller >= sizes) & (smaller >= least), smaller, powers)
    good: Array = xp.where(sizes > 0, powers, 1.0)
    return good


def has_good_units(space: Space, family: Any, deviations: Array) -> Array:
    """Whether variances of components around centres are within reach of the dtype, ()."""
    xp, good = space.xp, space.xp.asarray(True, device=space.device)
    parts = () if isinstance(family, type) else contract.family_of(family)._start_parts()
    for part, columns in parts:
        good = good & has_good_units(space, part, deviations[columns.start : columns.stop])
    if parts or not contract.has_centres(class_of(family)):
        return good
    limits = xp.finfo(deviations.dtype)
    most, least = float(limits.max) ** 0.5, float(limits.smallest_normal) ** 0.5
    deviations = spread_jointly(xp, family, deviations)
    return good & xp.all((deviations <= most) & (deviations >= least))


def spread_jointly(xp: Namespace, family: Any, deviations: Any) -> Any:
    """The deviations (d,), the largest for all where components have one variance."""
    own = class_of(family)
    if not contract.has_centres(own) or own._has_own_units:
        return deviations
    return xp.broadcast_to(xp.max(deviations), deviations.shape)
