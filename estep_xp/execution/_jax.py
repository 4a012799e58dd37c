"""JAX: the whole computation is compiled, in eager calls too, and every transformation sees it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from estep_xp.execution._kernel import Plan, RowKernel, each_component

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp._namespace import Space
    from estep_xp._typing import Array
    from estep_xp.execution._options import Options

# Components are written out one after the other for the compiler to fuse; far more of them would
# take long to compile, so they are looped over.
_UNROLLED = 64


def map_rows(
    kernel: RowKernel, space: Space, rows: tuple[Array, ...], parameters: Any, how: Options
) -> tuple[Array, ...]:
    """Run `kernel` compiled; XLA plans blocks and threads by itself."""
    del space, how
    if all(_is_numeric(leaf) for leaf in jax.tree.leaves(parameters)):
        results: tuple[Array, ...] = _map_rows(kernel, rows, parameters)
        return results
    # Components that are a plain Python object can't be arguments of a compiled function, and as a
    # constant of it they would be frozen.
    return _run(kernel, rows, parameters)


def compute(function: Callable[..., Any], space: Space, *arrays: Array) -> Any:
    """Call `function` compiled."""
    del space
    return _compute(function, *arrays)


def _run(kernel: RowKernel, rows: tuple[Array, ...], parameters: Any) -> tuple[Array, ...]:
    plan = Plan(jnp, 1, _over_components)
    # TensorFloat-32, the default on some accelerators, keeps three digits.
    with jax.default_matmul_precision("highest"):
        return kernel.rows(plan, kernel.prepare(plan, parameters), *rows)


@functools.partial(jax.jit, static_argnums=0)
def _compute(function: Callable[..., Any], *arrays: Array) -> Any:
    with jax.default_matmul_precision("highest"):
        return function(jnp, *arrays)


_map_rows = jax.jit(_run, static_argnums=0)


def _over_components(function: Callable[..., Array], arrays: tuple[Array, ...], axis: int) -> Array:
    if arrays[0].shape[0] <= _UNROLLED:
        return each_component(jnp, function, arrays, axis)
    stacked = jax.lax.map(lambda one: function(*one), arrays)
    return jnp.moveaxis(stacked, 0, axis)


def _is_numeric(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic, int, float, complex))
