"""Rows with holes by their patterns, where values are visible: NumPy's form of `incomplete.py`.

What a component knows of the hidden features depends on the pattern of holes alone. Rows are sorted
by pattern; hidden features are eliminated for many patterns at once (`elimination.py`); each
pattern's log-joints are one product of matrices, θ · φ with zeros for what is hidden, and so is a
bound on their error; and moments are expanded to all features as they are summed over patterns,
P · k matrices instead of n · k.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp.families.gaussian.elimination import Elimination, eliminate_in_chunks
from estep_xp.families.gaussian.error_bound import PatternBound, pattern_bound
from estep_xp.families.gaussian.product_form import moments_are_exact
from estep_xp.families.gaussian.quadratic import PRODUCTS

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray
    from estep_xp.arrays.block import BlockOps
    from estep_xp.families.family import ObservedRows
    from estep_xp.families.gaussian.dependent_form import DependentForm

LEAST_ROWS = 64  # fewer rows are faster one by one
_LOG_2PI = math.log(2.0 * math.pi)
_MANY_ROWS = 512  # of a pattern, whose product is worth batches that stay in the cache


class Patterns(NamedTuple):
    """A block's rows by their patterns of holes."""

    order: AnyArray | None  # (rows,): rows sorted by pattern; None: they are sorted already
    cuts: list[int]  # where patterns begin and end among them
    seen: AnyArray  # (P, d) flags

    def slices(self) -> list[slice]:
        """The rows of each pattern."""
        return [slice(a, b) for a, b in zip(self.cuts[:-1], self.cuts[1:], strict=True)]

    def sort(self, array: AnyArray) -> AnyArray:
        """Rows (..., rows) of a block, sorted."""
        return array if self.order is None else np.take(array, self.order, axis=-1)

    def restore(self, array: AnyArray) -> AnyArray:
        """Sorted rows in the block's order."""
        if self.order is None:
            return array
        result = np.empty_like(array)
        result[..., self.order] = array
        return result


class PatternForm(NamedTuple):
    """What densities were computed from, for moments."""

    patterns: Patterns
    elimination: list[Elimination]  # by chunks of patterns
    centre: AnyArray  # (d,)
    terms: AnyArray | None  # φ of sorted rows, where their sums are exact


def find_patterns(seen: AnyArray) -> Patterns:
    """Sort rows of flags (d, rows) by pattern."""
    codes, order = encode_patterns(seen), None
    if bool(np.any(codes[1:] < codes[:-1])):
        order = np.argsort(codes, kind="stable")
        codes = codes[order]
    cuts = [0, *(np.flatnonzero(codes[1:] != codes[:-1]) + 1).tolist(), seen.shape[1]]
    firsts = cuts[:-1] if order is None else order[cuts[:-1]]
    return Patterns(order, cuts, seen[:, firsts].T)


def encode_patterns(seen: AnyArray) -> AnyArray:
    """Numbers for the patterns of flags (d, rows); the last feature weighs most."""
    d, rows = seen.shape
    if d > 64:
        return np.unique(seen.T, axis=0, return_inverse=True)[1].reshape(-1)
    # Short integers are sorted by radix, which takes a tenth of the time.
    dtype: Any = np.uint8 if d <= 8 else np.uint16 if d <= 16 else np.uint64
    codes = np.zeros(rows, dtype=dtype)
    for j, flags in enumerate(seen):
        codes += flags * dtype(1 << j)
    return codes


def evaluate_patterns(
    ops: BlockOps, form: DependentForm, rows: ObservedRows
) -> tuple[AnyArray, PatternForm]:
    """Log-joints (k, rows) of a block of rows."""
    xp = ops.xp
    patterns = find_patterns(rows.seen)
    means, factors, constants = map(ops.widen, (form.means, form.factors, form.constants))
    k, d = means.shape
    centre = 0.5 * xp.max(means, axis=0) + 0.5 * xp.min(means, axis=0)
    shifts = means - centre
    t = shifts - means
    lost = (means - (shifts - t)) - (centre + t)  # exactly what rounding takes from the shifts
    x = patterns.sort(ops.widen(rows.x))
    z = x - centre[:, None]
    z *= patterns.sort(rows.seen)
    elimination = list(eliminate_in_chunks(factors, patterns.seen))
    bound = pattern_bound(ops, d)
    theta, logs = _coefficients(
        xp, elimination, patterns.seen, factors, (shifts, lost), constants, bound
    )
    terms = ops.stack_products([*PRODUCTS.pairs(ops, z), (z, None)])
    values = xp.empty((k + 1, z.shape[1]), dtype=z.dtype)
    for some, coefficients in zip(patterns.slices(), theta, strict=True):
        few = some.stop - some.start < _MANY_ROWS
        multiply = _multiply if few else ops.multiply_slices
        values[:, some] = multiply(coefficients, terms[:, some], bound.slices)
    joint, bounds = values[:k], values[k]
    exact = bounds <= bound.limit
    if not bool(exact.all()):
        _replace_by_residuals(xp, joint, (x, means), ~exact, patterns, elimination, logs)
    result = patterns.restore(xp.astype(joint, rows.x.dtype, copy=False))
    # Sums of terms are as exact as sums of residuals wherever means are near, and terms finite.
    usable = bool(xp.all(bounds < math.inf)) and bool(moments_are_exact(xp, shifts, factors))
    return result, PatternForm(patterns, elimination, centre, terms if usable else None)


