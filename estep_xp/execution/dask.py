"""Dask: one task a chunk of rows, each a call of the driver of the chunk's own library."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.arrays import namespace
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.summation import Sum, values_of_sums
from estep_xp.execution.driver import Driver
from estep_xp.execution.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from estep_xp.arrays.array_types import AnyArray, Array, ResultT
    from estep_xp.arrays.namespace import Space
    from estep_xp.execution.call_options import Options
    from estep_xp.execution.chains import ChainKernel

_FAN_IN = 8  # parts that one task of a tree adds up


class LibraryDriver(Driver):
    """A graph of one task a chunk of rows; nothing is computed before a caller asks."""

    def map_rows(
        self,
        kernel: Kernel,
        space: Space,
        rows: tuple[Array, ...],
        parameters: Any,
        options: Options,
    ) -> tuple[Array, ...]:
        """Build the graph; nothing is computed."""
        import dask
        import dask.array as da

        lengths, chunks = _chunks(rows)
        task = dask.delayed(_map_chunk, pure=True, nout=len(kernel.tails))
        pieces = [task(kernel, space.dtype, parameters, options, *chunk) for chunk in chunks]
        return tuple(
            da.concatenate(
                [
                    da.from_delayed(piece[i], shape=(length, *tail), dtype=space.dtype)
                    for piece, length in zip(pieces, lengths, strict=True)
                ],
                allow_unknown_chunksizes=True,
            )
            for i, tail in enumerate(kernel.tails)
        )

    def sum_rows(
        self,
        kernel: Kernel,
        space: Space,
        rows: tuple[Array, ...],
        parameters: Any,
        options: Options,
    ) -> tuple[Array, ...]:
        """Build the graph: one task a chunk, and a tree that adds up what they give."""
        import dask
        import dask.array as da

        _, chunks = _chunks(rows)
        task, add = dask.delayed(_sum_chunk, pure=True), dask.delayed(_add, pure=True)
        parts = [task(kernel, space.dtype, parameters, options, *chunk) for chunk in chunks]
        while len(parts) > 1:
            parts = [add(parts[i : i + _FAN_IN]) for i in range(0, len(parts), _FAN_IN)]
        shapes = _shapes_of_sums(kernel, space, rows, parameters, options)
        finish = dask.delayed(_values, pure=True, nout=len(shapes))(parts[0])
        return tuple(
            da.from_delayed(finish[i], shape=shape, dtype=space.dtype)
            for i, shape in enumerate(shapes)
        )

    def compute(self, function: Callable[..., ResultT], space: Space, *arrays: Array) -> ResultT:
        """Refuse: factorising a lazy matrix has no place in a graph of rows."""
        del function, space, arrays
        raise TypeError(
            "covariances are a dask.array.Array; parameters are small: give covariances.compute()"
        )

    def call_lazily(
        self, function: Callable[..., Any], space: Space, arguments: tuple[Any, ...], like: Any
    ) -> Any:
        """One task that calls `function` with NumPy arrays."""
        import dask
        import dask.array as da

        leaves = _leaves(like)
        task = dask.delayed(_applied, pure=True, nout=len(leaves))
        pieces = task(function, space.dtype, _as_tasks(arguments))
        lazy = (
            da.from_delayed(pieces[i], shape=leaf.shape, dtype=_dtype_of(leaf, space))
            for i, leaf in enumerate(leaves)
        )
        return _rebuilt(like, lazy)

    def chunks_of_rows(self, rows: AnyArray) -> tuple[int, ...]:
        """Lengths of the chunks of rows."""
        import dask.array as da

        if not isinstance(rows, da.Array):
            return (rows.shape[0],)
        lengths: tuple[int, ...] = rows.chunks[0]
        return lengths

    def read_again(self, rows: AnyArray) -> AnyArray:
        """Rows of tasks of their own: a chunk that is wanted twice would be kept until then."""
        import dask.array as da

        return _renamed(rows) if isinstance(rows, da.Array) else rows

    def run_chain(self, kernel: ChainKernel, space: Space, *arrays: Any) -> Any:
        """One task with all rows in memory: each row depends on others of its sequence."""
        import dask
        import dask.array as da

        like = kernel.results_like(*arrays)
        leaves = _leaves(like)
        task = dask.delayed(_run_chain, pure=True, nout=len(leaves))
        pieces = task(kernel, space.dtype, *arrays)
        lazy = (
            da.from_delayed(pieces[i], shape=leaf.shape, dtype=_dtype_of(leaf, space))
            for i, leaf in enumerate(leaves)
        )
        return _rebuilt(like, lazy)

    def materialize(self, value: ResultT) -> ResultT:
        """Compute a record of arrays, all in one go."""
        import dask

        return dask.compute(value)[0]

    def sample_rows(
        self, rows: tuple[Array, ...], limit: int, random: np.random.Generator
    ) -> tuple[Array, ...]:
        """Compute some of the rows, drawn at random."""
        import dask

        n = rows[0].shape[0]
        if math.isnan(n):
            raise ValueError("x has chunks of unknown lengths; call x.compute_chunk_sizes() first")
        if n > limit:
            indices = np.sort(random.choice(n, limit, replace=False))
            rows = tuple(array[indices] for array in rows)
        computed: tuple[Array, ...] = dask.compute(*rows)
        return computed


def _renamed(array: AnyArray) -> AnyArray:
    """The same tasks under other names, where their graph tells how to do that."""
    import dask.array as da
    from dask.base import clone_key

    graph = dict(array.__dask_graph__())
    names = {key: clone_key(key, "read again") for key in graph}
    tasks = {}
    for key, task in graph.items():
        if hasattr(task, "substitute"):
            task = task.substitute(names, key=names[key])
        elif isinstance(task, (tuple, list, dict, str)):  # which may hold keys, before Dask 2024.12
            return array
        tasks[names[key]] = task
    return da.Array(tasks, clone_key(array.name, "read again"), array.chunks, meta=array._meta)


def _as_tasks(value: Any) -> Any:
    """Arrays of one chunk as the task that makes it, which all that need it then share."""
    import dask.array as da

    if isinstance(value, da.Array) and value.npartitions == 1:
        return value.to_delayed(optimize_graph=False).item()
    if isinstance(value, tuple):
        return _rebuilt(value, map(_as_tasks, _leaves(value)))
    return [_as_tasks(item) for item in value] if isinstance(value, list) else value


def _applied(function: Callable[..., Any], dtype: Any, arguments: tuple[Any, ...]) -> list[Array]:
    space = namespace.space_of({})._replace(dtype=dtype)
    return _leaves(function(space, *arguments))


def _dtype_of(leaf: Array, space: Space) -> Any:
    """The dtype of what a stand-in stands for: integers', or that of the space."""
    return leaf.dtype if leaf.dtype == np.int64 else space.dtype


