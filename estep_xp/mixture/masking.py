"""Rows of a block that take no part: those of sample weight zero, and those of padding."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.arrays.block import expand_rows
from estep_xp.mixture.prepared import MixtureKernel, Prepared, log_likelihood_of

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.logsumexp import LogNormalized

# Stands in for the numbers of a masked row that is not finite, where any number has a density.
_PLACEHOLDER = 0.5


@dataclass(frozen=True)
class WeightedKernel(MixtureKernel):
    """What the kernels share that take rows (x,) or (x, sample_weight)."""

    masks: bool  # some sample weight may be zero
    pads: bool = field(default=False, kw_only=True)  # those of padding are, which are good rows

    def looked_at(self, ops: BlockOps, rows: tuple[Array, ...]) -> tuple[Array, ...]:
        """The block with NaN for bad sample weights that nobody could look at before."""
        if len(rows) == 1 or not self.lazy:
            return rows
        x, weight = rows
        good = (weight >= 0) & (weight < math.inf)
        return x, ops.xp.where(good, weight, math.nan)

    def masked(self, ops: BlockOps, prepared: Prepared, rows: tuple[Array, ...]) -> Masked:
        """The block with harmless numbers in its blank rows, and which those are."""
        rows = self.looked_at(ops, rows)
        if not self.masks:
            return Masked(rows, blank=rows[1] == 0 if self.pads else None)
        x, weight = rows
        zero = blank = weight == 0
        stand_in: Any = _PLACEHOLDER
        if prepared.family._has_full_support:
            # All the others can be evaluated, and have a derivative by their weight.
            blank = zero & _unusable(ops, x)
        else:
            stand_in = _valid_row(ops, x, zero)
        x = ops.xp.where(_to_rows(ops, blank, x.ndim), stand_in, x)
        return Masked((x, weight), zero, blank)


class Masked(NamedTuple):
    """Rows (x,) or (x, sample_weight) of a block, and which of them take no part.

    Blank is a row of weight zero whose density may not be asked for: its x is a harmless number.
    """

    rows: tuple[Array, ...]
    zero: Array | None = None
    blank: Array | None = None

    def where_usable(self, ops: BlockOps, values: Array) -> Array:
        """Values of rows, but 0 for blank ones."""
        if self.blank is None:
            return values
        return ops.xp.where(_to_rows(ops, self.blank, values.ndim), 0.0, values)

    def contributions(self, ops: BlockOps, normalized: LogNormalized) -> Array:
        """Log-likelihoods (rows,) by their weights."""
        log_likelihood = log_likelihood_of(ops, normalized)
        if len(self.rows) == 1:
            return log_likelihood
        return self.where_usable(ops, self.rows[1] * log_likelihood)

    def weights(self, ops: BlockOps, like: Array) -> Array:
        """Weights of rows; of blank ones without a derivative."""
        if len(self.rows) == 1:
            return ops.xp.ones_like(like)
        return self.where_usable(ops, self.rows[1])

    def responsibilities(self, ops: BlockOps, normalized: LogNormalized) -> Array:
        """Responsibilities by the weights of their rows; may overwrite the shares."""
        if len(self.rows) == 1:
            return normalized.responsibilities(ops)
        return self.shared_out(ops, normalized.shares, normalized.total)

    def shared_out(self, ops: BlockOps, shares: Array, total: Array) -> Array:
        """Shares of a total (rows,), by the weights of rows."""
        return shares * expand_rows(self.weights(ops, total) / total, ops.axis)


def _valid_row(ops: BlockOps, x: Array, zero: Array) -> Array:
    """A row of the block that takes part, ready to broadcast: it is inside the family's support.

    Zeros where no row takes part: a number at least, and a count.
    """
    xp = ops.xp
    if zero.shape[0] == 0:
        return x
    first = xp.reshape(xp.argmin(xp.astype(zero, xp.int32)), (1,))
    row = xp.take(x, first, axis=x.ndim - 1 if ops.axis == 0 else 0)
    return xp.where(xp.all(zero), xp.zeros_like(row), row)


def _unusable(ops: BlockOps, x: Array) -> Array:
    """Rows with entries that are not finite, or whose squares are not; shape (rows,)."""
    xp = ops.xp
    bad = ~(xp.abs(x) < math.sqrt(float(xp.finfo(x.dtype).max)))
    others = tuple(range(x.ndim - 1)) if ops.axis == 0 else tuple(range(1, x.ndim))
    return xp.any(bad, axis=others) if others else bad


def _to_rows(ops: BlockOps, flags: Array, ndim: int) -> Array:
    """Flags (rows,) ready to broadcast against a block of `ndim` axes."""
    shape = (1,) * (ndim - 1)
    n = flags.shape[0]
    return ops.xp.reshape(flags, (*shape, n) if ops.axis == 0 else (n, *shape))
