"""Gaussian families whose features are independent: fields means and variances."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np

from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.validation import raise_bad_value
from estep_xp.families.gaussian.base import Gaussian
from estep_xp.families.gaussian.moments import by_feature
from estep_xp.families.gaussian.parameters import per_component, refuse_subnormal


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
