"""Gaussian components, each with a covariance matrix of its own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, ArrayLike, Namespace
from estep_xp.arrays.namespace import Space
from estep_xp.families.gaussian.moments import (
    GaussianMoments,
    centred_products,
    products,
)
from estep_xp.families.gaussian.negligible import log_joint_of_shares
from estep_xp.families.gaussian.parameters import (
    checked_factors,
    checked_means,
    covariances_of,
    factorized,
)
from estep_xp.families.gaussian.quadratic import PRODUCTS
from estep_xp.families.gaussian.residual import (
    Standardizer,
    by_factors,
)

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps
from estep_xp.families.gaussian.dependent import DependentGaussian, MeansFactors


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

    def _standardizer(self, ops: BlockOps) -> Standardizer:
        return by_factors(ops, self.means, self.precision_cholesky)

    def _log_joint(self, ops: BlockOps, prepared: Standardizer, x: Array) -> Array:
        exactly = functools.partial(super()._log_joint, ops)
        joint = log_joint_of_shares(ops, prepared, x, exactly) if ops.only_shares else None
        return exactly(prepared, x) if joint is None else joint

    _second_moment = staticmethod(products)

    def _scatter(
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

    def _n_parameters(self) -> int:
        k, d = self.means.shape
        return int(k * d + k * (d * (d + 1) // 2))
