"""Sums over rows, block by block in a compiled loop, within each device's share of the rows."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from estep_xp.arrays.summation import Sum
from estep_xp.execution.jax.ops import ops_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import AnyArray
    from estep_xp.arrays.namespace import Space
    from estep_xp.execution.call_options import Options
    from estep_xp.execution.kernel import Kernel

# Numbers in a block of rows: on a CPU what its cache holds; an accelerator needs larger blocks.
_BLOCK_NUMBERS = {"cpu": 1 << 19}
_MANY_BLOCK_NUMBERS = 1 << 23
_LEAST_ROWS = 1024  # matrix products of fewer rows are slow, and adding up the sums takes its time
_TOLERANCE = 0.25  # share by which a block size may differ from the best one to leave no rest
_VECTOR, _LINES = 8, 64  # rows that fill a vector register, and whole cache lines


def sum_rows(
    kernel: Kernel, space: Space, rows: tuple[AnyArray, ...], parameters: Any, how: Options
) -> tuple[AnyArray, ...]:
    """Run `kernel` compiled, block by block within each device's share of the rows."""
    del space
    groups, size = cut_rows(kernel, rows, parameters, how.block_size)
    results: tuple[AnyArray, ...] = _compiled_sum_rows(kernel, groups, size, rows, parameters)
    return results


def _sum_rows(
    kernel: Kernel, groups: int, size: int, rows: tuple[AnyArray, ...], parameters: Any
) -> tuple[AnyArray, ...]:
    return fold_rows(kernel, groups, size, rows, parameters)[0]


_compiled_sum_rows = jax.jit(_sum_rows, static_argnums=(0, 1, 2))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def fold_rows(
    kernel: Kernel, groups: int, size: int, rows: tuple[AnyArray, ...], parameters: Any
) -> tuple[tuple[AnyArray, ...], tuple[AnyArray, ...]]:
    """Sums over all rows, and results for each."""
    return _fold(_loop_over_slices, kernel, groups, size, rows, parameters)


@fold_rows.defjvp
def _fold_rows_jvp(
    kernel: Kernel, groups: int, size: int, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Any, Any]:
    # The derivative of a slice is an array of all rows, for each block; a scan over blocks has none
    # of these. But a scan copies the rows, so only derivatives use it.
    function = functools.partial(_fold, _scan_blocks, kernel, groups, size)
    return jax.jvp(function, primals, tangents)


