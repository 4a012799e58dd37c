"""A bound on the error of log-joints as products of features, and the rows that it is good for.

θ · φ(z) cancels where components lie many deviations apart. In units of eps its error is at most

  G Q + H L + c    rounding of φ and of the sum, where Q, L and c are the sums of the sizes of its
                   terms: products of features, features, and constants;
  κ² q + λ² c      rounding of z and of the means, where q and c are ½ ‖|z| |P|‖² and ½ ‖|μ| |P|‖²:
                   what moves z by κ eps |z| moves the density by 2 κ eps √(q T) <= eps (κ² q + T);
  σ T              what such rounding takes from T, and rounding of P Pᵀ; T is the largest term.

A sum of m terms that round alike, one after the other, is off by m/8 eps of itself, if the largest
of them are not the first: the order of features sees to that (`product_form.py`). So products of
features are summed apart from features, both in slices where means are far apart, and G, H, κ and λ
carry the number of terms. A single square, the norm of a row, needs no sum of its own: it comes
last, after features and constant.

The sum B of the first two lines is bounded by a linear function of squares of z, which costs
little. Where B is within the allowance for log-joints, 16 (1 + T) or 1e-12 / eps, less σ T, the
product is as exact as the residual form. Where it is not, a second look (`are_exact`) takes the
bound of each component by itself, and what a log-joint tells of T: B may be 16 T - σ T, too.

How sums round is measured, not proved: the worst case of any order of terms, m/2 eps, would grant
next to nothing. The tests hold errors against B + σ T, with rows whose features round alike, too.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps
    from estep_xp.families.gaussian.quadratic import Quadratic

ROTATED_TERMS = 8  # of z P that are summed in a row, for families whose rows are standardised first

_MOST_TERMS = 32  # of θ · φ that are summed in a row
_QUADRATIC_TERMS, _LINEAR_TERMS = 28, 6  # the same, where means are far apart
_UNSLICED = 48  # terms that are not cut where nobody can look how far apart means are
_TINY = 12  # terms that are one sum in any case
_SPREAD = 1.5  # rows around a mean may have a larger bound than the mean, by about so much
_ALLOWED = 1e-12  # an absolute error in double precision that is fine wherever it occurs


class ErrorBound(NamedTuple):
    """Coefficients of B, a linear function of squares, and the largest B that is good enough."""

    slopes: Array  # (squares,)
    unsigned_slopes: Array | None  # of squares of |z| |P|, for families that standardise rows
    least: Array  # (): B at the centre
    limit: float
    slices: list[slice]  # the sums that θ · φ is cut into
    by_component: ComponentBounds | None  # where a second look at single rows is possible


class ComponentBounds(NamedTuple):
    """Coefficients of B for each component, and what B may be of what is known of T."""

    slopes: Array  # (k, squares)
    unsigned_slopes: Array | None
    least: Array  # (k,)
    share: float


def error_bound(
    ops: BlockOps,
    kind: Quadratic,
    signed: tuple[Array, ...],
    unsigned: tuple[Array, ...],
    means: Array,
    log_normalizers: Array,
    *,
    rotated: bool,
) -> ErrorBound:
    """The bound for natural parameters, and for those of |μ| and |P|."""
    xp = ops.xp
    d = means.shape[1]
    size = xp.max(xp.abs(means), axis=0)
    quadratic, linear, half_norms = (xp.abs(array) for array in signed)
    limits = xp.finfo(log_normalizers.dtype)
    underflow = float(limits.smallest_normal) / float(limits.eps)  # what is smaller may get lost
    lost = underflow * (xp.sum(quadratic, axis=1) + xp.sum(linear, axis=1))
    constants = half_norms + xp.abs(log_normalizers) + lost
    z_error, mean_error, share = _shift_errors(ops, d, rotated=rotated)
    z_slopes, _ = kind.bound(xp, xp.abs(unsigned[0]), xp.zeros_like(linear), size)
    z_slopes = z_error * z_slopes
    # The allowance that holds for any T, however small.
    relative = 16.0 * (1.0 + 0.5 * d * math.log(2.0 * math.pi))
    absolute = _ALLOWED / float(limits.eps)  # next to nothing in single precision
    limit = max(relative, absolute) * (1.0 - share / 16.0)

    def bound(sums: _Sums) -> tuple[Array, Array]:
        products, features = sums.growth(ops, kind, d)
        slopes, rest = kind.bound(xp, products * quadratic, features * linear, size)
        return slopes, rest + constants + mean_error * unsigned[2]

    count = kind.count(d)
    sums = _Sums.of(kind, d, _MOST_TERMS, _MOST_TERMS)
    slopes, least = bound(sums)
    few = count + d + 1 <= _UNSLICED
    if ops.values_visible:
        squares = kind.squares(ops, xp.matrix_transpose(means))
        at_means = xp.matmul(slopes + z_slopes, squares) + least[:, None]
        few = bool(_SPREAD * xp.max(at_means) <= limit)
    if not few:
        sums = _Sums.of(kind, d, _QUADRATIC_TERMS, _LINEAR_TERMS)
        slopes, least = bound(sums)
    slopes, z_slopes = (slopes, z_slopes) if rotated else (slopes + z_slopes, None)
    by_component = ComponentBounds(slopes, z_slopes, least, 16.0 - share)
    return ErrorBound(
        xp.max(slopes, axis=0),
        None if z_slopes is None else xp.max(z_slopes, axis=0),
        xp.max(least),
        limit,
        sums.slices,
        by_component if ops.values_visible else None,
    )


class _Sums(NamedTuple):
    """How θ · φ is cut: products of features, then the d features and the constant.

    A single square comes last, in the last sum of features: what it is added to cancels, and it
    rounds at the size of the log-joint itself.
    """

    slices: list[slice]
    quadratic: int  # terms of the longest sum of products
    linear: int  # and of the longest sum of features

    @classmethod
    def of(cls, kind: Quadratic, d: int, quadratic: int, linear: int) -> _Sums:
        """Sums of so many terms at most."""
        count = kind.count(d)
        total = count + d + 1
        if total <= _TINY and not kind.is_last:
            return cls([slice(0, total)], total, total)
        cuts = [0]
        for terms, most in ((0 if kind.is_last else count, quadratic), (d + 1, linear)):
            n = -(-terms // most)
            cuts += [cuts[-1] + terms * (i + 1) // n for i in range(n)]
        cuts[-1] = total
        slices = list(itertools.starmap(slice, itertools.pairwise(cuts)))
        return cls(slices, min(count, quadratic), min(d + 1, linear))

    def growth(self, ops: BlockOps, kind: Quadratic, d: int) -> tuple[float, float]:
        """G and H."""
        added = len(self.slices) / 8.0
        # Products of different features are not all alike: a search found no more than this.
        alike = 0.65 if self.quadratic > d else 1.0
        products = 0.25 + alike * (self.quadratic / 8.0 + added) + kind.norm_terms(d) / 8.0
        features = 0.25 + self.linear / 8.0 + 0.5 * added
        if not ops.has_extended:  # then the norms of means are such sums, too
            features += d / 8.0
        return max(1.0, products), max(1.0, features)


def _shift_errors(ops: BlockOps, d: int, *, rotated: bool) -> tuple[float, float, float]:
    """κ², λ² and σ, or what takes their place: where κ is large, more of the error is left to T."""
    if rotated:
        shift = 0.5 * (0.5 + linalg.sum_error(d, ROTATED_TERMS)) ** 2
        return shift, (0.25 if ops.has_extended else shift), 4.0
    return (0.25, 0.25, 2.5) if ops.has_extended else (0.25, 1.6, 3.0)