def _multiply(theta: AnyArray, terms: AnyArray, slices: list[slice]) -> AnyArray:
    """θ · φ of few rows, for which `BlockOps.multiply_slices` would take longer to begin."""
    first, *others = slices
    total: AnyArray = theta[:, first] @ terms[first]
    for one in others:
        total += theta[:, one] @ terms[one]
    return total


def _coefficients(
    xp: Any,
    elimination: list[Elimination],
    seen: AnyArray,
    factors: AnyArray,
    shifts: tuple[AnyArray, AnyArray],
    constants: AnyArray,
    bound: PatternBound,
) -> tuple[AnyArray, AnyArray]:
    """θ (P, k + 1, terms) of all patterns, the last one of bounds, and log-joints (k, P) at means.

    The linear terms follow from the quadratic ones as these have been rounded: so the rounding of
    elimination counts by the distance from the mean, as in the residual form.
    """
    k, d = shifts[0].shape
    count = PRODUCTS.count(d)
    theta = xp.zeros((len(seen), k + 1, count + d + 1), dtype=factors.dtype)
    at_means = xp.empty((k, len(seen)), dtype=factors.dtype)
    _, places, scales = _triangle(d)
    squares = [j * (j + 3) // 2 for j in range(d)]
    sizes = xp.sqrt(xp.sum(factors * factors, axis=2))
    start = 0
    for one in elimination:
        some = slice(start, start + one.pivots.shape[1])
        start = some.stop
        flags = seen[some]
        precisions = xp.matmul(one.factors, xp.matrix_transpose(one.factors))
        means, lost = (part[:, None, :] * flags for part in shifts)
        both = xp.matmul(precisions, xp.stack([means, lost], axis=-1))
        linear = both[..., 0] + both[..., 1]
        half_norms = 0.5 * xp.sum(means * linear + lost * both[..., 0], axis=-1)
        logs = constants[:, None] - 0.5 * xp.sum(xp.log(one.pivots), axis=-1)
        logs -= 0.5 * _LOG_2PI * xp.sum(flags, axis=-1)
        at_means[:, some] = logs
        flat = xp.reshape(precisions, (*precisions.shape[:2], d * d))
        quadratic = xp.take(flat, places, axis=2) * scales
        largest = bound.coefficients(xp, precisions, linear, sizes[:, None, :] * flags, means, logs)
        theta[some, :k, :count] = xp.moveaxis(quadratic, 0, 1)
        theta[some, :k, count : count + d] = xp.moveaxis(linear, 0, 1)
        theta[some, :k, -1] = (logs - half_norms).T
        theta[some, k, squares], theta[some, k, -1] = (xp.max(part, axis=0) for part in largest)
    return theta, at_means


def _replace_by_residuals(
    xp: Any,
    joint: AnyArray,
    arrays: tuple[AnyArray, AnyArray],
    flags: AnyArray,
    patterns: Patterns,
    elimination: list[Elimination],
    logs: AnyArray,
) -> None:
    """Write log-joints of flagged rows anew: log-densities are squared last, not first."""
    x, means = arrays
    factors = xp.concat([one.factors for one in elimination], axis=1)
    flagged = xp.flatnonzero(flags)
    cuts = xp.searchsorted(flagged, xp.asarray(patterns.cuts))
    for p, (begin, end) in enumerate(itertools.pairwise(cuts.tolist())):
        if begin < end:
            rows = flagged[begin:end]
            z = xp.where(patterns.seen[p][:, None], x[:, rows] - means[:, :, None], 0.0)
            y = xp.matmul(xp.matrix_transpose(factors[:, p]), z)
            joint[:, rows] = logs[:, p, None] - 0.5 * xp.sum(y * y, axis=1)


def moments_of_patterns(
    ops: BlockOps,
    form: DependentForm,
    kept: PatternForm,
    rows: ObservedRows,
    responsibilities: AnyArray,
) -> tuple[AnyArray, AnyArray]:
    """Expected first (k, d) and second moments (k, d, d) of v − μ."""
    xp, patterns, terms = ops.xp, kept.patterns, kept.terms
    r = patterns.sort(ops.widen(responsibilities))
    means = ops.widen(form.means)
    slices = patterns.slices()
    if terms is None:
        counts, *parts = _sums_by_residuals(xp, means, patterns, ops.widen(rows.x), r)
    else:
        sums = xp.empty((len(slices), len(r), len(terms)), dtype=r.dtype)
        for total, some in zip(sums, slices, strict=True):
            xp.matmul(r[:, some], terms[:, some].T, out=total)
    totals, start = [], 0
    for one in kept.elimination:
        some = slice(start, start + one.pivots.shape[1])
        start = some.stop
        seen = patterns.seen[some]
        if terms is None:
            moments = tuple(array[:, some] for array in (counts, *parts))
        else:
            moments = _about_means(xp, sums[some], means - kept.centre, seen)
        totals.append(_expand(xp, one, seen, *moments))
    first, second = (sum(parts[1:], parts[0]) for parts in zip(*totals, strict=True))
    second = 0.5 * second + 0.5 * xp.matrix_transpose(second)
    dtype = responsibilities.dtype
    return xp.astype(first, dtype, copy=False), xp.astype(second, dtype, copy=False)


def _about_means(
    xp: Any, sums: AnyArray, shifts: AnyArray, seen: AnyArray
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Counts (k, P), first (k, P, d) and second moments (k, P, d, d) of what was observed.

    From sums (P, k, terms) of φ, about one centre. The second ones are symmetric but for a part
    that cancels against its own transpose.
    """
    k, d = shifts.shape
    count = PRODUCTS.count(d)
    terms = xp.moveaxis(sums, 1, 0)
    ones = terms[:, :, -1:]
    means = shifts[:, None, :] * seen
    linear = terms[:, :, count : count + d]
    places, _, _ = _triangle(d)
    second = xp.reshape(xp.take(terms, places, axis=2), (k, len(seen), d, d))
    second -= (2.0 * linear - ones * means)[..., :, None] * means[..., None, :]
    return ones[..., 0], linear - ones * means, second


def _sums_by_residuals(
    xp: Any, means: AnyArray, patterns: Patterns, x: AnyArray, r: AnyArray
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """The same about the means themselves, where sums about one centre would cancel."""
    x, slices = patterns.sort(x), patterns.slices()
    flags = xp.repeat(patterns.seen, xp.diff(patterns.cuts), axis=0).T
    begins = patterns.cuts[:-1]
    firsts, seconds = [], []
    for mean, share in zip(means, r, strict=True):
        z = xp.where(flags & (share > 0), x - mean[:, None], 0.0)
        weighted = z * share
        firsts.append(xp.add.reduceat(weighted, begins, axis=1).T)
        products = (xp.matmul(weighted[:, some], z[:, some].T) for some in slices)
        seconds.append(xp.stack(list(products)))
    return xp.add.reduceat(r, begins, axis=1), xp.stack(firsts), xp.stack(seconds)


def _expand(
    xp: Any, one: Elimination, seen: AnyArray, counts: AnyArray, first: AnyArray, second: AnyArray
) -> tuple[AnyArray, AnyArray]:
    """Moments of all features, summed over patterns."""
    k, n, d, _ = second.shape
    a = one.expansions()
    # Rows of observed features say how hidden ones follow them; of the others the covariance is.
    both = xp.matmul(second, a)
    both += (counts[..., None] * ~seen / one.pivots)[..., None] * a
    rows = xp.reshape(a, (k, n * d, d))
    whole = xp.matmul(xp.matrix_transpose(rows), xp.reshape(both, (k, n * d, d)))
    return xp.matmul(xp.reshape(first, (k, 1, n * d)), rows)[:, 0, :], whole


@functools.cache
def _triangle(d: int) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Places of a matrix's entries among products of features, and the way back with factors."""
    pairs = [(i, j) for j in range(d) for i in range(j + 1)]
    number = {pair: place for place, pair in enumerate(pairs)}
    places = [number[min(i, j), max(i, j)] for i in range(d) for j in range(d)]
    # A product of two different features stands for both of its entries in the matrix.
    scales = np.asarray([-0.5 if i == j else -1.0 for i, j in pairs])
    return np.asarray(places), np.asarray([i * d + j for i, j in pairs]), scales
