"""Gaussian components: univariate, spherical, diagonal, tied and full covariances.

How they are evaluated and estimated stands in `_gaussian.py` and `_moments.py`; a family adds its
fields and what is particular to its kind of covariance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, ArrayLike, Namespace
from estep_xp.arrays.logsumexp import across, along
from estep_xp.arrays.namespace import Space
from estep_xp.arrays.validation import raise_bad_value, raise_indefinite
from estep_xp.families.gaussian.base import (
    Gaussian,
    Standardizer,
    by_factors,
    by_variances,
    checked_factors,
    checked_means,
    checked_variances,
    covariances_of,
    factorized,
    log_density,
    per_component,
    standardize,
    variances_of,
)
from estep_xp.families.gaussian.moments import (
    GaussianMoments,
    by_feature,
    centred_products,
    centred_squares,
    least_pivot,
    products,
    squares,
    trace,
)
from estep_xp.families.gaussian.product_form import (
    Natural,
    centred,
    natural,
    restored,
    sums_over_rows,
)
from estep_xp.families.gaussian.quadratic import NORM, PRODUCTS, SQUARES

if TYPE_CHECKING:
    from estep_xp.execution import Plan


class _MeansVariances(NamedTuple):
    means: Array
    variances: Array


class _MeansFactors(NamedTuple):
    means: Array
    precision_cholesky: Array


class _ByVariances(Gaussian):
    """What the families share whose features are independent: fields means and variances."""

    __slots__ = ()

    _is_independent = True
    variances: Array

    def _free(self, xp: Namespace) -> tuple[Array, ...]:
        return self.means, xp.log(self.variances)

    @classmethod
    def _from_free(cls, xp: Namespace, *free: Array) -> Self:
        means, log_variances = free
        family: Any = cls
        new: Self = family(means, xp.exp(log_variances))
        return new

    @staticmethod
    def _from_covariances(xp: Namespace, covariances: Array) -> Array:
        del xp
        return covariances

    def _raised(self, xp: Namespace, covariances: Array, lost: Array, floor: Any) -> Array:
        raised = covariances + by_feature(floor, covariances)
        return raised + per_component(xp.astype(lost, covariances.dtype), covariances)

    def _variances(self, xp: Namespace, covariances: Array) -> Array:
        del xp
        return covariances

    def _floor_shares(self, xp: Namespace, floor: Array) -> tuple[Array, Array]:
        shares = floor / self.variances
        return xp.max(shares, axis=1) if shares.ndim == 2 else shares, shares

    @staticmethod
    def _refuse(covariances: np.ndarray[Any, Any], remedy: str) -> None:
        bad = np.argwhere(~((covariances > 0) & (covariances < np.inf)))
        if len(bad):
            index = tuple(bad[0].tolist())
            expected = f"variances must be positive and finite; {remedy}"
            raise_bad_value("variances", index, covariances[index], expected)
        _refuse_subnormal("variances", covariances, 1.0)

    def _scales(self, xp: Namespace) -> Array:
        scales = 1.0 / xp.sqrt(self.variances)
        return xp.broadcast_to(per_component(scales, self.means), self.means.shape)


class _ByFactors(Gaussian):
    """What the families share whose features depend on each other: a factorised precision."""

    __slots__ = ()

    _is_independent = False
    precision_cholesky: Array

    def _free(self, xp: Namespace) -> tuple[Array, ...]:
        logs = xp.log(xp.linalg.diagonal(self.precision_cholesky))
        above = xp.triu(self.precision_cholesky, k=1)
        return self.means, above + linalg.diagonal_matrix(xp, logs)

    @classmethod
    def _from_free(cls, xp: Namespace, *free: Array) -> Self:
        means, factors = free
        diagonal = linalg.diagonal_matrix(xp, xp.exp(xp.linalg.diagonal(factors)))
        family: Any = cls
        new: Self = family(means, xp.triu(factors, k=1) + diagonal)
        return new

    @staticmethod
    def _from_covariances(xp: Namespace, covariances: Array) -> Array:
        return linalg.precision_cholesky(xp, covariances, least_pivot(xp, covariances))

    def _raised(self, xp: Namespace, covariances: Array, lost: Array, floor: Any) -> Array:
        diagonals = xp.zeros_like(xp.linalg.diagonal(covariances))
        diagonals = diagonals + by_feature(floor, diagonals)
        if covariances.ndim == 3:
            diagonals = diagonals + xp.astype(lost, diagonals.dtype)[:, None]
        return covariances + linalg.diagonal_matrix(xp, diagonals)

    def _variances(self, xp: Namespace, covariances: Array) -> Array:
        return xp.broadcast_to(xp.linalg.diagonal(covariances), self.means.shape)

    def _floor_shares(self, xp: Namespace, floor: Array) -> tuple[Array, Array]:
        factors = self.precision_cholesky
        deviations = xp.sqrt(xp.zeros_like(self.means[0, :]) + floor)
        largest = xp.linalg.matrix_norm(deviations[:, None] * factors, ord=2) ** 2
        variances = xp.linalg.diagonal(linalg.covariances_of(xp, factors))
        shape = self.means.shape
        return xp.broadcast_to(largest, shape[:1]), xp.broadcast_to(floor / variances, shape)

    @staticmethod
    def _refuse(covariances: np.ndarray[Any, Any], remedy: str) -> None:
        least = least_pivot(np, covariances)
        variances = np.diagonal(covariances, axis1=-2, axis2=-1)
        _refuse_subnormal("variances", variances[variances > 0], least)
        raise_indefinite("covariances", covariances, remedy, least)

    def _scales(self, xp: Namespace) -> Array:
        return xp.broadcast_to(xp.linalg.diagonal(self.precision_cholesky), self.means.shape)


def _refuse_subnormal(name: str, variances: np.ndarray[Any, Any], share: float) -> None:
    """Raise if a share of a variance is so small that it has lost digits."""
    least = float(np.finfo(variances.dtype).smallest_normal)
    small = variances[share * variances < least]
    if small.size:
        remedy = "" if variances.dtype == np.float64 else ", or as float64"
        raise ValueError(
            f"{name} of about {float(small.min()):.3g} are too small for {variances.dtype}; give x "
            f"in smaller units{remedy}"
        )


class UnivariateGaussian(_ByVariances, _MeansVariances):
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

    _is_univariate = True

    @property
    def covariances(self) -> Array:
        """Variances of the components, shape (k,)."""
        return variances_of(self.variances)

    def _checked(self, space: Space) -> Self:
        means = checked_means(space, self.means, ("k",))
        return type(self)(means, checked_variances(space, self.variances, means.shape))

    _quadratic = SQUARES

    def _standardizer(self, plan: Plan) -> Standardizer:
        return by_variances(plan, self.means, self.variances, plan.xp.log(self.variances))

    def _natural(self, plan: Plan, residual: Standardizer) -> Natural | None:
        means, factors, log_normalizers = residual
        return natural(plan, SQUARES, means[:, None], factors[:, None], log_normalizers)

    def _log_joint(self, plan: Plan, prepared: Standardizer, x: Array) -> Array:
        # With a single feature all components are done at once, by broadcasting.
        axis, (means, factors, log_normalizers) = plan.axis, prepared
        residuals = across(x, axis) - along(means, axis)
        standardized = standardize(plan, residuals, along(factors, axis))
        return log_density(plan, plan.square(standardized), along(log_normalizers, axis))

    def _moments_by_features(
        self, plan: Plan, natural: Natural, x: Array, features: Array, responsibilities: Array
    ) -> tuple[Array, ...]:
        both = super()._moments_by_features(plan, natural, x, features, responsibilities)
        return tuple(a[:, 0] for a in both)

    def _moments_of(
        self, plan: Plan, prepared: Standardizer, x: Array, responsibilities: Array
    ) -> tuple[Array, ...]:
        xp, rows = plan.xp, 1 - plan.axis
        residuals = across(x, plan.axis) - along(prepared.means, plan.axis)
        weighted = responsibilities * residuals
        return xp.sum(weighted, axis=rows), xp.sum(weighted * residuals, axis=rows)

    def _scatter(
        self, xp: Namespace, counts: Array, moments: GaussianMoments, floor: Any
    ) -> tuple[Array, Array]:
        shift = moments.first / counts
        mean_square = moments.second / counts
        return self.means + shift, centred_squares(xp, mean_square, shift * shift, floor)

    @classmethod
    def _spread(cls, xp: Namespace, means: Array, variances: Array) -> Self:
        return cls(means[:, 0], xp.zeros_like(means[:, 0]) + variances)

    def _n_parameters(self) -> int:
        return 2 * self._n_components()


class SphericalGaussian(_ByVariances, _MeansVariances):
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
        return variances_of(self.variances)

    def _checked(self, space: Space) -> Self:
        means = checked_means(space, self.means, ("k", "d"))
        variances = checked_variances(space, self.variances, means.shape[:1])
        return type(self)(means, variances)

    _quadratic = NORM

    def _standardizer(self, plan: Plan) -> Standardizer:
        log_determinants = self.means.shape[1] * plan.xp.log(self.variances)
        return by_variances(plan, self.means, self.variances, log_determinants)

    _second_moment = staticmethod(trace)

    def _scatter(
        self, xp: Namespace, counts: Array, moments: GaussianMoments, floor: Any
    ) -> tuple[Array, Array]:
        shift = moments.first / counts[:, None]
        mean_square = moments.second / counts / float(self.means.shape[1])
        squared_shift = xp.mean(shift * shift, axis=1)
        return self.means + shift, centred_squares(xp, mean_square, squared_shift, floor)

    @classmethod
    def _spread(cls, xp: Namespace, means: Array, variances: Array) -> Self:
        return cls(means, xp.zeros_like(means[:, 0]) + xp.mean(variances))

    def _n_parameters(self) -> int:
        k, d = self.means.shape
        return int(k * d + k)


class DiagonalGaussian(_ByVariances, _MeansVariances):
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
        return variances_of(self.variances)

    def _checked(self, space: Space) -> Self:
        means = checked_means(space, self.means, ("k", "d"))
        return type(self)(means, checked_variances(space, self.variances, means.shape))

    _quadratic = SQUARES

    def _standardizer(self, plan: Plan) -> Standardizer:
        log_determinants = plan.sum(plan.xp.log(self.variances), 1)
        return by_variances(plan, self.means, self.variances, log_determinants)

    _second_moment = staticmethod(squares)

    def _scatter(
        self, xp: Namespace, counts: Array, moments: GaussianMoments, floor: Any
    ) -> tuple[Array, Array]:
        shift = moments.first / counts[:, None]
        mean_squares = moments.second / counts[:, None]
        return self.means + shift, centred_squares(xp, mean_squares, shift * shift, floor)

    @classmethod
    def _spread(cls, xp: Namespace, means: Array, variances: Array) -> Self:
        return cls(means, xp.zeros_like(means) + variances[None, :])

    def _n_parameters(self) -> int:
        k, d = self.means.shape
        return int(2 * k * d)


class TiedGaussian(_ByFactors, _MeansFactors):
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
        return cls(*factorized(means, covariance, "covariance", ("d", "d")))

    @property
    def covariances(self) -> Array:
        """Covariance matrix of all components, shape (d, d)."""
        return covariances_of(self.precision_cholesky, ("d", "d"))

    def _checked(self, space: Space) -> Self:
        means = checked_means(space, self.means, ("k", "d"))
        d = means.shape[1]
        return type(self)(means, checked_factors(space, self.precision_cholesky, (d, d)))

    _quadratic = NORM  # of rows that are standardised first

    def _standardizer(self, plan: Plan) -> Standardizer:
        means, factor, log_normalizer = by_factors(
            plan, self.means, self.precision_cholesky[None, :, :]
        )
        log_normalizers = plan.xp.broadcast_to(log_normalizer, means.shape[:1])
        return Standardizer(means, factor, log_normalizers)

    def _natural(self, plan: Plan, residual: Standardizer) -> Natural | None:
        means, factors, log_normalizers = residual
        ones = plan.xp.ones_like(log_normalizers)
        return natural(plan, NORM, means, ones, log_normalizers, rotation=factors[0, :, :])

    _second_moment = staticmethod(products)

    def _moments_by_features(
        self, plan: Plan, natural: Natural, x: Array, features: Array, responsibilities: Array
    ) -> tuple[Array, ...]:
        # Not of the standardised rows but of the rows themselves; and with one covariance matrix,
        # products of features are summed with the responsibilities of all components at once.
        del features
        xp = plan.xp
        z = centred(plan, natural, x)
        total = xp.sum(responsibilities, axis=plan.axis)
        second = products(xp, z * across(total, plan.axis), z, plan.axis)
        linear = xp.matrix_transpose(sums_over_rows(plan, responsibilities, z))
        counts = xp.sum(plan.widened(responsibilities), axis=1 - plan.axis)[:, None]
        cross = xp.matmul(xp.matrix_transpose(linear - 0.5 * counts * natural.means), natural.means)
        second = second - (cross + xp.matrix_transpose(cross))
        first = restored(plan, natural, linear - counts * natural.means, 1)
        both = (first, restored(plan, natural, second, 0, 1))
        return tuple(xp.astype(a, x.dtype, copy=False) for a in both)

    def _moments_of(
        self, plan: Plan, prepared: Standardizer, x: Array, responsibilities: Array
    ) -> tuple[Array, ...]:
        first, second = super()._moments_of(plan, prepared, x, responsibilities)
        return first, plan.xp.sum(second, axis=0)

    def _scatter(
        self, xp: Namespace, counts: Array, moments: GaussianMoments, floor: Any
    ) -> tuple[Array, Array]:
        shift = moments.first / counts[:, None]
        total = xp.sum(counts)
        shifts = xp.sum((counts / total)[:, None, None] * linalg.outer(shift), axis=0)
        covariance = centred_products(xp, moments.second / total, shifts, floor)
        return self.means + shift, covariance

    def _keeping(self, xp: Namespace, old: Self, lost: Array) -> Self:
        return self._replace(means=xp.where(lost[:, None], old.means, self.means))

    @classmethod
    def _spread(cls, xp: Namespace, means: Array, variances: Array) -> Self:
        return cls(means, linalg.diagonal_matrix(xp, 1.0 / xp.sqrt(variances)))

    def _n_parameters(self) -> int:
        k, d = self.means.shape
        return int(k * d + d * (d + 1) // 2)


class FullGaussian(_ByFactors, _MeansFactors):
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
        return cls(*factorized(means, covariances, "covariances", ("k", "d", "d")))

    @property
    def covariances(self) -> Array:
        """Covariance matrices of the components, shape (k, d, d)."""
        return covariances_of(self.precision_cholesky, ("k", "d", "d"))

    def _checked(self, space: Space) -> Self:
        means = checked_means(space, self.means, ("k", "d"))
        k, d = means.shape
        factors = checked_factors(space, self.precision_cholesky, (k, d, d))
        return type(self)(means, factors)

    _quadratic = PRODUCTS

    def _standardizer(self, plan: Plan) -> Standardizer:
        return by_factors(plan, self.means, self.precision_cholesky)

    _second_moment = staticmethod(products)

    def _scatter(
        self, xp: Namespace, counts: Array, moments: GaussianMoments, floor: Any
    ) -> tuple[Array, Array]:
        shift = moments.first / counts[:, None]
        mean_products = moments.second / counts[:, None, None]
        covariances = centred_products(xp, mean_products, linalg.outer(shift), floor)
        return self.means + shift, covariances

    @classmethod
    def _spread(cls, xp: Namespace, means: Array, variances: Array) -> Self:
        factor = linalg.diagonal_matrix(xp, 1.0 / xp.sqrt(variances))
        return cls(means, xp.zeros_like(means)[:, :, None] + factor[None, :, :])

    def _n_parameters(self) -> int:
        k, d = self.means.shape
        return int(k * d + k * (d * (d + 1) // 2))
