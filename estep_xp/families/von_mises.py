"""Von Mises components: angles, which gather around a location on the circle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from estep_xp.arrays.namespace import namespace_of
from estep_xp.arrays.record_repr import parameters, summarized
from estep_xp.arrays.special import bessel_ratio, inverse_bessel_ratio, log_i0_scaled
from estep_xp.arrays.validation import (
    check_finite,
    check_non_negative,
    check_not_empty,
    check_shape,
)
from estep_xp.families.independent_features import IndependentFeatures
from estep_xp.families.limits import Limit, at_least_about_zero, circle_limit, slack
from estep_xp.families.log_prob import log_prob
from estep_xp.families.positive_features import sum_by_component
from estep_xp.families.row_family import rows_first, to_layout

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray, Array, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.namespace import Space
    from estep_xp.arrays.random import Random
    from estep_xp.arrays.shapes import FloatK, FloatNK, LikeN, RealK
    from estep_xp.families.family import ObservedRows

_LOG_2PI = math.log(2.0 * math.pi)
_LARGEST_START = 1e4  # of a start, the largest concentration
_REACH = 12.0  # in deviations, beyond which no angle is likely
_NODES = [(float(t), float(w)) for t, w in zip(*np.polynomial.legendre.leggauss(48), strict=True)]
_ROUNDINGS = 8.0  # of sums about a distant location, by which mean resultants are off


@summarized
class VonMisesStatistics(NamedTuple):
    """Sums about the locations of components, where nothing cancels.

    Parameters
    ----------
    sines : array, shape (k,)
        Σ_i r_ik sin(x_i − μ_k).
    versines : array, shape (k,)
        Σ_i r_ik (1 − cos(x_i − μ_k)).
    """

    sines: FloatK
    versines: FloatK

    def _shown_fields(self) -> dict[str, Any]:
        return self._asdict()


class _LocationsConcentrations(NamedTuple):
    locations: RealK
    concentrations: RealK


@summarized
class VonMises(IndependentFeatures, _LocationsConcentrations):
    """Von Mises components: angles in radians, each component around its location.

    Parameters
    ----------
    locations : array, shape (k,)
        Where the density is highest, an angle in radians.
    concentrations : array, shape (k,)
        At least 0: uniform on the circle at 0, nearly normal with this precision where it is large.

    Notes
    -----
    Of an angle that was not observed `impute` takes the values within half a turn of a component's
    location, whose mean that is: between components means depend on where the circle is cut.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.VonMises(locations=[0.0, 3.0], concentrations=[4.0, 0.0])
    >>> components.log_prob([0.0, 6.2831853]).round(4)
    array([[-0.2628, -1.8379],
           [-0.2628, -1.8379]])
    """

    __slots__ = ()

    _record = VonMisesStatistics
    _n_axes = 1
    _is_unconstrainable = True
    _is_recenterable = True

    def log_prob(self, x: LikeN) -> FloatNK:
        """Log-density of each row under each component.

        Parameters
        ----------
        x : array, shape (n,)
            Angles in radians; whole turns make no difference.

        Returns
        -------
        array, shape (n, k)
            κ_k cos(x − μ_k) − log(2π I₀(κ_k)), in nats for each radian.

        Raises
        ------
        ValueError, TypeError
            If an argument has a wrong shape, dtype or value.

        Examples
        --------
        >>> import estep_xp as ex
        >>> ex.VonMises([1.0], [1e10]).log_prob([1.0, 1.00001]).round(4)
        array([[10.594],
               [10.094]])
        """
        return log_prob(self, x)

    def _shown_fields(self) -> dict[str, Any]:
        return parameters("k", self._asdict())

    def _checked(self, space: Space) -> Self:
        locations = space.parameter("locations", self.locations)
        concentrations = space.parameter("concentrations", self.concentrations)
        check_shape("locations", locations, ("k",))
        check_not_empty("locations", locations.shape[0])
        why = ", the shape of locations"
        check_shape("concentrations", concentrations, tuple(locations.shape), why)
        return type(self)(
            check_finite(space, "locations", locations),
            check_non_negative(space, "concentrations", concentrations),
        )

    def _n_components(self) -> int:
        return int(self.locations.shape[0])

    def _rows_shape(self) -> tuple[int | str, ...]:
        return ("n",)

    def _log_prob_of_features(self, xp: Namespace, x: Array) -> Array:
        # κ cos z − κ is −2 κ sin²(z / 2), which does not cancel.
        half = xp.sin(0.5 * (x[:, None] - self.locations[None, :]))
        normalizers = log_i0_scaled(xp, self.concentrations) + _LOG_2PI
        return -2.0 * (self.concentrations[None, :] * half) * half - normalizers[None, :]

    def _statistics_of_rows(
        self, xp: Namespace, x: Array, responsibilities: Array
    ) -> VonMisesStatistics:
        angles = x[:, None] - self.locations[None, :]
        half = xp.sin(0.5 * angles)
        return VonMisesStatistics(
            sum_by_component(xp, responsibilities, xp.sin(angles)),
            sum_by_component(xp, responsibilities, 2.0 * half * half),
        )

    def _means_of_features(self) -> Array:
        return self.locations

    def _variances_of_features(self) -> Array:
        # Of angles within half a turn of the location, by Gauss and Legendre's rule.
        kappa = self.concentrations
        xp = namespace_of(kappa)
        reach = _REACH / xp.sqrt(xp.where(kappa > 1.0, kappa, 1.0))
        reach = xp.where(reach < math.pi, reach, math.pi)
        total, squares = 0.0 * kappa, 0.0 * kappa
        for node, weight in _NODES:
            angle = 0.5 * (node + 1.0) * reach
            half = xp.sin(0.5 * angle)
            share = weight * xp.exp(-2.0 * kappa * half * half)
            total, squares = total + share, squares + share * angle * angle
        return squares / total

    def _moments_incomplete(
        self, ops: BlockOps, prepared: Any, rows: ObservedRows, form: Any, responsibilities: Array
    ) -> tuple[Array, ...]:
        del prepared, form
        xp = ops.xp
        x, seen = (rows_first(ops, array) for array in (rows.x, rows.seen))
        shares, seen = to_layout(ops, responsibilities), seen[:, None]
        sines, versines = self._statistics_of_rows(xp, x, xp.where(seen, shares, 0.0))
        # An angle that was not observed has no sine in the mean, and 1 − I₁ / I₀ for 1 − cos.
        unseen = xp.sum(xp.where(seen, 0.0, shares), axis=0)
        return sines, versines + unseen * bessel_ratio(xp, self.concentrations)[1]

    def _limits(self, xp: Namespace, counts: Array, moments: Any) -> tuple[Limit, ...]:
        sines, versines = moments
        most = 2.0 * (1.0 + slack(xp, versines)) * counts
        return (
            at_least_about_zero(xp, "versines", versines, counts),
            Limit("versines", versines <= most, "must be at most twice its count"),
            circle_limit(xp, "sines", sines, versines, counts),
        )

    def _maximize(
        self, xp: Namespace, counts: Array, empty: Array, moments: VonMisesStatistics, floor: Any
    ) -> Self:
        del floor
        sine, versine = (xp.where(empty, 0.5, sums / counts) for sums in moments)
        locations, ratio, lack = _resultant(xp, self.locations, sine, versine)
        # Rows that are equal have no concentration that is most likely: it ends at the largest, or
        # from a distant location where equal rows cannot be told from others.
        rounding = _ROUNDINGS * float(xp.finfo(lack.dtype).eps) * xp.abs(versine)
        least = 0.5 / _largest_concentration(xp, lack) + rounding
        concentrations = inverse_bessel_ratio(xp, ratio, xp.where(lack <= least, least, lack))
        return type(self)(
            xp.where(empty, self.locations, locations),
            xp.where(empty, self.concentrations, concentrations),
        )

    def _floor_shares(self, xp: Namespace, floor: Array) -> tuple[AnyArray, AnyArray]:
        del floor
        shares = self.concentrations / _largest_concentration(xp, self.concentrations)
        return shares, shares

    def _recentered(self, xp: Namespace, counts: Array, moments: Any, new: Any) -> Any:
        turn = new.locations - self.locations
        sine, cosine, half = xp.sin(turn), xp.cos(turn), xp.sin(0.5 * turn)
        versine = 2.0 * half * half
        sines, versines = moments
        return VonMisesStatistics(
            sines * cosine - (counts - versines) * sine,
            versines * cosine + counts * versine - sines * sine,
        )

    def _sample(self, xp: Namespace, random: Random, labels: Array) -> Array:
        locations, concentrations = (xp.take(a, labels, axis=0) for a in self)
        return _turned(xp, locations + random.von_mises(concentrations))

    @classmethod
    def _as_points(cls, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.stack([np.cos(x), np.sin(x)], axis=1)

    @classmethod
    def _spread_rows(cls, xp: Namespace, means: Array, variances: Array, n_axes: int) -> Self:
        del n_axes
        locations = _turned(xp, means[:, 0])
        return cls(locations, 1.0 / variances[0] + 0.0 * locations)

    @classmethod
    def _from_shares(cls, xp: Namespace, x: Array, responsibilities: Array) -> Self:
        counts = xp.sum(responsibilities, axis=0)
        sums = (
            xp.matmul(xp.permute_dims(responsibilities, (1, 0)), angles)
            for angles in (xp.sin(x), xp.cos(x))
        )
        # One more row, of the mean of all rows: no component begins without deviations.
        sine, cosine = ((one + xp.sum(one) / xp.sum(counts)) / (counts + 1.0) for one in sums)
        locations, ratio, lack = _resultant(xp, 0.0 * sine, sine, 1.0 - cosine)
        least = 0.5 / _LARGEST_START
        concentrations = inverse_bessel_ratio(xp, ratio, xp.where(lack <= least, least, lack))
        return cls(locations, concentrations)

    def _to_unconstrained(self, xp: Namespace) -> tuple[Array, ...]:
        return self.locations, xp.log(self.concentrations)

    def _from_unconstrained(self, xp: Namespace, *free: Array) -> Self:
        return type(self)(free[0], xp.exp(free[1]))

    def _parameter_units(self, xp: Namespace) -> tuple[Array, ...]:
        # A deviation is about 1 / √κ, and at most a turn.
        return 1.0 / xp.sqrt(1.0 + self.concentrations), 1.0 + self.concentrations


def _resultant(
    xp: Namespace, locations: Array, sine: Array, versine: Array
) -> tuple[Array, Array, Array]:
    """Direction, length and 1 − length of mean resultants, from means about locations."""
    cosine = 1.0 - versine
    square = sine * sine + cosine * cosine
    some = square > 0  # or it has no direction, and no derivative
    length = xp.where(some, xp.sqrt(xp.where(some, square, 1.0)), 0.0)
    lack = (versine * (2.0 - versine) - sine * sine) / (1.0 + length)
    turn = xp.where(some, xp.atan2(xp.where(some, sine, 0.0), xp.where(some, cosine, 1.0)), 0.0)
    bad = sine - sine + (versine - versine)  # a NaN stays one
    return _turned(xp, locations + turn) + bad, length + bad, lack


def _turned(xp: Namespace, angles: Array) -> Array:
    """Angles from −π to π; angles inside that range stay as they are."""
    turns = xp.round(angles / (2.0 * math.pi))
    return angles - turns * (2.0 * math.pi)


def _largest_concentration(xp: Namespace, like: Array) -> float:
    """Where rows are as equal as their dtype can tell."""
    return 1e-3 / float(xp.finfo(like.dtype).eps) ** 2
