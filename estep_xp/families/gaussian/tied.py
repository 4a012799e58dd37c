"""Gaussian components that share one covariance matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.block import expand_rows
from estep_xp.families.gaussian.dependent import DependentGaussian, MeansFactors
from estep_xp.families.gaussian.moments import GaussianMoments, centred_products, products
from estep_xp.families.gaussian.parameters import covariances_of, factorize, precisions_of
from estep_xp.families.gaussian.product_form import (
    ProductForm,
    build_product_form,
    centre_rows,
    restore_order,
    sum_over_rows,
)
from estep_xp.families.gaussian.quadratic import NORM
from estep_xp.families.gaussian.residual import ResidualForm
from estep_xp.families.limits import Limit

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.shapes import FloatDD, LikeDD, LikeKD


class TiedGaussian(DependentGaussian, MeansFactors):
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

    _quadratic = NORM  # of rows that are standardised first
    _factor_axes = ("d", "d")

    @classmethod
    def from_covariance(cls, means: LikeKD, covariance: LikeDD) -> Self:
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
        return cls(*factorize(means, covariance, "covariance", ("d", "d")))

    @classmethod
    def from_precision(cls, means: LikeKD, precision: LikeDD) -> Self:
        """Components from their common precision matrix, the inverse of a covariance.

        Parameters
        ----------
        means : array, shape (k, d)
            Mean of each component.
        precision : array, shape (d, d)
            Symmetric positive definite.

        Returns
        -------
        TiedGaussian
            The components.

        Raises
        ------
        ValueError, TypeError
            If a precision is not finite, symmetric and positive definite, or a shape is wrong.

        Examples
        --------
        >>> import estep_xp as ex
        >>> ex.TiedGaussian.from_precision([[0.0], [1.0]], [[0.25]]).precision_cholesky
        array([[0.5]])
        """
        named = "precision", ("d", "d")
        return cls(*factorize(means, precision, *named, linalg.precision_factor))

    @property
    def precisions(self) -> FloatDD:
        """Precision matrix of all components, shape (d, d)."""
        return precisions_of(self.precision_cholesky, self._factor_axes)

    @property
    def covariances(self) -> FloatDD:
        """Covariance matrix of all components, shape (d, d)."""
        return covariances_of(self.precision_cholesky, self._factor_axes)

    def _residual_form(self, ops: BlockOps) -> ResidualForm:
        means, factor, log_normalizer = ResidualForm.from_factors(
            ops, self.means, self.precision_cholesky[None, :, :]
        )
        log_normalizers = ops.xp.broadcast_to(log_normalizer, means.shape[:1])
        return ResidualForm(means, factor, log_normalizers)

    def _product_form(self, ops: BlockOps, residual: ResidualForm) -> ProductForm | None:
        means, factors, log_normalizers = residual
        ones = ops.xp.ones_like(log_normalizers)
        return build_product_form(
            ops, NORM, means, ones, log_normalizers, rotation=factors[0, :, :]
        )

    def _moments_by_products(
        self, ops: BlockOps, form: ProductForm, x: Array, terms: Array, responsibilities: Array
    ) -> tuple[Array, ...]:
        # Not of the standardised rows but of the rows themselves; and with one covariance matrix,
        # products of features are summed with the responsibilities of all components at once.
        del terms
        xp = ops.xp
        z = centre_rows(ops, form, x)
        total = xp.sum(responsibilities, axis=ops.axis)
        second = products(xp, z * expand_rows(total, ops.axis), z, ops.axis)
        linear = xp.matrix_transpose(sum_over_rows(ops, responsibilities, z))
        counts = xp.sum(ops.widen(responsibilities), axis=1 - ops.axis)[:, None]
        cross = xp.matmul(xp.matrix_transpose(linear - 0.5 * counts * form.means), form.means)
        second = second - (cross + xp.matrix_transpose(cross))
        first = restore_order(ops, form, linear - counts * form.means, 1)
        both = (first, restore_order(ops, form, second, 0, 1))
        return tuple(xp.astype(a, x.dtype, copy=False) for a in both)

    def _moments_by_residuals(
        self, ops: BlockOps, form: ResidualForm, x: Array, responsibilities: Array
    ) -> tuple[Array, ...]:
        first, second = super()._moments_by_residuals(ops, form, x, responsibilities)
        return first, ops.xp.sum(second, axis=0)

    def _limits(self, xp: Namespace, counts: Array, moments: GaussianMoments) -> tuple[Limit, ...]:
        second, first = super()._limits(xp, counts, moments)
        flags = xp.broadcast_to(first.good[None, :], moments.first.shape)
        return second._replace(by_component=False), first._replace(good=flags)

    def _squares_of(self, xp: Namespace, second: Array) -> Array:
        return xp.linalg.diagonal(second)

    def _sum_squares(self, xp: Namespace, squares: Array) -> Array:
        return xp.sum(squares, axis=0)

    def _means_and_covariances(
        self, xp: Namespace, counts: Array, moments: GaussianMoments, floor: Any
    ) -> tuple[Array, Array]:
        shift = moments.first / counts[:, None]
        total = xp.sum(counts)
        shifts = xp.sum((counts / total)[:, None, None] * linalg.outer(shift), axis=0)
        covariance = centred_products(xp, moments.second / total, shifts, floor)
        return self.means + shift, covariance

    def _draw_together(
        self, xp: Namespace, counts: Array, moments: GaussianMoments, extra: float
    ) -> tuple[Array, GaussianMoments]:
        del xp, extra
        return counts, moments  # one covariance matrix is that of all rows already

    def _restore_empty(self, xp: Namespace, old: Any, empty: Array) -> Self:
        return self._replace(means=xp.where(empty[:, None], old.means, self.means))

    @staticmethod
    def _reduce_covariances(covariances: np.ndarray[Any, Any], pooled: Any) -> Any:
        del covariances
        return pooled

    @staticmethod
    def _line_variances(
        variances: np.ndarray[Any, Any], axes: np.ndarray[Any, Any], pooled: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        del variances
        along: np.ndarray[Any, Any] = (axes * (pooled @ axes)).sum(axis=1)
        return along

    @staticmethod
    def _line_values(counts: Any, scatter: Any, overall: Any, d: int) -> Any:
        del counts, overall, d
        return -0.5 * scatter

    @classmethod
    def _spread(cls, xp: Namespace, means: Array, variances: Array) -> Self:
        return cls(means, linalg.diagonal_matrix(xp, 1.0 / xp.sqrt(variances)))
