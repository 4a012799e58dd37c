"""Rows with errors whose features are independent, where values are visible: NumPy's form.

Each entry of a row has a variance T = V + S of its own, S that of its error. All that is done with
arrays over components, features and rows is done once, for densities and moments.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray
    from estep_xp.arrays.block import BlockOps
    from estep_xp.families.family import ObservedRows
    from estep_xp.families.gaussian.features_with_holes import IndependentForm

_LOG_2PI = math.log(2.0 * math.pi)


class NoisyTerms(NamedTuple):
    """What densities were computed from, for moments."""

    solved: AnyArray  # (x − μ) / T, (k, d, rows), 0 where nothing was observed
    left: AnyArray  # S / T, 0 where nothing was observed
    hidden: AnyArray | None  # (d, rows), 1 where nothing was observed


def evaluate_noisy_features(
    ops: BlockOps, form: IndependentForm, rows: ObservedRows
) -> tuple[AnyArray, NoisyTerms]:
    """Log-joints (k, rows) of a block."""
    xp = ops.xp
    means, variances = (ops.widen(array)[:, :, None] for array in form[:2])
    arrays: tuple[Any, ...] = rows
    x, seen, noise = (array if array.ndim == 2 else array[None, :] for array in arrays)
    noise, hidden = ops.widen(noise), None
    residuals = ops.widen(x) - means
    totals = variances + noise
    if not bool(xp.all(seen)):
        hidden = xp.astype(~seen, totals.dtype)
        residuals *= seen
        xp.copyto(totals, 1.0, where=~seen)
    left = 1.0 / totals
    solved = residuals * left
    left *= noise
    residuals *= solved
    joint = ops.sum(residuals, 1)
    joint += _log_products(ops, totals)
    joint += _LOG_2PI * xp.sum(seen, axis=0)
    joint *= -0.5
    if form.log_weights is not None:
        joint += ops.widen(form.log_weights)[:, None]
    return xp.astype(joint, form.means.dtype, copy=False), NoisyTerms(solved, left, hidden)


def _log_products(ops: BlockOps, totals: AnyArray) -> AnyArray:
    """Logs (k, rows) of products over features, which take less time than sums of logs."""
    xp, d = ops.xp, totals.shape[1]
    limits = xp.finfo(totals.dtype)
    least, most = float(totals.min(initial=1.0)), float(totals.max(initial=1.0))
    if not (
        least > float(limits.smallest_normal) ** (1.0 / d) and most < float(limits.max) ** (1.0 / d)
    ):
        logs: AnyArray = ops.sum(xp.log(totals), 1)
        return logs
    products = totals[:, 0].copy()
    for j in range(1, d):
        products *= totals[:, j]
    return xp.log(products, out=products)


def moments_of_noisy_features(
    ops: BlockOps, form: IndependentForm, kept: NoisyTerms, responsibilities: AnyArray
) -> tuple[AnyArray, AnyArray]:
    """Expected first and second moments (k, d) of v − μ."""
    xp = ops.xp
    variances, r = ops.widen(form.variances), ops.widen(responsibilities)[:, :, None]
    residuals = kept.solved * variances[:, :, None]
    first = xp.matmul(residuals, r)[:, :, 0]
    left = xp.matmul(kept.left, r)[:, :, 0]
    if kept.hidden is not None:
        left += xp.matmul(r[:, :, 0], xp.matrix_transpose(kept.hidden))
    residuals *= residuals
    second = xp.matmul(residuals, r)[:, :, 0] + left * variances
    dtype = responsibilities.dtype
    return xp.astype(first, dtype, copy=False), xp.astype(second, dtype, copy=False)
