"""Moments of Gaussian components about given means, and the way back to means and covariances.

For responsibilities r they are N = Σ r, Σ r (x − μ) and Σ r (x − μ)(x − μ)ᵀ, or of the last what a
family needs. Blocks of rows share μ, so they add up exactly; and an offset of the data, which would
cancel all digits of Σ r x xᵀ − N x̄ x̄ᵀ, never enters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.linalg import diagonal_matrix
from estep_xp.arrays.record_repr import summarized

_FLOOR_SHARE = 1e-6  # of a feature's variance over all rows


@summarized
class GaussianMoments(NamedTuple):
    """Responsibility-weighted moments about the means that the statistics were centred on.

    Parameters
    ----------
    first : array, shape (k, d)
        Σ_i r_ik (x_i − μ_k); shape (k,) for univariate components.
    second : array
        Σ_i r_ik (x_i − μ_k)(x_i − μ_k)ᵀ, shape (k, d, d), for full covariances; its sum over
        components, (d, d), for tied ones; its diagonals, (k, d), for diagonal ones; its traces,
        (k,), for spherical and univariate ones.
    """

    first: Array
    second: Array

    def _shown_fields(self) -> dict[str, Any]:
        return {"first": self.first, "second": self.second}


def squares(xp: Namespace, weighted: Array, residuals: Array, features: int) -> Array:
    """Diagonals (..., d) of second moments of blocks with their features along an axis."""
    return xp.sum(weighted * residuals, axis=-1 - features)


def trace(xp: Namespace, weighted: Array, residuals: Array, features: int) -> Array:
    """Traces (...) of second moments of blocks."""
    return xp.sum(squares(xp, weighted, residuals, features), axis=-1)


def products(xp: Namespace, weighted: Array, residuals: Array, features: int) -> Array:
    """Second moments (..., d, d) of blocks with their features along an axis."""
    if features == 0:
        return xp.matmul(weighted, xp.matrix_transpose(residuals))
    return xp.matmul(xp.matrix_transpose(weighted), residuals)


def centred_squares(xp: Namespace, second: Array, squared_shift: Array, floor: Any) -> Array:
    """Variances about the new mean from mean squares about an old one, before the floor is added.

    Only whether there is a floor counts here; None is the default one.
    """
    scatter = second - squared_shift
    # Far from the old mean, rounding may leave nothing, or less. If there is a floor, the rounding
    # error itself is the best guess: the next step, from nearby, will know better.
    noise = 4.0 * float(xp.finfo(second.dtype).eps) * squared_shift
    guess = (
        noise
        if floor is None
        else xp.where(xp.zeros_like(noise) + by_feature(floor, noise) > 0, noise, 0.0)
    )
    return xp.where(scatter < noise, guess, scatter)


def centred_products(xp: Namespace, second: Array, shifts: Array, floor: Any) -> Array:
    """Covariances (..., d, d) about the new mean, exactly symmetric, before the floor is added.

    `shifts` (..., d, d) are the products of the new mean's distance from the old one.
    """
    scatter = second - shifts
    symmetric = 0.5 * scatter + 0.5 * xp.matrix_transpose(scatter)
    squares, squared_shifts = (xp.linalg.diagonal(a) for a in (second, shifts))
    variances = centred_squares(xp, squares, squared_shifts, floor)
    return symmetric + diagonal_matrix(xp, variances - xp.linalg.diagonal(symmetric))


def default_floor(xp: Namespace, shares: Array, means: Array, variances: Array) -> Array:
    """A millionth of the variance of each feature over all rows.

    `shares` (k,) of the rows sum to 1; `means` and `variances` are those within the components, of
    each feature, (k, d), or for all features one, (k,). Shape (d,), or () for the latter.
    """
    mean = _over_components(xp, shares, means)
    offsets = means - mean[None, ...]
    rest = _over_components(xp, shares, offsets)  # what rounding has left in the mean
    between = _over_components(xp, shares, offsets * offsets) - rest * rest
    # The variance of numbers that were rounded to these is about that of their last digit.
    rounding = (0.25 * float(xp.finfo(means.dtype).eps) * mean) ** 2
    if variances.ndim < means.ndim:
        between, rounding = xp.mean(between), xp.mean(rounding)
    variance = _over_components(xp, shares, variances) + between
    floor = xp.maximum(_FLOOR_SHARE * variance, rounding)
    # A feature that is 0 in all rows has no scale: any will do. Where squares underflow there is
    # one, but no floor for it: what is left is too small for a variance, and is refused as such.
    limits = xp.finfo(means.dtype)
    vanishing = float(limits.smallest_normal) * float(limits.eps)
    zero = xp.max(xp.abs(means), axis=0) == 0
    if variances.ndim < means.ndim:
        zero = xp.all(zero)
    nothing = xp.where(zero, xp.zeros_like(floor) + _FLOOR_SHARE, vanishing)
    return xp.where((variance == 0) & (rounding == 0), nothing, floor)


def by_feature(floor: Any, like: Array) -> Any:
    """A floor, one number or (d,), ready to broadcast against variances (d,), (k,) or (k, d)."""
    return floor[None, :] if like.ndim == 2 and getattr(floor, "ndim", 0) == 1 else floor


def _over_components(xp: Namespace, shares: Array, values: Array) -> Array:
    """The mean over the components, of values (k,) or (k, d)."""
    return xp.sum(shares[(..., *(None,) * (values.ndim - 1))] * values, axis=0)


def least_pivot(xp: Namespace, covariances: Array) -> float:
    """What rounding leaves of a variance that other features determine, as a share of it."""
    return float(covariances.shape[-1]) * float(xp.finfo(covariances.dtype).eps)
