"""What a driver runs: mathematics on a block of rows, laid out as the driver likes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from estep_xp._logsumexp import across
from estep_xp._typing import Array, Namespace


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

    # Numbers can be looked at, to choose what to do with them.
    concrete = False

    # Derivatives may be taken of everything: of 1 / σ they overflow where those of x / σ do not.
    differentiable = True

    def over_components(
        self, function: Callable[..., Any], arrays: tuple[Array, ...], axis: int
    ) -> Any:
        """f(a[j], b[j]) of arrays (a, b) for each component j, stacked along the axis.

        It is a tuple of such stacks where f gives a tuple.
        """
        return each_component(self.xp, function, arrays, axis)

    def exp(self, x: Array) -> Array:
        """Exponentials of an array of the caller's own, which may be overwritten."""
        return self.xp.exp(x)

    def products(self, pairs: list[tuple[Array, Array | None]]) -> Array:
        """Products a * b (features by rows) of pairs of arrays, or a where b is None, in one."""
        return self.xp.concat([a if b is None else a * b for a, b in pairs], axis=self.axis)

    def quotient(self, shares: Array, totals: Array) -> Array:
        """Shares, the caller's own that may be overwritten, over the totals (rows,) of rows."""
        return shares / across(totals, self.axis)

    def within(self, values: Array, least: float, most: float) -> bool:
        """Whether all numbers of a block can be seen to lie between these."""
        del values, least, most
        return False

    def mended(
        self, values: Array, bounds: Array, limit: float, sure: Callable[[Array], Array], x: Array
    ) -> tuple[Array, Array | None, float]:
        """Values of a block, with those of `sure` for rows whose bound (rows,) is above a limit.

        They come with flags of the rows that kept theirs, or None where all did, and then with
        their largest bound.
        """
        raise NotImplementedError

    def selected(self, values: Array, flags: Array) -> Array:
        """The flagged rows of a block."""
        raise NotImplementedError


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
    """A computation that sums over rows. Hashable: what it is compiled for."""

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


def each_component(
    xp: Namespace, function: Callable[..., Any], arrays: tuple[Array, ...], axis: int
) -> Any:
    """One component after the other, in Python: `over_components` wherever that is cheap."""
    k = arrays[0].shape[0]
    results = [function(*(a[j, ...] for a in arrays)) for j in range(k)]
    if isinstance(results[0], tuple):
        return tuple(xp.stack(parts, axis=axis) for parts in zip(*results, strict=True))
    return xp.stack(results, axis=axis)
