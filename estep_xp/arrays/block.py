"""Arithmetic on a block of rows, in the layout and with the buffers that a driver likes best."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.summation import Sum, sum_pairwise


@dataclass(frozen=True)
class BlockOps:
    """How a driver lays out a block, and what it can do with one.

    With `axis` 1 a block has its rows first and components along axis 1, as users see them. With
    `axis` 0 everything is turned round, components and features first and rows last: NumPy's
    reductions over a short axis are three times faster that way.

    This one is of the standard alone; drivers have their own.
    """

    xp: Namespace
    axis: int = 1
    # There are enough rows to prepare more for them than the plainest form of a density.
    many_rows: bool = False
    product_dtype: Any = None  # the dtype that features are computed in, if it is not that of rows
    only_shares: bool = False  # log-joints are only normalised: some may be estimates

    single: bool = False  # rows are in single precision

    # Name of the driver's arithmetic, by which families look up what they have measured with it.
    kind: ClassVar[str] = "standard"

    # Numbers can be looked at, to choose what to do with them.
    values_visible = False

    # Derivatives may be taken of everything: of 1 / σ they overflow where those of x / σ do not.
    differentiable = True

    # One form of densities is chosen for all that is done with a block, not row by row.
    decides_per_block = False

    # `precise` gives more digits than the dtype has that features are computed in.
    has_extended = False

    def for_shares(self) -> BlockOps:
        """The same for log-joints that are only normalised, if that makes a difference."""
        return self

    def map_components(
        self, function: Callable[..., Any], arrays: tuple[Array, ...], axis: int, x: Array
    ) -> Any:
        """f(a[j], b[j]) of arrays (a, b) for each component j, stacked along the axis.

        It is a tuple of such stacks where f gives a tuple. What f does to rows x of a component it
        also does with all of them at once, stacked along their first axis.
        """
        del x
        return loop_components(self.xp, function, arrays, axis)

    def mask_without_derivative(self, values: Array, flags: Array, constant: float) -> Array:
        """The values, of which the flagged ones are this constant: nothing is to pass them back."""
        return self.xp.where(flags, constant, values)

    def exp_(self, x: Array, *, least: float = -math.inf) -> Array:
        """Exponentials of an array of the caller's own, which may be overwritten.

        Nothing in it is less than `least`.
        """
        del least
        return self.xp.exp(x)

    def add_(self, x: Array, y: Array) -> Array:
        """Sum x + y, where x is the caller's own array, which may be overwritten."""
        return x + y

    def multiply_(self, x: Array, y: Array | float) -> Array:
        """Product x * y, where x is the caller's own array, which may be overwritten."""
        return x * y

    def square_(self, x: Array) -> Array:
        """Squares of the caller's own array, which may be overwritten."""
        return x * x

    def sum_squares_(self, x: Array, axis: int) -> Array:
        """Sums of squares of the caller's own array, which may be overwritten."""
        return self.sum(x * x, axis)

    def sum(self, values: Array, axis: int) -> Array:
        """Sums along an axis, exact for any number of terms that round alike."""
        return sum_pairwise(lambda terms, axis: self.xp.sum(terms, axis=axis), values, axis)

    def cond(self, flag: Array, if_true: Callable[[], Any], if_false: Callable[[], Any]) -> Any:
        """What `if_true` gives if the flag is set; `if_false` is right, too, but takes longer."""
        del flag, if_true
        return if_false()

    def materialize(self, compute: Callable[[], Any], witness: Array) -> Any:
        """Arrays that `compute` gives, computed once however often they are used.

        They are NaN throughout where the witness is.
        """
        del witness
        return compute()

    def max_components(self, values: Array) -> Array:
        """The largest number of each row (rows,) of a block of components by rows."""
        return self.xp.max(values, axis=self.axis)

    def sum_components(self, values: Array) -> Array:
        """The sum of each row (rows,) of such a block."""
        return self.sum(values, self.axis)

    def stack_products(
        self,
        pairs: list[tuple[Array, Array | None]],
        after: list[tuple[Array, Array | None]] | None = None,
    ) -> Array:
        """Products a * b (features by rows) of pairs of arrays, or a where b is None, and ones.

        After the ones may come products of more pairs.
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

    def multiply_slices(self, theta: Array, features: Array, slices: list[slice]) -> Array:
        """Products of theta (k, m) and m features of a block, the sum over slices of them."""
        xp = self.xp
        if self.axis == 0:
            parts = [xp.matmul(theta[:, part], features[part, :]) for part in slices]
        else:
            by_feature = xp.matrix_transpose(theta)
            parts = [xp.matmul(features[:, part], by_feature[part, :]) for part in slices]
        return functools.reduce(self.add_, parts)

    def divide_rows_(self, shares: Array, totals: Array, exponents: Array | None = None) -> Array:
        """Shares, the caller's own that may be overwritten, over the totals (rows,) of rows.

        Logarithms of the shares may be given, too.
        """
        del exponents
        return shares / expand_rows(totals, self.axis)

    def divide_on_write(
        self, shares: Array, totals: Array, exponents: Array | None = None
    ) -> Array:
        """Such a quotient that is a result of a kernel: a driver may divide as it writes it."""
        return self.divide_rows_(shares, totals, exponents)

    def extent(self, values: Array, greatest: Array) -> tuple[float, float]:
        """Numbers that those of a block can be seen to lie between, given each row's largest.

        NaN if some of the numbers are.
        """
        del values, greatest
        return -math.inf, math.inf

    def subtract_rows_(self, values: Array, shift: Array) -> Array:
        """Numbers of a block, the caller's own that may be overwritten, less those of rows."""
        return values - expand_rows(shift, self.axis)

    def sum_rows(self, values: Array) -> tuple[Array, Array]:
        """The sum of numbers (rows,), and what is left of it where it is rounded.

        In single precision the sum of thousands of numbers is rounded more coarsely than EM climbs.
        """
        xp = self.xp
        if values.dtype == xp.float32:
            return Sum.of(xp, values).added_up(xp).parts(xp)
        total = xp.sum(values)
        return total, xp.zeros_like(total)

    def widen(self, array: Array) -> Array:
        """An array in the dtype that features are computed in."""
        return (
            array
            if self.product_dtype is None
            else self.xp.astype(array, self.product_dtype, copy=False)
        )

    def extend(self, array: Array) -> Array:
        """Parameters in a wider dtype than features are computed in, where there is one."""
        return array

    def round_extended(self, array: Array) -> Array:
        """Parameters of such a dtype in the one that features are computed in."""
        return array

    def select(
        self,
        bounds: Array,
        limit: float,
        quick: Callable[[], tuple[Array, Any]],
        sure: Callable[[Array], Array],
        x: Array,
        mend: Mending,
    ) -> Granted:
        """Values of a block by `quick` for rows whose bound is below the limit, else by `sure`.

        Of single rows whose bound is above the limit, those values may be kept that are good
        enough all the same, and the others mended.
        """
        raise NotImplementedError

    def take_rows(self, values: Array, flags: Array) -> Array:
        """The flagged rows of a block."""
        raise NotImplementedError

    def pullback(
        self, function: Callable[..., Array], *arguments: Any
    ) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
        """Value of a function, and what turns a derivative by it into those by the arguments.

        That is one array for each of real numbers that the arguments hold, in their order.
        """
        raise NotImplementedError


