"""Rows of a block that take no part: those of sample weight zero, and those of padding."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.arrays.block import expand_rows
from estep_xp.mixture.prepared import MixtureKernel, Prepared, row_log_likelihoods

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.logsumexp import LogNormalized

# Replaces the numbers of a masked row that is not finite, where any finite row has a density.
_PLACEHOLDER = 0.5


@dataclass(frozen=True)
class WeightedKernel(MixtureKernel):
    """What the kernels share that take rows (x,) or (x, sample_weight)."""

    masks: bool  # some sample weight may be zero
    pads: bool = field(default=False, kw_only=True)  # those of padding are, which are good rows

    def check_sample_weight(self, ops: BlockOps, rows: tuple[Array, ...]) -> tuple[Array, ...]:
        """The block, with NaN for bad sample weights where values could not be checked before."""
        if len(rows) == 1 or not self.lazy:
            return rows
        x, weight = rows
        good = (weight >= 0) & (weight < math.inf)
        return x, ops.xp.where(good, weight, math.nan)

    def mask_rows(self, ops: BlockOps, prepared: Prepared, rows: tuple[Array, ...]) -> MaskedRows:
        """The block, with placeholders in rows of weight zero that have no density."""
        rows = self.check_sample_weight(ops, rows)
        if not self.masks:
            return MaskedRows(rows, replaced=rows[1] == 0 if self.pads else None)
        x, weight = rows
        zero = replaced = weight == 0
        placeholder: Any = _PLACEHOLDER
        if prepared.family._has_full_support:
            # Every finite row can be evaluated, and then has a derivative by its weight.
            replaced = zero & _find_unusable(ops, prepared.family._without_holes(ops, x))
        else:
            placeholder = valid_row(ops, x, zero, prepared.family._placeholder(ops))
        x = ops.xp.where(expand_flags(ops, replaced, x.ndim), placeholder, x)
        return MaskedRows((x, weight), zero, replaced)


class MaskedRows(NamedTuple):
    """Rows (x,) or (x, sample_weight) of a block, and flags (rows,) of masked rows."""

    rows: tuple[Array, ...]
    zero: Array | None = None  # rows of weight zero
    replaced: Array | None = None  # those of them that are padding, or whose x is a placeholder

    def zero_replaced(self, ops: BlockOps, values: Array) -> Array:
        """Values of rows, but 0 for replaced rows."""
        if self.replaced is None:
            return values
        return ops.xp.where(expand_flags(ops, self.replaced, values.ndim), 0.0, values)

    def contributions(self, ops: BlockOps, normalized: LogNormalized) -> Array:
        """Log-likelihoods (rows,) by their weights."""
        log_likelihood = row_log_likelihoods(ops, normalized)
        if len(self.rows) == 1:
            return log_likelihood
        return self.zero_replaced(ops, self.rows[1] * log_likelihood)

    def weights(self, ops: BlockOps, like: Array) -> Array:
        """Weights of rows; those of replaced rows have no derivative."""
        if len(self.rows) == 1:
            return ops.xp.ones_like(like)
        return self.zero_replaced(ops, self.rows[1])

    def count_rows(self, ops: BlockOps, like: Array) -> Array:
        """The sum of the weights of rows."""
        if len(self.rows) == 1:
            return ops.count_rows(like)
        total: Array = ops.xp.sum(self.weights(ops, like))
        return total

    def responsibilities(self, ops: BlockOps, normalized: LogNormalized) -> Array:
        """Responsibilities by the weights of their rows; may overwrite the shares."""
        if len(self.rows) == 1:
            return normalized.responsibilities(ops)
        return self.weight_shares(ops, normalized.shares, normalized.total)

    def weight_shares(self, ops: BlockOps, shares: Array, total: Array) -> Array:
        """Shares of a total (rows,), by the weights of rows."""
        return shares * expand_rows(self.weights(ops, total) / total, ops.axis)


def valid_row(ops: BlockOps, x: Array, zero: Array, placeholder: Any) -> Array:
    """A row of the block that takes part, ready to broadcast: it is inside the family's support.

    The placeholder where no row takes part.
    """
    xp = ops.xp
    if zero.shape[0] == 0:
        return x
    first = xp.reshape(xp.argmin(xp.astype(zero, xp.int32)), (1,))
    row = xp.take(x, first, axis=x.ndim - 1 if ops.axis == 0 else 0)
    return xp.where(xp.all(zero), placeholder, row)


def _find_unusable(ops: BlockOps, x: Array) -> Array:
    """Rows with entries that are not finite, or whose squares are not; shape (rows,)."""
    xp = ops.xp
    bad = ~(xp.abs(x) < math.sqrt(float(xp.finfo(x.dtype).max)))
    others = tuple(range(x.ndim - 1)) if ops.axis == 0 else tuple(range(1, x.ndim))
    return xp.any(bad, axis=others) if others else bad


def expand_flags(ops: BlockOps, flags: Array, ndim: int) -> Array:
    """Flags (rows,) ready to broadcast against a block of `ndim` axes."""
    shape = (1,) * (ndim - 1)
    n = flags.shape[0]
    return ops.xp.reshape(flags, (*shape, n) if ops.axis == 0 else (n, *shape))
