"""Rows with holes by their patterns, where values are visible: NumPy's form of `incomplete.py`.

What a component knows of the hidden features depends on the pattern of holes alone. Rows are sorted
by pattern; hidden features are eliminated for many patterns at once; each pattern's log-joints are
one product of matrices, θ · φ with zeros for what is hidden; and moments are expanded to all
features after they are summed, P · k matrices instead of n · k.

Elimination is modified Gram-Schmidt on the rows of P, whose products are the precision: a row W_i
of an observed feature is made orthogonal to those of hidden ones, and W Wᵀ is the precision of what
was observed. It keeps the digits that elimination from the precision itself, whose condition is
that of P squared, would lose.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp.arrays.linalg import diagonal_matrix
from estep_xp.families.gaussian.error_bound import size_bound
from estep_xp.families.gaussian.product_form import moments_are_exact
from estep_xp.families.gaussian.quadratic import PRODUCTS

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray
    from estep_xp.arrays.block import BlockOps
    from estep_xp.families.family import ObservedRows
    from estep_xp.families.gaussian.dependent_form import DependentForm

LEAST_ROWS = 64  # fewer rows are faster one by one
_LOG_2PI = math.log(2.0 * math.pi)
_CHUNK_NUMBERS = 1 << 15  # of an array over patterns that stays in the cache
_ELIMINATION = 4.0  # error of elimination, in eps of ½ ‖|z| |P|‖²
_MANY_ROWS = 512  # of a pattern, whose product is worth batches that stay in the cache
_MOST_CODED = 52  # features whose flags are the bits of a float


class Patterns(NamedTuple):
    """A block's rows by their patterns of holes."""

    order: AnyArray  # (rows,): rows sorted by pattern
    cuts: list[int]  # where patterns begin and end among them
    seen: AnyArray  # (P, d) flags

    def slices(self) -> list[slice]:
        """The rows of each pattern."""
        return [slice(a, b) for a, b in zip(self.cuts[:-1], self.cuts[1:], strict=True)]


class Elimination(NamedTuple):
    """Hidden features eliminated: the last axes are patterns and components, (..., P, k)."""

    factors: AnyArray  # W (d, d, P, k), rows of hidden features 0
    steps: AnyArray  # (d, d, P, k): what was taken of row j from row i, [j, i]
    pivots: AnyArray  # (d, P, k): squared lengths of rows of hidden features, 1 of others


class PatternForm(NamedTuple):
    """What densities were computed from, for moments."""

    patterns: Patterns
    elimination: list[Elimination]  # by chunks of patterns
    centre: AnyArray  # (d,)
    terms: AnyArray | None  # φ of sorted rows, where their sums are exact


def find_patterns(xp: Any, seen: AnyArray) -> Patterns:
    """Sort rows of flags (d, rows) by pattern."""
    codes = encode_patterns(xp, seen)
    order = xp.argsort(codes, stable=True)
    codes = codes[order]
    cuts = [0, *(xp.flatnonzero(codes[1:] != codes[:-1]) + 1).tolist(), seen.shape[1]]
    return Patterns(order, cuts, seen[:, order[cuts[:-1]]].T)


def encode_patterns(xp: Any, seen: AnyArray) -> AnyArray:
    """A number for the pattern of each row of flags (d, rows)."""
    d = seen.shape[0]
    if d > _MOST_CODED:
        return xp.unique(seen.T, axis=0, return_inverse=True)[1].reshape(-1)
    codes = xp.matmul(xp.exp2(xp.arange(d, dtype=xp.float64)), xp.astype(seen, xp.float64))
    # Short integers are sorted by radix, which takes a tenth of the time.
    return xp.astype(codes, xp.uint16) if d <= 16 else codes


