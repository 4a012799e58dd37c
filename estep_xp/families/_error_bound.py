"""A bound on the error of log-joints as products of features, and the rows that it is good for.

θ · φ(z) cancels where components lie many deviations apart. In units of eps its error is at most

  G S              rounding of φ and of the sum, where S = |θ| · |φ|;
  κ² q + λ² c      rounding of z and of the means, where q and c are ½ ‖|z| |P|‖² and ½ ‖|μ| |P|‖²:
                   what moves z by κ eps |z| moves the density by 2 κ eps √(q T) <= eps (κ² q + T);
  σ T              what such rounding takes from T, and rounding of P Pᵀ; T is the largest term.

A sum of m terms that round alike, one after the other, is off by m/8 eps of itself. So sums are cut
into slices, and G, κ and λ carry the number of terms. B = G S + κ² q + λ² c is bounded by a linear
function of squares of z, which costs little. Where B is within the allowance for log-joints,
16 (1 + T) or 1e-12 / eps, less σ T, the product is as exact as the residual form. The tests hold
errors against B + σ T, with rows whose features round alike, too.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

from estep_xp import _linalg
from estep_xp._typing import Array

if TYPE_CHECKING:
    from estep_xp.execution import Plan
    from estep_xp.families._quadratic import Quadratic

ROTATED_TERMS = 8  # of z P that are summed in a row, for families whose rows are standardised first

_QUADRATIC_TERMS, _LINEAR_TERMS = 34, 9  # of θ · φ that are summed in a row
_ALLOWED = 1e-12  # an absolute error in double precision that is fine wherever it occurs


class ErrorBound(NamedTuple):
    """Coefficients of B, a linear function of squares, and the largest B that is good enough."""

    slopes: Array  # (squares,)
    unsigned_slopes: Array | None  # of squares of |z| |P|, for families that standardise rows
    least: Array  # (): B at the centre
    limit: float


def error_bound(
    plan: Plan,
    kind: Quadratic,
    signed: tuple[Array, ...],
    unsigned: tuple[Array, ...],
    size: Array,
    log_normalizers: Array,
    *,
    rotated: bool,
) -> ErrorBound:
    """The bound for natural parameters, and for those of |μ| and |P|; `size` (d,) is that of z."""
    xp = plan.xp
    d = size.shape[0]
    quadratic, linear, half_norms = (xp.abs(array) for array in signed)
    limits = xp.finfo(log_normalizers.dtype)
    underflow = float(limits.smallest_normal) / float(limits.eps)  # what is smaller may get lost
    lost = underflow * (xp.sum(quadratic, axis=1) + xp.sum(linear, axis=1))
    growth = _growth(plan, kind, d)
    slopes, constants = kind.bound(xp, quadratic, linear, size)
    constants = growth * (constants + half_norms + xp.abs(log_normalizers) + lost)
    z_error, mean_error, share = _shift_errors(plan, d, rotated=rotated)
    z_slopes, _ = kind.bound(xp, xp.abs(unsigned[0]), xp.zeros_like(linear), size)
    slopes = growth * xp.max(slopes, axis=0)
    z_slopes = z_error * xp.max(z_slopes, axis=0)
    least = xp.max(constants + mean_error * unsigned[2])
    # The allowance that holds for any T, however small.
    relative = 16.0 * (1.0 + 0.5 * d * math.log(2.0 * math.pi))
    absolute = _ALLOWED / float(limits.eps)  # next to nothing in single precision
    limit = max(relative, absolute) * (1.0 - share / 16.0)
    if rotated:
        return ErrorBound(slopes, z_slopes, least, limit)
    return ErrorBound(slopes + z_slopes, None, least, limit)


def slices(quadratic: int, d: int) -> list[slice]:
    """How θ · φ is cut into sums: products of features, then the d features and the constant."""
    cuts = [0]
    for terms, most in ((quadratic, _QUADRATIC_TERMS), (d + 1, _LINEAR_TERMS)):
        count = -(-terms // most)
        cuts += [cuts[-1] + terms * (i + 1) // count for i in range(count)]
    return list(itertools.starmap(slice, itertools.pairwise(cuts)))


def _growth(plan: Plan, kind: Quadratic, d: int) -> float:
    """G: near its mean a row has a quarter of S in products, and half of it in linear terms."""
    parts = slices(kind.count(d), d)
    quadratic = max(1, min(_QUADRATIC_TERMS, kind.count(d)))
    linear = min(_LINEAR_TERMS, d + 1)
    growth = 0.2 + quadratic / 32.0 + linear / 16.0 + len(parts) / 16.0 + kind.norm_terms(d) / 32.0
    if not plan.has_precise:  # then the norms of means are such sums, too
        growth += d / 16.0
    return max(1.0, growth)


def _shift_errors(plan: Plan, d: int, *, rotated: bool) -> tuple[float, float, float]:
    """κ², λ² and σ, or what takes their place: where κ is large, more of the error is left to T."""
    if rotated:
        shift = 0.5 * (0.5 + _linalg.sum_error(d, ROTATED_TERMS)) ** 2
        return shift, (0.25 if plan.has_precise else shift), 4.0
    return (0.25, 0.25, 2.5) if plan.has_precise else (0.25, 1.6, 3.0)
