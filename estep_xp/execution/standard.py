"""Any library of the Array API standard: the whole array in one go, or in blocks if asked to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from estep_xp.arrays.block import BlockOps
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.summation import Sum, values_of_sums
from estep_xp.execution.driver import Driver
from estep_xp.execution.kernel import Kernel

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.namespace import Space
    from estep_xp.execution.call_options import Options


# Rows in a block of a sum. Some libraries add one row to the next: in float32 that loses the sixth
# digit over a few thousand rows already.
_BLOCK_ROWS = 1 << 16
_BLOCK_ROWS_SINGLE = 1 << 11


class LibraryDriver(Driver):
    """Plain calls of the standard's functions."""

    def map_rows(
        self,
        kernel: Kernel,
        space: Space,
        rows: tuple[Array, ...],
        parameters: Any,
        options: Options,
    ) -> tuple[Array, ...]:
        """Run `kernel`; blocks bound its temporaries."""
        xp = space.xp
        ops = BlockOps(xp)
        n = rows[0].shape[0]
        size = max(1, n) if options.block_size is None else options.block_size
        # Quietly, for libraries that compute with NumPy.
        prepared = quietly(kernel.prepare, ops, parameters)
        blocks = [
            quietly(
                kernel.block, ops, prepared, *(array[s : min(s + size, n), ...] for array in rows)
            )[0]
            for s in range(0, max(1, n), size)
        ]
        if len(blocks) == 1:
            return blocks[0]
        return tuple(xp.concat(pieces, axis=0) for pieces in zip(*blocks, strict=True))

    def sum_rows(
        self,
        kernel: Kernel,
        space: Space,
        rows: tuple[Array, ...],
        parameters: Any,
        options: Options,
    ) -> tuple[Array, ...]:
        """Add the sums of blocks; without a size from the user, blocks bound the temporaries."""
        xp = space.xp
        ops = BlockOps(xp)
        n = rows[0].shape[0]
        single = space.dtype == xp.float32
        size = options.block_size or (_BLOCK_ROWS_SINGLE if single else _BLOCK_ROWS)
        prepared = quietly(kernel.prepare, ops, parameters)
        sums: list[Sum] = []

        def add(block: tuple[Array, ...]) -> list[Sum]:
            _, terms = kernel.block(ops, prepared, *block)
            if not sums:
                return [Sum.of(xp, term) for term in terms]
            return [one.add(term) for one, term in zip(sums, terms, strict=True)]

        for s in range(0, max(1, n), size):
            sums = quietly(add, tuple(array[s : min(s + size, n), ...] for array in rows))
        return quietly(values_of_sums, xp, sums)