def evaluate_patterns(
    ops: BlockOps, form: DependentForm, rows: ObservedRows
) -> tuple[AnyArray, PatternForm]:
    """Log-joints (k, rows) of a block of rows."""
    xp = ops.xp
    patterns = find_patterns(xp, rows.seen)
    means, factors, constants = map(ops.widen, (form.means, form.factors, form.constants))
    k, d = means.shape
    centre = 0.5 * xp.max(means, axis=0) + 0.5 * xp.min(means, axis=0)
    shifts = means - centre
    x = ops.widen(rows.x)[:, patterns.order]
    z = (x - centre[:, None]) * rows.seen[:, patterns.order]
    elimination = list(_eliminate_in_chunks(xp, factors, patterns.seen))
    theta, logs = _coefficients(xp, elimination, patterns.seen, shifts, constants)

    sizes = xp.sqrt(xp.sum(factors * factors, axis=2))
    bound = size_bound(ops, PRODUCTS, d, float(xp.finfo(z.dtype).eps), _ELIMINATION)
    of_means = xp.sum(sizes * abs(shifts), axis=1)[:, None]
    largest = xp.max(abs(logs), axis=0)[:, None]
    bounds = bound.evaluate(xp.matmul(sizes, abs(z)), of_means, largest)
    exact = xp.all(bounds <= bound.limit, axis=0)
    terms = ops.stack_products([*PRODUCTS.pairs(ops, z), (z, None)])
    joint = xp.empty((k, z.shape[1]), dtype=z.dtype)
    for some, coefficients in zip(patterns.slices(), theta, strict=True):
        few = some.stop - some.start < _MANY_ROWS
        multiply = _multiply if few else ops.multiply_slices
        joint[:, some] = multiply(coefficients, terms[:, some], bound.slices)
    if not bool(exact.all()):
        _replace_by_residuals(xp, joint, x - means[..., None], ~exact, patterns, elimination, logs)
    result = xp.empty(joint.shape, dtype=rows.x.dtype)
    result[:, patterns.order] = joint
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


def _replace_by_residuals(
    xp: Any,
    joint: AnyArray,
    residuals: AnyArray,
    flags: AnyArray,
    patterns: Patterns,
    elimination: list[Elimination],
    logs: AnyArray,
) -> None:
    """Write log-joints of flagged rows anew: log-densities are squared last, not first."""
    parts = [xp.permute_dims(one.factors, (2, 3, 1, 0)) for one in elimination]
    factors = xp.concat(parts)  # (P, k, d, d), transposed
    flagged = xp.flatnonzero(flags)
    cuts = xp.searchsorted(flagged, xp.asarray(patterns.cuts))
    for p, (begin, end) in enumerate(itertools.pairwise(cuts.tolist())):
        if begin < end:
            rows = flagged[begin:end]
            z = xp.where(patterns.seen[p][:, None], residuals[:, :, rows], 0.0)
            y = xp.matmul(factors[p], z)
            joint[:, rows] = logs[p][:, None] - 0.5 * xp.sum(y * y, axis=1)


def moments_of_patterns(
    ops: BlockOps,
    form: DependentForm,
    kept: PatternForm,
    rows: ObservedRows,
    responsibilities: AnyArray,
) -> tuple[AnyArray, AnyArray]:
    """Expected first (k, d) and second moments (k, d, d) of v − μ."""
    xp, order = ops.xp, kept.patterns.order
    r = ops.widen(responsibilities)[:, order]
    means = ops.widen(form.means)
    shifts = means - kept.centre
    seen, slices = kept.patterns.seen, kept.patterns.slices()
    counts = xp.stack([xp.sum(r[:, some], axis=1) for some in slices])
    terms = kept.terms
    if terms is not None:
        sums = xp.stack([xp.matmul(r[:, some], terms[:, some].T) for some in slices])
        parts = [_about_means(xp, sums, counts, shifts, seen, one) for one in _chunks(kept)]
    else:
        first, second = _sums_by_residuals(ops, means, kept.patterns, rows, r)
        parts = [(first[one], second[one]) for one in _chunks(kept)]
    totals = [
        _expand(xp, one, seen[some], counts[some], *moments)
        for one, some, moments in zip(kept.elimination, _chunks(kept), parts, strict=True)
    ]
    first, second = (sum(parts[1:], parts[0]) for parts in zip(*totals, strict=True))
    dtype = responsibilities.dtype
    return xp.astype(first, dtype, copy=False), xp.astype(second, dtype, copy=False)


