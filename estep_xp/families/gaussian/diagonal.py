"""Gaussian components whose features are independent, each with a variance of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.families.gaussian.independent import IndependentGaussian, MeansVariances
from estep_xp.families.gaussian.moments import squares
from estep_xp.families.gaussian.parameters import precisions_of_variances, variances_of
from estep_xp.families.gaussian.quadratic import SQUARES
from estep_xp.families.gaussian.residual import ResidualForm

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.shapes import FloatKD


class DiagonalGaussian(IndependentGaussian, MeansVariances):
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

    _quadratic = SQUARES
    _variances_ndim = 2
    _second_moment = staticmethod(squares)

    @property
    def precisions(self) -> FloatKD:
        """Reciprocals of the variances, shape (k, d)."""
        return precisions_of_variances(self.variances)

    @property
    def covariances(self) -> FloatKD:
        """Variances of the components, shape (k, d)."""
        return variances_of(self.variances)

    def _residual_form(self, ops: BlockOps) -> ResidualForm:
        log_determinants = ops.sum(ops.xp.log(self.variances), 1)
        return ResidualForm.from_variances(ops, self.means, self.variances, log_determinants)

    @staticmethod
    def _reduce_covariances(covariances: np.ndarray[Any, Any], pooled: Any) -> Any:
        del pooled
        return np.diagonal(covariances, axis1=1, axis2=2)

    @classmethod
    def _spread(cls, xp: Namespace, means: Array, variances: Array) -> Self:
        return cls(means, xp.zeros_like(means) + variances[None, :])
