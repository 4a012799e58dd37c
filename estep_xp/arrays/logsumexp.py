"""Sums of exponentials in log space, and the weights that enter them.

The Array API standard has no logsumexp; and a plain one, given log weights, has no derivative with
respect to a weight of zero. Both needs meet in `MixingWeights` and `normalize`.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.block import expand_components, expand_rows

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps

# Exponents up to this share of the largest one may be summed, multiplied and divided unshifted.
_SAFE = 0.85


class MixingWeights(NamedTuple):
    """Mixing weights made ready for log space, so that w_k exp(l_k) = gain_k exp(l_k + log_k).

    A positive weight goes into `log`. A weight of zero has no logarithm: it goes into `gain`, which
    keeps the value 0 and the one-sided derivative exp(l_k). Without zeros `gain` is None.
    """

    log: Array  # (k,)
    gain: Array | None = None  # (k,)
    mask: Array | None = None  # (k,) -inf where the weight is zero, 0 elsewhere


def mixing_weights(ops: BlockOps, weights: Array, *, zeros: bool) -> MixingWeights:
    """Normalise `weights` (k,) in log space; with `zeros` some of them may be zero."""
    xp = ops.xp
    # In logarithms: a sum of 1e308s overflows, and so does the derivative of a quotient of 1e-30s.
    if not zeros:
        log = xp.log(weights)
        if ops.values_visible:
            total = float(xp.sum(weights))
            if total < math.inf:
                return MixingWeights(log - math.log(total))
        largest = xp.max(ops.without_derivative(log))
        return MixingWeights(log - (largest + xp.log(xp.sum(xp.exp(log - largest)))))
    positive = weights > 0
    log = xp.log(xp.where(positive, weights, 1.0))
    largest = xp.max(ops.without_derivative(xp.where(positive, log, -math.inf)))
    gain = xp.where(positive, 1.0, weights + 0.0)  # no zero has a sign
    # Beside nothing but subnormal weights the factor would overflow, and zero times it be NaN.
    ceiling = _ceiling(xp, weights.dtype)
    factor = xp.exp(xp.where(-largest > ceiling, ceiling, -largest))
    shares = xp.where(positive, xp.exp(log - largest), gain * factor)
    mask = xp.where(positive, xp.zeros_like(gain), -math.inf)
    return MixingWeights(log - (largest + xp.log(xp.sum(shares))), gain, mask)


def without_dead(joint: Array, weights: MixingWeights, axis: int) -> Array:
    """-inf where the weight is zero, and NaN over NaN and +inf, which no weight may hide."""
    return joint if weights.mask is None else joint + expand_components(weights.mask, axis)


@functools.cache
def _safe_limit(xp: Namespace, dtype: Any) -> float:
    return _SAFE * math.log(float(xp.finfo(dtype).max))


def _ceiling(xp: Namespace, dtype: Any) -> float:
    """The largest exponent that does not overflow."""
    limits = xp.finfo(dtype)
    return math.log(float(limits.max)) * (1.0 - float(limits.eps))


class LogNormalized(NamedTuple):
    """The pieces of a normalised row: shares_k / total = r_k, and log p = shift + log total."""

    shares: Array
    total: Array  # (rows,)
    shift: Array | None  # (rows,), or None for 0
    ratios: Array | None = None  # shares_k / gain_k where weights may be zero
    exponents: Array | None = None  # logarithms of shares, unless these are written over them

    def responsibilities(self, ops: BlockOps) -> Array:
        """Shares of the total; may overwrite them."""
        return ops.divide_rows_(self.shares, self.total, self.exponents)

    def result(self, ops: BlockOps) -> Array:
        """Such responsibilities as a kernel may return: nothing can be done to them any more."""
        return ops.divide_on_write(self.shares, self.total, self.exponents)


def normalize(
    ops: BlockOps,
    joint: Array,
    weights: MixingWeights,
    bound: float = math.inf,
    masked: Array | None = None,
    mark: Array | None = None,
) -> LogNormalized:
    """Exponentials of log-joints, shifted so that the largest in a row is 1.

    `joint` (k by rows) is the caller's own and may be overwritten; it holds log w_k + l_k, but l_k
    where a weight is zero, and nothing beyond `bound`. A row whose every entry is -inf has shares
    and total 0: its log p is -inf and its r are NaN, and derivatives through it are 0 whatever
    becomes of them later. A row with NaN or +inf becomes NaN. Rows in `masked` (rows,) that are
    -inf throughout get finite values in their place: whatever weight 0 multiplies must have a
    finite derivative. `mark` (rows,) is NaN for rows that shall become NaN, and 0 for the others.
    """
    xp, axis = ops.xp, ops.axis
    limit = _safe_limit(xp, joint.dtype)
    if weights.gain is None and bound < limit:
        return _unshifted(ops, joint, -limit, mark)
    # Components without weight take no part in the maximum: one of them may be the most likely by
    # far, and would underflow all others.
    shift = ops.max_components(ops.without_derivative(without_dead(joint, weights, axis)))
    if mark is not None:
        shift = shift + mark
    least, most = ops.extent(joint, shift)
    if weights.gain is None and least > -limit and most < limit:
        return _unshifted(ops, joint, least, mark)
    if not least > -math.inf:
        empty = shift == -math.inf
        if ops.differentiable:
            # The derivative that reaches such a row, perhaps zero times infinity, ends here.
            joint = ops.mask_without_derivative(joint, expand_rows(empty, axis), -math.inf)
        if masked is not None:
            joint = xp.where(expand_rows(masked & empty, axis), 0.0, joint)
        shift = xp.where(empty, 0.0, shift)
    exponents = ops.subtract_rows_(joint, shift)
    if weights.gain is None:
        shares = ops.exp_(exponents, least=least - most)
        kept = None if shares is exponents else exponents
        return LogNormalized(shares, ops.sum_components(shares), shift, exponents=kept)
    ratios = finite_exp_(ops, exponents)
    shares = ratios * expand_components(weights.gain, axis)
    total = ops.sum_components(shares)
    if ops.differentiable:  # or what comes back would go on to the gain of all rows
        empty = total == 0
        shares, total = xp.where(expand_rows(empty, axis), 0.0, shares), xp.where(empty, 0.0, total)
    return LogNormalized(shares, total, shift, ratios)


def finite_exp_(ops: BlockOps, exponents: Array) -> Array:
    """Exponentials that zero may multiply: zero times infinity is NaN, so they are kept finite."""
    ceiling = _ceiling(ops.xp, exponents.dtype)
    return ops.exp_(ops.xp.where(exponents > ceiling, ceiling, exponents))


def _unshifted(ops: BlockOps, joint: Array, least: float, mark: Array | None) -> LogNormalized:
    """Exponentials that neither over- nor underflow as they are."""
    shares = ops.exp_(joint, least=least)
    total = ops.sum_components(shares)
    return LogNormalized(shares, total if mark is None else total + mark, None)


def entropy(xp: Namespace, responsibilities: Array, axis: int) -> Array:
    """Entropies of probabilities along an axis, in nats."""
    # 0 log 0 is 0, and so is its share of the derivative.
    safe = xp.where(responsibilities > 0, responsibilities, 1.0)
    return 0.0 - xp.sum(responsibilities * xp.log(safe), axis=axis)


def labels_of_rows(xp: Namespace, responsibilities: Array) -> Array:
    """Places (n,) of the largest responsibilities (n, k); -1 where they are NaN."""
    unknown = xp.any(xp.isnan(responsibilities), axis=1)
    return xp.where(unknown, -1, xp.argmax(responsibilities, axis=1))


def entropy_of_rows(xp: Namespace, responsibilities: Array) -> Array:
    """Entropies (n,) of responsibilities (n, k), in nats."""
    return entropy(xp, responsibilities, 1)
