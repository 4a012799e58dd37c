"""What a driver runs: kernels, which are mathematics on a block of rows."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

from estep_xp.arrays.array_types import Array
from estep_xp.arrays.block import BlockOps

# Results for each row of a block, and sums over its rows.
BlockResults: TypeAlias = tuple[tuple[Array, ...], tuple[Array, ...]]


class Kernel(Protocol):
    """A computation on a block of rows. Hashable: what it is compiled for.

    It has results for each row, sums over rows, or both; a driver collects what it is asked for.
    """

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row, () or (k,), of the results that `Driver.map_rows` collects."""
        ...

    @property
    def breadth(self) -> int:
        """Elements per row of the widest results."""
        ...

    def width(self, ops: BlockOps, parameters: Any) -> int:
        """Scratch elements per row, beyond the row itself."""
        ...

    def prepare(self, ops: BlockOps, parameters: Any) -> Any:
        """What all rows share, computed once."""
        ...

    def block(self, ops: BlockOps, prepared: Any, *rows: Array) -> BlockResults:
        """The results for each row of a block, and the sums over them; the block may be empty.

        The first two sums are one, in two parts, as `BlockOps.sum_rows` gives it.
        """
        ...


class TotalKernel(Kernel, Protocol):
    """One result for each row, whose total has derivatives that cost no more than the total."""

    def gradient_kernel(self, *, by_x: bool, by_sample_weight: bool) -> Kernel:
        """The kernel of the total and its derivatives.

        Its results are the derivatives by rows that are wanted. Its sums are the total, and what
        `by_parameters` needs.
        """
        ...

    def by_parameters(
        self, ops: BlockOps, parameters: Any, sums: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        """Derivatives by the arrays of parameters, from the gradient kernel's sums."""
        ...
