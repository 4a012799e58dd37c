"""NumPy's arithmetic on a block: rows last, written over its own buffers, numbers at hand."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp.arrays.block import BlockOps, Granted, Mending, loop_components
from estep_xp.arrays.summation import sum_pairwise
from estep_xp.execution.numpy.estimate import estimate_squared_norms

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array

# Rows that a step of a product takes at least: fewer are slow.
_LEAST_STEP = 512

# Numbers of features that stay in a core's own cache while they are multiplied slice by slice.
_CACHED_NUMBERS = 1 << 18

# Numbers of so few rows for all components that calls take longer than what they do.
_FEW_NUMBERS = 1 << 17

# Exponents below which numpy.exp is slow, since results are subnormal, and those of zero.
_SUBNORMAL, _ZERO = -707.0, -745.2

# Share of a block's exponentials up to which slow ones are best taken apart from the others.
_FEW_SLOW = 0.03

# Share of a block's rows up to which to take them takes less time than to compute all.
_MOST_TAKEN = 0.8

# Share of a block's rows up to which mending them takes less time than the sure form for all.
_FEW_BAD = 0.5

# Components of a row up to which mending them one by one takes less time than all of them at once.
_FEW_PAIRS = 4

# Shares of at most so many columns are divided by their totals as they are written.
_DIVIDED_COLUMNS = 6


@dataclass(frozen=True)
class NumpyOps(BlockOps):
    """Rows last, and numbers that can be looked at."""

    axis: int = 0
    product_dtype: Any = np.float64

    kind = "numpy"
    values_visible = True
    differentiable = False
    # Long double is double precision on some systems.
    has_extended = bool(np.finfo(np.longdouble).eps < 0.01 * np.finfo(np.float64).eps)

    def for_shares(self) -> NumpyOps:
        """The same for log-joints that are only normalised."""
        return self if self.only_shares else replace(self, only_shares=True)

    def map_components(
        self, function: Callable[..., Any], arrays: tuple[Array, ...], axis: int, x: Array
    ) -> Any:
        """f(a[j], b[j]) for each component j; of few rows for all at once."""
        if axis != 0 or len(arrays[0]) * x.size > _FEW_NUMBERS:
            return loop_components(np, function, arrays, axis)
        return function(*arrays)

    def exp_(self, x: Array, *, least: float = -math.inf) -> Array:
        """Exponentials, written over `x`, at full speed where they underflow."""
        if least > _SUBNORMAL or x.dtype != np.float64:
            return np.exp(x, out=x)
        # NumPy leaves its vector path where a result is subnormal, or zero: tens of times slower.
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
        # Half the exponent, squared, does not; and squares of zeros never underflow.
        x *= 0.5
        alive = x > 0.5 * _ZERO
        np.exp(np.maximum(x, 0.5 * _ZERO, out=x), out=x)
        x *= alive
        return np.square(x, out=x)

    def add_(self, x: Array, y: Array) -> Array:
        """Sum x + y, written over x."""
        return np.add(x, y, out=x)

    def multiply_(self, x: Array, y: Array | float) -> Array:
        """Product x * y, written over x."""
        return np.multiply(x, y, out=x)

    def square_(self, x: Array) -> Array:
        """Squares, written over x."""
        return np.square(x, out=x)

    def sum_squares_(self, x: Array, axis: int) -> Array:
        """Sums of squares, written over x."""
        return self.sum(np.square(x, out=x), axis)

    def sum(self, values: Array, axis: int) -> Array:
        """Sums along an axis."""
        return sum_pairwise(np.add.reduce, values, axis)

    def max_components(self, values: Array) -> Array:
        """The largest number of each row (rows,)."""
        return np.maximum.reduce(values, axis=0)

    def stack_products(
        self,
        pairs: list[tuple[Array, Array | None]],
        after: list[tuple[Array, Array | None]] | None = None,
    ) -> Array:
        """Products of pairs of arrays, ones, and more products, written where they belong."""
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

    def squared_norms(self, residuals: Array, factor: Array, cuts: list[int]) -> Array:
        """Squared lengths (..., rows), of as many rows at a time as stay in the cache."""
        rows = residuals.shape[-1]
        result = np.empty((*residuals.shape[:-2], rows), dtype=residuals.dtype)
        step = max(_LEAST_STEP // 2, _CACHED_NUMBERS // (4 * cuts[-1]))
        for start in range(0, rows, step):
            block = residuals[..., start : start + step]
            products = _multiply_pairwise(block, factor, cuts)
            result[..., start : start + step] = self.sum_squares_(products, -2)
        return result

    def estimate_squared_norms(
        self, rows: Array, means: Array, factors: Array, scale: Array
    ) -> Array:
        """Squared lengths of standardised residuals in single precision."""
        return estimate_squared_norms(rows, means, factors, scale)

    def replace_(
        self, values: Array, flags: Array, function: Callable[[int, Array], Array], x: Array
    ) -> Array:
        """Values of single rows that are computed anew, written over the old ones."""
        by_row = np.ascontiguousarray(x.T)  # whose rows are quicker to take
        for j, flagged in enumerate(flags):
            rows = np.flatnonzero(flagged)
            if len(rows) > _MOST_TAKEN * len(flagged):
                values[j] = function(j, x)
            elif len(rows) > 0:
                values[j, rows] = function(j, np.take(by_row, rows, axis=0).T)
        return values

    def multiply_slices(self, theta: Array, features: Array, slices: list[slice]) -> Array:
        """Products of theta and features, of as many rows at a time as stay in the cache."""
        rows = features.shape[1]
        if len(slices) == 1:
            return np.matmul(theta, features)
        k, (first, *others, last) = len(theta), slices
        result = np.empty((k, rows), dtype=features.dtype)
        step = max(_LEAST_STEP, _CACHED_NUMBERS // (len(features) + 2 * k))
        scratch = np.empty((2, k * min(step, rows)), dtype=features.dtype)
        for start in range(0, rows, step):
            block, values = features[:, start : start + step], result[:, start : start + step]
            # Contiguous: NumPy takes three times as long to add to part of a larger array.
            total, part = scratch[:, : values.size].reshape(2, *values.shape)
            np.matmul(theta[:, first], block[first], out=total)
            for one in others:
                np.add(total, np.matmul(theta[:, one], block[one], out=part), out=total)
            np.add(total, np.matmul(theta[:, last], block[last], out=part), out=values)
        return result

    def divide_rows_(self, shares: Array, totals: Array, exponents: Array | None = None) -> Array:
        """Shares over the totals of rows, written over them."""
        del exponents
        return np.divide(shares, totals, out=shares)

    def divide_on_write(
        self, shares: Array, totals: Array, exponents: Array | None = None
    ) -> Array:
        """A quotient, of few columns one that is still to be divided."""
        if len(shares) <= _DIVIDED_COLUMNS:
            return Quotient(shares, totals)
        return self.divide_rows_(shares, totals, exponents)

    def extent(self, values: Array, greatest: Array) -> tuple[float, float]:
        """The smallest and the largest number of a block, given the largest of each row."""
        if values.size == 0:
            return -math.inf, math.inf
        smallest = np.minimum.reduce(values, axis=None)
        return float(smallest), float(np.maximum.reduce(greatest))

    def sum_rows(self, values: Array) -> tuple[Array, Array]:
        """The sum of numbers (rows,), taken in double precision, in two parts."""
        total = np.add.reduce(values, dtype=np.float64)
        if values.dtype == np.float64:
            return total, np.float64(0.0)
        value = values.dtype.type(total)
        left = total - value if np.isfinite(value) else 0.0
        return value, values.dtype.type(left)

    def subtract_rows_(self, values: Array, shift: Array) -> Array:
        """Numbers of a block less those of rows, written over them."""
        return np.subtract(values, shift, out=values)

    def extend(self, array: Array) -> Array:
        """Parameters as long doubles."""
        return array.astype(np.longdouble)

    def round_extended(self, array: Array) -> Array:
        """Parameters in double precision."""
        return array.astype(np.float64)

    def select(
        self,
        bounds: Array,
        limit: float,
        quick: Callable[[], tuple[Array, Any]],
        sure: Callable[[Array], Array],
        x: Array,
        mend: Mending,
    ) -> Granted:
        """Values of a block; single ones that are not good enough are mended."""
        largest = float(np.maximum.reduce(bounds, initial=0.0))
        if largest <= limit:
            return Granted(*quick(), None, largest)
        fine = bounds <= limit
        bad = np.flatnonzero(~fine)
        if len(bad) > _FEW_BAD * len(fine):
            return Granted(sure(x))
        values, by_product = quick()
        some = values[:, bad]
        exact = mend.are_exact(bad, some)
        components, places = np.nonzero(~exact)
        fine[bad] = np.logical_and.reduce(exact, axis=0)
        if len(places) > _FEW_PAIRS * len(bad):
            values[:, bad] = sure(np.ascontiguousarray(x[..., bad]))
        elif len(places) > 0:
            rows = bad[places]
            values[components, rows] = mend.of_pairs(np.take(x, rows, axis=-1), components)
        return Granted(values, by_product, fine)

    def take_rows(self, values: Array, flags: Array) -> Array:
        """The flagged rows of a block."""
        return np.compress(flags, values, axis=-1)


class Quotient(NamedTuple):
    """Shares (k, rows) over totals (rows,), neither of which is needed any more."""

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
