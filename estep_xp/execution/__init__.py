"""How the E-step is driven over rows: blocks and threads, jit, a Dask graph. Never mathematics.

Each driver is a module with two functions, chosen by the array library of a call; libraries without
one of their own take the standard path.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from estep_xp.execution._kernel import Plan, RowKernel
from estep_xp.execution._options import Options, options

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp._namespace import Space
    from estep_xp._typing import Array

__all__ = ["Options", "Plan", "RowKernel", "compute", "map_rows", "options"]

# Imported on first use: the JAX driver imports JAX.
_DRIVERS = {"numpy": "_numpy", "jax": "_jax", "dask": "_dask"}


@functools.cache
def _driver(library: str) -> Any:
    module = _DRIVERS.get(library, "_standard")
    return importlib.import_module(f"{__name__}.{module}")


def map_rows(
    kernel: RowKernel, space: Space, rows: tuple[Array, ...], parameters: Any, how: Options
) -> tuple[Array, ...]:
    """Apply a kernel to all rows: arrays of shape (n, *tail), one for each of its `tails`."""
    results: tuple[Array, ...] = _driver(space.library).map_rows(
        kernel, space, rows, parameters, how
    )
    return results


def compute(function: Callable[..., Any], space: Space, *arrays: Array) -> Any:
    """Apply `function(xp, *arrays)` to parameters, compiled where the library compiles."""
    return _driver(space.library).compute(function, space, *arrays)
