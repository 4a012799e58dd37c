"""What a driver runs: mathematics on a block of rows, laid out as the driver likes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.logsumexp import across
from estep_xp.arrays.summation import Sum, sum_pairwise


@dataclass(frozen=True)
class Plan:
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
    wide: Any = None  # the dtype that features are computed in, if it is not that of rows

    # Numbers can be looked at, to choose what to do with them.
    concrete = False

    # Products with large triangular factors are worth cutting into pieces.
    cuts_factors = False

    # Derivatives may be taken of everything: of 1 / σ they overflow where those of x / σ do not.
    differentiable = True

    # One form of densities is chosen for all that is done with a block, not row by row.
    one_form = False

    # `precise` gives more digits than the dtype has that features are computed in.
    has_precise = False

    # Products of features are quicker to make of chosen rows of a block than one after the other.
    gathers = False

    def over_components(
        self, function: Callable[..., Any], arrays: tuple[Array, ...], axis: int, x: Array
    ) -> Any:
        """f(a[j], b[j]) of arrays (a, b) for each component j, stacked along the axis.

        It is a tuple of such stacks where f gives a tuple. What f does to rows x of a component it
        also does with all of them at once, stacked along their first axis.
        """
        del x
        return each_component(self.xp, function, arrays, axis)

    def without_derivative(self, values: Array, flags: Array, constant: float) -> Array:
        """The values, of which the flagged ones are this constant: nothing is to pass them back."""
        return self.xp.where(flags, constant, values)

    def exp(self, x: Array, *, least: float = -math.inf) -> Array:
        """Exponentials of an array of the caller's own, which may be overwritten.

        Nothing in it is less than `least`.
        """
        del least
        return self.xp.exp(x)

    def plus(self, x: Array, y: Array) -> Array:
        """Sum x + y, where x is the caller's own array, which may be overwritten."""
        return x + y

    def times(self, x: Array, y: Array | float) -> Array:
        """Product x * y, where x is the caller's own array, which may be overwritten."""
        return x * y

    def square(self, x: Array) -> Array:
        """Squares of the caller's own array, which may be overwritten."""
        return x * x

    def sum_of_squares(self, x: Array, axis: int) -> Array:
        """Sums of squares of the caller's own array, which may be overwritten."""
        return self.sum(x * x, axis)

    def sum(self, values: Array, axis: int) -> Array:
        """Sums along an axis, exact for any number of terms that round alike."""
        return sum_pairwise(lambda terms, axis: self.xp.sum(terms, axis=axis), values, axis)

    def pays(self, d: int, *, products: bool, independent: bool) -> bool:
        """Whether features make log-densities quicker, of all pairs of d features or of d alone."""
        del d, products, independent
        return False

    def joins(self, *, products: bool) -> bool:
        """Whether they make log-densities quicker, too, where they pay for sums."""
        del products
        return True

    def chosen(self, flag: Array, if_true: Callable[[], Any], if_false: Callable[[], Any]) -> Any:
        """What `if_true` gives if the flag is set; `if_false` is right, too, but takes longer."""
        del flag, if_true
        return if_false()

    def kept(self, compute: Callable[[], Any], witness: Array) -> Any:
        """Arrays that `compute` gives, computed once however often they are used.

        They are NaN throughout where the witness is.
        """
        del witness
        return compute()

    def by_features(self, d: int, *, independent: bool) -> bool:
        """Whether loops over features are better written out, for all components at once."""
        del d, independent
        return False

    def greatest(self, values: Array) -> Array:
        """The largest number of each row (rows,) of a block of components by rows."""
        return self.xp.max(values, axis=self.axis)

    def total(self, values: Array) -> Array:
        """The sum of each row (rows,) of such a block."""
        return self.sum(values, self.axis)

    def products(self, pairs: list[tuple[Array, Array | None]]) -> Array:
        """Products a * b (features by rows) of pairs of arrays, or a where b is None, and ones."""
        products = [a if b is None else a * b for a, b in pairs]
        last = pairs[-1][0]
        ones = self.xp.ones_like(last[:1, :] if self.axis == 0 else last[:, :1])
        return self.xp.concat([*products, ones], axis=self.axis)

    def squared_norms(self, residuals: Array, factor: Array, cuts: list[int]) -> Array:
        """Squared lengths of residuals times large triangular factors, summed between cuts."""
        raise NotImplementedError

    def sliced_product(self, theta: Array, features: Array, slices: list[slice]) -> Array:
        """Products of theta (k, m) and m features of a block, the sum over slices of them."""
        xp = self.xp
        if self.axis == 0:
            parts = [xp.matmul(theta[:, part], features[part, :]) for part in slices]
        else:
            by_feature = xp.matrix_transpose(theta)
            parts = [xp.matmul(features[:, part], by_feature[part, :]) for part in slices]
        return functools.reduce(self.plus, parts)

    def quotient(self, shares: Array, totals: Array, exponents: Array | None = None) -> Array:
        """Shares, the caller's own that may be overwritten, over the totals (rows,) of rows.

        Logarithms of the shares may be given, too.
        """
        del exponents
        return shares / across(totals, self.axis)

    def result(self, shares: Array, totals: Array, exponents: Array | None = None) -> Array:
        """Such a quotient that is a result of a kernel: a driver may divide as it writes it."""
        return self.quotient(shares, totals, exponents)

    def span(self, values: Array, greatest: Array) -> tuple[float, float]:
        """Numbers that those of a block can be seen to lie between, given each row's largest.

        NaN if some of the numbers are.
        """
        del values, greatest
        return -math.inf, math.inf

    def shifted(self, values: Array, shift: Array) -> Array:
        """Numbers of a block, the caller's own that may be overwritten, less those of rows."""
        return values - across(shift, self.axis)

    def sum_of_rows(self, values: Array) -> tuple[Array, Array]:
        """The sum of numbers (rows,), and what is left of it where it is rounded.

        In single precision the sum of thousands of numbers is rounded more coarsely than EM climbs.
        """
        xp = self.xp
        if values.dtype == xp.float32:
            return Sum.of(xp, values).added_up(xp).parts(xp)
        total = xp.sum(values)
        return total, xp.zeros_like(total)

    def widened(self, array: Array) -> Array:
        """An array in the dtype that features are computed in."""
        return array if self.wide is None else self.xp.astype(array, self.wide, copy=False)

    def precise(self, array: Array) -> Array:
        """Parameters in a wider dtype than features are computed in, where there is one."""
        return array

    def rounded(self, array: Array) -> Array:
        """Parameters of such a dtype in the one that features are computed in."""
        return array

    def granted(
        self,
        bounds: Array,
        limit: float,
        quick: Callable[[], tuple[Array, Any]],
        sure: Callable[[Array], Array],
        x: Array,
    ) -> Granted:
        """Values of a block by `quick` for rows whose bound is below the limit, else by `sure`."""
        raise NotImplementedError

    def selected(self, values: Array, flags: Array) -> Array:
        """The flagged rows of a block."""
        raise NotImplementedError

    def pullback(
        self, function: Callable[..., Array], *arguments: Any
    ) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
        """Value of a function, and what turns a derivative by it into those by the arguments.

        That is one array for each of real numbers that the arguments hold, in their order.
        """
        raise NotImplementedError


