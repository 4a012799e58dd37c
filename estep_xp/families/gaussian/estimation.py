"""The M-step of Gaussian components: from moments to means, covariances and their factors."""

from __future__ import annotations

import functools
from typing import Any, ClassVar, Self

import numpy as np

from estep_xp import execution
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.block import expand_like
from estep_xp.arrays.linalg import diagonal_matrix
from estep_xp.arrays.namespace import Space, to_host
from estep_xp.families.family import Family
from estep_xp.families.gaussian.moments import GaussianMoments, by_feature, default_floor
from estep_xp.families.limits import Limit, at_least_zero, lost_squares, slack


class EstimatedGaussian(Family):
    """The M-step of a Gaussian family: moments, floors and free parameters."""

    __slots__ = ()

    _record: ClassVar[type[Any]] = GaussianMoments
    means: Array

    def _limits(self, xp: Namespace, counts: Array, moments: GaussianMoments) -> tuple[Limit, ...]:
        squares = self._squares_of(xp, moments.second)
        lost = lost_squares(xp, expand_like(counts, self.means), self._own_variances(xp))
        lost = self._sum_squares(xp, lost)
        least = self._least_squares(xp, counts, moments.first)
        good = squares * (1.0 + slack(xp, squares)) + lost >= least
        words = "its square must be at most the component's count · second"
        return at_least_zero("second", squares, lost), Limit("first", good, words)

    def _least_squares(self, xp: Namespace, counts: Array, first: Array) -> Array:
        """The least squares that rows with these sums can have: that of their mean, N times."""
        positive = expand_like(xp.where(counts > 0, counts, 1.0), first)
        first = xp.where(expand_like(counts > 0, first), first, 0.0)
        return self._sum_squares(xp, first * (first / positive))

    def _squares_of(self, xp: Namespace, second: Array) -> Array:
        """The squares among second moments."""
        return second if second.ndim <= self.means.ndim else xp.linalg.diagonal(second)

    def _sum_squares(self, xp: Namespace, squares: Array) -> Array:
        """Squares of features, shaped like means, added up as second moments are."""
        del xp
        return squares

    def _own_variances(self, xp: Namespace) -> Array:
        """The variance of each feature, shaped like means."""
        raise NotImplementedError

    def _maximize(
        self, xp: Namespace, counts: Array, empty: Array, moments: GaussianMoments, floor: Any
    ) -> Any:
        means, covariances = self._estimate_covariances(xp, counts, empty, moments, floor)
        family: Any = type(self)
        new: Self = family(means, self._from_covariances(xp, covariances))
        return new._restore_empty(xp, self, empty)

    def _estimate_covariances(
        self, xp: Namespace, counts: Array, empty: Array, moments: GaussianMoments, floor: Any
    ) -> tuple[Array, Array]:
        means, covariances = self._means_and_covariances(xp, counts, moments, floor)
        if floor is None:
            floor = self._default_floor(xp, counts, empty, means, covariances)
        return means, self._add_floor(xp, covariances, empty, floor)

    def _recentered(
        self, xp: Namespace, counts: Array, moments: GaussianMoments, new: Any
    ) -> GaussianMoments:
        # Σ r (x − m)(x − m)ᵀ with x − m = (x − μ) + δ, δ = μ − m.
        shift = self.means - new.means
        weighted = shift * expand_like(counts, shift)
        second = self._second_about(xp, moments.second, moments.first, shift, weighted)
        first = moments.first + weighted
        # Rounding is that of the old sums, which may be far larger.
        least, squares = self._least_squares(xp, counts, first), self._squares_of(xp, second)
        raised = xp.where(squares < least, least, squares)
        if squares.shape != second.shape:
            raised = second + diagonal_matrix(xp, raised - squares)
        return GaussianMoments(first, raised)

    def _second_about(
        self, xp: Namespace, second: Array, first: Array, shift: Array, weighted: Array
    ) -> Array:
        """Second moments of residuals plus a shift; `weighted` is the shift times N."""
        raise NotImplementedError

    def _raise_if_degenerate(
        self, space: Space, counts: Array, empty: Array, moments: GaussianMoments, floor: Any
    ) -> None:
        covariances = execution.driver_for(space).compute(
            _covariances, space, self, counts, empty, moments, floor
        )
        remedy = "raise variance_floor"
        if floor is None:
            remedy = "give a variance_floor above the default, x in other units, or float64"
        self._raise_for_covariances(to_host(covariances), remedy)

    @staticmethod
    def _raise_for_covariances(covariances: np.ndarray[Any, Any], remedy: str) -> None:
        """Raise ValueError for the first of these covariances that has no usable factor."""
        raise NotImplementedError

    def _is_usable(self) -> bool:
        """Whether parameters are finite, and no variance is subnormal."""
        scales: Any = self._scales(np)
        return bool(scales.max() <= _largest_scale(scales.dtype)) and super()._is_usable()

    def _inverse_deviations(self, xp: Namespace) -> Array:
        """Reciprocal of the deviation of each mean's features, shaped like means."""
        return xp.broadcast_to(self._scales(xp), self.means.shape)

    def _scales(self, xp: Namespace) -> Array:
        """Reciprocals of deviations, that broadcast against means."""
        raise NotImplementedError

    def _step_scales(self, xp: Namespace) -> tuple[Any, ...]:
        # Means in units of deviations: a change of units changes nothing.
        return self._inverse_deviations(xp), 1.0

    def _stays_above(self, xp: Namespace, floor: Any) -> Array:
        scales = self._inverse_deviations(xp)
        return xp.all(scales * scales * by_feature(floor, scales) <= 1)

    @classmethod
    def _with_covariances(
        cls, means: np.ndarray[Any, Any], covariances: np.ndarray[Any, Any], pooled: Any
    ) -> Self:
        """Return components at means (k, d), as near to covariances (k, d, d) as their kind allows.

        All in NumPy; where components share a covariance it is the pooled one, (d, d).
        """
        family: Any = cls
        own = cls._reduce_covariances(covariances, pooled)
        new: Self = family(
            means[:, 0] if cls._n_axes == 1 else means, cls._from_covariances(np, own)
        )
        return new

    @staticmethod
    def _reduce_covariances(covariances: np.ndarray[Any, Any], pooled: Any) -> Any:
        """Reduce matrices (k, d, d) to what this kind of covariance has of them."""
        raise NotImplementedError

    def _log_determinants_and_traces(
        self, products: np.ndarray[Any, Any]
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return log|C_k| and tr(C_k⁻¹ S_k) (k,) for sums S of products (k, d, d), in NumPy."""
        raise NotImplementedError

    @staticmethod
    def _extra_rows(d: int) -> float:
        """Return how many rows, that vary as all do, make a covariance of few rows usable."""
        del d
        return 2.0

    @staticmethod
    def _line_variances(
        variances: np.ndarray[Any, Any], axes: np.ndarray[Any, Any], pooled: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        """Return the variances (k, d) that components have along their principal axes (k, d, d).

        In NumPy; `variances` (k, d) are those of the rows.
        """
        del axes, pooled
        return variances

    @staticmethod
    def _line_values(counts: Any, scatter: Any, overall: Any, d: int) -> Any:
        """Return what a cut along a line makes of expected log-densities, but for a constant.

        `counts` and `scatter` are those of the rows on one side of the cut, `overall` the variance
        of all. Drawn to a variance of 1 by two rows.
        """
        del overall, d
        return -0.5 * counts * np.log((scatter + 2.0) / (counts + 2.0))

    def _rescale(self, centre: np.ndarray[Any, Any], scale: np.ndarray[Any, Any]) -> Self:
        """Return the components of scale · z + centre, for features z that these describe."""
        raise NotImplementedError

    def _move(self, xp: Namespace, counts: Array, empty: Array, moments: GaussianMoments) -> Self:
        """Return the same components at their new means, but for those that are empty."""
        record: Any = self
        shift = moments.first / expand_like(counts, moments.first)
        shift = xp.where(expand_like(empty, shift), 0.0, shift)
        moved: Self = record._replace(means=self.means + shift)
        return moved

    def _draw_together(
        self, xp: Namespace, counts: Array, moments: GaussianMoments, extra: float
    ) -> tuple[Array, GaussianMoments]:
        """Return counts and moments with `extra` more rows that vary as all do within components.

        The moments are about these components' means, which are those of their rows.
        """
        first, second = moments
        pooled = xp.sum(second, axis=0) / xp.sum(counts)
        return counts + extra, GaussianMoments(first, second + extra * pooled[None, ...])

    @classmethod
    def _spread_rows(cls, xp: Namespace, means: Array, variances: Array, n_axes: int) -> Self:
        del n_axes
        return cls._spread(xp, means, variances)

    @classmethod
    def _spread(cls, xp: Namespace, means: Array, variances: Array) -> Self:
        """Return components at `means` (k, d), all with the same variances (d,) of features."""
        raise NotImplementedError

    def _floor(self, xp: Namespace, counts: Array, empty: Array, moments: GaussianMoments) -> Array:
        return self._default_floor(
            xp, counts, empty, *self._means_and_covariances(xp, counts, moments, None)
        )

    def _default_floor(
        self, xp: Namespace, counts: Array, empty: Array, means: Array, covariances: Array
    ) -> Array:
        return default_floor(xp, counts, empty, means, self._variances(xp, covariances))

    def _means_and_covariances(
        self, xp: Namespace, counts: Array, moments: GaussianMoments, floor: Any
    ) -> tuple[Array, Array]:
        """New means, and covariances about them, before the floor is added."""
        raise NotImplementedError

    def _add_floor(self, xp: Namespace, covariances: Array, empty: Array, floor: Any) -> Array:
        """Add the floor to the variances of covariances, and 1 to those of empty components."""
        raise NotImplementedError

    def _variances(self, xp: Namespace, covariances: Array) -> Array:
        """The variances of features (k, d), or those for all features (k,)."""
        raise NotImplementedError

    @staticmethod
    def _from_covariances(xp: Namespace, covariances: Array) -> Array:
        """The field that describes these covariances."""
        raise NotImplementedError

    def _restore_empty(self, xp: Namespace, old: Any, empty: Array) -> Self:
        """Return these components, but the old parameters of empty ones."""
        if isinstance(empty, np.ndarray) and not empty.any():
            return self
        before: Any = old
        after: Any = self
        pairs = zip(before, after, strict=True)
        kept: Self = after._make(xp.where(expand_like(empty, a), a, b) for a, b in pairs)
        return kept


@functools.cache
def smallest_normal(dtype: np.dtype[Any]) -> float:
    """The least variance that is not subnormal."""
    return float(np.finfo(dtype).smallest_normal)


@functools.cache
def _largest_scale(dtype: np.dtype[Any]) -> float:
    """The reciprocal deviation of the least variance that is not subnormal."""
    return float(1.0 / np.sqrt(np.finfo(dtype).smallest_normal))


def _covariances(
    xp: Namespace,
    components: Any,
    counts: Array,
    empty: Array,
    moments: GaussianMoments,
    floor: Any,
) -> Array:
    covariances: Array = components._estimate_covariances(xp, counts, empty, moments, floor)[1]
    return covariances
