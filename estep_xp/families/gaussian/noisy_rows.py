"""Rows with errors, where values are visible: NumPy's form of `incomplete.py` for many rows.

Each row has a matrix T = V + S of its own. All are factorised at once, in chunks of rows that stay
in the cache: one operation on a column of matrices is one on vectors over rows and components.
Moments need nothing of the single rows but Σ r u and Σ r (u uᵀ − T⁻¹), with u = T⁻¹ z.

Where errors are not much larger than components, features are those of (v − μ) P, in which V is I.
T is well conditioned there, whatever V is, and V − V T⁻¹ V does not cancel. Where errors are large,
features stay as they are: the error of one feature would swallow all digits of the others.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.arrays.linalg import inverse_lower

if TYPE_CHECKING:
    from collections.abc import Iterator

    from estep_xp.arrays.array_types import AnyArray
    from estep_xp.arrays.block import BlockOps
    from estep_xp.families.family import ObservedRows
    from estep_xp.families.gaussian.dependent_form import DependentForm

_LOG_2PI = math.log(2.0 * math.pi)
_CHUNK_NUMBERS = 1 << 16  # of the matrices of some rows, which stay in the cache
_WHITENED = 1e3  # largest trace of errors in units of components


class _Solved(NamedTuple):
    """Rows of a chunk: the lower Cholesky factor of T, and L⁻¹ z; rows last, components before."""

    factors: AnyArray  # (d, d, k, m), the diagonal being reciprocals
    w: AnyArray  # (d, k, m)
    log_pivots: AnyArray  # (k, m)
    base: AnyArray  # (k, d, d): v − μ = u times it
    hidden: AnyArray | None  # (d, m), 1 where nothing was observed


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
        squares = xp.sum(solved.w * solved.w, axis=0) + solved.log_pivots
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
        inverse = _invert(xp, solved.factors)  # (k, feature, row of L⁻¹, m)
        w = xp.permute_dims(solved.w, (1, 0, 2))
        u = xp.stack([xp.sum(inverse[:, j, j:] * w[:, j:], axis=1) for j in range(d)], axis=1)
        inverse *= xp.sqrt(r)[:, None, None, :]
        flat = xp.reshape(inverse, (k, d, -1))
        products = xp.matmul(flat, xp.matrix_transpose(flat))
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
    covariances = form.covariances
    whole = bool(xp.all(rows.seen))
    sizes = xp.sum(form.factors * form.factors, axis=2)  # trace of Pᵀ S P, if S is diagonal
    dtype = form.means.dtype
    variances = noise if noise.ndim == 2 else xp.stack([noise[j, j] for j in range(d)])
    whitens = whole and bool(xp.all(xp.matmul(sizes, variances) <= _WHITENED))
    base = covariances
    pairs: Any = None
    if whitens:
        p = form.factors
        base = xp.matrix_transpose(inverse_lower(xp, xp.matrix_transpose(p)))
        pairs = p[:, :, :, None] * p[:, :, None, :]  # (k, feature, d, d)
        if noise.ndim == 3:
            pairs = p[:, :, None, :, None] * p[:, None, :, None, :]
        pairs = xp.matrix_transpose(xp.reshape(pairs, (k, -1, d * d)))
    eye = xp.eye(d, dtype=dtype)
    size = max(1, _CHUNK_NUMBERS // (k * d * d))
    for start in range(0, x.shape[1], size):
        some = slice(start, start + size)
        own = ops.widen(noise[..., some])
        m = own.shape[-1]
        z = x[:, some] - form.means[:, :, None]  # (k, d, m)
        hidden = None
        if whitens:
            z = xp.matmul(xp.matrix_transpose(form.factors), z)
            mixed = xp.matmul(pairs, xp.reshape(own, (-1, m)))  # (k, d d, m)
            t = xp.permute_dims(xp.reshape(mixed, (k, d, d, m)), (1, 2, 0, 3))
            t = xp.ascontiguousarray(t)
        else:
            t = xp.empty((d, d, k, m), dtype=dtype)
            t[...] = xp.permute_dims(covariances, (1, 2, 0))[..., None]
            if own.ndim == 3:
                t += own[:, :, None, :]
        for j in range(d):
            if whitens:
                t[j, j] += 1.0
            elif own.ndim == 2:
                t[j, j] += own[j]
        if not whole:
            flags = xp.astype(rows.seen[:, some], dtype)
            hidden = 1.0 - flags
            z *= flags
            t *= (flags[:, None] * flags[None, :])[:, :, None, :]
            t += (eye[:, :, None] * hidden)[:, :, None, :]
        z = xp.ascontiguousarray(xp.permute_dims(z, (1, 0, 2)))
        log_pivots = _factorize(xp, t, z)
        if whitens:  # log |P| is one of the constants already
            yield some, _Solved(t, z, log_pivots, base, hidden)
        else:
            logs = 2.0 * xp.sum(xp.log(xp.linalg.diagonal(form.factors)), axis=1)
            yield some, _Solved(t, z, log_pivots + logs[:, None], base, hidden)


def _factorize(xp: Any, t: AnyArray, z: AnyArray) -> AnyArray:
    """Overwrite the lower triangles of t (d, d, ...) by factors, z (d, ...) by L⁻¹ z."""
    d = len(t)
    pivots = xp.empty_like(z)
    for j in range(d):
        pivots[j] = t[j, j]
        scale = 1.0 / xp.sqrt(t[j, j])
        t[j, j] = scale
        z[j] *= scale
        if j + 1 == d:
            break
        column = t[j + 1 :, j]
        column *= scale
        z[j + 1 :] -= column * z[j]
        for i in range(j + 1, d):
            t[i, j + 1 : i + 1] -= column[i - j - 1] * column[: i - j]
    logs: AnyArray = xp.sum(xp.log(pivots), axis=0)
    return logs


def _invert(xp: Any, factors: AnyArray) -> AnyArray:
    """L⁻ᵀ (k, d, d, m) of lower factors (d, d, k, m), whose diagonals are reciprocals."""
    d, _, k, m = factors.shape
    inverse = xp.zeros((k, d, d, m), dtype=factors.dtype)
    rows = xp.permute_dims(inverse, (2, 1, 0, 3))  # a view
    for i in range(d):
        rows[i, i] = factors[i, i]
        for j in range(i):
            total = xp.sum(factors[i, j:i] * rows[j:i, j], axis=0)
            xp.multiply(total, -factors[i, i], out=rows[i, j])
    return inverse
