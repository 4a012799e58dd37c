"""Gaussian families whose features depend on each other: means and a factorised precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.validation import raise_indefinite
from estep_xp.families.gaussian.base import Gaussian
from estep_xp.families.gaussian.moments import (
    by_feature,
    least_pivot,
)

if TYPE_CHECKING:
    pass
from estep_xp.families.gaussian.parameters import refuse_subnormal


class MeansFactors(NamedTuple):
    """Fields of the families whose features depend on each other."""

    means: Array
    precision_cholesky: Array


class DependentGaussian(Gaussian):
    """What the families share whose features depend on each other: a factorised precision."""

    __slots__ = ()

    _is_independent = False
    _triangular_fields = ("precision_cholesky",)
    precision_cholesky: Array

    def _to_unconstrained(self, xp: Namespace) -> tuple[Array, ...]:
        logs = xp.log(xp.linalg.diagonal(self.precision_cholesky))
        above = xp.triu(self.precision_cholesky, k=1)
        return self.means, above + linalg.diagonal_matrix(xp, logs)

    def _from_unconstrained(self, xp: Namespace, *free: Array) -> Self:
        means, factors = free
        diagonal = linalg.diagonal_matrix(xp, xp.exp(xp.linalg.diagonal(factors)))
        family: Any = type(self)
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
        refuse_subnormal("variances", variances[variances > 0], least)
        raise_indefinite("covariances", covariances, remedy, least)

    @staticmethod
    def _extra_rows(d: int) -> float:
        return d + 1.0

    def _rescale(self, centre: np.ndarray[Any, Any], scale: np.ndarray[Any, Any]) -> Self:
        record: Any = self
        factors = self.precision_cholesky / scale[:, None]
        new: Self = record._make((self.means * scale + centre, factors))
        return new

    def _log_determinants_and_traces(
        self, products: np.ndarray[Any, Any]
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        factors = np.broadcast_to(self.precision_cholesky, products.shape)
        logs = np.log(np.diagonal(factors, axis1=-2, axis2=-1)).sum(axis=1)
        return -2.0 * logs, (factors * (products @ factors)).sum(axis=(1, 2))

    def _parameter_units(self, xp: Namespace) -> tuple[Array, ...]:
        factors = self.precision_cholesky
        rows = xp.linalg.diagonal(factors)[..., :, None]
        return 1.0 / self._inverse_deviations(xp), xp.broadcast_to(rows, factors.shape)

    def _inverse_deviations(self, xp: Namespace) -> Array:
        return xp.broadcast_to(xp.linalg.diagonal(self.precision_cholesky), self.means.shape)