def _fold(
    loop: Callable[..., tuple[Sum, tuple[AnyArray, ...]]],
    kernel: Kernel,
    groups: int,
    size: int,
    rows: tuple[AnyArray, ...],
    parameters: Any,
) -> tuple[tuple[AnyArray, ...], tuple[AnyArray, ...]]:
    """Blocks of `size` within each of the groups, whose sums are added up."""
    ops = ops_for(rows, sums=True)
    with jax.default_matmul_precision("highest"):
        prepared = kernel.prepare(ops, parameters)
        shapes: list[tuple[int, ...]] = []

        def sum_block(*block: AnyArray) -> tuple[AnyArray, tuple[AnyArray, ...]]:
            by_rows, sums = kernel.block(ops, prepared, *block)
            shapes[:] = [one.shape for one in sums]
            return _concatenate(sums), by_rows

        # Compiled, so that it is traced once for all blocks of a size.
        block = jax.jit(_in_groups(groups, sum_block))
        grouped = [a.reshape(groups, a.shape[0] // groups, *a.shape[1:]) for a in rows]
        n = grouped[0].shape[1]
        n_blocks = n // size if n > size else 0  # a single block takes no loop to compile
        rest, by_rows = _sum_rest(block, grouped, n_blocks * size, size)
        whole = Sum.of(jnp, rest)
        if n_blocks:
            whole, pieces = loop(block, whole, n_blocks, size, grouped)
            by_rows = tuple(map(_join, pieces, by_rows))
    vector, first = _over_groups(whole)
    _, _, *others = _split(vector, shapes)
    sums = (*first.parts(jnp), *others)
    return sums, tuple(a.reshape(-1, *a.shape[2:]) for a in by_rows)


def _over_groups(whole: Sum) -> tuple[AnyArray, Sum]:
    """Sums over all groups; and that of the first two, which are one in two parts, in full."""
    groups = whole.total.shape[0]
    if groups == 1:
        total, compensation = whole.total[0], whole.compensation[0]
        pair = Sum(total[0], compensation[0]).merge(Sum(total[1], compensation[1]))
        return Sum(total, compensation).value(jnp), pair
    first, second = (Sum(whole.total[:, i], whole.compensation[:, i]) for i in (0, 1))
    merged: tuple[AnyArray, ...] = first.merge(second)
    parts = jnp.stack(merged, axis=1)
    # Each group has places of its own for these, so that devices exchange all in one sum.
    own = jnp.eye(groups, dtype=bool)[:, :, None]
    places = jnp.where(own, parts[:, None, :], 0.0).reshape(groups, -1)
    vector = jnp.sum(jnp.concatenate([whole.value(jnp), places], axis=1), axis=0)
    numbers = vector.shape[0] - places.shape[1]
    total, compensation = vector[numbers:].reshape(groups, 2).T
    return vector[:numbers], Sum(total, compensation).sum_groups(jnp)


def _sum_rest(block: Callable[..., Any], grouped: list[AnyArray], start: int, size: int) -> Any:
    """Results of a function of blocks for the rows from `start` on, of which there may be none."""
    rest = [array[:, start:] for array in grouped]
    if rest[0].shape[1]:
        return block(*rest)
    nothing = jnp.sum(rest[0])  # zero, and as the rows are within `shard_map`
    sums, by_rows = jax.eval_shape(block, *(array[:, :size] for array in grouped))
    none = (jnp.zeros((one.shape[0], 0, *one.shape[2:]), one.dtype) + nothing for one in by_rows)
    return jnp.zeros(sums.shape, sums.dtype) + nothing, tuple(none)


def _join(pieces: AnyArray, rest: AnyArray) -> AnyArray:
    """Results of all rows in each group: those of blocks, which come first, and of the rest."""
    whole = jnp.moveaxis(pieces, 0, 1)
    return jnp.concatenate([whole.reshape(whole.shape[0], -1, *whole.shape[3:]), rest], axis=1)


def _in_groups(groups: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of each group."""
    if groups > 1:
        return jax.vmap(function)

    def call_on_single_group(*blocks: AnyArray) -> Any:
        # A batch of one group would be slower: `vmap` turns conditionals into selects.
        return jax.tree.map(lambda a: a[None], function(*(block[0] for block in blocks)))

    return call_on_single_group


def _loop_over_slices(
    block: Callable[..., Any], start: Sum, n_blocks: int, size: int, grouped: list[AnyArray]
) -> tuple[Sum, tuple[AnyArray, ...]]:
    def add(so_far: Sum, i: AnyArray) -> tuple[Sum, tuple[AnyArray, ...]]:
        rows = (jax.lax.dynamic_slice_in_dim(a, i * size, size, axis=1) for a in grouped)
        sums, by_rows = block(*rows)
        return so_far.add(sums), by_rows

    results: tuple[Sum, tuple[AnyArray, ...]] = jax.lax.scan(add, start, jnp.arange(n_blocks))
    return results


def _scan_blocks(
    block: Callable[..., Any], start: Sum, n_blocks: int, size: int, grouped: list[AnyArray]
) -> tuple[Sum, tuple[AnyArray, ...]]:
    @jax.checkpoint
    def add(so_far: Sum, rows: tuple[AnyArray, ...]) -> tuple[Sum, tuple[AnyArray, ...]]:
        sums, by_rows = block(*rows)
        return so_far.add(sums), by_rows

    def blocks(a: AnyArray) -> AnyArray:
        shape = (a.shape[0], n_blocks, size, *a.shape[2:])
        return jnp.moveaxis(a[:, : n_blocks * size].reshape(shape), 1, 0)

    results: tuple[Sum, tuple[AnyArray, ...]] = jax.lax.scan(
        add, start, tuple(map(blocks, grouped))
    )
    return results


def _concatenate(sums: tuple[AnyArray, ...]) -> AnyArray:
    """All sums in one vector: devices exchange it in one go."""
    return jnp.concatenate([one.reshape(-1) for one in sums])


def _split(vector: AnyArray, shapes: list[tuple[int, ...]]) -> tuple[AnyArray, ...]:
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    parts = jnp.split(vector, ends.tolist())
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))


def cut_rows(
    kernel: Kernel,
    rows: tuple[AnyArray, ...],
    parameters: Any,
    block_size: int | None,
) -> tuple[int, int]:
    """Number of groups that rows are cut into, and the size of the blocks within each group."""
    # A group is what one device holds of rows that are sharded evenly: devices exchange nothing but
    # the sums of groups, at the end. A single device has a single group.
    groups = _shards(rows[0])
    n = max(1, rows[0].shape[0] // groups)
    size = block_size or _default_block_size(kernel, n, rows, parameters)
    return groups, min(size, n)


def _shards(rows: AnyArray) -> int:
    """Number of devices that the rows of an array are sharded over, or may be."""
    n: int = rows.shape[0]
    if n == 0:
        return 1
    if isinstance(rows, jax.core.Tracer):
        # The sharding of a traced array is not known yet; usually it is over all devices.
        return math.gcd(n, jax.device_count())
    piece: int = rows.sharding.shard_shape(rows.shape)[0]
    return n // piece


def _default_block_size(kernel: Kernel, n: int, rows: tuple[AnyArray, ...], parameters: Any) -> int:
    numbers = _BLOCK_NUMBERS.get(jax.default_backend(), _MANY_BLOCK_NUMBERS)
    width = kernel.width(ops_for(rows, sums=True), parameters)
    width += sum(math.prod(array.shape[1:]) for array in rows)
    return _even_block_size(n, max(_LEAST_ROWS, numbers // int(width)))


def _even_block_size(n: int, size: int) -> int:
    """A block size near `size` that divides `n`, or else one of whole cache lines."""
    # Rows that are left over are a second block size, compiled for itself.
    fewest = max(1, math.ceil(n / size * (1.0 - _TOLERANCE)))
    for blocks in range(fewest, math.ceil(n / size * (1.0 + _TOLERANCE)) + 1):
        if n % (blocks * _VECTOR) == 0:
            return n // blocks
    return size - size % _LINES
