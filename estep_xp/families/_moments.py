"""Moments of Gaussian components about given means, and the way back to means and covariances.

For responsibilities r they are N = Σ r, Σ r (x − μ) and Σ r (x − μ)(x − μ)ᵀ, or of the last what a
family needs. Blocks of rows share μ, so they add up exactly; and an offset of the data, which would
cancel all digits of Σ r x xᵀ − N x̄ x̄ᵀ, never enters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from estep_xp._linalg import diagonal_matrix
from estep_xp._repr import summarized
from estep_xp._typing import Array, Namespace


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


def centred_squares(xp: Namespace, second: Array, squared_shift: Array, floor: Array) -> Array:
    """Variances about the new mean from mean squares about an old one; plus a floor."""
    scatter = second - squared_shift
    # Far from the old mean, rounding may leave nothing, or less. If there is a floor, the rounding
    # error itself is the best guess: the next step, from nearby, will know better.
    noise = 4.0 * float(xp.finfo(second.dtype).eps) * squared_shift
    guess = xp.where(floor > 0, noise, 0.0)
    return xp.where(scatter < noise, guess, scatter) + floor


def centred_products(xp: Namespace, second: Array, shifts: Array, floor: Array) -> Array:
    """Covariances (..., d, d) about the new mean, exactly symmetric; plus a floor.

    `shifts` (..., d, d) are the products of the new mean's distance from the old one.
    """
    scatter = second - shifts
    symmetric = 0.5 * scatter + 0.5 * xp.matrix_transpose(scatter)
    squares, squared_shifts = (xp.linalg.diagonal(a) for a in (second, shifts))
    variances = centred_squares(xp, squares, squared_shifts, floor)
    return symmetric + diagonal_matrix(xp, variances - xp.linalg.diagonal(symmetric))


def least_pivot(xp: Namespace, covariances: Array) -> float:
    """What rounding leaves of a variance that other features determine, as a share of it."""
    return float(covariances.shape[-1]) * float(xp.finfo(covariances.dtype).eps)
