"""Gaussian components, each with a covariance matrix of its own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.families.gaussian.dependent import DependentGaussian, MeansFactors
from estep_xp.families.gaussian.moments import GaussianMoments, centred_products
from estep_xp.families.gaussian.negligible import log_joint_of_shares
from estep_xp.families.gaussian.parameters import covariances_of, factorize, precisions_of
from estep_xp.families.gaussian.quadratic import PRODUCTS
from estep_xp.families.gaussian.residual import ResidualForm

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.shapes import FloatKDD, LikeKD, LikeKDD


class FullGaussian(DependentGaussian, MeansFactors):
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

    _quadratic = PRODUCTS
    _factor_axes = ("k", "d", "d")

    @classmethod
    def from_covariances(cls, means: LikeKD, covariances: LikeKDD) -> Self:
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
        return cls(*factorize(means, covariances, "covariances", ("k", "d", "d")))

    @classmethod
    def from_precisions(cls, means: LikeKD, precisions: LikeKDD) -> Self:
        """Components from each component's precision matrix, the inverse of a covariance.

        Parameters
        ----------
        means : array, shape (k, d)
            Mean of each component.
        precisions : array, shape (k, d, d)
            Symmetric positive definite.

        Returns
        -------
        FullGaussian
            The components.

        Raises
        ------
        ValueError, TypeError
            If a precision is not finite, symmetric and positive definite, or a shape is wrong.

        Examples
        --------
        >>> import estep_xp as ex
        >>> ex.FullGaussian.from_precisions([[0.0]], [[[0.25]]]).precision_cholesky
        array([[[0.5]]])
        """
        named = "precisions", ("k", "d", "d")
        return cls(*factorize(means, precisions, *named, linalg.precision_factor))

    @property
    def precisions(self) -> FloatKDD:
        """Precision matrices of the components, shape (k, d, d)."""
        return precisions_of(self.precision_cholesky, self._factor_axes)

    @property
    def covariances(self) -> FloatKDD:
        """Covariance matrices of the components, shape (k, d, d)."""
        return covariances_of(self.precision_cholesky, self._factor_axes)

    def _residual_form(self, ops: BlockOps) -> ResidualForm:
        return ResidualForm.from_factors(ops, self.means, self.precision_cholesky)

    def _log_joint(self, ops: BlockOps, form: ResidualForm, x: Array) -> Array:
        exact = functools.partial(super()._log_joint, ops)
        joint = log_joint_of_shares(ops, form, x, exact) if ops.only_shares else None
        return exact(form, x) if joint is None else joint

    def _means_and_covariances(
        self, xp: Namespace, counts: Array, moments: GaussianMoments, floor: Any
    ) -> tuple[Array, Array]:
        shift = moments.first / counts[:, None]
        mean_products = moments.second / counts[:, None, None]
        covariances = centred_products(xp, mean_products, linalg.outer(shift), floor)
        return self.means + shift, covariances

    @staticmethod
    def _reduce_covariances(covariances: np.ndarray[Any, Any], pooled: Any) -> Any:
        del pooled
        return covariances

    @classmethod
    def _spread(cls, xp: Namespace, means: Array, variances: Array) -> Self:
        factor = linalg.diagonal_matrix(xp, 1.0 / xp.sqrt(variances))
        return cls(means, xp.zeros_like(means)[:, :, None] + factor[None, :, :])
