"""A sum over rows whose derivative takes one pass over them: Fisher's identity."""

from __future__ import annotations

import functools
import itertools
import operator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from estep_xp.execution.jax.blocks import cut_rows, fold_rows
from estep_xp.execution.jax.ops import is_real, ops_for
from estep_xp.execution.jax.rows import is_numeric, trace_rows

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.namespace import Space
    from estep_xp.execution.call_options import Options
    from estep_xp.execution.kernel import TotalKernel


def total(
    kernel: TotalKernel, space: Space, rows: tuple[Array, ...], parameters: Any, how: Options
) -> Array:
    """Add up a kernel's results for all rows; value and derivative take one pass, in blocks."""
    del space
    if all(is_numeric(leaf) for leaf in jax.tree.leaves(parameters)):
        result: Array = _compiled_total(kernel, how.block_size, rows, parameters)
        return result
    return jnp.sum(trace_rows(kernel, rows, parameters)[0])


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _total(
    kernel: TotalKernel, block_size: int | None, rows: tuple[Array, ...], parameters: Any
) -> Array:
    del block_size  # the compiler makes a loop of its own

    def of_rows() -> Array:
        return trace_rows(kernel, rows, parameters)[0]

    ops = ops_for(rows)
    # In one loop with their sum, the numbers would be left to a single thread.
    witness = jax.tree.leaves(parameters)[0]
    return jnp.sum(ops.materialize(of_rows, witness) if ops.recomputes else of_rows())


@functools.partial(_total.defjvp, symbolic_zeros=True)
def _total_jvp(
    kernel: TotalKernel,
    block_size: int | None,
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
) -> tuple[Array, Array]:
    (rows, parameters), (by_rows, by_parameters) = primals, tangents
    by_x, *by_sample_weight = [_is_given(tangent) for tangent in by_rows]
    slopes = kernel.slopes(by_x=by_x, by_sample_weight=any(by_sample_weight))
    groups, size = cut_rows(slopes, rows, parameters, block_size)
    sums, slopes_by_rows = fold_rows(slopes, groups, size, rows, parameters)
    leaves, directions = jax.tree.leaves(parameters), jax.tree.leaves(by_parameters)
    pairs = list(zip(filter(_is_given, by_rows), slopes_by_rows, strict=True))
    if any(map(_is_given, directions)):
        ops = ops_for(rows, sums=True)
        slopes_by_parameters = slopes.by_parameters(ops, parameters, sums)
        real = itertools.compress(directions, map(is_real, leaves))
        pairs += zip(real, slopes_by_parameters, strict=True)
    terms = [jnp.sum(slope * along) for along, slope in pairs if _is_given(along)]
    return sums[0], functools.reduce(operator.add, terms)


_compiled_total = jax.jit(_total, static_argnums=(0, 1))


def _is_given(tangent: Any) -> bool:
    """Whether a direction of differentiation is not known to be zero."""
    zero = isinstance(tangent, jax.custom_derivatives.SymbolicZero)
    return not zero and jnp.issubdtype(tangent.dtype, jnp.floating)
