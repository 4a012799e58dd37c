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
    from estep_xp.arrays.array_types import AnyArray
    from estep_xp.arrays.namespace import Space
    from estep_xp.execution.call_options import Options
    from estep_xp.execution.kernel import TotalKernel


def total(
    kernel: TotalKernel, space: Space, rows: tuple[AnyArray, ...], parameters: Any, how: Options
) -> AnyArray:
    """Add up a kernel's results for all rows; value and derivative take one pass, in blocks."""
    del space
    if all(is_numeric(leaf) for leaf in jax.tree.leaves(parameters)):
        result: AnyArray = _total(kernel, how.block_size, rows, parameters)
        return result
    return jnp.sum(trace_rows(kernel, rows, parameters)[0])


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _total(
    kernel: TotalKernel, block_size: int | None, rows: tuple[AnyArray, ...], parameters: Any
) -> AnyArray:
    del block_size  # the compiler makes a loop of its own
    result: AnyArray = _compiled_total(kernel, rows, parameters)
    return result


@functools.partial(jax.jit, static_argnums=0)
def _compiled_total(kernel: TotalKernel, rows: tuple[AnyArray, ...], parameters: Any) -> AnyArray:
    def log_likelihoods() -> AnyArray:
        return trace_rows(kernel, rows, parameters)[0]

    ops = ops_for(rows)
    # XLA would fuse the log-likelihoods into the loop of their sum, which a single thread runs.
    witness = jax.tree.leaves(parameters)[0]
    return jnp.sum(
        ops.materialize(log_likelihoods, witness) if ops.recomputes else log_likelihoods()
    )


@functools.partial(_total.defjvp, symbolic_zeros=True)
def _total_jvp(
    kernel: TotalKernel,
    block_size: int | None,
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
) -> tuple[AnyArray, AnyArray]:
    # The rule is not compiled with the sum, but called in its place: a program that takes the
    # derivative does not trace the sum, too.
    (rows, parameters), (by_rows, by_parameters) = primals, tangents
    leaves = zip(jax.tree.leaves(parameters), jax.tree.leaves(by_parameters), strict=True)
    directions = [tangent for leaf, tangent in leaves if is_real(leaf)]
    wanted_rows, wanted = (tuple(map(_is_given, some)) for some in (by_rows, directions))
    given = (*filter(_is_given, by_rows), *filter(_is_given, directions))
    results: tuple[AnyArray, AnyArray] = _compiled_jvp(
        kernel, block_size, wanted_rows, wanted, rows, parameters, given
    )
    return results


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _compiled_jvp(
    kernel: TotalKernel,
    block_size: int | None,
    wanted_rows: tuple[bool, ...],
    wanted: tuple[bool, ...],
    rows: tuple[AnyArray, ...],
    parameters: Any,
    directions: tuple[AnyArray, ...],
) -> tuple[AnyArray, AnyArray]:
    """The sum, and its derivative along `directions`: of the wanted rows and parameters."""
    by_x, *by_sample_weight = wanted_rows
    gradient = kernel.gradient_kernel(by_x=by_x, by_sample_weight=any(by_sample_weight))
    groups, size = cut_rows(gradient, rows, parameters, block_size)
    sums, slopes = fold_rows(gradient, groups, size, rows, parameters)
    if any(wanted):
        ops = ops_for(rows, sums=True)
        slopes += tuple(itertools.compress(kernel.by_parameters(ops, parameters, sums), wanted))
    terms = [jnp.sum(slope * one) for slope, one in zip(slopes, directions, strict=True)]
    return sums[0], functools.reduce(operator.add, terms)


def _is_given(tangent: Any) -> bool:
    """Whether a direction of differentiation is not known to be zero."""
    zero = isinstance(tangent, jax.custom_derivatives.SymbolicZero)
    return not zero and jnp.issubdtype(tangent.dtype, jnp.floating)
