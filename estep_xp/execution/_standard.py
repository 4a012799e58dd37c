"""Any library of the Array API standard: the whole array in one go, or in blocks if asked to."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.execution._kernel import Plan, RowKernel, each_component

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp._namespace import Space
    from estep_xp._typing import Array
    from estep_xp.execution._options import Options


def map_rows(
    kernel: RowKernel, space: Space, rows: tuple[Array, ...], parameters: Any, how: Options
) -> tuple[Array, ...]:
    """Run `kernel`; blocks bound its temporaries."""
    xp = space.xp
    plan = Plan(xp, 1, functools.partial(each_component, xp))
    n = rows[0].shape[0]
    size = max(1, n) if how.block_size is None else how.block_size
    with np.errstate(all="ignore"):  # of libraries that compute with NumPy
        prepared = kernel.prepare(plan, parameters)
        blocks = [
            kernel.rows(plan, prepared, *(array[s : min(s + size, n), ...] for array in rows))
            for s in range(0, max(1, n), size)
        ]
    if len(blocks) == 1:
        return blocks[0]
    return tuple(xp.concat(pieces, axis=0) for pieces in zip(*blocks, strict=True))


def compute(function: Callable[..., Any], space: Space, *arrays: Array) -> Any:
    """Call `function` with floating-point warnings off: results are checked instead."""
    with np.errstate(all="ignore"):
        return function(space.xp, *arrays)