class Mending(NamedTuple):
    """A second look at single rows, and what to do about it."""

    are_exact: Callable[[Array, Array], Array]  # flags (k, some) of values, given places of rows
    of_pairs: Callable[[Array, Array], Array]  # values (pairs,) of rows x and their components


class Granted(NamedTuple):
    """Values of a block by the quicker of two forms, wherever it is good enough."""

    values: Array
    by_product: Any = None  # of the quicker form, where it was used
    fine: Array | None = None  # flags (rows,) of where it was; None for everywhere
    largest: float = math.inf  # bound of all rows, where it was used everywhere


def loop_components(
    xp: Namespace, function: Callable[..., Any], arrays: tuple[Array, ...], axis: int
) -> Any:
    """One component after the other, in Python: `over_components` wherever that is cheap."""
    k = arrays[0].shape[0]
    results = [function(*(a[j, ...] for a in arrays)) for j in range(k)]
    if isinstance(results[0], tuple):
        return tuple(xp.stack(parts, axis=axis) for parts in zip(*results, strict=True))
    return xp.stack(results, axis=axis)


def expand_components(vector: Array, axis: int) -> Array:
    """Vectors (..., k) set along `axis` of matrices, ready to broadcast."""
    return vector[..., :, None] if axis == 0 else vector[..., None, :]


def expand_rows(vector: Array, axis: int) -> Array:
    """Vectors (..., rows) that lie across `axis` of matrices, ready to broadcast."""
    return vector[..., None, :] if axis == 0 else vector[..., :, None]
