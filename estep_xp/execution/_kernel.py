"""What a driver runs: mathematics on a block of rows, laid out as the driver likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from estep_xp._typing import Array, Namespace


class Plan(NamedTuple):
    """How a driver lays out a block.

    With `axis` 1 a block has its rows first and components along axis 1, as users see them. With
    `axis` 0 everything is turned round, components and features first and rows last: NumPy's
    reductions over a short axis are three times faster that way.
    """

    xp: Namespace
    axis: int
    # over_components(f, (a, b), axis): f(a[j], b[j]) for each component j, stacked along the axis;
    # or a tuple of such stacks, where f gives a tuple.
    over_components: Callable[[Callable[..., Any], tuple[Array, ...], int], Any]


class RowKernel(Protocol):
    """A computation that treats every row alone. Hashable: what it is compiled for."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of each result: () or (k,)."""
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
    def width(self) -> int:
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