def _run_chain(kernel: ChainKernel, dtype: Any, log_prob: Array, *arrays: Any) -> list[Array]:
    from estep_xp import execution

    space = _chunk_space(dtype, (log_prob,))
    return _leaves(execution.driver_for(space).run_chain(kernel, space, log_prob, *arrays))


def _leaves(value: Any) -> list[Array]:
    """Arrays of nested records, in order."""
    if isinstance(value, tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def _rebuilt(like: Any, leaves: Iterator[Array]) -> Any:
    """Nested records of the same kind around other arrays."""
    if isinstance(like, tuple):
        items = [_rebuilt(item, leaves) for item in like]
        return type(like)(*items) if hasattr(like, "_fields") else tuple(items)
    return next(leaves)


def _chunks(rows: tuple[AnyArray, ...]) -> tuple[tuple[int, ...], Iterator[tuple[Any, ...]]]:
    """Lengths of the chunks of rows, and for each the pieces of all arrays, delayed."""
    import dask.array as da

    whole = (rows[0].shape[0],)
    lengths = next((array.chunks[0] for array in rows if isinstance(array, da.Array)), whole)
    aligned = [_aligned(array, lengths) for array in rows]
    return lengths, zip(*(array.to_delayed().ravel() for array in aligned), strict=True)


def _aligned(array: AnyArray, lengths: tuple[int, ...]) -> AnyArray:
    """Rows in chunks of these lengths, each of whole rows."""
    import dask.array as da

    if not isinstance(array, da.Array):
        if any(map(math.isnan, lengths)):
            raise ValueError(
                "x has chunks of unknown lengths, which a numpy.ndarray beside it can't be cut "
                "into; call x.compute_chunk_sizes() first"
            )
        return da.from_array(array, chunks=(lengths, *array.shape[1:]))
    array = _whole_rows(array)
    if any(map(math.isnan, (*lengths, *array.chunks[0]))):
        if len(array.chunks[0]) != len(lengths):
            raise ValueError(
                "x and sample_weight have chunks of unknown lengths, and not as many; call "
                "compute_chunk_sizes() of both first"
            )
        return array
    return array.rechunk({0: lengths})


def _map_chunk(
    kernel: Kernel, dtype: Any, parameters: Any, options: Options, *rows: Array
) -> tuple[Array, ...]:
    from estep_xp import execution

    space = _chunk_space(dtype, rows)
    return execution.driver_for(space).map_rows(
        kernel, space, rows, parameters, _in_a_task(options)
    )


def _sum_chunk(
    kernel: Kernel, dtype: Any, parameters: Any, options: Options, *rows: Array
) -> tuple[Sum, ...]:
    from estep_xp import execution

    space = _chunk_space(dtype, rows)
    sums = execution.driver_for(space).sum_rows(
        kernel, space, rows, parameters, _in_a_task(options)
    )
    return tuple(Sum.of(space.xp, one) for one in sums)


def _in_a_task(options: Options) -> Options:
    """One thread unless asked for more: the scheduler runs tasks in parallel already."""
    return options._replace(workers=options.workers or 1)


def _add(parts: list[tuple[Sum, ...]]) -> tuple[Sum, ...]:
    first, *others = parts
    for other in others:  # quietly: a sum may be infinite, which the caller that reads it reports
        first = quietly(_join, first, other)
    return first


def _join(one: tuple[Sum, ...], other: tuple[Sum, ...]) -> tuple[Sum, ...]:
    return tuple(a.merge(b) for a, b in zip(one, other, strict=True))


def _values(sums: tuple[Sum, ...]) -> tuple[Array, ...]:
    return quietly(values_of_sums, namespace.namespace_of(sums[0].total), sums)


def _shapes_of_sums(
    kernel: Kernel, space: Space, rows: tuple[Array, ...], parameters: Any, options: Options
) -> list[tuple[int, ...]]:
    """Shapes of the sums: those over no rows of the same kind."""
    none = [np.empty((0, *array.shape[1:]), dtype=space.dtype) for array in rows]
    stand_in = _rebuilt(parameters, (np.ones(leaf.shape) for leaf in _leaves(parameters)))
    sums = _sum_chunk(kernel, space.dtype, stand_in, options, *none)
    return [one.total.shape for one in sums]


def _chunk_space(dtype: Any, rows: tuple[Array, ...]) -> Space:
    return namespace.space_of({"x": rows[0]})._replace(dtype=dtype)


def _whole_rows(array: AnyArray) -> AnyArray:
    """Chunk along rows only: a row is one piece of work."""
    features = range(1, array.ndim)
    return array.rechunk(dict.fromkeys(features, -1)) if features else array
