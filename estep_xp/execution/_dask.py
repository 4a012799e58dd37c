"""Dask: one task a chunk of rows, each a call of the driver of the chunk's own library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from estep_xp import _namespace
from estep_xp.execution._kernel import RowKernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp._namespace import Space
    from estep_xp._typing import Array
    from estep_xp.execution._options import Options


def map_rows(
    kernel: RowKernel, space: Space, rows: tuple[Array, ...], parameters: Any, how: Options
) -> tuple[Array, ...]:
    """Build the graph; nothing is computed."""
    import dask
    import dask.array as da

    whole = (rows[0].shape[0],)
    lengths = next((array.chunks[0] for array in rows if isinstance(array, da.Array)), whole)
    aligned = [
        _whole_rows(array).rechunk({0: lengths})
        if isinstance(array, da.Array)
        else da.from_array(array, chunks=(lengths, *array.shape[1:]))
        for array in rows
    ]
    task = dask.delayed(_chunk, pure=True, nout=len(kernel.tails))
    chunks = zip(*(array.to_delayed().ravel() for array in aligned), strict=True)
    pieces = [task(kernel, space.dtype, parameters, how, *chunk) for chunk in chunks]
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


def compute(function: Callable[..., Any], space: Space, *arrays: Array) -> Any:
    """Refuse: factorising a lazy matrix has no place in a graph of rows."""
    del function, space, arrays
    raise TypeError(
        "covariances are a dask.array.Array; parameters are small: give covariances.compute()"
    )


def _chunk(
    kernel: RowKernel, dtype: Any, parameters: Any, how: Options, *rows: Array
) -> tuple[Array, ...]:
    from estep_xp import execution

    space = _namespace.space_of({"x": rows[0]})._replace(dtype=dtype)
    return execution.map_rows(kernel, space, rows, parameters, how)


def _whole_rows(array: Array) -> Array:
    """Chunk along rows only: a row is one piece of work."""
    features = range(1, array.ndim)
    return array.rechunk(dict.fromkeys(features, -1)) if features else array
