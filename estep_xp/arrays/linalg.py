"""Triangular factors: what the Array API standard's linear algebra lacks.

Covariances enter a density through their precision Cholesky factor: upper triangular P with
precision = P Pᵀ, so that (x − μ) P is standardised.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.arrays.array_types import AnyArray, Array, Namespace
from estep_xp.arrays.summation import add_pairwise

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps

_PIECE = 32  # columns of a factor
# A matrix product adds up its terms one after the other. After a large first term each addition
# may round by half a unit of the last digit, all the same way: m additions lose m eps T, and 16 eps
# T are allowed. So m terms are a slice, and slices are added pairwise.
_MOST_TERMS, _SLICE_TERMS, _SHORT_SLICE = 14, 12, 8
_PIECED = 192  # features from which on a factor is cut into pieces, and slices are short
# Features, and matrices of so many, up to which LAPACK takes less time than products, in NumPy.
_SMALL, _FEW = 16, 64


def precision_cholesky(xp: Namespace, covariances: Array, least: float = 0.0) -> Array:
    """Upper triangular P with inv(C) = P Pᵀ for matrices C (..., d, d).

    Where C is not positive definite the result is NaN, or the library raises; callers name the
    matrix. It is NaN, too, where what is left of a variance given other features is not more than
    a share `least` of it.
    """
    # Unit diagonals: in float32 the squares of a factor of variances 1e-30 would underflow.
    symmetric, scale = correlations(xp, covariances)
    lower = xp.linalg.cholesky(symmetric)
    if least > 0:
        pivots = xp.linalg.diagonal(lower)
        good = xp.all(pivots * pivots > least, axis=-1)
        lower = xp.where(good[..., None, None], lower, math.nan)
    inverse = inverse_lower(xp, lower)
    return xp.matrix_transpose(inverse * scale[..., None, :])


def precision_factor(xp: Namespace, precisions: Array) -> Array:
    """Upper triangular P with P Pᵀ = these matrices (..., d, d).

    Where one is not positive definite the result is NaN, or the library raises.
    """
    symmetric, scale = correlations(xp, precisions)
    # Turned round, the lower triangular factor of a matrix is an upper triangular one.
    lower = xp.linalg.cholesky(xp.flip(symmetric, axis=(-2, -1)))
    return xp.flip(lower, axis=(-2, -1)) / xp.expand_dims(scale, axis=-1)


def precisions_of(xp: Namespace, factors: Array) -> Array:
    """Precisions (..., d, d), exactly symmetric, of precision Cholesky factors."""
    factors = xp.triu(factors)
    precisions = xp.matmul(factors, xp.matrix_transpose(factors))
    return 0.5 * precisions + 0.5 * xp.matrix_transpose(precisions)


def correlations(xp: Namespace, covariances: Array) -> tuple[AnyArray, AnyArray]:
    """Correlations (..., d, d), exactly symmetric, and the reciprocal deviations (..., d)."""
    # Reciprocals, one after the other: the derivative of a quotient would underflow.
    scale = 1.0 / xp.sqrt(xp.linalg.diagonal(covariances))
    scaled = covariances * scale[..., :, None] * scale[..., None, :]
    # Libraries read one triangle, or both: they all get the same derivatives from the mean.
    return 0.5 * scaled + 0.5 * xp.matrix_transpose(scaled), scale


def covariances_of(xp: Namespace, factors: Array) -> AnyArray:
    """Covariances (..., d, d), exactly symmetric, of precision Cholesky factors."""
    lower = inverse_lower(xp, xp.matrix_transpose(xp.triu(factors)))
    covariances = xp.matmul(lower, xp.matrix_transpose(lower))
    return 0.5 * covariances + 0.5 * xp.matrix_transpose(covariances)


def inverse_lower(xp: Namespace, lower: Array) -> AnyArray:
    """Inverse of lower triangular matrices (..., d, d), exactly lower triangular.

    By halves: [[A, 0], [B, C]] has the inverse [[A⁻¹, 0], [−C⁻¹ B A⁻¹, C⁻¹]]. It is as accurate as
    substitution (Higham 2002, section 14.2), has no pivots, and is matrix products throughout.
    """
    d = lower.shape[-1]
    if d <= _SMALL and isinstance(lower, np.ndarray) and lower.size <= _FEW * d * d:
        return _inverse_by_lapack(lower)
    if d == 1:
        return 1.0 / lower
    h = d // 2
    a = inverse_lower(xp, lower[..., :h, :h])
    c = inverse_lower(xp, lower[..., h:, h:])
    b = 0.0 - xp.matmul(c, xp.matmul(lower[..., h:, :h], a))  # no negative zeros
    zeros = xp.zeros_like(lower[..., :h, h:])
    return xp.concat([xp.concat([a, zeros], axis=-1), xp.concat([b, c], axis=-1)], axis=-2)


def _inverse_by_lapack(lower: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same by substitution, in one call: a fifth of the time where matrices are small.

    LU with partial pivoting exchanges no rows of an upper triangular matrix, below whose pivots are
    zeros: L is 1, U the matrix itself.
    """
    try:
        inverse = np.linalg.inv(lower.mT)
    except np.linalg.LinAlgError:  # a pivot of exactly 0
        return np.full_like(lower, math.nan)
    return np.add(inverse.mT, 0.0, order="C")  # no negative zeros


