"""Gaussian components whose features depend on each other, made ready for incomplete rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from estep_xp.arrays import linalg

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.block import BlockOps


class DependentForm(NamedTuple):
    """Components whose features depend on each other, made ready for incomplete rows."""

    means: Array  # (k, d)
    factors: Array  # (k, d, d): precision Cholesky factors
    covariances: Array  # (k, d, d)
    constants: Array  # (k,): log w + log |P|


def prepare_dependent(
    ops: BlockOps, means: Array, factors: Array, log_weights: Array | None
) -> DependentForm:
    """Prepare components with precision Cholesky factors (k, d, d), or (d, d) of all."""
    xp = ops.xp
    k, d = means.shape
    factors = xp.broadcast_to(xp.triu(factors), (k, d, d))
    constants = ops.sum(xp.log(xp.linalg.diagonal(factors)), 1)
    if log_weights is not None:
        constants = constants + log_weights
    return DependentForm(means, factors, linalg.covariances_of(xp, factors), constants)
