"""Gaussian families whose features depend on each other: means and a factorised precision."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.namespace import Space
from estep_xp.arrays.validation import raise_indefinite
from estep_xp.families.gaussian.base import Gaussian
from estep_xp.families.gaussian.moments import by_feature, least_pivot, products
from estep_xp.families.gaussian.parameters import check_factors, check_means, refuse_subnormal


class MeansFactors(NamedTuple):
    """Fields of the families whose features depend on each other."""

    means: Array
    precision_cholesky: Array


class DependentGaussian(Gaussian):
    """What the families share whose features depend on each other: a factorised precision."""

    __slots__ = ()

    _is_independent = False
    _triangular_fields = ("precision_cholesky",)
    _second_moment = staticmethod(products)
    _factor_axes: ClassVar[tuple[str, ...]]  # of precision_cholesky: ("d", "d"), with k or without
    precision_cholesky: Array

    def _checked(self, space: Space) -> Self:
        means = check_means(space, self.means, ("k", "d"))
        sizes = dict(zip(("k", "d"), means.shape, strict=True))
        shape = tuple(sizes[axis] for axis in self._factor_axes)
        family: Any = type(self)
        new: Self = family(means, check_factors(space, self.precision_cholesky, shape))
        return new

    def _n_parameters(self) -> int:
        k, d = self.means.shape
        n_factors = k if "k" in self._factor_axes else 1
        return int(k * d + n_factors * (d * (d + 1) // 2))

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

    def _add_floor(self, xp: Namespace, covariances: Array, empty: Array, floor: Any) -> Array:
        diagonals = xp.zeros_like(xp.linalg.diagonal(covariances))
        diagonals = diagonals + by_feature(floor, diagonals)
        if covariances.ndim == 3:
            diagonals = diagonals + xp.astype(empty, diagonals.dtype)[:, None]
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
    def _raise_for_covariances(covariances: np.ndarray[Any, Any], remedy: str) -> None:
        least = least_pivot(np, covariances)
        variances = np.diagonal(covariances, axis1=-2, axis2=-1)
        refuse_subnormal("variances", variances[variances > 0], least)
        raise_indefinite("covariances", covariances, remedy, least)

    def _parameter_units(self, xp: Namespace) -> tuple[Array, ...]:
        factors = self.precision_cholesky
        rows = xp.linalg.diagonal(factors)[..., :, None]
        return 1.0 / self._inverse_deviations(xp), xp.broadcast_to(rows, factors.shape)

    def _inverse_deviations(self, xp: Namespace) -> Array:
        return xp.broadcast_to(xp.linalg.diagonal(self.precision_cholesky), self.means.shape)
