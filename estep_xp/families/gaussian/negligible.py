"""Log-joints that are only normalised: an estimate will do where they underflow.

A component whose log-joint is 746 less than that of another has a responsibility of zero, and adds
nothing to the log-likelihood. Where clusters stand apart, that is what most components are to a
row of many features, and single precision is enough to tell which: at twice the speed, and without
the slices that exact sums need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estep_xp.families.gaussian.residual import Standardizer
from estep_xp.families.gaussian.strategy import strategy_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.block import BlockOps

_UNDERFLOW = 746.0  # exp of less than minus this is zero
_SAMPLE = 128  # rows that tell whether estimates pay
_MOST_EXACT = 0.5  # share of log-joints that may count for estimates to pay


def log_joint_of_shares(
    ops: BlockOps,
    prepared: Standardizer,
    x: Array,
    exactly: Callable[[Standardizer, Array], Array],
) -> Array | None:
    """Log-joints (k, rows) that are exact unless they underflow, or None where that takes longer.

    `exactly` gives exact ones. With P (k, d, d) that of components; rows are last.
    """
    xp, (means, factors, constants) = ops.xp, prepared
    (k, d), rows = means.shape, x.shape[-1]
    if not strategy_for(ops).estimates(rows, k, d):
        return None
    # In units in which no P is longer than 1, so that single precision holds what matters.
    size = xp.sqrt(xp.max(xp.stack([xp.sum(factors[j, ...] ** 2) for j in range(k)])))
    centre = means[0, :]
    z = (xp.astype(x, xp.float64, copy=False) - centre[:, None]) * size
    means = (means - centre[None, :]) * size
    lengths = xp.sqrt(xp.sum(z * z, axis=0)) + xp.sqrt(xp.max(xp.sum(means * means, axis=1)))
    # Twice what rounding of z, of means, of P, of d products and of their squares comes to.
    terms = 0.5 * lengths * lengths + xp.max(xp.abs(constants))
    slack = 2.0 * (2 * d + 8) * float(xp.finfo(xp.float32).eps) * terms
    z, means = (xp.astype(a, xp.float32) for a in (z, means))

    def estimate(some: slice) -> tuple[Array, Array]:
        norms = ops.estimate_squared_norms(z[:, some], means, factors, 1.0 / size)
        joint = constants[:, None] - 0.5 * norms
        # Numbers that are not finite count.
        return joint, ~(joint < xp.max(joint, axis=0) - (_UNDERFLOW + slack[some]))

    _, counts = estimate(slice(None, None, rows // _SAMPLE))
    if float(xp.mean(xp.astype(counts, xp.float64))) > _MOST_EXACT:
        return None
    joint, counts = estimate(slice(None))
    joint = xp.astype(joint, x.dtype, copy=False)

    def exact_rows(j: int, x: Array) -> Array:
        return exactly(Standardizer(*(a[j : j + 1, ...] for a in prepared)), x)[0, :]

    return ops.replace_(joint, counts, exact_rows, x)
