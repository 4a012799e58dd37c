"""Arithmetic on a block of rows, in the layout and with the buffers that a driver likes best."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from estep_xp.arrays.array_types import AnyArray, Array, Namespace, ResultT
from estep_xp.arrays.summation import Sum, sum_pairwise


@dataclass(frozen=True)
class BlockOps:
    """Layout of a block in a driver, and arithmetic on it.

    With `axis` 1 a block has its rows first and components along axis 1, as users see them. With
    `axis` 0 it is transposed, components and features first and rows last: NumPy's reductions over
    a short axis are three times faster that way.

    This class uses the standard alone; drivers subclass it. A trailing underscore says that the
    first argument, an array of the caller's own, may be overwritten.
    """

    xp: Namespace
    axis: int = 1
    # There are enough rows to prepare a second form of a density, which is faster row by row.
    many_rows: bool = False
    product_dtype: Any = None  # the dtype of the product form, if it is not that of rows
    only_shares: bool = False  # log-joints are only normalised: some may be estimates

    single: bool = False  # rows are in single precision
    # Among so many parts of a density the absolute error is divided that a faster form may have.
    sharing: int = 1

    # Name of the driver's arithmetic, by which families look up what they have measured with it.
    kind: ClassVar[str] = "standard"

    # Values exist now, and may decide how to compute.
    values_visible = False

    # Derivatives may be taken of everything: of 1 / σ they overflow where those of x / σ do not.
    differentiable = True

    # One form of densities is chosen for all that is done with a block, not row by row.
    decides_per_block = False

    # `extend` gives a wider dtype than that of the product form.
    has_extended = False

    def for_shares(self) -> BlockOps:
        """The same operations for log-joints that are only normalised."""
        return self

    def map_components(
        self, function: Callable[..., Any], arrays: tuple[Array, ...], axis: int, x: Array
    ) -> Any:
        """f(a[j], b[j]) of arrays (a, b) for each component j, stacked along the axis.

        The result is a tuple of stacks where f returns a tuple. `f` must also accept (a, b), all
        components at once, and broadcast rows x against them.
        """
        del x
        return loop_components(self.xp, function, arrays, axis)

    def mask_without_derivative(self, values: Array, flags: Array, constant: float) -> Array:
        """The values, of which the flagged ones are this constant, without their derivatives."""
        return self.xp.where(flags, constant, values)

    def without_derivative(self, values: Array) -> Array:
        """The values, for a shift that the result does not depend on: its derivative cancels."""
        return values

    def exp_(self, x: Array, *, least: float = -math.inf) -> Array:
        """Exponentials of x, none of whose entries is less than `least`."""
        del least
        return self.xp.exp(x)

    def add_(self, x: Array, y: Array) -> Array:
        """Sum x + y."""
        return x + y

    def multiply_(self, x: Array, y: Array | float) -> Array:
        """Product x * y."""
        return x * y

    def square_(self, x: Array) -> Array:
        """Squares of x."""
        return x * x

    def sum_squares_(self, x: Array, axis: int) -> Array:
        """Sums of squares of x."""
        return self.sum(x * x, axis)

    def sum(self, values: Array, axis: int) -> Array:
        """Sums along an axis, whose error does not grow with the number of terms."""
        return sum_pairwise(lambda terms, axis: self.xp.sum(terms, axis=axis), values, axis)

    def cond(
        self, flag: Array, if_true: Callable[[], ResultT], if_false: Callable[[], ResultT]
    ) -> ResultT:
        """Return what `if_true` returns if the flag is set, else what `if_false` returns.

        `if_false` gives the right result in any case, but takes longer.
        """
        del flag, if_true
        return if_false()

    def materialize(self, compute: Callable[[], ResultT], witness: Array) -> ResultT:
        """Arrays that `compute` returns, stored so that a compiler does not recompute them.

        They are all NaN if the witness is.
        """
        del witness
        return compute()

    def max_components(self, values: Array) -> Array:
        """The largest entry of each row (rows,) of a block of components by rows."""
        return self.xp.max(values, axis=self.axis)

    def sum_components(self, values: Array) -> Array:
        """The sum of each row (rows,) of a block of components by rows."""
        return self.sum(values, self.axis)

    def stack_products(
        self,
        pairs: list[tuple[Array, Array | None]],
        after: list[tuple[Array, Array | None]] | None = None,
    ) -> Array:
        """Products a * b of pairs of arrays (any, rows), or a where b is None, and then ones.

        The products of the pairs `after` stand after the ones.
        """
        products, others = (
            [a if b is None else a * b for a, b in some] for some in (pairs, after or [])
        )
        last = pairs[-1][0]
        ones = self.xp.ones_like(last[:1, :] if self.axis == 0 else last[:, :1])
        return self.xp.concat([*products, ones, *others], axis=self.axis)

    def squared_norms(self, residuals: Array, factor: Array, cuts: list[int]) -> Array:
        """Squared lengths of residuals times large triangular factors, summed between cuts."""
        raise NotImplementedError

    def estimate_squared_norms(
        self, rows: Array, means: Array, factors: Array, scale: Array
    ) -> Array:
        """Squared lengths (k, rows) of (x − μ) P · scale in single precision; P (k, d, d)."""
        raise NotImplementedError

    def replace_(
        self, values: Array, flags: Array, function: Callable[[int, Array], Array], x: Array
    ) -> Array:
        """Values (k, rows), but f(j, x) for the flagged rows x of each component j."""
        raise NotImplementedError

    def multiply_slices(self, theta: Array, terms: Array, slices: list[slice]) -> Array:
        """Products of theta (k, m) and m terms of a block, summed slice by slice."""
        xp = self.xp
        if self.axis == 0:
            parts = [xp.matmul(theta[:, part], terms[part, :]) for part in slices]
        else:
            by_term = xp.matrix_transpose(theta)
            parts = [xp.matmul(terms[:, part], by_term[part, :]) for part in slices]
        return functools.reduce(self.add_, parts)

    def divide_rows_(self, shares: Array, totals: Array, exponents: Array | None = None) -> Array:
        """Shares over the totals (rows,) of rows; `exponents` are the logarithms of shares."""
        del exponents
        return shares / expand_rows(totals, self.axis)

    def divide_on_write(
        self, shares: Array, totals: Array, exponents: Array | None = None
    ) -> Array:
        """Shares over totals as a kernel's result: a driver may divide as it writes the output."""
        return self.divide_rows_(shares, totals, exponents)

    def extent(self, values: Array, greatest: Array) -> tuple[float, float]:
        """Lower and upper bounds on the entries of `values`, given each row's largest.

        They are (-inf, inf) where values are not visible, and NaN if some entry is.
        """
        del values, greatest
        return -math.inf, math.inf

    def subtract_rows_(self, values: Array, shift: Array) -> Array:
        """Values of a block minus a shift (rows,) of each row."""
        return values - expand_rows(shift, self.axis)

    def count_rows(self, values: Array) -> Array:
        """How many rows there are, as a number of the dtype of their values (rows,)."""
        total: Array = self.xp.sum(self.xp.ones_like(values))
        return total

    def sum_rows(self, values: Array) -> tuple[Array, Array]:
        """The sum of values (rows,), rounded, and the remainder that rounding leaves.

        In single precision, rounding the sum of thousands of values exceeds an EM step's increase.
        """
        xp = self.xp
        if values.dtype == xp.float32:
            return Sum.of(xp, values).sum_groups(xp).parts(xp)
        total = xp.sum(values)
        return total, xp.zeros_like(total)

    def widen(self, array: Array) -> Array:
        """An array in the dtype of the product form."""
        return (
            array
            if self.product_dtype is None
            else self.xp.astype(array, self.product_dtype, copy=False)
        )

    def extend(self, array: Array) -> Array:
        """Parameters in a wider dtype than that of the product form, where there is one."""
        return array

    def round_extended(self, array: Array) -> Array:
        """Parameters of such a wider dtype, rounded to that of the product form."""
        return array

    def select(
        self,
        bounds: Array,
        limit: float,
        fast: Callable[[], tuple[Array, Any]],
        exact: Callable[[Array], Array],
        x: Array,
        check: RowCheck,
    ) -> Selected:
        """Use the fast form for rows whose bound is within the limit, the exact one elsewhere.

        `fast()` returns values of the whole block and what it computed them from; `exact(x)` the
        values of rows x. Where single rows exceed the limit, `check` may keep their fast values.
        """
        raise NotImplementedError

    def take_rows(self, values: Array, flags: Array) -> Array:
        """The flagged rows of a block."""
        raise NotImplementedError

    def pullback(
        self, function: Callable[..., Array], *arguments: Any
    ) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
        """Value of a function, and its pullback: from a cotangent to derivatives by arguments.

        The pullback returns one array for each array of real numbers in the arguments, in order.
        """
        raise NotImplementedError


