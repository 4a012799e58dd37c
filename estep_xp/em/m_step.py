"""The M-step: the mixture that expected statistics make most likely."""

from __future__ import annotations

from typing import Any, overload

import numpy as np

from estep_xp import execution
from estep_xp.arrays.array_types import Array, ComponentsT, Namespace
from estep_xp.arrays.namespace import Space, is_concrete, space_of, to_host
from estep_xp.arrays.nested import map_arrays
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.validation import check_not_flushed, check_number, raise_bad_value
from estep_xp.chain.hmm import HMM
from estep_xp.chain.statistics import maximize_probabilities
from estep_xp.em.chain_statistics import ChainStatistics
from estep_xp.em.impossible import mark_impossible, raise_for_impossible
from estep_xp.em.statistics import AnyStatistics, Statistics, arrays_of, check_statistics
from estep_xp.families import contract
from estep_xp.mixture.mixture import Mixture


@overload
def m_step(
    statistics: Statistics[ComponentsT],
    *,
    variance_floor: float | None = None,
    prior_counts: float = 0.0,
) -> Mixture[ComponentsT]: ...
@overload
def m_step(
    statistics: ChainStatistics[ComponentsT],
    *,
    variance_floor: float | None = None,
    prior_counts: float = 0.0,
) -> HMM[ComponentsT]: ...
def m_step(
    statistics: AnyStatistics,
    *,
    variance_floor: float | None = None,
    prior_counts: float = 0.0,
) -> Mixture[Any] | HMM[Any]:
    """The mixture that the statistics make most likely.

    Parameters
    ----------
    statistics : Statistics or ChainStatistics
        Of at least one row.
    variance_floor : float, optional
        Added to the variances, or to the diagonals of covariance matrices: keeps components from
        collapsing onto single rows. In squared units of x; scikit-learn's ``reg_covar``. The
        default is 1e-6 times the variance of each feature over all (weighted) rows, added to that
        feature's; for spherical components the mean over the features. So it has the units of x.
    prior_counts : float, optional
        Dirichlet prior with parameters one larger. For a mixture of `Bernoulli` or `Categorical`
        components, or a `Product` with such parts: added to the counts of each value, which keeps
        their probabilities off 0 and 1. For an HMM: added to the expected counts of initial states
        and of transitions, where these are possible at all: a probability of 0 stays 0.

    Returns
    -------
    Mixture or HMM
        Of the same family. A component that has lost all rows keeps its parameters and gets the
        weight 0; a state that is never left keeps its row of transitions.

    Raises
    ------
    ValueError, TypeError
        If the statistics are not finite or hold no rows, or a covariance matrix is not positive
        definite.

    Notes
    -----
    Weights N_k / Σ N; means Σ r x / N_k; covariances Σ r (x − m)(x − m)ᵀ / N_k about the new mean m
    (Bishop 2006, eqs. 9.24 to 9.26), plus the floor. The variance over all rows, from which the
    default floor comes, follows from the same sums: that within components plus that of their
    means. The default is at least the variance of the rounding of x, (eps m / 4)² at a mean m, so
    that a feature that is the same number in all rows has a floor, too; one of zeros gets 1e-6.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> new = ex.m_step(ex.expected_statistics([1.0, 2.5, 7.0, 5.0], mixture))
    >>> new.weights.round(4), new.components.means.round(4)
    (array([0.5007, 0.4993]), array([1.7746, 5.9816]))
    """
    check_statistics("statistics", statistics)
    floor = check_floor(variance_floor)
    prior = check_prior_counts(prior_counts, statistics.mixture)
    space = space_of(arrays_of("statistics", statistics))
    if not space.lazy:
        _check_sums(space, statistics)
    mixture: Mixture[Any] | HMM[Any] = execution.driver_for(space).call_lazily(
        _run_and_mark, space, (statistics, floor, prior, space.lazy), statistics.mixture
    )
    return mixture


def _run_and_mark(
    space: Space, statistics: AnyStatistics, floor: Any, prior_counts: Any, unseen: bool
) -> Any:
    """Run the M-step, also of statistics that no one could look at."""
    new = run_m_step(space, statistics, floor, None, prior_counts)
    if not unseen:
        return new
    _, empty = quietly(empty_components, space.xp, statistics.counts)
    return quietly(mark_impossible, space, statistics, empty, new)


def check_floor(variance_floor: Any) -> Any:
    """A floor of variances as a non-negative number, a tracer, or None for the default one."""
    return None if variance_floor is None else check_number("variance_floor", variance_floor)


def check_prior_counts(prior_counts: Any, model: Any) -> Any:
    """Prior counts as a non-negative number, 0 for a mixture without probabilities of values."""
    number = check_number("prior_counts", prior_counts)
    if isinstance(model, HMM):
        if model.transitions.ndim == 3:
            raise ValueError(
                "transitions has shape (n, k, k), one matrix for each row; expected (k, k) where "
                "they are to be estimated"
            )
    elif not (_is_nothing(number) or contract.family_of(model.components)._takes_prior_counts):
        name = type(model.components).__name__
        raise TypeError(
            "prior_counts are for an HMM, and for components of probabilities, such as Bernoulli "
            f"and Categorical, not {name}; leave them out"
        )
    return number


