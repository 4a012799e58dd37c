"""Gaussian families whose features are independent: fields means and variances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.block import expand_components, expand_like
from estep_xp.arrays.namespace import Space
from estep_xp.arrays.validation import raise_bad_value
from estep_xp.families.family import Family
from estep_xp.families.gaussian.base import Gaussian
from estep_xp.families.gaussian.estimation import smallest_normal
from estep_xp.families.gaussian.features_with_holes import IndependentForm
from estep_xp.families.gaussian.incomplete import (
    as_dependent,
    conditional_dependent,
    conditional_independent,
    evaluate_dependent,
    evaluate_independent,
    is_correlated_by,
    moments_dependent,
    moments_independent,
)
from estep_xp.families.gaussian.moments import GaussianMoments, by_feature, centred_squares
from estep_xp.families.gaussian.parameters import (
    check_means,
    check_variances,
    refuse_subnormal,
)
from estep_xp.families.gaussian.some_features import choose

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.random import Random
    from estep_xp.arrays.shapes import RealKd, RealVariances
    from estep_xp.families.family import ObservedRows


class MeansVariances(NamedTuple):
    """Fields of the families whose features are independent."""

    means: RealKd
    variances: RealVariances


class IndependentGaussian(Gaussian):
    """What the families share whose features are independent: fields means and variances."""

    __slots__ = ()

    _is_independent = True
    _has_marginals = True
    _takes_missing = _takes_noise = True
    _variances_ndim: ClassVar[int]  # axes of variances, the first ones of means
    variances: RealVariances

    def _checked(self, space: Space) -> Self:
        means = check_means(space, self.means, ("k", "d")[: self._n_axes])
        shape = means.shape[: self._variances_ndim]
        return self._with(means, check_variances(space, self.variances, shape))

    def _means_and_covariances(
        self, xp: Namespace, counts: Array, moments: GaussianMoments, floor: Any
    ) -> tuple[Array, Array]:
        counts = expand_like(counts, moments.first)
        shift = moments.first / counts
        mean_squares = moments.second / counts
        return self.means + shift, centred_squares(xp, mean_squares, shift * shift, floor)

    def _to_unconstrained(self, xp: Namespace) -> tuple[Array, ...]:
        return self.means, xp.log(self.variances)

    def _from_unconstrained(self, xp: Namespace, *free: Array) -> Self:
        means, log_variances = free
        return self._with(means, xp.exp(log_variances))

    def _with(self, means: Array, variances: Array) -> Self:
        family: Any = type(self)
        new: Self = family(means, variances)
        return new

    def _sample(self, xp: Namespace, random: Random, labels: Array) -> Array:
        deviations = expand_like(xp.sqrt(self.variances), self.means)
        means, deviations = (
            xp.take(array, labels, axis=0)
            for array in (self.means, xp.broadcast_to(deviations, self.means.shape))
        )
        return means + deviations * random.normal(tuple(means.shape))

    def _marginal(self, xp: Namespace, features: tuple[int, ...]) -> Self:
        variances = self.variances
        if variances.ndim == 2:
            variances = choose(xp, variances, features, 1)
        return self._with(choose(xp, self.means, features, 1), variances)

    def _conditional(
        self, xp: Namespace, known: tuple[int, ...], others: tuple[int, ...], values: Array
    ) -> Self:
        del known
        new = self._marginal(xp, others)
        # NaN, which cannot be checked under jit, must show.
        return self._with(new.means + 0.0 * xp.sum(values), new.variances)

    def _width_incomplete(self, ops: BlockOps) -> int:
        del ops
        return int(8 * self.means.shape[0] * self._n_features())

    def _placeholder(self, ops: BlockOps) -> Array:
        first = self.means[0, ...]
        return expand_components(first, ops.axis) if self.means.ndim == 2 else first

    def _prepare_incomplete(self, ops: BlockOps, log_weights: Array | None) -> IndependentForm:
        means = self.means if self.means.ndim == 2 else self.means[:, None]
        variances = self.variances if self.variances.ndim == 2 else self.variances[:, None]
        return IndependentForm(means, ops.xp.broadcast_to(variances, means.shape), log_weights)

    def _evaluate_incomplete(
        self, ops: BlockOps, prepared: IndependentForm, rows: ObservedRows
    ) -> tuple[Array, Any]:
        if is_correlated_by(rows):
            return evaluate_dependent(ops, as_dependent(ops, prepared), rows)
        return evaluate_independent(ops, prepared, rows)

    def _moments_incomplete(
        self,
        ops: BlockOps,
        prepared: IndependentForm,
        rows: ObservedRows,
        form: Any,
        responsibilities: Array,
    ) -> tuple[Array, ...]:
        xp = ops.xp
        if is_correlated_by(rows):
            dependent = as_dependent(ops, prepared)
            first, products = moments_dependent(ops, dependent, rows, form, responsibilities)
            second = xp.linalg.diagonal(products)
        else:
            first, second = moments_independent(ops, prepared, rows, form, responsibilities)
        if self.means.ndim == 1:
            return first[:, 0], second[:, 0]
        return first, second if self.variances.ndim == 2 else xp.sum(second, axis=1)

    def _conditional_moments(
        self, ops: BlockOps, prepared: IndependentForm, rows: ObservedRows
    ) -> tuple[Array, Array]:
        if is_correlated_by(rows):
            return conditional_dependent(ops, as_dependent(ops, prepared), rows)
        return conditional_independent(ops, prepared, rows)

    @staticmethod
    def _from_covariances(xp: Namespace, covariances: Array) -> Array:
        del xp
        return covariances

    def _second_about(
        self, xp: Namespace, second: Array, first: Array, shift: Array, weighted: Array
    ) -> Array:
        more = (2.0 * first + weighted) * shift
        return second + (more if more.ndim == second.ndim else xp.sum(more, axis=-1))

    def _add_floor(self, xp: Namespace, covariances: Array, empty: Array, floor: Any) -> Array:
        raised = covariances + by_feature(floor, covariances)
        return raised + expand_like(xp.astype(empty, covariances.dtype), covariances)

    def _variances(self, xp: Namespace, covariances: Array) -> Array:
        del xp
        return covariances

    def _own_variances(self, xp: Namespace) -> Array:
        return xp.broadcast_to(expand_like(self.variances, self.means), self.means.shape)

    def _floor_shares(self, xp: Namespace, floor: Array) -> tuple[Array, Array]:
        shares = floor / self.variances
        return xp.max(shares, axis=1) if shares.ndim == 2 else shares, shares

    @staticmethod
    def _raise_for_covariances(covariances: np.ndarray[Any, Any], remedy: str) -> None:
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

    def _is_usable(self) -> bool:
        variances: Any = self.variances
        least = smallest_normal(variances.dtype)
        return bool(variances.min() >= least) and Family._is_usable(self)

    def _scales(self, xp: Namespace) -> Array:
        return expand_like(1.0 / xp.sqrt(self.variances), self.means)
