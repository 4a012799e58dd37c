"""NumPy: blocks of rows that fit in the cache, rows last, written into the results as they come."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.arrays.namespace import numpy_namespace
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.summation import Sum, values_of
from estep_xp.execution.call_options import available_threads
from estep_xp.execution.driver import Driver
from estep_xp.execution.kernel import RowKernel, SumKernel
from estep_xp.execution.numpy.blas import OneThread, on_one_thread
from estep_xp.execution.numpy.ops import NumpyOps, Quotient
from estep_xp.execution.numpy.threads import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.namespace import Space
    from estep_xp.execution.call_options import Options

# Numbers in the results of a block, and in all that its rows need meanwhile. Smaller blocks would
# stay in a core's own cache; but each operation hands on Python's lock, which takes threads longer
# the shorter operations are.
_RESULT_NUMBERS, _BLOCK_NUMBERS = 3 << 17, 1 << 21
_LEAST_ROWS = 512  # unless so many take more numbers than that

# Rows from which on more may be prepared than the plainest form of a density.
_MANY_ROWS = 1000

# Numbers, over all rows, from which on threads cost less than they save.
_THREADED_NUMBERS = 1 << 19

# Threads for which rows are cut into blocks that are smaller than they would have to be.
_MOST_THREADS = 8

# Rows that are a single block without further ado: their call takes microseconds.
_FEW_ROWS = 512

# Numbers in NumPy's buffer, 8192 unless told. What is broadcast against shorter arrays than that is
# first repeated in the buffer, which costs more than the operation.
_BUFFER = 1024

# Results of at most so many columns are written column by column.
_FEW_COLUMNS = 4


_PLAIN = NumpyOps(numpy_namespace)


class LibraryDriver(Driver):
    """Blocks of rows in the cache, on several threads."""

    def map_rows(
        self,
        kernel: RowKernel,
        space: Space,
        rows: tuple[Array, ...],
        parameters: Any,
        options: Options,
    ) -> tuple[Array, ...]:
        """Run `kernel` block by block."""
        n = rows[0].shape[0]
        if n < _FEW_ROWS and options.block_size is None:
            return quietly(_few_rows, kernel, space, rows, parameters)
        results = tuple(np.empty((n, *tail), dtype=space.dtype) for tail in kernel.tails)

        def write(block: slice, outputs: tuple[Array, ...]) -> None:
            for result, output in zip(results, outputs, strict=True):
                _write(result[block], output)

        for _ in _blocks(kernel, kernel.rows, write, space, rows, parameters, options):
            pass
        return results

    def sum_rows(
        self,
        kernel: SumKernel,
        space: Space,
        rows: tuple[Array, ...],
        parameters: Any,
        options: Options,
    ) -> tuple[Array, ...]:
        """Add the sums of blocks in their order, so that threads change no digit."""

        def keep(block: slice, sums: tuple[Array, ...]) -> tuple[Array, ...]:
            del block
            return sums

        sums: list[Sum] = []
        for terms in _blocks(kernel, kernel.sums, keep, space, rows, parameters, options):
            sums = quietly(_added, space, sums, terms)
        values = quietly(values_of, space.xp, sums)
        return tuple(value[()] for value in values)  # scalars, as NumPy's own sums are

    def call_on_one_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call `function`, the BLAS held to one thread."""
        limit = OneThread()
        try:
            limit.begin()
            return on_one_thread(quietly, function, *arguments)
        finally:
            limit.end()


def _few_rows(
    kernel: RowKernel, space: Space, rows: tuple[Array, ...], parameters: Any
) -> tuple[Array, ...]:
    inputs = [_rows_last(array, space.dtype) for array in rows]
    outputs = kernel.rows(_PLAIN, kernel.prepare(_PLAIN, parameters), *inputs)
    return tuple(map(_turned, outputs))


