"""Log-densities of rows under each state's component: what a chain needs to know of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from estep_xp.families import contract

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.block import BlockOps
    from estep_xp.execution.kernel import BlockResults


@dataclass(frozen=True)
class Emissions:
    """Kernel: the log-densities of rows, and the largest of each row to tell bad rows by."""

    k: int
    lazy: bool  # results can't be checked: bad rows must show
    by_row: bool = False  # no row's density may know of others, nor by which form it is computed

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((self.k,), ())

    @property
    def breadth(self) -> int:
        """Elements per row of the widest results."""
        return self.k

    def width(self, ops: BlockOps, parameters: Any) -> int:
        """Scratch elements per row, beyond the row itself."""
        return self.k + contract.family_of(parameters[0])._width(ops)

    def prepare(self, ops: BlockOps, parameters: Any) -> Any:
        """Prepare the components, of which (components, zeros (k,)) are the parameters."""
        components, zeros = parameters
        ops = replace(ops, many_rows=False) if self.by_row else ops
        family = contract.family_of(components)
        return family, family._prepare(ops, zeros)

    def block(self, ops: BlockOps, prepared: Any, *rows: Array) -> BlockResults:
        """Evaluate a block."""
        family, shared = prepared
        ops = replace(ops, many_rows=False) if self.by_row else ops
        values = family._evaluate(ops, shared, rows[0]).log_joint
        if self.lazy:
            values = contract.mark_nonfinite_rows(ops, family._without_holes(ops, rows[0]), values)
        return (values, ops.xp.max(values, axis=ops.axis)), ()
