"""Mixtures from rows that have been shared out to components, whatever the family and library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from estep_xp import execution
from estep_xp.arrays.quiet import quietly
from estep_xp.em.known import Known, move_components
from estep_xp.em.m_step import m_step_formula
from estep_xp.families import contract
from estep_xp.families.hints import described
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace
    from estep_xp.arrays.namespace import Space


def mixture_from_shares(
    space: Space, family: Any, x: Array, shares: Array, options: execution.Options
) -> Mixture:
    """The mixture that EM may start from, all rows (n, ...) being valid.

    Of a class of the package, components a bit nearer to each other than their rows say.
    """
    xp, driver = space.xp, execution.driver_for(space)
    counts = xp.sum(shares, axis=0)
    weights = counts / xp.sum(counts)
    if not isinstance(family, type):  # components of the wished shapes
        own_family = contract.family_of(family)
        if parts := own_family._start_parts():
            started = (
                mixture_from_shares(space, part, columns.take_first(x), shares, options)
                for part, columns in parts
            )
            return Mixture(weights, type(family)(tuple(one.components for one in started)))
        if own_family._needs_template:
            return Mixture(weights, driver.compute(_start_like, space, family, x, shares))
        known = Known(space, (x, shares), contract.with_support(family), options)
        sums = known.take_statistics(family)
        mixture: Mixture = driver.compute(
            m_step_formula, space, family, sums.counts, sums.moments, None
        )
        return mixture
    if not issubclass(family, contract.Family):
        return Mixture(weights, components_from_start(family, x, shares))
    if not contract.starts_from_centres(family):
        return Mixture(weights, driver.compute(_FromShares(family), space, x, shares))
    known = Known(space, (x, shares), family, options)
    sums = known.take_statistics(known.pool_components(family))
    sums = known.take_statistics(move_components(space, sums))
    components: Any = sums.mixture.components
    arguments = (components, sums.counts, sums.moments)
    own: Any = family
    extra = own._extra_rows(x.shape[1] if x.ndim == 2 else 1)
    return Mixture(weights, driver.compute(_DrawnTogether(extra), space, *arguments))


def components_from_start(family: Any, x: Array, shares: Array) -> Any:
    """What a user's class begins with."""
    name = family.__name__
    if not hasattr(family, "start"):
        raise TypeError(
            f"family is the class {name}, which has no method start; give {name}(...) of the "
            f"wished shapes as family, or {name} a class method start(x, responsibilities)"
        )
    components = quietly(family.start, x, shares)
    if not hasattr(components, "log_prob"):
        raise TypeError(
            f"{name}.start(x, responsibilities) gives {described(components)}; expected a {name}"
        )
    return components


def replace_masked_rows(space: Space, x: Array, weight: Array | None) -> Array:
    """Rows (n, ...), the first that counts in the place of those of weight 0."""
    if weight is None:
        return x
    xp = space.xp
    counts = weight > 0
    first = xp.take(x, xp.reshape(xp.argmax(xp.astype(counts, xp.int32)), (1,)), axis=0)
    return xp.where(counts if x.ndim == 1 else counts[:, None], x, first)


@dataclass(frozen=True)
class _FromShares:
    """What is compiled: from rows and their shares to components of a family of the package."""

    family: Any

    def __call__(self, xp: Namespace, x: Array, shares: Array) -> Any:
        return self.family._from_shares(xp, x, shares)


def _start_like(xp: Namespace, template: Any, x: Array, shares: Array) -> Any:
    return template._start_like(xp, x, shares)


@dataclass(frozen=True)
class _DrawnTogether:
    """What is compiled: an M-step with a few more rows in each component, that vary as all do."""

    extra: float

    def __call__(self, xp: Namespace, components: Any, counts: Array, moments: Any) -> Any:
        counts, moments = components._draw_together(xp, counts, moments, self.extra)
        return m_step_formula(xp, components, counts, moments, None).components
