"""Gaussian families whose features are independent: fields means and variances."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.namespace import Space
from estep_xp.arrays.validation import raise_bad_value
from estep_xp.families.gaussian.base import Gaussian
from estep_xp.families.gaussian.moments import GaussianMoments, by_feature, centred_squares
from estep_xp.families.gaussian.parameters import (
    check_means,
    check_variances,
    per_component,
    refuse_subnormal,
)


class MeansVariances(NamedTuple):
    """Fields of the families whose features are independent."""

    means: Array
    variances: Array


class IndependentGaussian(Gaussian):
    """What the families share whose features are independent: fields means and variances."""

    __slots__ = ()

    _is_independent = True
    _variances_ndim: ClassVar[int]  # axes of variances, the first ones of means
    variances: Array

    def _checked(self, space: Space) -> Self:
        means = check_means(space, self.means, ("k", "d")[: self._n_axes])
        shape = means.shape[: self._variances_ndim]
        family: Any = type(self)
        new: Self = family(means, check_variances(space, self.variances, shape))
        return new

    def _means_and_covariances(
        self, xp: Namespace, counts: Array, moments: GaussianMoments, floor: Any
    ) -> tuple[Array, Array]:
        counts = per_component(counts, moments.first)
        shift = moments.first / counts
        mean_squares = moments.second / counts
        return self.means + shift, centred_squares(xp, mean_squares, shift * shift, floor)

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

    def _add_floor(self, xp: Namespace, covariances: Array, empty: Array, floor: Any) -> Array:
        raised = covariances + by_feature(floor, covariances)
        return raised + per_component(xp.astype(empty, covariances.dtype), covariances)

    def _variances(self, xp: Namespace, covariances: Array) -> Array:
        del xp
        return covariances

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

    def _parameter_units(self, xp: Namespace) -> tuple[Array, ...]:
        return 1.0 / self._inverse_deviations(xp), self.variances

    def _inverse_deviations(self, xp: Namespace) -> Array:
        scales = 1.0 / xp.sqrt(self.variances)
        return xp.broadcast_to(per_component(scales, self.means), self.means.shape)
