"""Gaussian families whose features depend on each other: means and a factorised precision."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import AnyArray, Array, Namespace
from estep_xp.arrays.block import expand_components
from estep_xp.arrays.namespace import Space
from estep_xp.arrays.validation import raise_indefinite
from estep_xp.families.gaussian.base import Gaussian
from estep_xp.families.gaussian.dependent_form import DependentForm, prepare_dependent
from estep_xp.families.gaussian.incomplete import (
    conditional_dependent,
    evaluate_dependent,
    moments_dependent,
)
from estep_xp.families.gaussian.moments import by_feature, least_pivot, products
from estep_xp.families.gaussian.parameters import check_factors, check_means, refuse_subnormal
from estep_xp.families.gaussian.patterns import encode_patterns
from estep_xp.families.gaussian.some_features import (
    choose,
    conditional_factors,
    marginal_factors,
)

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.random import Random
    from estep_xp.arrays.shapes import RealFactors, RealKD
    from estep_xp.families.family import ObservedRows


class MeansFactors(NamedTuple):
    """Fields of the families whose features depend on each other."""

    means: RealKD
    precision_cholesky: RealFactors


class DependentGaussian(Gaussian):
    """What the families share whose features depend on each other: a factorised precision."""

    __slots__ = ()

    _is_independent = False
    _has_marginals = True
    _takes_missing = _takes_noise = True
    _triangular_fields = ("precision_cholesky",)
    _second_moment = staticmethod(products)
    _factor_axes: ClassVar[tuple[str, ...]]  # of precision_cholesky: ("d", "d"), with k or without
    precision_cholesky: RealFactors

    def _checked(self, space: Space) -> Self:
        means = check_means(space, self.means, ("k", "d"))
        sizes = dict(zip(("k", "d"), means.shape, strict=True))
        shape = tuple(sizes[axis] for axis in self._factor_axes)
        return self._with(means, check_factors(space, self.precision_cholesky, shape))

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
        return self._with(means, xp.triu(factors, k=1) + diagonal)

    def _with(self, means: Array, factors: Array) -> Self:
        family: Any = type(self)
        new: Self = family(means, factors)
        return new

    def _sample(self, xp: Namespace, random: Random, labels: Array) -> Array:
        n, d = labels.shape[0], self.means.shape[1]
        z = random.normal((n, d))
        transposed = xp.matrix_transpose(xp.triu(self.precision_cholesky))
        scales = xp.matrix_transpose(linalg.inverse_lower(xp, transposed))
        means = xp.take(self.means, labels, axis=0)
        if scales.ndim == 2:  # of all components
            return means + xp.matmul(z, scales)
        # One feature of z after the other: a matrix for each row would not fit in memory.
        steps = (z[:, j, None] * xp.take(scales[:, j, :], labels, axis=0) for j in range(d))
        return means + functools.reduce(lambda total, step: total + step, steps)

    def _marginal(self, xp: Namespace, features: tuple[int, ...]) -> Self:
        factors = marginal_factors(xp, self.precision_cholesky, features)
        return self._with(choose(xp, self.means, features, 1), factors)

    def _conditional(
        self, xp: Namespace, known: tuple[int, ...], others: tuple[int, ...], values: Array
    ) -> Self:
        factors, slopes = conditional_factors(xp, self.precision_cholesky, known, others)
        residuals = values - choose(xp, self.means, known, 1)
        shifts = xp.matmul(residuals[:, None, :], slopes)[:, 0, :]
        return self._with(choose(xp, self.means, others, 1) + shifts, factors)

    def _width_incomplete(self, ops: BlockOps) -> int:
        d = self.means.shape[1]
        return int(d * d if ops.values_visible else 10 * d * d)

    def _row_order(self, x: Array) -> AnyArray:
        # Rows with the same holes in the same block.
        codes: AnyArray = encode_patterns(~np.isnan(np.asarray(x)).T)
        return codes.argsort(kind="stable")

    def _placeholder(self, ops: BlockOps) -> Array:
        return expand_components(self.means[0, :], ops.axis)

    def _prepare_incomplete(self, ops: BlockOps, log_weights: Array | None) -> DependentForm:
        return prepare_dependent(ops, self.means, self.precision_cholesky, log_weights)

    def _evaluate_incomplete(
        self, ops: BlockOps, prepared: DependentForm, rows: ObservedRows
    ) -> tuple[Array, Any]:
        return evaluate_dependent(ops, prepared, rows)

    def _moments_incomplete(
        self,
        ops: BlockOps,
        prepared: DependentForm,
        rows: ObservedRows,
        form: Any,
        responsibilities: Array,
    ) -> tuple[Array, ...]:
        first, second = moments_dependent(ops, prepared, rows, form, responsibilities)
        return first, second if "k" in self._factor_axes else ops.xp.sum(second, axis=0)

    def _conditional_moments(
        self, ops: BlockOps, prepared: DependentForm, rows: ObservedRows
    ) -> tuple[Array, Array]:
        return conditional_dependent(ops, prepared, rows)

    @staticmethod
    def _from_covariances(xp: Namespace, covariances: Array) -> Array:
        return linalg.precision_cholesky(xp, covariances, least_pivot(xp, covariances))

    def _second_about(
        self, xp: Namespace, second: Array, first: Array, shift: Array, weighted: Array
    ) -> Array:
        more = (first + 0.5 * weighted)[:, :, None] * shift[:, None, :]
        more = more + xp.matrix_transpose(more)
        return second + (more if more.ndim == second.ndim else xp.sum(more, axis=0))

    def _add_floor(self, xp: Namespace, covariances: Array, empty: Array, floor: Any) -> Array:
        diagonals = xp.zeros_like(xp.linalg.diagonal(covariances))
        diagonals = diagonals + by_feature(floor, diagonals)
        if covariances.ndim == 3:
            diagonals = diagonals + xp.astype(empty, diagonals.dtype)[:, None]
        return covariances + linalg.diagonal_matrix(xp, diagonals)

    def _variances(self, xp: Namespace, covariances: Array) -> Array:
        return xp.broadcast_to(xp.linalg.diagonal(covariances), self.means.shape)

    def _own_variances(self, xp: Namespace) -> Array:
        return self._variances(xp, linalg.covariances_of(xp, self.precision_cholesky))

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

    def _scales(self, xp: Namespace) -> Array:
        scales: Array = xp.linalg.diagonal(self.precision_cholesky)
        return scales
