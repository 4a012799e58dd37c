"""NumPy: blocks of rows that fit in the cache, rows last, written into the results one by one."""

from __future__ import annotations

import functools
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.summation import Sum, values_of_sums
from estep_xp.execution.call_options import available_threads
from estep_xp.execution.driver import Driver
from estep_xp.execution.kernel import Kernel
from estep_xp.execution.numpy.blas import OneThread, on_one_thread
from estep_xp.execution.numpy.chains import ops_for
from estep_xp.execution.numpy.namespace import quick_numpy
from estep_xp.execution.numpy.ops import NumpyOps, Quotient
from estep_xp.execution.numpy.threads import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from estep_xp.arrays.array_types import AnyArray, ResultT
    from estep_xp.arrays.namespace import Space
    from estep_xp.execution.call_options import Options
    from estep_xp.execution.chains import ChainKernel

# Most elements in the results of a block, and in these and its scratch arrays. Smaller blocks would
# stay in a core's own cache; but each NumPy call releases and reacquires the GIL, so with smaller
# blocks threads spend more time waiting for it.
_RESULT_ELEMENTS, _BLOCK_ELEMENTS = 3 << 17, 1 << 21
_LEAST_ROWS = 512  # of a block, within those limits
_PART_ELEMENTS = 1 << 18  # of log-densities of chains that are worked on at once

# From this many rows on, a second form of a density may be prepared (`BlockOps.many_rows`).
_MANY_ROWS = 3000

# From this many elements on, over all rows, threads save more time than they cost.
_THREADED_ELEMENTS = 1 << 19

# Most threads that are considered when the block size is chosen.
_MOST_THREADS = 8

# Fewer rows than this are evaluated without blocks: the whole call takes microseconds.
_FEW_ROWS = 512

# Elements of NumPy's buffer, by default 8192. Arrays that are broadcast along an axis shorter than
# the buffer are first repeated in it, which costs more than the operation.
_BUFFER = 1024

# Results of at most this many columns are written column by column.
_FEW_COLUMNS = 4


_PLAIN = NumpyOps(quick_numpy)


