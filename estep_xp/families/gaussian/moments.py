"""Moments of Gaussian components about given means, and the way back to means and covariances.

For responsibilities r they are N = Σ r, Σ r (x − μ) and Σ r (x − μ)(x − μ)ᵀ, or the part of the
last that a family needs. Blocks of rows share μ, so their moments add up; and an offset of the
data, which would cancel all digits of Σ r x xᵀ − N x̄ x̄ᵀ, never enters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.block import expand_like
from estep_xp.arrays.linalg import diagonal_matrix
from estep_xp.arrays.record_repr import summarized

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import FloatKd, FloatSecondMoments

_FLOOR_SHARE = 1e-6  # of the variance of a feature over all rows


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

    first: FloatKd
    second: FloatSecondMoments

    def _shown_fields(self) -> dict[str, Any]:
        return {"first": self.first, "second": self.second}


def squares(xp: Namespace, weighted: Array, residuals: Array, axis: int) -> Array:
    """Diagonals (..., d) of second moments of blocks with features along `axis`."""
    return xp.sum(weighted * residuals, axis=-1 - axis)


def trace(xp: Namespace, weighted: Array, residuals: Array, axis: int) -> Array:
    """Traces (...) of second moments of blocks with features along `axis`."""
    return xp.sum(squares(xp, weighted, residuals, axis), axis=-1)


def products(xp: Namespace, weighted: Array, residuals: Array, axis: int) -> Array:
    """Second moments (..., d, d) of blocks with features along `axis`."""
    if axis == 0:
        return xp.matmul(weighted, xp.matrix_transpose(residuals))
    return xp.matmul(xp.matrix_transpose(weighted), residuals)


def centred_squares(xp: Namespace, second: Array, squared_shift: Array, floor: Any) -> Array:
    """Variances about the new mean from mean squares about an old one, before the floor is added.

    `floor` only says whether a floor will be added; None stands for the default one.
    """
    scatter = second - squared_shift
    # Far from the old mean, rounding may leave zero or less. If a floor will be added, the rounding
    # error is taken for the variance: the next step starts near the mean and computes it exactly.
    noise = 4.0 * float(xp.finfo(second.dtype).eps) * squared_shift
    guess = noise
    if not (floor is None or (isinstance(floor, float) and floor > 0)):
        guess = xp.where(xp.zeros_like(noise) + by_feature(floor, noise) > 0, noise, 0.0)
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


def default_floor(
    xp: Namespace, counts: Array, empty: Array, means: Array, variances: Array
) -> Array:
    """A millionth of the variance of each feature over all rows.

    `means` and `variances` are those of the components, of each feature, (k, d), or one for all
    features, (k,); of `empty` ones they may be any numbers. Shape (d,), or () for the latter.
    """
    means, variances = (xp.where(expand_like(empty, a), 0.0, a) for a in (means, variances))
    counts = xp.where(empty, 0.0, counts)
    total = xp.sum(counts)
    proportions = counts / xp.where(total > 0, total, 1.0)
    mean = _mean_over_components(xp, proportions, means)
    offsets = means - mean[None, ...]
    rest = _mean_over_components(xp, proportions, offsets)  # rounding error of the mean
    between = _mean_over_components(xp, proportions, offsets * offsets) - rest * rest
    # Values that are equal after rounding to the dtype have about the variance of their last digit.
    rounding = (0.25 * float(xp.finfo(means.dtype).eps) * mean) ** 2
    if variances.ndim < means.ndim:
        between, rounding = xp.mean(between), xp.mean(rounding)
    variance = _mean_over_components(xp, proportions, variances) + between
    floor = xp.maximum(_FLOOR_SHARE * variance, rounding)
    # A feature that is 0 in all rows has no scale: any floor is right. Where squares underflow,
    # there is a scale, but no floor: such a variance is too small and refused later.
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


def _mean_over_components(xp: Namespace, proportions: Array, values: Array) -> Array:
    """The weighted mean over the components of values (k,) or (k, d)."""
    return xp.sum(expand_like(proportions, values) * values, axis=0)


def least_pivot(xp: Namespace, covariances: Array) -> float:
    """The share of a variance that rounding leaves if other features determine the feature."""
    return float(covariances.shape[-1]) * float(xp.finfo(covariances.dtype).eps)


def shared_covariances(xp: Namespace, x: Array, responsibilities: Array) -> tuple[Array, Array]:
    """Means (k, d) and covariances (k, d, d) of rows (n, d) by shares (n, k), to start from.

    Covariances are those of d + 1 more rows that vary as all do, and as the least floor, so that an
    E-step can use them whatever the rows are.
    """
    n, d = x.shape
    overall = _moments_of(xp, x, xp.ones_like(x[:, :1]) / float(n))
    shares = responsibilities / xp.sum(responsibilities)
    counts = float(n) * xp.sum(shares, axis=0)
    means, covariances = _moments_of(xp, x, shares / xp.sum(shares, axis=0))
    variances = xp.linalg.diagonal(overall[1])[0, :]
    limits = xp.finfo(x.dtype)
    rounding = (0.25 * float(limits.eps) * overall[0][0, :]) ** 2
    # A feature that never varies has any scale.
    rounding = xp.where(overall[0][0, :] == 0, _FLOOR_SHARE, rounding)
    variances = xp.where(variances > rounding, variances, rounding)
    extra = float(d + 1)
    pooled = diagonal_matrix(xp, variances)[None, :, :]
    weight = counts[:, None, None]
    return means, (weight * covariances + extra * pooled) / (weight + extra)


def _moments_of(xp: Namespace, x: Array, shares: Array) -> tuple[Array, Array]:
    """Means (k, d) and covariances (k, d, d) of rows by shares (n, k) whose sums are 1."""
    by_component = xp.permute_dims(shares, (1, 0))
    origin = x[0, :]
    means = xp.matmul(by_component, x - origin)
    found = []
    for j in range(shares.shape[1]):
        z = (x - origin) - means[j, :]
        found.append(xp.matmul(xp.matrix_transpose(z * shares[:, j : j + 1]), z))
    return means + origin, xp.stack(found)
