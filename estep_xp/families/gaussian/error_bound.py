"""A bound on the error of the product form, and the rows for which that form is exact.

θ · φ(z) cancels where components lie many deviations apart. In units of eps its error is at most

  G Q + H L + c    rounding of φ and of the sum, where Q, L and c are the sums of the sizes of its
                   terms: quadratic terms, features, and constants;
  κ² q + λ² c      rounding of z and of the means, where q and c are ½ ‖|z| |P|‖² and ½ ‖|μ| |P|‖²:
                   what moves z by κ eps |z| moves the density by 2 κ eps √(q T) <= eps (κ² q + T);
  σ T              what such rounding takes from T, and rounding of P Pᵀ; T is the largest term.

A sum of m terms that round alike, one after the other, is off by m/8 eps of itself, if the largest
terms are not the first; `product_form.py` chooses the order of features for that. Quadratic terms
are summed apart from features, both in slices where means are far apart, and G, H, κ and λ grow
with the number of terms. A single square, the norm of a row, needs no sum of its own: it comes
last, after features and constant.

The sum B of the first two lines is bounded by a linear function of squares of z, which is cheap to
evaluate. Where B is within the allowance for log-joints, 16 (1 + T) or 1e-12 / eps, less σ T, the
product form is as exact as the residual form. Where it is not, single rows are checked again
(`are_exact`) with the bound of each component by itself and the lower bound on T that the log-joint
gives: there B may be up to 16 T - σ T, too.

How sums round is measured, not proved: with the worst case of any order of terms, m/2 eps, almost
no row could use the product form. The tests compare errors with B + σ T, also for rows whose
features round alike.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.families.gaussian.quadratic import PRODUCTS, SQUARES

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps
    from estep_xp.families.gaussian.quadratic import QuadraticTerms

# Most terms of a slice of z P, for families whose rows are standardised first.
ROTATED_TERMS = 8

_MOST_TERMS = 32  # of a slice of θ · φ
_QUADRATIC_TERMS, _LINEAR_TERMS = 28, 6  # the same, where means are far apart
_UNSLICED = 48  # terms that are not cut where the values of means are not visible
_ONE_SUM = 12  # terms that are not cut in any case
_SPREAD = 1.5  # ratio of the bound of rows around a mean to that of the mean, about
_ALLOWED = 1e-12  # absolute error in double precision that is allowed for any T


class ErrorBound(NamedTuple):
    """B of the largest component as a linear function of squares, and the largest B allowed."""

    coefficients: Array  # (squares,)
    of_unsigned: Array | None  # of squares of |z| |P|, for families whose rows are standardised
    constant: Array  # (): B at the centre
    limit: float
    slices: list[slice]  # the sums that θ · φ is cut into
    by_component: ComponentBounds | None  # where single rows can be checked again


class ComponentBounds(NamedTuple):
    """B of each component, and the largest B allowed in units of a lower bound on T."""

    coefficients: Array  # (k, squares)
    of_unsigned: Array | None
    constants: Array  # (k,)
    limit_per_t: float


def error_bound(
    ops: BlockOps,
    kind: QuadraticTerms,
    signed: tuple[Array, ...],
    unsigned: tuple[Array, ...],
    means: Array,
    log_normalizers: Array,
    *,
    rotated: bool,
) -> ErrorBound:
    """Bound the error for coefficients `signed`; `unsigned` are those of |μ| and |P|."""
    xp = ops.xp
    d = means.shape[1]
    size = xp.max(xp.abs(means), axis=0)
    quadratic, linear, half_norms = (xp.abs(array) for array in signed)
    limits = xp.finfo(log_normalizers.dtype)
    smallest = float(limits.smallest_normal) / float(limits.eps)  # smaller terms may underflow
    underflow = smallest * (xp.sum(quadratic, axis=1) + xp.sum(linear, axis=1))
    constants = half_norms + xp.abs(log_normalizers) + underflow
    z_error, mean_error, sigma = _shift_errors(ops, d, rotated=rotated)
    of_unsigned, _ = kind.bound(xp, xp.abs(unsigned[0]), xp.zeros_like(linear), size)
    of_unsigned = z_error * of_unsigned
    # The allowance that holds for any T, however small.
    relative = 16.0 * (1.0 + 0.5 * d * math.log(2.0 * math.pi))
    absolute = _ALLOWED / float(limits.eps)  # next to nothing in single precision
    limit = max(relative, absolute) * (1.0 - sigma / 16.0)

    def bound(sums: _Sums) -> tuple[Array, Array]:
        for_products, for_features = sums.growth_factors(ops, kind, d)
        coefficients, rest = kind.bound(xp, for_products * quadratic, for_features * linear, size)
        return coefficients, rest + constants + mean_error * unsigned[2]

    count = kind.count(d)
    sums = _Sums.of(kind, d, _MOST_TERMS, _MOST_TERMS)
    coefficients, constant = bound(sums)
    is_exact = count + d + 1 <= _UNSLICED
    if ops.values_visible:
        squares = kind.squares(ops, xp.matrix_transpose(means))
        at_means = xp.matmul(coefficients + of_unsigned, squares) + constant[:, None]
        is_exact = bool(_SPREAD * xp.max(at_means) <= limit)
    if not is_exact:
        sums = _Sums.of(kind, d, _QUADRATIC_TERMS, _LINEAR_TERMS)
        coefficients, constant = bound(sums)
    if not rotated:
        coefficients, of_unsigned = coefficients + of_unsigned, None
    by_component = ComponentBounds(coefficients, of_unsigned, constant, 16.0 - sigma)
    return ErrorBound(
        xp.max(coefficients, axis=0),
        None if of_unsigned is None else xp.max(of_unsigned, axis=0),
        xp.max(constant),
        limit,
        sums.slices,
        by_component if ops.values_visible else None,
    )


class SizeBound(NamedTuple):
    """B of independent features, of which some are hidden: factors of sums over the others."""

    square: float  # of ½ Σ z²/σ²
    product: float  # of Σ |μ| |z|/σ²
    of_mean: float  # of ½ Σ μ²/σ²
    limit: float
    slices: list[slice]


def size_bound(ops: BlockOps, d: int) -> SizeBound:
    """Bound the error of d independent features, of which some are hidden."""
    sums = _Sums.of(SQUARES, d, _QUADRATIC_TERMS, _LINEAR_TERMS)
    for_products, for_features = sums.growth_factors(ops, SQUARES, d)
    z_error, mean_error, sigma = _shift_errors(ops, d, rotated=False)
    limit = _limit(ops, sigma)
    return SizeBound(for_products + z_error, for_features, 1.0 + mean_error, limit, sums.slices)


def _limit(ops: BlockOps, sigma: float) -> float:
    """The largest B of rows in double precision."""
    eps = float(ops.xp.finfo(ops.xp.float64).eps)
    return (_ALLOWED / ops.sharing / eps) * (1.0 - sigma / 16.0)


class PatternBound(NamedTuple):
    """B of components of which features are hidden, for many patterns of holes.

    The largest B of a row's pattern is linear in squares of z, as for complete rows.
    """

    products: float  # G
    features: float  # H
    constants: float
    z_error: float  # κ²
    mean_error: float  # λ²
    smallest: float  # smaller terms may underflow
    limit: float
    slices: list[slice]

    def coefficients(
        self,
        xp: Namespace,
        precisions: Array,
        linear: Array,
        sizes: Array,
        means: Array,
        logs: Array,
    ) -> tuple[Array, Array]:
        """Coefficients (k, P, d) of squares, and constants (k, P).

        From precisions (k, P, d, d), their product with means (k, P, d), the roots of the diagonals
        of P Pᵀ, all 0 for hidden features, and log-joints (k, P) at the means.
        """
        d = means.shape[-1]
        unsigned, linear = xp.abs(precisions), xp.abs(linear)
        units = xp.where(sizes > 0, 1.0 / xp.where(sizes > 0, sizes, 1.0), 0.0)
        # As in `quadratic.py`: row sums are near the weights that give the smallest squares.
        weights = xp.matmul(unsigned, units[..., None])[..., 0] * units * units
        squares = xp.matmul(unsigned, weights[..., None])[..., 0]
        squares = squares / xp.where(weights > 0, weights, 1.0)
        size = xp.max(xp.abs(means), axis=(0, 1)) + xp.max(units, axis=(0, 1))
        size = xp.where(size > 0, size, 1.0)
        coefficients = (0.5 * self.products) * squares + (0.5 * self.features) * (linear / size)
        coefficients = coefficients + (0.5 * self.z_error * d) * sizes * sizes
        of_means = xp.sum(sizes * xp.abs(means), axis=-1)
        rest = (0.5 * self.features) * xp.sum(linear * size, axis=-1) + xp.abs(logs)
        rest = rest + (0.5 * self.constants) * xp.sum(linear * xp.abs(means), axis=-1)
        rest = rest + (0.5 * self.mean_error) * of_means * of_means
        terms = xp.sum(unsigned, axis=(-1, -2)) + xp.sum(linear, axis=-1)
        return coefficients, rest + self.smallest * terms


def pattern_bound(ops: BlockOps, d: int) -> PatternBound:
    """Bound the error of components of which features are hidden."""
    sums = _Sums.of(PRODUCTS, d, _MOST_TERMS, _MOST_TERMS)
    products, features = sums.growth_factors(ops, PRODUCTS, d)
    # Linear coefficients and norms of means are sums that round, as where there is no wider dtype.
    alone = d / 8.0
    if ops.has_extended:
        features += alone
    limits = ops.xp.finfo(ops.xp.float64)
    smallest = float(limits.smallest_normal) / float(limits.eps)
    return PatternBound(
        products, features, 1.0 + alone, 0.25, 0.25, smallest, _limit(ops, 3.0), sums.slices
    )


class _Sums(NamedTuple):
    """How θ · φ is cut into sums: quadratic terms, then the d features and the constant.

    A single square comes last, in the last sum of features: the sum before it cancels against the
    square, so the addition rounds at the size of the log-joint itself.
    """

    slices: list[slice]
    quadratic: int  # terms of the longest sum of quadratic terms
    linear: int  # terms of the longest sum of features

    @classmethod
    def of(cls, kind: QuadraticTerms, d: int, quadratic: int, linear: int) -> _Sums:
        """Cut into sums of at most `quadratic` and `linear` terms."""
        count = kind.count(d)
        total = count + d + 1
        if total <= _ONE_SUM and not kind.is_last:
            return cls([slice(0, total)], total, total)
        cuts = [0]
        for terms, most in ((0 if kind.is_last else count, quadratic), (d + 1, linear)):
            n = -(-terms // most)
            cuts += [cuts[-1] + terms * (i + 1) // n for i in range(n)]
        cuts[-1] = total
        slices = list(itertools.starmap(slice, itertools.pairwise(cuts)))
        return cls(slices, min(count, quadratic), min(d + 1, linear))

    def growth_factors(self, ops: BlockOps, kind: QuadraticTerms, d: int) -> tuple[float, float]:
        """Factors G and H of the bound."""
        added = len(self.slices) / 8.0
        # Products of different features do not all round alike: a search found no more than this.
        alike = 0.65 if self.quadratic > d else 1.0
        for_products = 0.25 + alike * (self.quadratic / 8.0 + added) + kind.norm_terms(d) / 8.0
        for_features = 0.25 + self.linear / 8.0 + 0.5 * added
        if not ops.has_extended:  # then the norms of means are sums that round, too
            for_features += d / 8.0
        return max(1.0, for_products), max(1.0, for_features)


def _shift_errors(ops: BlockOps, d: int, *, rotated: bool) -> tuple[float, float, float]:
    """κ², λ² and σ; where κ is large, a larger σ stands for a part of its error."""
    if rotated:
        shift = 0.5 * (0.5 + linalg.sum_error(d, ROTATED_TERMS)) ** 2
        return shift, (0.25 if ops.has_extended else shift), 4.0
    return (0.25, 0.25, 2.5) if ops.has_extended else (0.25, 1.6, 3.0)
