"""Rows with errors, where values are visible: NumPy's form of `incomplete.py` for many rows.

Each row has a matrix T = V + S of its own. All are factorised at once, in chunks of rows that stay
in the cache: one operation on a column of matrices is one on vectors over rows and components.
Moments need nothing of the single rows but Σ r u and Σ r (u uᵀ − T⁻¹), with u = T⁻¹ z.

Where errors are not much larger than components, features are those of (v − μ) P, in which V is I.
T is well conditioned there, whatever V is, and V − V T⁻¹ V does not cancel. Where errors are large,
features stay as they are: the error of one feature would swallow all digits of the others.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp.arrays import linalg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from estep_xp.arrays.array_types import AnyArray
    from estep_xp.arrays.block import BlockOps
    from estep_xp.families.family import ObservedRows
    from estep_xp.families.gaussian.dependent_form import DependentForm

_LOG_2PI = math.log(2.0 * math.pi)
_CHUNK_NUMBERS = 1 << 18  # of an array of a chunk of rows; half as many take a third longer
_WHITENED = 1e3  # largest trace of errors in units of components


class _Solved(NamedTuple):
    """Rows of a chunk: the lower Cholesky factor of T, and L⁻¹ z; components first, rows last.

    Triangles are packed: their entries along one axis, of d (d + 1) / 2, column after column.
    """

    factors: AnyArray  # (k, triangle, m), the diagonal being reciprocals
    w: AnyArray  # (k, d, m)
    log_pivots: AnyArray  # (k, m)
    base: AnyArray  # (k, d, d): v − μ = u times it
    hidden: AnyArray | None  # (d, m), 1 where nothing was observed


class _Triangle(NamedTuple):
    """Where a packed lower triangle has its entries."""

    rows: AnyArray
    columns: AnyArray
    begins: list[int]  # of columns, which begin with the diagonal, and the end


@functools.cache
def _triangle(d: int) -> _Triangle:
    columns, rows = np.triu_indices(d)
    return _Triangle(rows, columns, [0, *itertools.accumulate(range(d, 0, -1))])


Chunks = list[tuple[slice, _Solved]]


def evaluate_noisy(
    ops: BlockOps, form: DependentForm, rows: ObservedRows
) -> tuple[AnyArray, Chunks]:
    """Log-joints (k, rows) of a block, and what its chunks of rows know for moments."""
    xp = ops.xp
    joint: AnyArray = xp.empty((form.means.shape[0], rows.x.shape[1]), dtype=rows.x.dtype)
    form = _widened(ops, form)
    n_seen = xp.sum(rows.seen, axis=0)
    chunks = []
    for some, solved in _solve(ops, form, rows):
        chunks.append((some, solved))
        squares = xp.sum(solved.w * solved.w, axis=1) + solved.log_pivots
        squares += _LOG_2PI * n_seen[some]
        joint[:, some] = form.constants[:, None] - 0.5 * squares
    return joint, chunks


def moments_noisy(
    ops: BlockOps, form: DependentForm, chunks: Chunks, responsibilities: AnyArray
) -> tuple[AnyArray, AnyArray]:
    """Expected first (k, d) and second moments (k, d, d) of v − μ."""
    xp = ops.xp
    k, d = form.means.shape
    form = _widened(ops, form)
    first, second = (xp.zeros(shape, dtype=form.means.dtype) for shape in ((k, d), (k, d, d)))
    for some, solved in chunks:
        r = ops.widen(responsibilities[:, some])
        u, products = _invert(xp, solved, xp.sqrt(r))
        middle = xp.matmul(u * r[:, None, :], xp.matrix_transpose(u)) - products
        if solved.hidden is not None:  # T is 1 there
            unseen = xp.matmul(r, solved.hidden.T)
            middle += unseen[:, :, None] * xp.eye(d)
        base = solved.base
        first += xp.matmul(xp.sum(u * r[:, None, :], axis=2)[:, None, :], base)[:, 0, :]
        second += xp.matmul(xp.matmul(xp.matrix_transpose(base), middle), base)
        second += xp.sum(r, axis=1)[:, None, None] * form.covariances
    dtype = responsibilities.dtype
    return xp.astype(first, dtype, copy=False), xp.astype(second, dtype, copy=False)


def _widened(ops: BlockOps, form: DependentForm) -> DependentForm:
    return type(form)(*map(ops.widen, form))


def _solve(
    ops: BlockOps, form: DependentForm, rows: ObservedRows
) -> Iterator[tuple[slice, _Solved]]:
    xp, x, noise = ops.xp, rows.x, rows.noise
    k, d = form.means.shape
    assert noise is not None
    triangle = _triangle(d)
    dtype = form.means.dtype
    sizes = xp.sum(form.factors * form.factors, axis=2)  # trace of Pᵀ S P, if S is diagonal
    variances = noise if noise.ndim == 2 else xp.stack([noise[j, j] for j in range(d)])
    whole = bool(xp.all(rows.seen))
    whitens = whole and bool(xp.all(xp.matmul(sizes, variances) <= _WHITENED))
    base, logs = form.covariances, 2.0 * xp.sum(xp.log(xp.linalg.diagonal(form.factors)), axis=1)
    if whitens:  # log |P| is one of the constants already
        base, logs = _inverse(xp, form.factors), xp.zeros_like(logs)
        mix = _mixing(form.factors, triangle, diagonal=noise.ndim == 2)
    size = max(1, _CHUNK_NUMBERS // (k * len(triangle.rows)))
    for start in range(0, x.shape[1], size):
        some = slice(start, start + size)
        errors = noise[..., some] if noise.ndim == 2 else noise[*triangle[:2], some]
        errors = ops.widen(errors)
        z = x[:, some] - form.means[:, :, None]
        hidden = None
        if whitens:
            z = xp.matmul(xp.matrix_transpose(form.factors), z)
            t = xp.matmul(mix, errors)
            t[:, triangle.begins[:-1]] += 1.0
        else:
            t = xp.empty((k, len(triangle.rows), z.shape[-1]), dtype=dtype)
            t[...] = form.covariances[:, *triangle[:2]][..., None]
            t[:, triangle.begins[:-1] if noise.ndim == 2 else slice(None)] += errors
        if not whole:
            flags = xp.astype(rows.seen[:, some], dtype)
            hidden = 1.0 - flags
            z *= flags
            t *= flags[triangle.rows] * flags[triangle.columns]
            t[:, triangle.begins[:-1]] += hidden
        yield some, _Solved(t, z, _factorize(xp, t, z) + logs[:, None], base, hidden)


def _inverse(xp: Any, factors: AnyArray) -> AnyArray:
    inverse: AnyArray = linalg.inverse_lower(xp, xp.matrix_transpose(factors))
    return xp.matrix_transpose(inverse)


def _mixing(factors: AnyArray, triangle: _Triangle, *, diagonal: bool) -> AnyArray:
    """The matrices (k, triangle, d or triangle) that make Pᵀ S P of S."""
    i, j, _ = triangle
    if diagonal:
        return (factors[:, :, i] * factors[:, :, j]).swapaxes(1, 2)
    one, other = factors[:, i], factors[:, j]  # of an entry of S, and the same of its mirror image
    mixed = one[:, :, i] * other[:, :, j]
    mixed += np.where(i == j, 0.0, 1.0)[:, None] * (other[:, :, i] * one[:, :, j])
    return mixed.swapaxes(1, 2)


def _factorize(xp: Any, t: AnyArray, z: AnyArray) -> AnyArray:
    """Overwrite triangles t (k, triangle, m) by factors, z (k, d, m) by L⁻¹ z."""
    d = z.shape[1]
    begins = _triangle(d).begins
    pivots = xp.empty_like(z)
    for j in range(d):
        begin, end = begins[j], begins[j + 1]
        pivots[:, j] = t[:, begin]
        scale = 1.0 / xp.sqrt(t[:, begin])
        t[:, begin] = scale
        z[:, j] *= scale
        column = t[:, begin + 1 : end]
        column *= scale[:, None]
        z[:, j + 1 :] -= column * z[:, j, None]
        for i in range(j + 1, d):
            t[:, begins[i] : begins[i + 1]] -= column[:, i - j - 1 :] * column[:, i - j - 1, None]
    logs: AnyArray = xp.sum(xp.log(pivots), axis=1)
    return logs


def _invert(xp: Any, solved: _Solved, roots: AnyArray) -> tuple[AnyArray, AnyArray]:
    """T⁻¹ z (k, d, m), and sums (k, d, d) of T⁻¹ over rows, given roots (k, m) of their shares."""
    factors, w = solved.factors, solved.w
    k, d, m = w.shape
    begins = _triangle(d).begins
    u = xp.zeros_like(w)
    products = xp.zeros((k, d, d), dtype=w.dtype)
    inverse: list[AnyArray] = []  # row by row
    for i in range(d):
        row = xp.zeros((k, i + 1, m), dtype=w.dtype)
        row[:, i] = 1.0
        for j, above in enumerate(inverse):
            row[:, : j + 1] -= above * factors[:, begins[j] + i - j, None]
        row *= factors[:, begins[i], None]
        inverse.append(row)
        u[:, : i + 1] += row * w[:, i, None]
        scaled = row * roots[:, None]
        products[:, : i + 1, : i + 1] += xp.matmul(scaled, xp.matrix_transpose(scaled))
    return u, products
