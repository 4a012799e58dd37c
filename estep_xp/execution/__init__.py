"""How the E-step is driven over rows: blocks and threads, jit, a Dask graph. Never mathematics.

Each driver is a module with the functions below, chosen by the array library of a call; libraries
without one of their own take the standard path.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from estep_xp.arrays.namespace import is_tracer, library_of, namespace_of
from estep_xp.arrays.quiet import quietly
from estep_xp.execution.call_options import Options, options
from estep_xp.execution.kernel import RowKernel, SumKernel, TotalKernel

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.namespace import Space

__all__ = [
    "Options",
    "RowKernel",
    "SumKernel",
    "TotalKernel",
    "apply",
    "chosen",
    "compute",
    "iterated",
    "map_rows",
    "mean_of",
    "of_rows",
    "options",
    "padded",
    "realized",
    "sampled",
    "sum_of",
    "sum_rows",
    "total",
]

# Imported on first use: the JAX driver imports JAX.
_DRIVERS = {"numpy": "numpy.driver", "jax": "jax.driver", "dask": "dask"}


@functools.cache
def _driver(library: str) -> Any:
    module = _DRIVERS.get(library, "standard")
    return importlib.import_module(f"{__name__}.{module}")


def map_rows(
    kernel: RowKernel, space: Space, rows: tuple[Array, ...], parameters: Any, how: Options
) -> tuple[Array, ...]:
    """Apply a kernel to all rows: arrays of shape (n, *tail), one for each of its `tails`."""
    results: tuple[Array, ...] = _driver(space.library).map_rows(
        kernel, space, rows, parameters, how
    )
    return results


def sum_rows(
    kernel: SumKernel, space: Space, rows: tuple[Array, ...], parameters: Any, how: Options
) -> tuple[Array, ...]:
    """Add up a kernel's sums over all rows, in memory that does not grow with their number."""
    results: tuple[Array, ...] = _driver(space.library).sum_rows(
        kernel, space, rows, parameters, how
    )
    return results


def total(
    kernel: TotalKernel, space: Space, rows: tuple[Array, ...], parameters: Any, how: Options
) -> tuple[Array, Array | None]:
    """Add up a kernel's results for all rows: the sum, and the results where they were at hand."""
    own = getattr(_driver(space.library), "total", None)
    if own is not None:
        return own(kernel, space, rows, parameters, how), None
    (results,) = map_rows(kernel, space, rows, parameters, how)
    return quietly(space.xp.sum, results), results


def of_rows(function: Callable[..., Any], *arrays: Array) -> Any:
    """Apply `function(xp, *arrays)`, which treats every row alone, to arrays of one library."""
    own = getattr(_driver(library_of(arrays[0])), "of_rows", None)
    return own(function, *arrays) if own else function(namespace_of(*arrays), *arrays)


def sum_of(numbers: Array) -> Array:
    """Add up one number of each row."""
    own = getattr(_driver(library_of(numbers)), "sum_of", None)
    return own(numbers) if own else namespace_of(numbers).sum(numbers)


def mean_of(numbers: Array) -> Array:
    """Average one number of each row."""
    own = getattr(_driver(library_of(numbers)), "sum_of", None)
    return own(numbers) / numbers.shape[0] if own else namespace_of(numbers).mean(numbers)


def padded(space: Space, rows: tuple[Array, ...]) -> tuple[Array, ...] | None:
    """Rows (x,) or (x, sample_weight) with copies of the last appended, of weight 0.

    None where that gains nothing: it is for libraries that compile for each number of rows anew.
    """
    own = getattr(_driver(space.library), "padded", None)
    return own(rows) if own else None


def compute(function: Callable[..., Any], space: Space, *arrays: Array) -> Any:
    """Apply `function(xp, *arrays)` to parameters, compiled where the library compiles."""
    return _driver(space.library).compute(function, space, *arrays)


def apply(function: Callable[..., Any], space: Space, arguments: tuple[Any, ...], like: Any) -> Any:
    """Call `function(space, *arguments)`, later where arrays are lazy.

    Its result is a record of arrays of the shapes of those in `like`.
    """
    own = getattr(_driver(space.library), "apply", None)
    return own(function, space, arguments, like) if own else function(space, *arguments)


def realized(space: Space, value: Any) -> Any:
    """Return a record of arrays whose numbers exist, or will when a compiled program runs."""
    own = getattr(_driver(space.library), "realized", None)
    return own(value) if own else value


def sampled(
    space: Space, rows: tuple[Array, ...], limit: int, random: np.random.Generator
) -> tuple[Array, ...]:
    """Return the rows, or a sample of about `limit` where they are not at hand."""
    own = getattr(_driver(space.library), "sampled", None)
    return own(rows, limit, random) if own else rows


def chosen(space: Space, flag: Any, if_true: Callable[[], Any], if_false: Callable[[], Any]) -> Any:
    """Return what one of two functions gives, without a call of the other if that can be."""
    own = getattr(_driver(space.library), "chosen", None)
    if own is not None and is_tracer(flag):
        return own(flag, if_true, if_false)
    return if_true() if flag else if_false()


def iterated(
    space: Space,
    advanced: Callable[[Any], Any],
    going: Callable[[Any], Array],
    height: Callable[[Any], Array],
    state: Any,
    max_iter: int,
) -> tuple[Any, Array]:
    """Return the state after at most `max_iter` steps, and its heights after each, (max_iter,).

    A loop inside a compiled program; libraries that do not compile loop in Python instead.
    """
    own = getattr(_driver(space.library), "iterated", None)
    if own is None:
        raise TypeError(
            "a loop that ends by itself needs numbers, and there are none inside transformations "
            f"of {space.library}; call it outside of them"
        )
    results: tuple[Any, Array] = own(advanced, going, height, state, max_iter)
    return results