def _chunks(kept: PatternForm) -> list[slice]:
    """The patterns of each chunk."""
    ends = [0, *itertools.accumulate(one.pivots.shape[1] for one in kept.elimination)]
    return list(itertools.starmap(slice, itertools.pairwise(ends)))


def _about_means(
    xp: Any, sums: AnyArray, counts: AnyArray, shifts: AnyArray, seen: AnyArray, some: slice
) -> tuple[AnyArray, AnyArray]:
    """First (P, k, d) and second moments (P, k, d, d) of what was observed, of some patterns.

    From sums (P, k, terms) of φ, about one centre.
    """
    d = shifts.shape[1]
    count = PRODUCTS.count(d)
    terms, ones = sums[some], counts[some][:, :, None]
    means = shifts * seen[some][:, None, :]
    linear = terms[:, :, count : count + d]
    places, _, _ = _triangle(d)
    second = xp.reshape(terms[:, :, places], (*terms.shape[:2], d, d))
    cross = (linear - 0.5 * ones * means)[..., :, None] * means[..., None, :]
    second -= cross
    second -= xp.matrix_transpose(cross)
    return linear - ones * means, second


def _sums_by_residuals(
    ops: BlockOps, means: AnyArray, patterns: Patterns, rows: ObservedRows, r: AnyArray
) -> tuple[AnyArray, AnyArray]:
    """The same about the means themselves, where sums about one centre would cancel."""
    xp, order = ops.xp, patterns.order
    x, flags = ops.widen(rows.x)[:, order], rows.seen[:, order]
    firsts, seconds = [], []
    for mean, share in zip(means, r, strict=True):
        z = xp.where(flags & (share > 0), x - mean[:, None], 0.0)
        weighted = z * share
        firsts.append(xp.stack([xp.sum(weighted[:, some], axis=1) for some in patterns.slices()]))
        products = (xp.matmul(weighted[:, some], z[:, some].T) for some in patterns.slices())
        seconds.append(xp.stack(list(products)))
    return xp.stack(firsts, axis=1), xp.stack(seconds, axis=1)


