"""Statistics made ready to be merged: weighted down, or centred on another mixture."""

from __future__ import annotations

import math
from typing import Any

from estep_xp import execution
from estep_xp.arrays.array_types import Array, ComponentsT, Namespace
from estep_xp.arrays.namespace import Space, is_tracer, namespace_of, space_of
from estep_xp.arrays.quiet import quiet
from estep_xp.arrays.validation import check_number, check_shape
from estep_xp.chain.hmm import HMM
from estep_xp.em.merge import combine_sums
from estep_xp.em.statistics import (
    Statistics,
    StatisticsT,
    arrays_of,
    check_statistics,
)
from estep_xp.families import contract
from estep_xp.mixture.mixture import Mixture, check_mixture
from estep_xp.mixture.parameters import check_parameters


@quiet
def scale(statistics: StatisticsT, factor: float) -> StatisticsT:
    """Every sum times a factor: to forget old rows, or to weigh a batch.

    Parameters
    ----------
    statistics : Statistics
        Of any family.
    factor : float
        Not negative.

    Returns
    -------
    Statistics
        As if every row had a sample weight that many times as large.

    Raises
    ------
    ValueError, TypeError
        If the factor is negative or not finite, or these are no statistics.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> statistics = ex.expected_statistics([1.0, 2.5, 7.0], mixture)
    >>> float(ex.scale(statistics, 0.5).n_rows)
    1.5
    """
    check_statistics("statistics", statistics)
    number: Any = check_number("factor", factor)
    if is_tracer(number):
        xp = namespace_of(number)
        number = xp.where((number >= 0) & (number < math.inf), number, math.nan)

    def scaled(array: Array) -> Array:
        return array * number

    return combine_sums(scaled, statistics)


def recenter(
    statistics: Statistics[ComponentsT], mixture: Mixture[ComponentsT]
) -> Statistics[ComponentsT]:
    """The same sums about the means of another mixture, so that they merge with its statistics.

    Parameters
    ----------
    statistics : Statistics
        Of Gaussian components, or of a family whose sums are those of rows themselves.
    mixture : Mixture
        Of the same family and shapes.

    Returns
    -------
    Statistics
        Whose mixture is this one, weights included. Responsibilities and log-likelihood stay those
        of the mixture that the statistics were taken under.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong type, shape or value.

    Notes
    -----
    With δ = μ − m: Σ r (x − m) = Σ r (x − μ) + N δ, and Σ r (x − m)(x − m)ᵀ =
    Σ r (x − μ)(x − μ)ᵀ + Σ r (x − μ) δᵀ + δ Σ r (x − μ)ᵀ + N δ δᵀ. Stepwise EM (Cappé and Moulines
    2009) is made of this, `scale` and `merge`.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> before = ex.expected_statistics([1.0, 2.5, 7.0], mixture)
    >>> mixture = ex.m_step(before)
    >>> both = ex.merge(ex.recenter(before, mixture), ex.expected_statistics([5.0], mixture))
    >>> float(both.n_rows)
    4.0
    """
    check_statistics("statistics", statistics)
    old: Any = statistics.mixture
    new: Any = mixture
    if isinstance(old, HMM):
        raise TypeError(
            "statistics are of an HMM, which recenter does not take; take them anew under the "
            "other model"
        )
    check_mixture(mixture)
    if type(old.components) is not type(new.components):
        raise TypeError(
            f"statistics are of {type(old.components).__name__} but mixture of "
            f"{type(new.components).__name__} components; expected one family"
        )
    if not contract.family_of(old.components)._is_recenterable:
        raise TypeError(
            f"statistics are of {type(old.components).__name__} components; what their rows add up "
            "to under other components is not known"
        )
    named = {"weights": new.weights, **contract.arrays_of(new.components)}
    space = space_of(named | arrays_of("statistics", statistics))
    new = check_parameters(space, new)
    _check_shapes(old, new)
    moments = execution.driver_for(space).call_lazily(
        _run_recenter,
        space,
        (old.components, statistics.counts, statistics.moments, new.components),
        statistics.moments,
    )
    return statistics._replace(mixture=new, moments=moments)


def _check_shapes(old: Mixture, new: Mixture) -> None:
    """Raise unless the parameters of two mixtures have the same shapes."""
    before, after = (
        {"weights": one.weights, **contract.arrays_of(one.components)} for one in (old, new)
    )
    for name, array in after.items():
        expected = tuple(before[name].shape)
        check_shape(name, array, expected, ", as in the statistics' own mixture")


def _run_recenter(space: Space, components: Any, counts: Array, moments: Any, new: Any) -> Any:
    return execution.driver_for(space).compute(
        _recenter_formula, space, components, counts, moments, new
    )


def _recenter_formula(xp: Namespace, components: Any, counts: Array, moments: Any, new: Any) -> Any:
    return contract.family_of(components)._recentered(xp, counts, moments, new)
