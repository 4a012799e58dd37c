"""Gaussian components with one variance each, the same for all features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.families.gaussian.independent import IndependentGaussian, MeansVariances
from estep_xp.families.gaussian.moments import GaussianMoments, centred_squares, trace
from estep_xp.families.gaussian.parameters import precisions_of_variances, variances_of
from estep_xp.families.gaussian.quadratic import NORM
from estep_xp.families.gaussian.residual import ResidualForm
from estep_xp.families.limits import Limit

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.shapes import FloatK


class SphericalGaussian(IndependentGaussian, MeansVariances):
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

    _quadratic = NORM
    _variances_ndim = 1
    _has_own_units = False
    _second_moment = staticmethod(trace)

    @property
    def precisions(self) -> FloatK:
        """Reciprocals of the variances, shape (k,)."""
        return precisions_of_variances(self.variances)

    @property
    def covariances(self) -> FloatK:
        """Variances of the components, shape (k,)."""
        return variances_of(self.variances)

    def _residual_form(self, ops: BlockOps) -> ResidualForm:
        log_determinants = self.means.shape[1] * ops.xp.log(self.variances)
        return ResidualForm.from_variances(ops, self.means, self.variances, log_determinants)

    def _limits(self, xp: Namespace, counts: Array, moments: GaussianMoments) -> tuple[Limit, ...]:
        second, first = super()._limits(xp, counts, moments)
        flags = xp.broadcast_to(first.good[:, None], moments.first.shape)
        return second, first._replace(good=flags)

    def _sum_squares(self, xp: Namespace, squares: Array) -> Array:
        return xp.sum(squares, axis=1)

    def _means_and_covariances(
        self, xp: Namespace, counts: Array, moments: GaussianMoments, floor: Any
    ) -> tuple[Array, Array]:
        shift = moments.first / counts[:, None]
        mean_square = moments.second / counts / float(self.means.shape[1])
        squared_shift = xp.mean(shift * shift, axis=1)
        return self.means + shift, centred_squares(xp, mean_square, squared_shift, floor)

    @staticmethod
    def _reduce_covariances(covariances: np.ndarray[Any, Any], pooled: Any) -> Any:
        del pooled
        return np.trace(covariances, axis1=1, axis2=2) / covariances.shape[1]

    @staticmethod
    def _line_variances(
        variances: np.ndarray[Any, Any], axes: np.ndarray[Any, Any], pooled: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        del axes, pooled
        return np.broadcast_to(variances.mean(axis=1, keepdims=True), variances.shape)

    @staticmethod
    def _line_values(counts: Any, scatter: Any, overall: Any, d: int) -> Any:
        # Across the line, rows keep the variance that they have.
        rest = np.maximum(d - overall, 0.0)
        variance = ((scatter + 2.0) / (counts + 2.0) + rest) / d
        return -0.5 * d * counts * np.log(np.maximum(variance, 1e-300))

    @classmethod
    def _spread(cls, xp: Namespace, means: Array, variances: Array) -> Self:
        return cls(means, xp.zeros_like(means[:, 0]) + xp.mean(variances))