def _eliminate_in_chunks(xp: Any, factors: AnyArray, seen: AnyArray) -> Any:
    k, d, _ = factors.shape
    size = max(1, _CHUNK_NUMBERS // (k * d * d))
    by_entry = xp.permute_dims(factors, (1, 2, 0))[:, :, None, :]
    for start in range(0, len(seen), size):
        yield _eliminate(xp, by_entry, seen[start : start + size].T)


def _eliminate(xp: Any, factors: AnyArray, seen: AnyArray) -> Elimination:
    """Eliminate hidden features of patterns (d, P) from factors (d, d, 1, k)."""
    d, _, _, k = factors.shape
    n = seen.shape[1]
    w = xp.empty((d, d, n, k), dtype=factors.dtype)
    w[...] = factors
    steps = xp.zeros((d, d, n, k), dtype=factors.dtype)
    pivots = xp.ones((d, n, k), dtype=factors.dtype)
    flags = xp.astype(seen, factors.dtype)[:, :, None]
    # From the last feature on: row j has zeros before column j.
    for j in range(d - 1, -1, -1):
        hidden = ~seen[j]
        if not hidden.any():
            continue
        row = w[j, j:]
        length = xp.sum(row * row, axis=0)
        pivots[j] = xp.where(hidden[:, None], length, 1.0)
        step = steps[j]
        step[...] = xp.sum(w[:, j:] * row, axis=1)
        step *= xp.where(hidden[:, None], 1.0 / length, 0.0)
        step[j] = 0.0
        step[j + 1 :] *= flags[j + 1 :]  # rows of hidden features that are done stay as they are
        w[:, j:] -= step[:, None] * row
    w *= flags[:, None]
    return Elimination(w, steps, pivots)


def _coefficients(
    xp: Any, elimination: list[Elimination], seen: AnyArray, shifts: AnyArray, constants: AnyArray
) -> tuple[AnyArray, AnyArray]:
    """θ (P, k, terms) of all patterns, and log-joints (P, k) at the means."""
    k, d = shifts.shape
    count = PRODUCTS.count(d)
    theta = xp.empty((len(seen), k, count + d + 1), dtype=shifts.dtype)
    at_means = xp.empty((len(seen), k), dtype=shifts.dtype)
    _, places, scales = _triangle(d)
    start = 0
    for one in elimination:
        n = one.pivots.shape[1]
        some = slice(start, start + n)
        factors = xp.ascontiguousarray(xp.permute_dims(one.factors, (2, 3, 0, 1)))
        precisions = xp.matmul(factors, xp.matrix_transpose(factors))
        standardized = xp.matmul(shifts[:, None, :], factors)
        linear = xp.matmul(standardized, xp.matrix_transpose(factors))
        logs = constants - 0.5 * xp.sum(xp.log(one.pivots), axis=0)
        logs = logs - 0.5 * _LOG_2PI * xp.sum(seen[some], axis=1)[:, None]
        at_means[some] = logs
        flat = xp.reshape(precisions, (n, k, d * d))
        xp.multiply(flat[:, :, places], scales, out=theta[some, :, :count])
        theta[some, :, count : count + d] = linear[:, :, 0, :]
        half_norms = 0.5 * xp.sum(standardized * standardized, axis=(2, 3))
        theta[some, :, -1] = logs - half_norms
        start += n
    return theta, at_means


@functools.cache
def _triangle(d: int) -> tuple[list[int], list[int], AnyArray]:
    """Places of a matrix's entries among products of features, and the way back with factors."""
    pairs = [(i, j) for j in range(d) for i in range(j + 1)]
    number = {pair: place for place, pair in enumerate(pairs)}
    places = [number[min(i, j), max(i, j)] for i in range(d) for j in range(d)]
    # A product of two different features stands for both of its entries in the matrix.
    scales = np.asarray([-0.5 if i == j else -1.0 for i, j in pairs])
    return places, [i * d + j for i, j in pairs], scales


def _expand(
    xp: Any,
    one: Elimination,
    seen: AnyArray,
    counts: AnyArray,
    first: AnyArray,
    second: AnyArray,
) -> tuple[AnyArray, AnyArray]:
    """Moments of all features, summed over patterns."""
    d, n, k = one.pivots.shape
    # Row i of W is P_i and A_i times the rows of P of hidden features.
    a = xp.zeros((d, d, n, k), dtype=first.dtype)
    hidden = xp.astype(~seen.T, first.dtype)
    for j in range(d):
        a[j, j] = hidden[j, :, None]
    for j in range(d - 1, -1, -1):
        if hidden[j].any():
            a[:, j:] -= one.steps[j][:, None] * a[j, j:]
    a = xp.permute_dims(a, (2, 3, 0, 1))  # (P, k, d, d)
    flags = seen[:, None, :]
    own = a * (~flags)[..., None] / xp.sqrt(xp.permute_dims(one.pivots, (1, 2, 0)))[..., None]
    covariances = xp.matmul(xp.matrix_transpose(own), own)
    # Hidden features are observed ones times A.
    expansion = a * flags[..., None] + diagonal_matrix(xp, xp.astype(flags, first.dtype))
    full = xp.matmul(first[:, :, None, :], expansion)[:, :, 0, :]
    whole = xp.matmul(xp.matmul(xp.matrix_transpose(expansion), second), expansion)
    whole = whole + counts[:, :, None, None] * covariances
    return xp.sum(full, axis=0), xp.sum(whole, axis=0)
