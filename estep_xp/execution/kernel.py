"""What a driver runs: kernels, which are mathematics on a block of rows."""

from __future__ import annotations

from typing import Any, Protocol

from estep_xp.arrays.array_types import Array
from estep_xp.arrays.block import BlockOps


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

    def width(self, ops: BlockOps, parameters: Any) -> int:
        """Numbers that a row needs meanwhile, beyond itself."""
        ...

    def prepare(self, ops: BlockOps, parameters: Any) -> Any:
        """What all rows share, computed once."""
        ...

    def rows(self, ops: BlockOps, prepared: Any, *rows: Array) -> tuple[Array, ...]:
        """The results for a block of rows."""
        ...


class SumKernel(Protocol):
    """A computation that sums over rows. Hashable: what it is compiled for.

    Its first two sums are one, in two parts, as `BlockOps.sum_rows` gives them.
    """

    @property
    def breadth(self) -> int:
        """Numbers that a row has in the widest results."""
        ...

    def width(self, ops: BlockOps, parameters: Any) -> int:
        """Numbers that a row needs meanwhile, beyond itself."""
        ...

    def prepare(self, ops: BlockOps, parameters: Any) -> Any:
        """What all rows share, computed once."""
        ...

    def sums(self, ops: BlockOps, prepared: Any, *rows: Array) -> tuple[Array, ...]:
        """The sums over a block of rows, which may be empty."""
        ...


class TotalKernel(RowKernel, Protocol):
    """A number for each row, whose sum has derivatives that cost no more than the sum."""

    def gradient_kernel(self, *, by_x: bool, by_sample_weight: bool) -> GradientKernel:
        """The kernel of its derivatives: by parameters, and those by rows that are wanted."""
        ...


class GradientKernel(Protocol):
    """The derivatives of a sum over rows. Hashable: what it is compiled for."""

    @property
    def breadth(self) -> int:
        """Numbers that a row has in the widest results."""
        ...

    def width(self, ops: BlockOps, parameters: Any) -> int:
        """Numbers that a row needs meanwhile, beyond itself."""
        ...

    def prepare(self, ops: BlockOps, parameters: Any) -> Any:
        """What all rows share, computed once."""
        ...

    def block(
        self, ops: BlockOps, prepared: Any, *rows: Array
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """The sums over a block, and by rows.

        The first two are the one that is differentiated, as `BlockOps.sum_rows` gives it.
        """
        ...

    def by_parameters(
        self, ops: BlockOps, parameters: Any, sums: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        """Derivatives by the arrays of parameters, made of the sums over all rows."""
        ...
