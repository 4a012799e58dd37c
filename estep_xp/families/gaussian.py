"""Gaussian components: univariate, spherical, diagonal, tied and full covariances.

log N(x | μ, C) = Σ_j log P_jj − (d/2) log 2π − ½ ‖(x − μ) P‖², with precision = P Pᵀ (Bishop 2006,
eq. 2.43). The residual x − μ is formed first and squared last: x² − 2xμ + μ² cancels where the data
lie far from the origin, and (x − μ)² / σ² over- or underflows where x − μ and σ are extreme.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from estep_xp import _linalg, execution
from estep_xp._logsumexp import across, along
from estep_xp._namespace import Space, is_concrete, space_of, to_host
from estep_xp._typing import Array, ArrayLike
from estep_xp._validation import (
    check_covariances,
    check_definite,
    check_finite,
    check_not_empty,
    check_positive,
    check_precision_cholesky,
    check_shape,
)
from estep_xp.families._contract import BlockFamily
from estep_xp.families._log_prob import log_prob

if TYPE_CHECKING:
    from estep_xp.execution import Plan

_LOG_2PI = math.log(2.0 * math.pi)


class _MeansVariances(NamedTuple):
    means: Array
    variances: Array


class _MeansFactors(NamedTuple):
    means: Array
    precision_cholesky: Array


class _Standardizer(NamedTuple):
    """What turns rows into log-densities: log_normalizers − ½ ‖(x − means) · factors‖²."""

    means: Array  # (k, d), or (k,) for one feature
    factors: Array  # of each component: a scale (), scales (d,), or a triangular factor (d, d)
    log_normalizers: Array  # (k,)


class _Gaussian(BlockFamily):
    """What the Gaussian families share; each adds its fields and how they standardise."""

    __slots__ = ()

    means: Array

    def log_prob(self, x: ArrayLike) -> Array:
        """Log-density of each row under each component.

        Parameters
        ----------
        x : array, shape (n, d)
            Observations; shape (n,) for `UnivariateGaussian`.

        Returns
        -------
        array, shape (n, k)
            log N(x_i | μ_k, C_k), in nats.

        Raises
        ------
        ValueError, TypeError
            If an argument has a wrong shape, dtype or value.

        Examples
        --------
        >>> import estep_xp as ex
        >>> ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]).log_prob([2.0, 4.0]).round(4)
        array([[-0.9189, -6.455 ],
               [-2.9189, -2.455 ]])
        """
        return log_prob(self, x)

    def _n_components(self) -> int:
        return int(self.means.shape[0])

    def _rows_shape(self) -> tuple[int | str, ...]:
        return ("n", *self.means.shape[1:])

    def _log_prob_block(self, plan: Plan, prepared: _Standardizer, x: Array) -> Array:
        xp, features = plan.xp, plan.axis

        def log_density(mean: Array, factor: Array, log_normalizer: Array) -> Array:
            residuals = x - along(mean, features)
            if factor.ndim == 2:
                standardized = _linalg.transform(xp, residuals, factor, rows_last=features == 0)
            elif factor.ndim == 1:
                standardized = residuals * along(factor, features)
            else:
                standardized = residuals * factor
            squared_norms = xp.sum(standardized * standardized, axis=features)
            return log_normalizer - 0.5 * squared_norms

        return plan.over_components(log_density, tuple(prepared), plan.axis)


class UnivariateGaussian(_Gaussian, _MeansVariances):
    """Gaussian components of scalar observations.

    Parameters
    ----------
    means : array, shape (k,)
        Mean of each component, in the units of x.
    variances : array, shape (k,)
        Variance of each component (not its standard deviation), in squared units of x.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.UnivariateGaussian(means=[2.0, 6.0], variances=[1.0, 1.5])
    >>> components.log_prob([2.0]).round(4)
    array([[-0.9189, -6.455 ]])
    """

    __slots__ = ()

    @property
    def covariances(self) -> Array:
        """Variances of the components, shape (k,)."""
        return _variances_of(self)

    def _checked(self, space: Space) -> Self:
        means = _checked_means(space, self.means, ("k",))
        return self._replace(means=means, variances=_checked_variances(space, self, means.shape))

    def _prepare(self, plan: Plan) -> _Standardizer:
        standardizer = _by_variances(plan, self.means, self.variances, plan.xp.log(self.variances))
        return _Standardizer(*(along(vector, plan.axis) for vector in standardizer))

    def _log_prob_block(self, plan: Plan, prepared: _Standardizer, x: Array) -> Array:
        # With a single feature all components are done at once, by broadcasting.
        residuals = across(x, plan.axis) - prepared.means
        standardized = residuals * prepared.factors
        return prepared.log_normalizers - 0.5 * (standardized * standardized)


class SphericalGaussian(_Gaussian, _MeansVariances):
    """Gaussian components with one variance each, the same for all features.

    Parameters
    ----------
    means : array, shape (k, d)
        Mean of each component.
    variances : array, shape (k,)
        Variance of each component, in squared units of x.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.SphericalGaussian([[0.0, 0.0], [4.0, 0.0]], [1.0, 4.0])
    >>> components.log_prob([[0.0, 0.0]]).round(4)
    array([[-1.8379, -5.2242]])
    """

    __slots__ = ()

    @property
    def covariances(self) -> Array:
        """Variances of the components, shape (k,)."""
        return _variances_of(self)

    def _checked(self, space: Space) -> Self:
        means = _checked_means(space, self.means, ("k", "d"))
        variances = _checked_variances(space, self, means.shape[:1])
        return self._replace(means=means, variances=variances)

    def _prepare(self, plan: Plan) -> _Standardizer:
        log_determinants = self.means.shape[1] * plan.xp.log(self.variances)
        return _by_variances(plan, self.means, self.variances, log_determinants)


class DiagonalGaussian(_Gaussian, _MeansVariances):
    """Gaussian components whose features are independent, each with a variance of its own.

    Parameters
    ----------
    means : array, shape (k, d)
        Mean of each component.
    variances : array, shape (k, d)
        Variance of each component and feature, in squared units of the feature.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.DiagonalGaussian([[0.0, 0.0], [4.0, 0.0]], [[1.0, 1.0], [4.0, 1.0]])
    >>> components.log_prob([[0.0, 0.0]]).round(4)
    array([[-1.8379, -4.531 ]])
    """

    __slots__ = ()

    @property
    def covariances(self) -> Array:
        """Variances of the components, shape (k, d)."""
        return _variances_of(self)

    def _checked(self, space: Space) -> Self:
        means = _checked_means(space, self.means, ("k", "d"))
        return self._replace(means=means, variances=_checked_variances(space, self, means.shape))

    def _prepare(self, plan: Plan) -> _Standardizer:
        log_determinants = plan.xp.sum(plan.xp.log(self.variances), axis=1)
        return _by_variances(plan, self.means, self.variances, log_determinants)


class TiedGaussian(_Gaussian, _MeansFactors):
    """Gaussian components that share one covariance matrix.

    Parameters
    ----------
    means : array, shape (k, d)
        Mean of each component.
    precision_cholesky : array, shape (d, d)
        Upper triangular P with precision = P Pᵀ, so that (x − μ) P is standardised.
        `from_covariance` computes it.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.TiedGaussian.from_covariance(
    ...     means=[[0.0, 0.0], [4.0, 0.0]], covariance=[[4.0, 0.0], [0.0, 1.0]]
    ... )
    >>> components.precision_cholesky
    array([[0.5, 0. ],
           [0. , 1. ]])
    >>> components.log_prob([[0.0, 0.0]]).round(4)
    array([[-2.531, -4.531]])
    """

    __slots__ = ()

    @classmethod
    def from_covariance(cls, means: ArrayLike, covariance: ArrayLike) -> Self:
        """Components from their common covariance matrix, factorised here once.

        Parameters
        ----------
        means : array, shape (k, d)
            Mean of each component.
        covariance : array, shape (d, d)
            Symmetric positive definite.

        Returns
        -------
        TiedGaussian
            The components.

        Raises
        ------
        ValueError, TypeError
            If the covariance is not finite, symmetric and positive definite, or a shape is wrong.

        Examples
        --------
        >>> import estep_xp as ex
        >>> ex.TiedGaussian.from_covariance([[0.0], [1.0]], [[4.0]]).precision_cholesky
        array([[0.5]])
        """
        return cls(*_factorized(means, covariance, "covariance", ("d", "d")))

    @property
    def covariances(self) -> Array:
        """Covariance matrix of all components, shape (d, d)."""
        return _covariances_of(self)

    def _checked(self, space: Space) -> Self:
        means = _checked_means(space, self.means, ("k", "d"))
        d = means.shape[1]
        return self._replace(means=means, precision_cholesky=_checked_factors(space, self, (d, d)))

    def _prepare(self, plan: Plan) -> _Standardizer:
        k, d = self.means.shape
        factors = plan.xp.broadcast_to(self.precision_cholesky, (k, d, d))
        return _by_factors(plan, self.means, factors)


class FullGaussian(_Gaussian, _MeansFactors):
    """Gaussian components, each with a covariance matrix of its own.

    Parameters
    ----------
    means : array, shape (k, d)
        Mean of each component.
    precision_cholesky : array, shape (k, d, d)
        For each component the upper triangular P with precision = P Pᵀ, so that (x − μ) P is
        standardised. `from_covariances` computes it.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.FullGaussian.from_covariances(
    ...     means=[[0.0, 0.0], [4.0, 0.0]],
    ...     covariances=[[[1.0, 0.0], [0.0, 1.0]], [[4.0, 1.0], [1.0, 1.0]]],
    ... )
    >>> components.log_prob([[0.0, 0.0]]).round(4)
    array([[-1.8379, -5.0538]])
    """

    __slots__ = ()

    @classmethod
    def from_covariances(cls, means: ArrayLike, covariances: ArrayLike) -> Self:
        """Components from their covariance matrices, factorised here once.

        Parameters
        ----------
        means : array, shape (k, d)
            Mean of each component.
        covariances : array, shape (k, d, d)
            Symmetric positive definite matrices.

        Returns
        -------
        FullGaussian
            The components.

        Raises
        ------
        ValueError, TypeError
            If a covariance is not finite, symmetric and positive definite, or a shape is wrong.

        Examples
        --------
        >>> import estep_xp as ex
        >>> ex.FullGaussian.from_covariances([[0.0]], [[[4.0]]]).precision_cholesky
        array([[[0.5]]])
        """
        return cls(*_factorized(means, covariances, "covariances", ("k", "d", "d")))

    @property
    def covariances(self) -> Array:
        """Covariance matrices of the components, shape (k, d, d)."""
        return _covariances_of(self)

    def _checked(self, space: Space) -> Self:
        means = _checked_means(space, self.means, ("k", "d"))
        k, d = means.shape
        factors = _checked_factors(space, self, (k, d, d))
        return self._replace(means=means, precision_cholesky=factors)

    def _prepare(self, plan: Plan) -> _Standardizer:
        return _by_factors(plan, self.means, self.precision_cholesky)


def _by_variances(
    plan: Plan, means: Array, variances: Array, log_determinants: Array
) -> _Standardizer:
    d = means.shape[1] if means.ndim == 2 else 1
    scales = 1.0 / plan.xp.sqrt(variances)
    return _Standardizer(means, scales, -0.5 * (log_determinants + d * _LOG_2PI))


def _by_factors(plan: Plan, means: Array, factors: Array) -> _Standardizer:
    xp = plan.xp
    # Below the diagonal nothing is read, so the derivative there is zero.
    factors = xp.triu(factors)
    log_determinants = xp.sum(xp.log(xp.linalg.diagonal(factors)), axis=-1)
    return _Standardizer(means, factors, log_determinants - 0.5 * means.shape[1] * _LOG_2PI)


def _checked_means(space: Space, means: Any, expected: tuple[str, ...]) -> Array:
    means = space.parameter("means", means)
    check_shape("means", means, expected)
    check_not_empty("means", means.shape[0])
    if means.ndim == 2 and means.shape[1] == 0:
        raise ValueError(f"means has shape {tuple(means.shape)}; expected at least one feature")
    return check_finite(space, "means", means)


def _checked_variances(space: Space, components: Any, shape: tuple[int, ...]) -> Array:
    variances = space.parameter("variances", components.variances)
    check_shape("variances", variances, shape, ", to match means")
    return check_positive(space, "variances", variances)


def _checked_factors(space: Space, components: Any, shape: tuple[int, ...]) -> Array:
    factors = space.parameter("precision_cholesky", components.precision_cholesky)
    check_shape("precision_cholesky", factors, shape, ", to match means")
    return check_precision_cholesky(space, factors)


def _variances_of(components: Any) -> Array:
    space = space_of({"variances": components.variances})
    return check_positive(space, "variances", space.parameter("variances", components.variances))


def _covariances_of(components: Any) -> Array:
    space = space_of({"precision_cholesky": components.precision_cholesky})
    factors = space.parameter("precision_cholesky", components.precision_cholesky)
    check_shape("precision_cholesky", factors, (*factors.shape[:-1], factors.shape[-2]))
    factors = check_precision_cholesky(space, factors)
    return execution.compute(_linalg.covariances_of, space, factors)


def _factorized(
    means: Any, covariances: Any, name: str, expected: tuple[str, ...]
) -> tuple[Array, Array]:
    """Means, and the precision Cholesky factors of checked covariances."""
    space = space_of({"means": means, name: covariances})
    means = _checked_means(space, means, ("k", "d"))
    k, d = means.shape
    covariances = space.parameter(name, covariances)
    sizes = {"k": k, "d": d}
    check_shape(name, covariances, tuple(sizes[s] for s in expected), ", to match means")
    covariances = check_covariances(space, name, covariances)
    try:
        factors = execution.compute(_linalg.precision_cholesky, space, covariances)
    except (ValueError, RuntimeError):
        # Where a library's own cholesky raises: it does not say which matrix.
        check_definite(name, covariances)
        raise
    if is_concrete(factors) and not np.isfinite(to_host(factors)).all():
        check_definite(name, covariances)
    return means, factors
