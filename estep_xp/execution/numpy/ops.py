"""NumPy's arithmetic on a block: rows last, in place, and with values that are visible."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp.arrays.block import BlockOps, RowCheck, Selected, loop_components
from estep_xp.arrays.summation import sum_pairwise
from estep_xp.execution.numpy.estimate import estimate_squared_norms

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import AnyArray

# Fewest rows of a matrix product, unless there are fewer: products of fewer rows are slow.
_LEAST_STEP = 512

# Elements that stay in a core's own cache while slices of them are multiplied.
_CACHED_ELEMENTS = 1 << 18

# Below this many elements call overhead dominates: all components are computed in one call.
_FEW_ELEMENTS = 1 << 17

# Exponents below which results of numpy.exp are subnormal, which is slow, and below which zero.
_SUBNORMAL, _ZERO = -707.0, -745.2

# Most exponents that are computed in less time than it takes to tell the slow ones apart.
_FEW_EXPONENTS = 1024

# Largest share of slow exponentials in a block that are computed apart from the others.
_FEW_SLOW = 0.03

# Largest share of a block's rows that is gathered: above it, all rows take less time.
_MOST_GATHERED = 0.8

# Largest share of a block's rows that are replaced by exact values in less time than the exact form
# takes for all rows.
_MOST_REPLACED = 0.5

# Most components of a row that are replaced one by one in less time than all components at once.
_MOST_PAIRS = 4

# Most columns of shares that are divided by their totals as they are written.
_DIVIDED_COLUMNS = 6


@dataclass(frozen=True)
class NumpyOps(BlockOps):
    """Rows last, and values that are visible."""

    axis: int = 0
    product_dtype: Any = np.float64

    kind = "numpy"
    values_visible = True
    differentiable = False
    # Long double is double precision on some systems.
    has_extended = bool(np.finfo(np.longdouble).eps < 0.01 * np.finfo(np.float64).eps)

    def for_shares(self) -> NumpyOps:
        """The same operations for log-joints that are only normalised."""
        return self._for_shares

    @functools.cached_property
    def _for_shares(self) -> NumpyOps:
        return replace(self, only_shares=True)

    def map_components(
        self, function: Callable[..., Any], arrays: tuple[AnyArray, ...], axis: int, x: AnyArray
    ) -> Any:
        """f(a[j], b[j]) for each component j; of few rows for all components at once."""
        if axis != 0 or len(arrays[0]) * x.size > _FEW_ELEMENTS:
            return loop_components(np, function, arrays, axis)
        return function(*arrays)

    def exp_(self, x: AnyArray, *, least: float = -math.inf) -> AnyArray:
        """Exponentials, written over `x`, at full speed where they underflow."""
        if x.size <= _FEW_EXPONENTS or least > _SUBNORMAL or x.dtype != np.float64:
            return np.exp(x, out=x)
        # NumPy leaves its vectorised path where a result is subnormal or zero, and is then tens of
        # times slower.
        slow = x <= _SUBNORMAL
        n_slow = np.count_nonzero(slow)
        if n_slow == 0:
            return np.exp(x, out=x)
        if n_slow < _FEW_SLOW * x.size:
            places = np.flatnonzero(slow)
            apart = np.exp(np.take(x, places))
            np.put(x, places, 0.0)
            np.put(np.exp(x, out=x), places, apart)
            return x
        # The exponential of half the exponent is normal, and its square is computed at full speed;
        # what underflows to zero is zero before it is squared.
        x *= 0.5
        positive = x > 0.5 * _ZERO
        np.exp(np.maximum(x, 0.5 * _ZERO, out=x), out=x)
        x *= positive
        return np.square(x, out=x)

    def cond(self, flag: AnyArray, if_true: Callable[[], Any], if_false: Callable[[], Any]) -> Any:
        """Call one of the two functions."""
        return if_true() if flag else if_false()

    def add_(self, x: AnyArray, y: AnyArray) -> AnyArray:
        """Sum x + y, written over x."""
        return np.add(x, y, out=x)

    def multiply_(self, x: AnyArray, y: AnyArray | float) -> AnyArray:
        """Product x * y, written over x."""
        return np.multiply(x, y, out=x)

    def square_(self, x: AnyArray) -> AnyArray:
        """Squares, written over x."""
        return np.square(x, out=x)

    def sum_squares_(self, x: AnyArray, axis: int) -> AnyArray:
        """Sums of squares, written over x."""
        return self.sum(np.square(x, out=x), axis)

    def sum(self, values: AnyArray, axis: int) -> AnyArray:
        """Sums along an axis."""
        return sum_pairwise(np.add.reduce, values, axis)

    def max_components(self, values: AnyArray) -> AnyArray:
        """The largest number of each row (rows,)."""
        return np.maximum.reduce(values, axis=0)

    def stack_products(
        self,
        pairs: list[tuple[AnyArray, AnyArray | None]],
        after: list[tuple[AnyArray, AnyArray | None]] | None = None,
    ) -> AnyArray:
        """Products of pairs of arrays, ones, and more products, written into one array."""
        first = pairs[0][0]
        every = [*pairs, (np.ones_like(first[:1]), None), *(after or [])]
        counts = [len(a) if b is None else max(len(a), len(b)) for a, b in every]
        result = np.empty((sum(counts), first.shape[1]), dtype=first.dtype)
        start = 0
        for (a, b), count in zip(every, counts, strict=True):
            piece = result[start : start + count]
            if b is None:
                piece[...] = a
            else:
                np.multiply(a, b, out=piece)
            start += count
        return result

    def squared_norms(self, residuals: AnyArray, factor: AnyArray, cuts: list[int]) -> AnyArray:
        """Squared lengths (..., rows), in batches of rows that stay in the cache."""
        rows = residuals.shape[-1]
        result = np.empty((*residuals.shape[:-2], rows), dtype=residuals.dtype)
        step = max(_LEAST_STEP // 2, _CACHED_ELEMENTS // (4 * cuts[-1]))
        for start in range(0, rows, step):
            block = residuals[..., start : start + step]
            products = _multiply_pairwise(block, factor, cuts)
            result[..., start : start + step] = self.sum_squares_(products, -2)
        return result

    def estimate_squared_norms(
        self, rows: AnyArray, means: AnyArray, factors: AnyArray, scale: AnyArray
    ) -> AnyArray:
        """Squared lengths of standardised residuals in single precision."""
        return estimate_squared_norms(rows, means, factors, scale)

    def replace_(
        self,
        values: AnyArray,
        flags: AnyArray,
        function: Callable[[int, AnyArray], AnyArray],
        x: AnyArray,
    ) -> AnyArray:
        """Values, with those of the flagged rows computed anew and written over the old ones."""
        by_row = np.ascontiguousarray(x.T)  # rows are contiguous: faster to gather
        for j, flagged in enumerate(flags):
            rows = np.flatnonzero(flagged)
            if len(rows) > _MOST_GATHERED * len(flagged):
                values[j] = function(j, x)
            elif len(rows) > 0:
                values[j, rows] = function(j, np.take(by_row, rows, axis=0).T)
        return values

    def multiply_slices(self, theta: AnyArray, terms: AnyArray, slices: list[slice]) -> AnyArray:
        """Products of theta and terms, in batches of rows that stay in the cache."""
        rows = terms.shape[1]
        if len(slices) == 1:
            return np.matmul(theta, terms)
        k, (first, *others, last) = len(theta), slices
        result = np.empty((k, rows), dtype=terms.dtype)
        step = max(_LEAST_STEP, _CACHED_ELEMENTS // (len(terms) + 2 * k))
        scratch = np.empty((2, k * min(step, rows)), dtype=terms.dtype)
        for start in range(0, rows, step):
            block, values = terms[:, start : start + step], result[:, start : start + step]
            # Contiguous: adding to part of a larger array takes NumPy three times as long.
            total, part = scratch[:, : values.size].reshape(2, *values.shape)
            np.matmul(theta[:, first], block[first], out=total)
            for one in others:
                np.add(total, np.matmul(theta[:, one], block[one], out=part), out=total)
            np.add(total, np.matmul(theta[:, last], block[last], out=part), out=values)
        return result

    def divide_rows_(
        self, shares: AnyArray, totals: AnyArray, exponents: AnyArray | None = None
    ) -> AnyArray:
        """Shares over the totals of rows, written over the shares."""
        del exponents
        return np.divide(shares, totals, out=shares)

    def divide_on_write(
        self, shares: AnyArray, totals: AnyArray, exponents: AnyArray | None = None
    ) -> AnyArray:
        """Shares over totals; of few columns a `Quotient`, which is divided as it is written."""
        if len(shares) <= _DIVIDED_COLUMNS:
            return Quotient(shares, totals)
        return self.divide_rows_(shares, totals, exponents)

    def extent(self, values: AnyArray, greatest: AnyArray) -> tuple[float, float]:
        """The smallest and the largest entry of a block, given the largest of each row."""
        if values.size == 0:
            return -math.inf, math.inf
        smallest = np.minimum.reduce(values, axis=None)
        return float(smallest), float(np.maximum.reduce(greatest))

    def count_rows(self, values: AnyArray) -> AnyArray:
        """How many rows there are, as a number of the same dtype."""
        return values.dtype.type(values.shape[0])

    def sum_rows(self, values: AnyArray) -> tuple[AnyArray, AnyArray]:
        """The sum of values (rows,), taken in double precision, in two parts."""
        total = np.add.reduce(values, dtype=np.float64)
        if values.dtype == np.float64:
            return total, np.float64(0.0)
        value = values.dtype.type(total)
        remainder = total - value if np.isfinite(value) else 0.0
        return value, values.dtype.type(remainder)

    def subtract_rows_(self, values: AnyArray, shift: AnyArray) -> AnyArray:
        """Values of a block minus a shift of each row, written over the values."""
        return np.subtract(values, shift, out=values)

    def extend(self, array: AnyArray) -> AnyArray:
        """Parameters as long doubles."""
        return array.astype(np.longdouble)

    def round_extended(self, array: AnyArray) -> AnyArray:
        """Parameters in double precision."""
        return array.astype(np.float64)

    def select(
        self,
        bounds: AnyArray,
        limit: float,
        fast: Callable[[], tuple[AnyArray, Any]],
        exact: Callable[[AnyArray], AnyArray],
        x: AnyArray,
        check: RowCheck,
    ) -> Selected:
        """Use the fast form for all rows but the few that need the exact one."""
        largest = float(np.maximum.reduce(bounds, initial=0.0))
        if largest <= limit:
            return Selected(*fast(), None, largest)
        fast_rows = bounds <= limit
        others = np.flatnonzero(~fast_rows)
        if len(others) > _MOST_REPLACED * len(fast_rows):
            return Selected(exact(x))
        values, source = fast()
        some = values[:, others]
        good = check.are_exact(others, some)
        components, places = np.nonzero(~good)
        fast_rows[others] = np.logical_and.reduce(good, axis=0)
        if len(places) > _MOST_PAIRS * len(others):
            values[:, others] = exact(np.ascontiguousarray(x[..., others]))
        elif len(places) > 0:
            rows = others[places]
            values[components, rows] = check.exact_pairs(np.take(x, rows, axis=-1), components)
        return Selected(values, source, fast_rows)

    def take_rows(self, values: AnyArray, flags: AnyArray) -> AnyArray:
        """The flagged rows of a block."""
        return np.compress(flags, values, axis=-1)


class Quotient(NamedTuple):
    """Shares (k, rows) over totals (rows,), not divided yet; neither is used for anything else."""

    shares: np.ndarray[Any, Any]
    totals: np.ndarray[Any, Any]


def _multiply_pairwise(
    residuals: np.ndarray[Any, Any], factor: np.ndarray[Any, Any], cuts: list[int]
) -> np.ndarray[Any, Any]:
    """Products of triangular factors, from their column `cuts[0]` on, with rows between cuts.

    Slices are added pairwise. The rows of a factor from a on are zero in the columns before a.
    """
    first, last = cuts[0], cuts[-1]
    if len(cuts) == 2:
        products: np.ndarray[Any, Any] = np.matmul(
            factor[..., first:last, first:].mT, residuals[..., first:last, :]
        )
        return products
    middle = len(cuts) // 2
    products = _multiply_pairwise(residuals, factor, cuts[: middle + 1])
    later = _multiply_pairwise(residuals, factor, cuts[middle:])
    products[..., cuts[middle] - first :, :] += later
    return products
