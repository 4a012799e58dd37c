"""A mixture of some of its features: alone, or given the values of the others."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp import execution
from estep_xp.arrays.array_types import Array, ComponentsT, Namespace
from estep_xp.arrays.namespace import Space, is_concrete, is_tracer, space_of, to_host
from estep_xp.arrays.nested import map_arrays
from estep_xp.arrays.text import shown
from estep_xp.arrays.validation import check_finite, check_shape, raise_bad_value
from estep_xp.families import contract
from estep_xp.mixture.call import prepare_call, prepare_mixture, run_kernel
from estep_xp.mixture.kernels import Posterior
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import LikeF


def marginal(mixture: Mixture[ComponentsT], features: Any) -> Mixture[ComponentsT]:
    """The mixture of some features alone.

    Parameters
    ----------
    mixture : Mixture
        Of rows with several features.
    features : sequence of int
        Distinct features, 0 to d - 1, in the order wished.

    Returns
    -------
    Mixture
        Of the same family and weights, for rows of these features; one feature stays a column.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value, or the family has no such features.

    Notes
    -----
    A Gaussian's marginal is one with the means and covariances of these features (Bishop 2006,
    section 2.3.2).

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.DiagonalGaussian([[0.0, 1.0], [4.0, 5.0]], [[1.0, 2.0], [3.0, 4.0]])
    >>> ex.marginal(ex.Mixture([0.5, 0.5], components), [1]).components.means
    array([[1.],
           [5.]])
    """
    space, (weights, components) = prepare_mixture(mixture)
    contract.with_marginals(components)
    chosen = _checked_features(features, _n_features(components))
    new = execution.driver_for(space).compute(_Marginal(chosen), space, components)
    return Mixture(weights, new)


def condition(mixture: Mixture[ComponentsT], features: Any, values: LikeF) -> Mixture[ComponentsT]:
    """The mixture of the other features, the values of some being known.

    Its mean is the regression of the others on these features (mixture regression).

    Parameters
    ----------
    mixture : Mixture
        Of rows with several features.
    features : sequence of int
        Distinct features, 0 to d - 1, that are known; not all.
    values : array, shape (f,)
        Their values, in this order.

    Returns
    -------
    Mixture
        Of the same family, for rows of the other features in ascending order. The weights are the
        responsibilities that the known values give.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value, the family has no such features, or the
        values have zero density under every component.

    Notes
    -----
    Given x_g, the others of a Gaussian component are Gaussian with mean
    μ_o + C_og C_gg⁻¹ (x_g − μ_g) and covariance C_oo − C_og C_gg⁻¹ C_go (Bishop 2006, section
    2.3.1), here computed from the precision Cholesky factor without that difference.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.FullGaussian.from_covariances([[0.0, 0.0]], [[[1.0, 0.8], [0.8, 1.0]]])
    >>> given = ex.condition(ex.Mixture([1.0], components), [0], [2.0])
    >>> given.components.means.round(4), given.components.covariances.round(4)
    (array([[1.6]]), array([[[0.36]]]))
    """
    _, (_, components) = prepare_mixture(mixture)
    contract.with_marginals(components)
    named = {"weights": mixture.weights, **contract.arrays_of(mixture.components)}
    space = space_of(named | {"values": values})
    d = _n_features(components)
    known = _checked_features(features, d)
    if len(known) == d:
        raise ValueError(f"features has all {d} features of x; at least one must be unknown")
    others = tuple(j for j in range(d) if j not in known)
    values = space.parameter("values", values)
    check_shape("values", values, (len(known),), ": one for each feature")
    values = check_finite(space, "values", values)
    alone = marginal(mixture, known)
    if not contract.family_of(components)._has_full_support:
        values = _check_support(space, contract.with_support(alone.components), values)
    call = prepare_call(values[None, :], alone)
    kernel = Posterior(call.k, call.zeros, call.space.lazy)
    weights = run_kernel(call, kernel, None, None)[0][0, :]
    if is_concrete(weights) and np.isnan(to_host(weights)).any():
        raise ValueError("values have zero density under every component; nothing follows from it")
    components = map_arrays(lambda array: space.parameter("components", array), components)
    new = execution.driver_for(space).compute(
        _Conditional(known, others), space, components, values
    )
    return Mixture(weights, new)


def _check_support(space: Space, support: Any, values: Array) -> Array:
    """Values, all of them inside the support; NaN for others where they are lazy."""
    if not is_concrete(values):
        return space.xp.where(support._supports(values[None, :])[0, :], values, math.nan)
    host = to_host(values)
    bad = np.flatnonzero(~support._supports(host[None, :])[0])
    if len(bad):
        raise_bad_value("values", (int(bad[0]),), host[bad[0]], f"values {support._support}")
    return values


@dataclass(frozen=True)
class _Marginal:
    """What is compiled: from components to those of some features."""

    features: tuple[int, ...]

    def __call__(self, xp: Namespace, components: Any) -> Any:
        return contract.family_of(components)._marginal(xp, self.features)


@dataclass(frozen=True)
class _Conditional:
    """What is compiled: from components and values to components of the other features."""

    known: tuple[int, ...]
    others: tuple[int, ...]

    def __call__(self, xp: Namespace, components: Any, values: Array) -> Any:
        family = contract.family_of(components)
        return family._conditional(xp, self.known, self.others, values)


def _n_features(components: Any) -> int:
    shape = contract.family_of(components)._rows_shape()
    assert shape is not None
    return int(shape[1])


def _checked_features(features: Any, d: int) -> tuple[int, ...]:
    """Distinct integers from 0 to d - 1 as a tuple."""
    if isinstance(features, (str, bytes)) or not hasattr(features, "__iter__"):
        raise TypeError(f"features is {shown(features)}; expected a list of integers, as [0, 2]")
    if is_tracer(features):
        raise TypeError(
            "features must be known when a program is compiled: give a list of integers"
        )
    chosen: list[int] = []
    for i, feature in enumerate(features):
        try:
            if isinstance(feature, (bool, np.bool_)):
                raise TypeError
            j = operator.index(feature)
        except TypeError:
            raise TypeError(
                f"features[{i}] is {shown(feature)}; features must be integers from 0 to {d - 1}"
            ) from None
        if not 0 <= j < d:
            raise ValueError(f"features[{i}] is {j}; features must be from 0 to {d - 1}")
        if j in chosen:
            raise ValueError(f"features[{i}] is {j} once more; features must be distinct")
        chosen.append(j)
    if not chosen:
        raise ValueError("features is empty; choose at least one feature")
    return tuple(chosen)
