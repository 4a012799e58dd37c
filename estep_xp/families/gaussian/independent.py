"""Gaussian families whose features are independent: fields means and variances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.validation import raise_bad_value
from estep_xp.families.gaussian.base import Gaussian
from estep_xp.families.gaussian.moments import (
    by_feature,
)
from estep_xp.families.gaussian.parameters import (
    per_component,
)

if TYPE_CHECKING:
    pass
from estep_xp.families.gaussian.parameters import refuse_subnormal


class MeansVariances(NamedTuple):
    """Fields of the families whose features are independent."""

    means: Array
    variances: Array


class IndependentGaussian(Gaussian):
    """What the families share whose features are independent: fields means and variances."""

    __slots__ = ()

    _is_independent = True
    variances: Array

    def _to_unconstrained(self, xp: Namespace) -> tuple[Array, ...]:
        return self.means, xp.log(self.variances)

    def _from_unconstrained(self, xp: Namespace, *free: Array) -> Self:
        means, log_variances = free
        family: Any = type(self)
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
        refuse_subnormal("variances", covariances, 1.0)

    def _rescale(self, centre: np.ndarray[Any, Any], scale: np.ndarray[Any, Any]) -> Self:
        record: Any = self
        if self.variances.ndim < self.means.ndim or self.means.ndim == 1:
            squares = scale[0] ** 2  # spherical: one scale for all features
        else:
            squares = scale**2
        means = self.means * (scale if self.means.ndim == 2 else scale[0])
        new: Self = record._make(
            (means + (centre if means.ndim == 2 else centre[0]), self.variances * squares)
        )
        return new

    def _log_determinants_and_traces(
        self, products: np.ndarray[Any, Any]
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        squares = np.diagonal(products, axis1=-2, axis2=-1)
        variances = np.broadcast_to(self.variances.reshape(len(squares), -1), squares.shape)
        return np.log(variances).sum(axis=1), (squares / variances).sum(axis=1)

    def _parameter_units(self, xp: Namespace) -> tuple[Array, ...]:
        return 1.0 / self._inverse_deviations(xp), self.variances

    def _inverse_deviations(self, xp: Namespace) -> Array:
        scales = 1.0 / xp.sqrt(self.variances)
        return xp.broadcast_to(per_component(scales, self.means), self.means.shape)
