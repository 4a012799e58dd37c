"""Gaussian components of some of their features: alone, or given the values of the others.

With precision = P Pᵀ and covariance = AᵀA, A = P⁻¹. Columns of A belong to features, and so do rows
of P. Orthogonal transformations (QR) of chosen ones give the factors of a marginal and of a
conditional distribution without a covariance, whose condition is that of a factor squared.
"""

from __future__ import annotations

from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.linalg import inverse_lower


def choose(xp: Namespace, array: Array, features: tuple[int, ...], axis: int) -> Array:
    """Entries of these features, in this order, along an axis."""
    before = (slice(None),) * axis
    return xp.concat([array[(*before, slice(j, j + 1), ...)] for j in features], axis=axis)


def marginal_factors(xp: Namespace, factors: Array, features: tuple[int, ...]) -> Array:
    """Precision Cholesky factors (..., f, f) of some features alone, of factors (..., d, d)."""
    m = len(features)
    if features == tuple(range(m)):  # x_1 ... x_m are functions of z_1 ... z_m alone
        return xp.triu(factors[..., :m, :m])
    columns = choose(xp, _inverse(xp, factors), features, factors.ndim - 1)
    return _inverse(xp, _positive_r(xp, columns)[1])


def conditional_factors(
    xp: Namespace, factors: Array, known: tuple[int, ...], others: tuple[int, ...]
) -> tuple[Array, Array]:
    """Precision Cholesky factors (..., o, o) of features given the others, and slopes (..., f, o).

    Slopes are those of their means by the known values.
    """
    axis, factors = factors.ndim - 2, xp.triu(factors)
    if known == tuple(range(len(known))):  # P is in this order already
        f = len(known)
        own, cross = factors[..., f:, f:], factors[..., :f, f:]
    else:
        # P in the order (known, others), turned into an upper triangular matrix from the right.
        rows = choose(xp, factors, others[::-1], axis)
        q, r = _positive_r(xp, xp.matrix_transpose(rows))
        own = xp.matrix_transpose(xp.flip(r, axis=(-2, -1)))
        cross = xp.flip(xp.matmul(choose(xp, factors, known, axis), q), axis=-1)
    return own, 0.0 - xp.matmul(cross, _inverse(xp, own))


def _positive_r(xp: Namespace, columns: Array) -> tuple[Array, Array]:
    """Q and R of columns (..., d, m), the diagonal of R positive."""
    q, r = xp.linalg.qr(columns)
    diagonal = xp.linalg.diagonal(r)
    signs = xp.where(diagonal < 0, -xp.ones_like(diagonal), 1.0)
    return q * signs[..., None, :], xp.triu(r * signs[..., :, None])


def _inverse(xp: Namespace, upper: Array) -> Array:
    """Inverse of upper triangular matrices."""
    lower = inverse_lower(xp, xp.matrix_transpose(xp.triu(upper)))
    return xp.matrix_transpose(lower)
