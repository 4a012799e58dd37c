"""Gaussian components of scalar observations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.block import expand_components, expand_rows
from estep_xp.families.gaussian.independent import IndependentGaussian, MeansVariances
from estep_xp.families.gaussian.parameters import precisions_of_variances, variances_of
from estep_xp.families.gaussian.product_form import ProductForm, build_product_form
from estep_xp.families.gaussian.quadratic import SQUARES
from estep_xp.families.gaussian.residual import ResidualForm, log_density, standardize

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.shapes import FloatK


class UnivariateGaussian(IndependentGaussian, MeansVariances):
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

    _quadratic = SQUARES
    _variances_ndim = 1
    _n_axes = 1

    @property
    def precisions(self) -> FloatK:
        """Reciprocals of the variances, shape (k,)."""
        return precisions_of_variances(self.variances)

    @property
    def covariances(self) -> FloatK:
        """Variances of the components, shape (k,)."""
        return variances_of(self.variances)

    def _residual_form(self, ops: BlockOps) -> ResidualForm:
        return ResidualForm.from_variances(
            ops, self.means, self.variances, ops.xp.log(self.variances)
        )

    def _product_form(self, ops: BlockOps, residual: ResidualForm) -> ProductForm | None:
        means, factors, log_normalizers = residual
        return build_product_form(ops, SQUARES, means[:, None], factors[:, None], log_normalizers)

    def _log_joint(self, ops: BlockOps, form: ResidualForm, x: Array) -> Array:
        # With a single feature all components are done at once, by broadcasting.
        axis, (means, factors, log_normalizers) = ops.axis, form
        residuals = expand_rows(x, axis) - expand_components(means, axis)
        standardized = standardize(ops, residuals, expand_components(factors, axis))
        return log_density(ops, ops.square_(standardized), expand_components(log_normalizers, axis))

    def _moments_by_products(
        self, ops: BlockOps, form: ProductForm, x: Array, terms: Array, responsibilities: Array
    ) -> tuple[Array, ...]:
        both = super()._moments_by_products(ops, form, x, terms, responsibilities)
        return tuple(a[:, 0] for a in both)

    def _moments_by_residuals(
        self, ops: BlockOps, form: ResidualForm, x: Array, responsibilities: Array
    ) -> tuple[Array, ...]:
        xp, rows = ops.xp, 1 - ops.axis
        residuals = expand_rows(x, ops.axis) - expand_components(form.means, ops.axis)
        weighted = responsibilities * residuals
        return xp.sum(weighted, axis=rows), xp.sum(weighted * residuals, axis=rows)

    @staticmethod
    def _reduce_covariances(covariances: np.ndarray[Any, Any], pooled: Any) -> Any:
        del pooled
        return covariances[:, 0, 0]

    @classmethod
    def _spread(cls, xp: Namespace, means: Array, variances: Array) -> Self:
        return cls(means[:, 0], xp.zeros_like(means[:, 0]) + variances)
