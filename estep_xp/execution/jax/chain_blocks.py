"""Sums over the rows of sequences in JAX, in memory that does not grow with their number.

Two scans over blocks of rows, there and back. What goes from block to block is k numbers; the
densities of a block are computed in both.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp

from estep_xp.arrays.namespace import is_tracer
from estep_xp.arrays.summation import Sum
from estep_xp.execution.jax.blocks import fold_rows
from estep_xp.execution.jax.chains import OPS
from estep_xp.execution.jax.rows import is_numeric, trace_rows

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray

_BLOCK_NUMBERS = 1 << 19  # log-densities of a block, of which a dozen arrays are in memory at once


class BlockKernel(Protocol):
    """Formulas for a block of rows of sequences. Hashable: what programs are compiled for."""

    emissions: Any  # kernel of log-densities
    moments: Any  # kernel of sums over rows and their shares

    def forward(self, *arguments: Any) -> tuple[Any, Any]:
        """Values (s,) of a block, and the message to the rows after it."""
        ...

    def backward(self, *arguments: Any) -> tuple[Any, Any]:
        """Shares of rows and sums, and the message to the rows before it."""
        ...

    def of_possible(self, xp: Any, model: Any, values: Any) -> Any:
        """The model for the way back, given the values of all sequences."""
        ...


def sum_chain(
    kernel: BlockKernel, x: AnyArray, parameters: Any, model: Any, block_size: int | None
) -> tuple[AnyArray, tuple[AnyArray, ...]] | None:
    """Values (s,) of sequences, and sums: initial, transitions, and those of rows.

    None where the rows are so few that they are one block, or where they may be on several devices.
    """
    n, k = x.shape[0], model.initial.shape[0]
    size = block_size or max(1, _BLOCK_NUMBERS // k)
    if n <= (size if block_size else 2 * size) or not _is_on_one_device(x):
        return None
    if not all(is_numeric(leaf) for leaf in jax.tree.leaves(parameters)):
        return None  # a plain Python object, of which nothing can be compiled
    found: tuple[AnyArray, tuple[AnyArray, ...]] = _compiled(kernel, size, x, parameters, model)
    return found


def _is_on_one_device(x: AnyArray) -> bool:
    return jax.device_count() == 1 if is_tracer(x) else len(x.sharding.device_set) == 1


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _sum_chain(kernel: BlockKernel, size: int, x: AnyArray, parameters: Any, model: Any) -> Any:
    return _two_ways(kernel, size, x, parameters, model)


_compiled = jax.jit(_sum_chain, static_argnums=(0, 1))


@_sum_chain.defjvp
def _sum_chain_jvp(
    kernel: BlockKernel, size: int, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> Any:
    # Reverse mode keeps what each row says in any case, and of slices an array of all rows each.
    del size
    whole = functools.partial(_two_ways, kernel, primals[0].shape[0])
    return jax.jvp(whole, primals, tangents)


def _two_ways(kernel: BlockKernel, size: int, x: AnyArray, parameters: Any, model: Any) -> Any:
    """There and back over blocks, the last of which may have rows that stand for none."""
    n, k = x.shape[0], model.initial.shape[0]
    firsts = jnp.arange(0, n, size, dtype=model.ends.dtype)
    nothing = jnp.zeros((k,), model.initial.dtype) + 0.0 * model.initial

    def block_at(first: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
        rows = first + jnp.arange(size, dtype=firsts.dtype)
        own = x if size == n else jnp.take(x, jnp.minimum(rows, n - 1), axis=0)
        return rows, own, trace_rows(kernel.emissions, (own,), parameters)[0]

    def there(state: tuple[Any, Any], first: AnyArray) -> tuple[Any, AnyArray]:
        message, values = state
        rows, _, log_prob = block_at(first)
        own, after = kernel.forward(OPS, model, message, rows, n, log_prob)
        return (after, values + own), message

    def contribution(
        after: AnyArray, first: AnyArray, message: AnyArray, model: Any
    ) -> tuple[tuple[AnyArray, ...], AnyArray]:
        rows, own, log_prob = block_at(first)
        ends = (message, after)
        (shares, *terms), before = kernel.backward(OPS, model, ends, rows, n, log_prob)
        moments = fold_rows(kernel.moments, 1, size, (own, shares), parameters)[0]
        return (*terms, *moments[2:]), before

    def back(state: tuple[Any, Any], block: tuple[AnyArray, AnyArray]) -> tuple[Any, None]:
        after, sums = state
        terms, before = contribution(after, *block, possible)
        return (before, tuple(one.add(term) for one, term in zip(sums, terms, strict=True))), None

    with jax.default_matmul_precision("highest"):
        no_value = jnp.sum(nothing)
        state: Any = (nothing, jnp.zeros(model.starts.shape, nothing.dtype) + no_value)
        (_, values), messages = _loop(there, state, firsts)
        possible = kernel.of_possible(jnp, model, values)
        shapes = jax.eval_shape(contribution, nothing, firsts[0], nothing, possible)[0]
        sums = tuple(Sum.of(jnp, jnp.zeros(one.shape, one.dtype) + no_value) for one in shapes)
        (_, sums), _ = _loop(back, (nothing, sums), (firsts, messages), reverse=True)
    return values, tuple(one.value(jnp) for one in sums)


def _loop(step: Any, state: Any, blocks: Any, *, reverse: bool = False) -> Any:
    """Scan the blocks; a single one takes no loop to compile."""
    if jax.tree.leaves(blocks)[0].shape[0] > 1:
        return jax.lax.scan(step, state, blocks, reverse=reverse)
    state, result = step(state, jax.tree.map(lambda array: array[0], blocks))
    return state, jax.tree.map(lambda array: array[None], result)