class LibraryDriver(Driver):
    """Blocks of rows in the cache, on several threads."""

    reorders_rows = True

    def map_rows(
        self,
        kernel: Kernel,
        space: Space,
        rows: tuple[AnyArray, ...],
        parameters: Any,
        options: Options,
    ) -> tuple[AnyArray, ...]:
        """Run `kernel` block by block."""
        n = rows[0].shape[0]
        if n < _FEW_ROWS and options.block_size is None:
            return quietly(_run_without_blocks, kernel, space, rows, parameters)
        results = tuple(np.empty((n, *tail), dtype=space.dtype) for tail in kernel.tails)

        def write(block: slice, outputs: tuple[AnyArray, ...], sums: tuple[AnyArray, ...]) -> None:
            del sums
            for result, output in zip(results, outputs, strict=True):
                _write(result[block], output)

        for _ in _blocks(kernel, write, space, rows, parameters, options):
            pass
        return results

    def sum_rows(
        self,
        kernel: Kernel,
        space: Space,
        rows: tuple[AnyArray, ...],
        parameters: Any,
        options: Options,
    ) -> tuple[AnyArray, ...]:
        """Add the sums of blocks in their order, so that threads change no digit."""
        if rows[0].shape[0] < _FEW_ROWS and options.block_size is None:
            return quietly(_sum_without_blocks, kernel, space, rows, parameters)

        def keep(
            block: slice, outputs: tuple[AnyArray, ...], sums: tuple[AnyArray, ...]
        ) -> tuple[AnyArray, ...]:
            del block, outputs
            return sums

        sums: list[Sum] = []
        for terms in _blocks(kernel, keep, space, rows, parameters, options):
            sums = quietly(_add_terms, space, sums, terms)
        values = quietly(values_of_sums, space.xp, sums)
        return tuple(value[()] for value in values)  # scalars, as NumPy's own sums are

    def compute(self, function: Callable[..., Any], space: Space, *arrays: Any) -> Any:
        """Call `function(xp, *arrays)`, floating-point warnings off."""
        del space
        return quietly(function, quick_numpy, *arrays)

    def run_chain(self, kernel: ChainKernel, space: Space, *arrays: Any) -> Any:
        """Run a kernel over blocks that lie side by side."""
        n, k = arrays[0].shape[0], arrays[0].shape[-1]
        _keep_freed_memory()
        return quietly(kernel.run, ops_for(space.xp, n, k), *arrays)

    def rows_of_part(self, k: int) -> int:
        """As many as a chain's arrays of 2 MB hold, ten of which are in use at a time."""
        return max(_LEAST_ROWS, _PART_ELEMENTS // k)

    def call_on_one_thread(self, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """Call `function`, the BLAS held to one thread."""
        limit = OneThread()
        try:
            limit.begin()
            return on_one_thread(quietly, function, *arguments)
        finally:
            limit.end()


def _run_without_blocks(
    kernel: Kernel, space: Space, rows: tuple[AnyArray, ...], parameters: Any
) -> tuple[AnyArray, ...]:
    inputs = [_rows_last(array, space.dtype) for array in rows]
    outputs, _ = kernel.block(_PLAIN, kernel.prepare(_PLAIN, parameters), *inputs)
    return tuple(map(_rows_first, outputs))


def _sum_without_blocks(
    kernel: Kernel, space: Space, rows: tuple[AnyArray, ...], parameters: Any
) -> tuple[AnyArray, ...]:
    inputs = [_rows_last(array, space.dtype) for array in rows]
    return kernel.block(_PLAIN, kernel.prepare(_PLAIN, parameters), *inputs)[1]


def _add_terms(space: Space, sums: list[Sum], terms: tuple[AnyArray, ...]) -> list[Sum]:
    if not sums:
        return [Sum.of(space.xp, term) for term in terms]
    return [one.add(term) for one, term in zip(sums, terms, strict=True)]


def _blocks(
    kernel: Kernel,
    use: Callable[[slice, tuple[AnyArray, ...], tuple[AnyArray, ...]], Any],
    space: Space,
    rows: tuple[AnyArray, ...],
    parameters: Any,
    options: Options,
) -> Iterator[Any]:
    """Yield `use(block, results, sums)` for each block, in their order.

    Iterate over the call itself, not over a variable: a traceback would keep the variable, and with
    it the generator and its threads, alive.
    """
    n = rows[0].shape[0]
    single = space.dtype == np.float32
    ops = NumpyOps(quick_numpy, many_rows=n >= _MANY_ROWS, single=single)
    own = sum(math.prod(array.shape[1:]) for array in rows)
    width = kernel.width(ops, parameters) + own
    size = options.block_size or _default_block_size(n, max(kernel.breadth, own), width)
    prepared = quietly(kernel.prepare, ops, parameters)

    def run_block(block: slice) -> Any:
        np.setbufsize(_BUFFER)
        inputs = [_rows_last(array[block], space.dtype) for array in rows]
        return use(block, *kernel.block(ops, prepared, *inputs))

    starts = range(0, max(1, n), size)
    large = n * width >= _THREADED_ELEMENTS
    threads = options.workers or (available_threads() if large else 1)
    if large:
        _keep_freed_memory()
    limit = OneThread() if large or threads > 1 else None

    def run(start: int) -> Any:
        block = slice(start, start + size)
        return on_one_thread(quietly, run_block, block) if limit else quietly(run_block, block)

    return in_order(run, starts, threads, limit)


def _rows_last(block: np.ndarray[Any, Any], dtype: Any) -> np.ndarray[Any, Any]:
    # Contiguous: operations keep the memory order of their input, and are slow across columns.
    turned = block.T if block.ndim <= 2 else np.moveaxis(block, 0, -1)
    return np.ascontiguousarray(turned, dtype=dtype)


def _rows_first(output: AnyArray | Quotient) -> np.ndarray[Any, Any]:
    """Transpose a result from rows last to rows first."""
    if not isinstance(output, Quotient):
        return np.ascontiguousarray(output.T)
    result = np.empty(output.shares.shape[::-1], dtype=output.shares.dtype)
    _write(result, output)
    return result


def _write(result: np.ndarray[Any, Any], output: np.ndarray[Any, Any] | Quotient) -> None:
    """Write a result whose rows are last."""
    if isinstance(output, Quotient):
        np.divide(output.shares, output.totals, out=result.T)
    elif output.ndim == 2 and len(output) <= _FEW_COLUMNS:
        for j, column in enumerate(output):
            result[:, j] = column
    else:
        result[...] = output.T


def _default_block_size(n: int, breadth: int, width: int) -> int:
    """Rows in a block, of which each has `breadth` elements of results and `width` in all."""
    size = min(_RESULT_ELEMENTS // max(1, breadth), _BLOCK_ELEMENTS // max(1, width))
    size = max(1, size)
    # A multiple of the number of threads, so that all are busy to the end. The number is that of
    # the machine, not of the call: sums round as they are cut, and must not depend on `workers`.
    threads = min(_n_processors(), _MOST_THREADS)
    rounds = max(1, -(-n // (threads * size)))
    size = max(min(_LEAST_ROWS, size), -(-n // (threads * rounds)))
    # Whole vectors, but not a power of two: rows a power of two apart share lines of the cache.
    return (size + 7) // 16 * 16 + 8


@functools.cache
def _n_processors() -> int:
    return os.cpu_count() or 1


def _keep_freed_memory() -> None:
    """Let the allocator keep the temporaries of one block for the next.

    glibc returns memory above a threshold to the system, and allocating it again costs more than
    the computation. The threshold grows with the largest array that was ever freed; this array, of
    which no page is touched, is a little larger than the largest one of a block.
    """
    np.empty(9 * _BLOCK_ELEMENTS, dtype=np.uint8)
