"""The public `log_prob` of the package's own families."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from estep_xp import execution
from estep_xp.arrays.array_types import Array
from estep_xp.arrays.block import BlockOps
from estep_xp.arrays.frames import column_names
from estep_xp.arrays.namespace import space_of
from estep_xp.arrays.suspects import suspects
from estep_xp.execution.kernel import BlockResults
from estep_xp.families import contract
from estep_xp.families.family import Family


@dataclass(frozen=True)
class LogProb:
    """Kernel: the log-densities of rows, and the largest of each row to tell bad rows by."""

    k: int
    lazy: bool

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
        return self.k + contract.family_of(parameters)._width(ops)

    def prepare(self, ops: BlockOps, parameters: Family) -> Any:
        """Prepare the components."""
        return parameters, parameters._prepare(ops, None)

    def block(self, ops: BlockOps, prepared: Any, *rows: Array) -> BlockResults:
        """Evaluate a block."""
        components, shared = prepared
        values = components._evaluate(ops, shared, rows[0]).log_joint
        if self.lazy:
            values = contract.mark_nonfinite_rows(ops, rows[0], values)
        return (values, ops.xp.max(values, axis=ops.axis)), ()


def log_prob(components: Family, x: Any) -> Array:
    """Component log-densities (n, k) of observations."""
    space = space_of({"x": x, **contract.arrays_of(components)})  # type: ignore[arg-type]
    checked: Any = components._checked(space)
    components = checked
    columns, x = column_names(x), space.rows("x", x)
    contract.check_rows_shape("x", components, x)  # type: ignore[arg-type]
    kernel = LogProb(checked._n_components(), space.lazy)
    options = execution.check_options(None, None)
    values, largest = execution.driver_for(space).map_rows(kernel, space, (x,), components, options)
    found = suspects(space, x, largest)
    if found is not None:
        found.check("x", np.isfinite(found.rows), "must be finite", columns)
        support = components._static_support()
        found.check("x", support._supports(found.rows), support._support, columns)
    return values