class RowCheck(NamedTuple):
    """How to check fast values of single rows one by one, and to replace those that fail."""

    # Flags (k, some), given indices of rows and values.
    are_exact: Callable[[Array, Array], AnyArray]
    # Values (pairs,), given rows x and components.
    exact_pairs: Callable[[Array, Array], Array]


class Selected(NamedTuple):
    """Values of a block, by the fast form for some rows or all."""

    values: Array
    source: Any = None  # what the fast form computed its values from, where it was used
    fast_rows: Array | None = None  # flags (rows,) of where the fast form is exact; None: all
    largest: float = math.inf  # bound of all rows, where the fast form was used for all


def loop_components(
    xp: Namespace, function: Callable[..., Any], arrays: tuple[Array, ...], axis: int
) -> Any:
    """`map_components` by a loop in Python."""
    k = arrays[0].shape[0]
    results = [function(*(a[j, ...] for a in arrays)) for j in range(k)]
    if isinstance(results[0], tuple):
        return tuple(xp.stack(parts, axis=axis) for parts in zip(*results, strict=True))
    return xp.stack(results, axis=axis)


def expand_components(vector: Array, axis: int) -> Array:
    """Vectors (..., k) along `axis` of a block, ready to broadcast."""
    return vector[..., :, None] if axis == 0 else vector[..., None, :]


def expand_rows(vector: Array, axis: int) -> Array:
    """Vectors (..., rows) across `axis` of a block, ready to broadcast."""
    return vector[..., None, :] if axis == 0 else vector[..., :, None]


def expand_like(vector: AnyArray, like: AnyArray) -> AnyArray:
    """An array (k, ...) or (n, ...) ready to broadcast against one with more axes after these."""
    missing = like.ndim - vector.ndim
    return vector[(..., *(None,) * missing)] if missing else vector