def _added(space: Space, sums: list[Sum], terms: tuple[Array, ...]) -> list[Sum]:
    if not sums:
        return [Sum.of(space.xp, term) for term in terms]
    return [one.plus(term) for one, term in zip(sums, terms, strict=True)]


def _blocks(
    kernel: RowKernel | SumKernel,
    evaluate: Callable[..., tuple[Array, ...]],
    use: Callable[[slice, tuple[Array, ...]], Any],
    space: Space,
    rows: tuple[Array, ...],
    parameters: Any,
    options: Options,
) -> Iterator[Any]:
    """What `use` makes of each block's results, in their order.

    To be iterated where no variable holds it: a traceback would keep it, and its threads, alive.
    """
    n = rows[0].shape[0]
    single = space.dtype == np.float32
    ops = NumpyOps(space.xp, many_rows=n >= _MANY_ROWS, single=single)
    own = sum(math.prod(array.shape[1:]) for array in rows)
    width = kernel.width(ops, parameters) + own
    size = options.block_size or _default_block_size(n, max(kernel.breadth, own), width)
    prepared = quietly(kernel.prepare, ops, parameters)

    def run_block(block: slice) -> Any:
        np.setbufsize(_BUFFER)
        inputs = [_rows_last(array[block], space.dtype) for array in rows]
        return use(block, evaluate(ops, prepared, *inputs))

    starts = range(0, max(1, n), size)
    large = n * width >= _THREADED_NUMBERS
    threads = options.workers or (available_threads() if large else 1)
    if large:
        _keep_freed_memory()
    limit = OneThread() if large or threads > 1 else None

    def run(start: int) -> Any:
        block = slice(start, start + size)
        return on_one_thread(quietly, run_block, block) if limit else quietly(run_block, block)

    return in_order(run, starts, threads, limit)


def _rows_last(block: np.ndarray[Any, Any], dtype: Any) -> np.ndarray[Any, Any]:
    # Contiguous: operations keep the memory order of their input, and would crawl along columns.
    turned = block.T if block.ndim <= 2 else np.moveaxis(block, 0, -1)
    return np.ascontiguousarray(turned, dtype=dtype)


def _turned(output: np.ndarray[Any, Any] | Quotient) -> np.ndarray[Any, Any]:
    """What lies with its rows last, with its rows first."""
    if not isinstance(output, Quotient):
        return np.ascontiguousarray(output.T)
    result = np.empty(output.shares.shape[::-1], dtype=output.shares.dtype)
    _write(result, output)
    return result


def _write(result: np.ndarray[Any, Any], output: np.ndarray[Any, Any] | Quotient) -> None:
    """Write what lies with its rows last."""
    if isinstance(output, Quotient):
        np.divide(output.shares, output.totals, out=result.T)
    elif output.ndim == 2 and len(output) <= _FEW_COLUMNS:
        for j, column in enumerate(output):
            result[:, j] = column
    else:
        result[...] = output.T


def _default_block_size(n: int, breadth: int, width: int) -> int:
    """Rows in a block, for results of `breadth` numbers a row that needs `width` meanwhile."""
    size = min(_RESULT_NUMBERS // max(1, breadth), _BLOCK_NUMBERS // max(1, width))
    size = max(1, size)
    # As many blocks as keep all threads busy to the end, or a multiple. Sums round as they are cut:
    # for them to be the same with fewer threads, it is the machine that counts.
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    rounds = max(1, -(-n // (threads * size)))
    size = max(min(_LEAST_ROWS, size), -(-n // (threads * rounds)))
    # Whole vectors, but no power of two apart: those fall on each other in the cache.
    return (size + 7) // 16 * 16 + 8


def _keep_freed_memory() -> None:
    """Let the allocator keep the temporaries of one block for the next.

    glibc hands memory back to the system above a limit, and getting it again costs more than the
    computation. The limit grows with the largest array that was ever freed; this one, of which no
    page is touched, is a little larger than the largest of a block.
    """
    np.empty(9 * _BLOCK_NUMBERS, dtype=np.uint8)
