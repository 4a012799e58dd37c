"""Rows with holes whose features are independent, where values are visible: one product.

A log-joint is linear in z², z and 1 of each feature that was observed, so holes are zeros among
these terms, and sums of the same terms are the moments. A bound certifies rows for which that is as
exact as residuals are, as in `product_form.py`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from estep_xp.families.gaussian.error_bound import size_bound
from estep_xp.families.gaussian.product_form import moments_are_exact

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray
    from estep_xp.arrays.block import BlockOps
    from estep_xp.families.family import ObservedRows

_LOG_2PI = math.log(2.0 * math.pi)


class IndependentForm(NamedTuple):
    """Components whose features are independent, made ready for incomplete rows."""

    means: AnyArray  # (k, d)
    variances: AnyArray  # (k, d)
    log_weights: AnyArray | None  # (k,)


class Terms(NamedTuple):
    """What densities were computed from, for moments."""

    values: AnyArray  # (3 d, rows): z², z and flags
    shifts: AnyArray  # (k, d): means about the centre of z
    exact: AnyArray | None  # flags of rows whose log-joints are exact; None: all


def evaluate_features(
    ops: BlockOps, form: IndependentForm, rows: ObservedRows
) -> tuple[AnyArray, Terms]:
    """Log-joints (k, rows) of a block, where they are exact."""
    xp = ops.xp
    means, variances = ops.widen(form.means), ops.widen(form.variances)
    d = means.shape[1]
    x = ops.widen(rows.x if rows.x.ndim == 2 else rows.x[None, :])
    seen = rows.seen if rows.seen.ndim == 2 else rows.seen[None, :]
    centre = 0.5 * xp.max(means, axis=0) + 0.5 * xp.min(means, axis=0)
    shifts = means - centre
    values = xp.empty((3 * d, x.shape[1]), dtype=means.dtype)
    squares, z, flags = values[:d], values[d : 2 * d], values[2 * d :]
    flags[...] = seen
    xp.subtract(x, centre[:, None], out=z)
    z *= flags
    xp.multiply(z, z, out=squares)

    linear = shifts / variances
    constants = -0.5 * (xp.log(variances) + _LOG_2PI + shifts * linear)
    theta = xp.concat([-0.5 / variances, linear, constants], axis=1)
    bound = size_bound(ops, d)
    slices = [*bound.slices, *([slice(2 * d + 1, 3 * d)] if d > 1 else [])]
    joint = ops.multiply_slices(theta, values, slices)
    logs = 0.0 if form.log_weights is None else ops.widen(form.log_weights)[:, None]
    joint += logs

    growth = 1.0 + bound.of_mean + d / 8.0
    bounds = xp.matmul((0.5 * bound.square) / variances, squares)
    bounds += xp.matmul(bound.product * abs(linear), abs(z))
    bounds += growth * xp.sum(abs(constants), axis=1)[:, None] + abs(logs)
    exact = xp.all(bounds <= bound.limit, axis=0)
    kept = Terms(values, shifts, None if bool(exact.all()) else exact)
    return xp.astype(joint, form.means.dtype, copy=False), kept


def moments_of_features(
    ops: BlockOps, form: IndependentForm, kept: Terms, responsibilities: AnyArray
) -> tuple[AnyArray, AnyArray] | None:
    """Expected first and second moments (k, d) of v − μ; None where sums of terms would cancel."""
    xp = ops.xp
    variances = ops.widen(form.variances)
    shifts, d = kept.shifts, form.means.shape[1]
    if not bool(moments_are_exact(xp, shifts, (1.0 / xp.sqrt(variances))[:, :, None])):
        return None
    r = ops.widen(responsibilities)
    sums = xp.matmul(r, xp.matrix_transpose(kept.values))
    squares, linear, seen = sums[:, :d], sums[:, d : 2 * d], sums[:, 2 * d :]
    unseen = xp.matmul(r, 1.0 - xp.matrix_transpose(kept.values[2 * d :]))
    second = squares - (2.0 * linear - seen * shifts) * shifts + unseen * variances
    first = linear - seen * shifts
    dtype = responsibilities.dtype
    return xp.astype(first, dtype, copy=False), xp.astype(second, dtype, copy=False)