class Granted(NamedTuple):
    """Values of a block by the quicker of two forms, wherever it is good enough."""

    values: Array
    by_product: Any = None  # of the quicker form, where it was used
    fine: Array | None = None  # flags (rows,) of where it was; None for everywhere
    largest: float = math.inf  # bound of all rows, where it was used everywhere


class RowKernel(Protocol):
    """A computation that treats every row alone. Hashable: what it is compiled for."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of each result: () or (k,)."""
        ...

    @property
    def breadth(self) -> int:
        """Numbers that a row has in the widest results."""
        ...

    def width(self, plan: Plan, parameters: Any) -> int:
        """Numbers that a row needs meanwhile, beyond itself."""
        ...

    def prepare(self, plan: Plan, parameters: Any) -> Any:
        """What all rows share, computed once."""
        ...

    def rows(self, plan: Plan, prepared: Any, *rows: Array) -> tuple[Array, ...]:
        """The results for a block of rows."""
        ...


class SumKernel(Protocol):
    """A computation that sums over rows. Hashable: what it is compiled for.

    Its first two sums are one, in two parts, as `Plan.sum_of_rows` gives them.
    """

    @property
    def breadth(self) -> int:
        """Numbers that a row has in the widest results."""
        ...

    def width(self, plan: Plan, parameters: Any) -> int:
        """Numbers that a row needs meanwhile, beyond itself."""
        ...

    def prepare(self, plan: Plan, parameters: Any) -> Any:
        """What all rows share, computed once."""
        ...

    def sums(self, plan: Plan, prepared: Any, *rows: Array) -> tuple[Array, ...]:
        """The sums over a block of rows, which may be empty."""
        ...


class TotalKernel(RowKernel, Protocol):
    """A number for each row, whose sum has derivatives that cost no more than the sum."""

    def slopes(self, *, by_x: bool, by_sample_weight: bool) -> SlopeKernel:
        """The kernel of its derivatives: by parameters, and those by rows that are wanted."""
        ...


class SlopeKernel(Protocol):
    """The derivatives of a sum over rows. Hashable: what it is compiled for."""

    @property
    def breadth(self) -> int:
        """Numbers that a row has in the widest results."""
        ...

    def width(self, plan: Plan, parameters: Any) -> int:
        """Numbers that a row needs meanwhile, beyond itself."""
        ...

    def prepare(self, plan: Plan, parameters: Any) -> Any:
        """What all rows share, computed once."""
        ...

    def block(
        self, plan: Plan, prepared: Any, *rows: Array
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """The sums over a block, and by rows.

        The first two are the one that is differentiated, as `Plan.sum_of_rows` gives it.
        """
        ...

    def by_parameters(
        self, plan: Plan, parameters: Any, sums: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        """Derivatives by the arrays of parameters, made of the sums over all rows."""
        ...


def each_component(
    xp: Namespace, function: Callable[..., Any], arrays: tuple[Array, ...], axis: int
) -> Any:
    """One component after the other, in Python: `over_components` wherever that is cheap."""
    k = arrays[0].shape[0]
    results = [function(*(a[j, ...] for a in arrays)) for j in range(k)]
    if isinstance(results[0], tuple):
        return tuple(xp.stack(parts, axis=axis) for parts in zip(*results, strict=True))
    return xp.stack(results, axis=axis)