def diagonal_matrix(xp: Namespace, diagonals: Array) -> Array:
    """Matrices (..., d, d) with these diagonals (..., d), and zeros elsewhere."""
    if isinstance(diagonals, np.ndarray):
        return np.where(_on_diagonal(diagonals.shape[-1]), diagonals[..., None], 0.0)
    shape = (*diagonals.shape, diagonals.shape[-1])
    return xp.tril(xp.triu(xp.broadcast_to(diagonals[..., None], shape)))


@functools.lru_cache(maxsize=8)
def _on_diagonal(d: int) -> np.ndarray[Any, Any]:
    """Flags (d, d) of the entries on the diagonal; cached, so never written to."""
    return np.eye(d, dtype=bool)


def outer(vectors: Array) -> Array:
    """Products (..., d, d) of the entries of vectors (..., d)."""
    return vectors[..., :, None] * vectors[..., None, :]


def squared_norms(ops: BlockOps, residuals: Array, factor: Array, *, cut: bool) -> Array:
    """Squared lengths (..., n) of residuals times upper triangular factors (..., d, d).

    With `cut`, for rows that are last, a large factor is cut into pieces.
    """
    rows_last, d = ops.axis == 0, factor.shape[-1]
    if not cut or d <= _MOST_TERMS:
        return ops.sum_squares_(
            transform(ops, residuals, factor, _MOST_TERMS, _slice_terms(d)),
            -2 if rows_last else -1,
        )
    if d <= _PIECED:
        return ops.squared_norms(residuals, factor, _cuts(d, _SLICE_TERMS))
    # So large a factor is cut into pieces that are multiplied by few of the zeros below it.
    norms: list[Array] = []
    for start in range(0, d, _PIECE):
        rows = residuals[..., : start + _PIECE, :]
        columns = factor[..., : start + _PIECE, start : start + _PIECE]
        products = transform(ops, rows, columns, _MOST_TERMS, _slice_terms(d))
        norms.append(ops.sum_squares_(products, -2))
    return add_pairwise(norms, ops.add_)


def _slice_terms(d: int) -> int:
    return _SLICE_TERMS if d <= _PIECED else _SHORT_SLICE


def transform(
    ops: BlockOps, residuals: Array, factor: Array, most_terms: int, slice_terms: int
) -> Array:
    """Residuals times factors (..., d, e): (..., n, e), or (..., e, n) with rows last.

    A matrix product adds up its d terms one after the other, which is off by d/8 eps if they round
    alike, and by d/2 eps after a large one. More than `most_terms` of them are cut into slices of
    at most `slice_terms`.
    """
    d = factor.shape[-2]
    if d <= most_terms:
        return _product(ops, residuals, factor, slice(None))
    return _sum_of_products(ops, residuals, factor, _cuts(d, slice_terms))


def _cuts(d: int, terms: int) -> list[int]:
    """Where d terms are cut into slices of about the same size, of at most so many."""
    count = -(-d // terms)
    return [d * i // count for i in range(count + 1)]


def _sum_of_products(ops: BlockOps, residuals: Array, factor: Array, cuts: list[int]) -> Array:
    """Products of the slices between cuts, added pairwise; few of them wait at a time."""
    if len(cuts) == 2:
        return _product(ops, residuals, factor, slice(*cuts))
    middle = len(cuts) // 2
    first = _sum_of_products(ops, residuals, factor, cuts[: middle + 1])
    return ops.add_(first, _sum_of_products(ops, residuals, factor, cuts[middle:]))


def _product(ops: BlockOps, residuals: Array, factor: Array, terms: slice) -> Array:
    if ops.axis == 0:
        transposed = ops.xp.matrix_transpose(factor[..., terms, :])
        return ops.xp.matmul(transposed, residuals[..., terms, :])
    return ops.xp.matmul(residuals[..., terms], factor[..., terms, :])


def sum_error(d: int, terms: int) -> float:
    """Largest error of sums of d terms in slices, in eps of the sum of sizes: all round alike."""
    count = -(-d // terms)
    return 0.25 + min(d, terms) / 8 + 0.5 * math.ceil(math.log2(count))