def _is_nothing(prior_counts: Any) -> bool:
    return isinstance(prior_counts, float) and prior_counts == 0.0


def run_m_step(
    space: Space,
    statistics: AnyStatistics,
    floor: Any,
    known_floor: Any = None,
    prior_counts: Any = 0.0,
) -> Any:
    """Run the M-step on statistics that are good; the default floor may be known already."""
    components: Any = statistics.mixture.components
    contract.estimable(components)
    arguments = (components, statistics.counts, statistics.moments, floor)
    used = floor if known_floor is None else known_floor
    formula: Any = m_step_formula
    more: tuple[Any, ...] = () if _is_nothing(prior_counts) else (prior_counts,)
    if isinstance(statistics, ChainStatistics):
        formula = m_step_of_chain
        initial, transitions, _ = statistics.mixture
        more = (initial, transitions, statistics.initial, statistics.transitions, prior_counts)
    try:
        new: Any = execution.driver_for(space).compute(formula, space, *arguments[:-1], used, *more)
    except (ValueError, RuntimeError):  # a library's cholesky raises without saying which matrix
        _raise_if_degenerate(space, arguments)
        raise
    if is_concrete(new[0]) and not _is_usable(new.components):
        _raise_if_degenerate(space, arguments)
    return new


def _is_usable(components: Any) -> bool:
    """Whether concrete components can be used by an E-step."""
    host = components if type(components[0]) is np.ndarray else map_arrays(to_host, components)
    return contract.family_of(host)._is_usable()


def m_step_formula(
    xp: Namespace,
    components: Any,
    counts: Array,
    moments: Any,
    floor: Any,
    prior_counts: Any = None,
) -> Mixture:
    """The mathematics of the M-step, which raises nothing of its own."""
    weights, counts, empty = _weights_and_empty(xp, counts)
    family, arguments = contract.family_of(components), (xp, counts, empty, moments, floor)
    if prior_counts is None:
        return Mixture(weights, family._maximize(*arguments))
    return Mixture(weights, family._maximize_with_prior(*arguments, prior_counts))


def m_step_of_chain(
    xp: Namespace,
    components: Any,
    counts: Array,
    moments: Any,
    floor: Any,
    initial: Array,
    transitions: Array,
    initial_counts: Array,
    transition_counts: Array,
    prior_counts: Any,
) -> HMM[Any]:
    """The mathematics of the M-step of a chain, which raises nothing of its own."""
    return HMM(
        maximize_probabilities(xp, initial, initial_counts, prior_counts),
        maximize_probabilities(xp, transitions, transition_counts, prior_counts),
        m_step_formula(xp, components, counts, moments, floor).components,
    )


def default_floor(xp: Namespace, components: Any, counts: Array, moments: Any) -> Array:
    """The floor of variances for want of another: (d,), or () for one for all features."""
    _, counts, empty = _weights_and_empty(xp, counts)
    return contract.family_of(components)._floor(xp, counts, empty, moments)


def _weights_and_empty(xp: Namespace, counts: Array) -> tuple[Array, Array, Array]:
    """Mixing weights, positive counts, and which components are empty."""
    total = xp.sum(counts)
    # Less than the rounding of a rounding error of all rows: no row is left, or a single one that
    # the component would collapse upon.
    least = float(xp.finfo(counts.dtype).eps) ** 2 * total
    empty = counts <= least
    if isinstance(empty, np.ndarray) and not empty.any():
        return counts / total, counts, empty
    # A count of exactly 0 stays: it has a derivative by its mixing weight, also of 0.
    weights = xp.where(empty & (counts > 0), 0.0, counts) / total
    # What is computed for an empty component is discarded; it must be finite all the same, or its
    # derivatives would poison the others'.
    positive = xp.where(empty, xp.where(total > 0, least, 1.0), counts)
    return weights, positive, empty


def empty_components(xp: Namespace, counts: Array) -> tuple[Array, Array]:
    """Positive counts, and which components have lost their rows."""
    _, positive, empty = _weights_and_empty(xp, counts)
    return positive, empty


def _raise_if_degenerate(space: Space, arguments: tuple[Any, ...]) -> None:
    """Raise for the first parameter of an M-step that can't be used."""
    components, counts, moments, floor = arguments
    if is_concrete(counts):
        _, counts, empty = quietly(_weights_and_empty, space.xp, counts)
        family = contract.family_of(components)
        quietly(family._raise_if_degenerate, space, counts, empty, moments, floor)


def _check_sums(space: Space, statistics: AnyStatistics) -> None:
    """Raise for the first number of concrete statistics that can't be one."""
    for name, array in arrays_of("statistics", statistics).items():
        host = to_host(array)
        bad = np.argwhere(~np.isfinite(host))
        if len(bad):
            index = tuple(bad[0].tolist())
            raise_bad_value(name, index, host[index], f"{name} must be finite")
        check_not_flushed(space, name, array)
    if not float(to_host(statistics.n_rows)) > 0:
        raise ValueError("statistics.n_rows is 0; an M-step needs at least one row")
    _, empty = empty_components(np, to_host(statistics.counts))
    raise_for_impossible(statistics, empty)
