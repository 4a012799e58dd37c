"""JAX's driver: the whole computation is compiled, in eager calls too."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from estep_xp.execution.jax.blocks import sum_rows
from estep_xp.execution.jax.gradient import total
from estep_xp.execution.jax.rows import map_rows
from estep_xp.execution.jax.sizes import pad_numbers, pad_rows, run_padded
from estep_xp.execution.jax.while_loop import iterated

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.namespace import Space

__all__ = [
    "chosen",
    "compute",
    "iterated",
    "map_rows",
    "of_rows",
    "padded",
    "sum_of",
    "sum_rows",
    "total",
]


def of_rows(function: Callable[..., Array], *arrays: Array) -> Array:
    """Call `function`, which treats every row alone, compiled."""
    (result,) = run_padded(lambda *rows: (_compute(function, *rows),), arrays)
    return result


def sum_of(numbers: Array) -> Array:
    """Add up one number of each row."""
    return jnp.sum(pad_numbers(numbers))


def padded(rows: tuple[Array, ...]) -> tuple[Array, ...] | None:
    """Rows with others of weight 0 appended, so that few programs are compiled."""
    return pad_rows(rows)


def compute(function: Callable[..., Any], space: Space, *arrays: Array) -> Any:
    """Call `function` compiled."""
    del space
    return _compute(function, *arrays)


@functools.partial(jax.jit, static_argnums=0)
def _compute(function: Callable[..., Any], *arrays: Array) -> Any:
    with jax.default_matmul_precision("highest"):
        return function(jnp, *arrays)


def chosen(flag: Array, if_true: Callable[[], Any], if_false: Callable[[], Any]) -> Any:
    """Decide when the compiled program runs."""
    return jax.lax.cond(flag, if_true, if_false)
