"""Log-joints that are only normalised: an estimate is enough where responsibilities underflow.

A component whose log-joint is 746 less than that of another has a responsibility of zero, and adds
nothing to the log-likelihood. Where clusters are far apart, most components are negligible in this
way for a row of many features. Single precision is enough to tell which: at twice the speed, and
without the slices that exact sums need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estep_xp.families.gaussian.residual import ResidualForm
from estep_xp.families.gaussian.strategy import strategy_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.block import BlockOps

_UNDERFLOW = 746.0  # exp of less than minus this is zero
_SAMPLE = 128  # rows that are estimated first, to decide whether estimates save time
_MOST_RELEVANT = 0.5  # largest share of log-joints that are not negligible for that


def log_joint_of_shares(
    ops: BlockOps,
    form: ResidualForm,
    x: Array,
    exact: Callable[[ResidualForm, Array], Array],
) -> Array | None:
    """Log-joints (k, rows) that are exact unless negligible; None where that takes longer.

    `exact(form, x)` computes exact log-joints. P is (k, d, d); rows are last.
    """
    xp, (means, factors, constants) = ops.xp, form
    (k, d), rows = means.shape, x.shape[-1]
    if not strategy_for(ops).estimates(rows, k, d):
        return None
    # In units in which no P is longer than 1, so that single precision holds what matters.
    size = xp.sqrt(xp.max(xp.stack([xp.sum(factors[j, ...] ** 2) for j in range(k)])))
    centre = means[0, :]
    z = (xp.astype(x, xp.float64, copy=False) - centre[:, None]) * size
    means = (means - centre[None, :]) * size
    lengths = xp.sqrt(xp.sum(z * z, axis=0)) + xp.sqrt(xp.max(xp.sum(means * means, axis=1)))
    # Twice the rounding of z, of means, of P, of d products and of their squares.
    terms = 0.5 * lengths * lengths + xp.max(xp.abs(constants))
    slack = 2.0 * (2 * d + 8) * float(xp.finfo(xp.float32).eps) * terms
    z, means = (xp.astype(a, xp.float32) for a in (z, means))

    def estimate(some: slice) -> tuple[Array, Array]:
        norms = ops.estimate_squared_norms(z[:, some], means, factors, 1.0 / size)
        joint = constants[:, None] - 0.5 * norms
        # Log-joints that are not finite are relevant.
        return joint, ~(joint < xp.max(joint, axis=0) - (_UNDERFLOW + slack[some]))

    _, relevant = estimate(slice(None, None, rows // _SAMPLE))
    if float(xp.mean(xp.astype(relevant, xp.float64))) > _MOST_RELEVANT:
        return None
    joint, relevant = estimate(slice(None))
    joint = xp.astype(joint, x.dtype, copy=False)

    def exact_rows(j: int, x: Array) -> Array:
        return exact(ResidualForm(*(a[j : j + 1, ...] for a in form)), x)[0, :]

    return ops.replace_(joint, relevant, exact_rows, x)
