"""NumPy: blocks of rows that fit in the cache, rows last, written into the results as they come."""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp._summation import Sum
from estep_xp.execution._blas import one_thread
from estep_xp.execution._kernel import Plan, RowKernel, SumKernel
from estep_xp.execution._options import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from estep_xp._namespace import Space
    from estep_xp._typing import Array
    from estep_xp.execution._options import Options

# Numbers in a block, over all that a row needs meanwhile: with temporaries about what a core's
# share of the cache holds.
_BLOCK_NUMBERS = 1 << 19
_LEAST_ROWS, _MOST_ROWS = 512, 1 << 14

# Rows from which on more may be prepared than the plainest form of a density.
_MANY_ROWS = 1000

# Numbers, over all rows, from which on threads cost less than they save.
_THREADED_NUMBERS = 1 << 19

# Results with as few columns as this are written column by column.
_FEW_COLUMNS = 4


@dataclass(frozen=True)
class NumpyPlan(Plan):
    """Rows last, and numbers that can be looked at."""

    axis: int = 0

    differentiable = False

    def exp(self, x: Array) -> Array:
        """Exponentials, written over `x`, at full speed where they underflow."""
        if x.dtype != np.float64 or x.size == 0 or x.min() > _SLOW:
            return np.exp(x, out=x)
        # NumPy leaves its vector path where a result is subnormal, or zero: tens of times slower.
        vanishing = x <= _SLOW
        subnormal = np.flatnonzero(vanishing & (x > _ZERO))
        exact = np.exp(x.reshape(-1)[subnormal])
        np.exp(np.maximum(x, _SLOW, out=x), out=x)
        x *= ~vanishing
        x.reshape(-1)[subnormal] = exact
        return x

    def within(self, values: Array, limit: float) -> bool:
        """Whether all numbers of a block lie between -limit and limit."""
        return bool(values.size and values.min() > -limit and values.max() < limit)

    def mended(
        self, values: Array, fine: Array, sure: Callable[[Array], Array], x: Array
    ) -> tuple[Array, Array | None]:
        """Values of a block, and flags of the rows that kept theirs; None where all did."""
        bad = np.flatnonzero(~fine)
        if len(bad) == 0:
            return values, None
        if len(bad) > _FEW_BAD * len(fine):
            return sure(x), np.zeros_like(fine)
        values[:, bad] = sure(np.ascontiguousarray(x[..., bad]))
        return values, fine

    def selected(self, values: Array, flags: Array) -> Array:
        """The flagged rows of a block."""
        return np.compress(flags, values, axis=-1)


_SLOW, _ZERO = -707.0, -745.2  # exponents
_FEW_BAD = 0.5  # share of a block's rows


def map_rows(
    kernel: RowKernel, space: Space, rows: tuple[Array, ...], parameters: Any, how: Options
) -> tuple[Array, ...]:
    """Run `kernel` block by block."""
    n = rows[0].shape[0]
    results = tuple(np.empty((n, *tail), dtype=space.dtype) for tail in kernel.tails)

    def write(block: slice, outputs: tuple[Array, ...]) -> None:
        for result, output in zip(results, outputs, strict=True):
            _write(result[block], output)

    for _ in _blocks(kernel, kernel.rows, write, space, rows, parameters, how):
        pass
    return results


def sum_rows(
    kernel: SumKernel, space: Space, rows: tuple[Array, ...], parameters: Any, how: Options
) -> tuple[Array, ...]:
    """Add the sums of blocks in their order, so that threads change no digit."""

    def keep(block: slice, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        del block
        return sums

    terms = _blocks(kernel, kernel.sums, keep, space, rows, parameters, how)
    with np.errstate(all="ignore"):
        sums = [Sum.of(space.xp, term) for term in next(terms)]
        for term in terms:
            sums = [one.plus(more) for one, more in zip(sums, term, strict=True)]
        return tuple(one.value(space.xp)[()] for one in sums)  # scalars, as NumPy's own sums are


def compute(function: Callable[..., Any], space: Space, *arrays: Array) -> Any:
    """Call `function` with floating-point warnings off: results are checked instead."""
    with np.errstate(all="ignore"):
        return function(space.xp, *arrays)


def _blocks(
    kernel: RowKernel | SumKernel,
    evaluate: Callable[..., tuple[Array, ...]],
    use: Callable[[slice, tuple[Array, ...]], Any],
    space: Space,
    rows: tuple[Array, ...],
    parameters: Any,
    how: Options,
) -> Iterator[Any]:
    """Yield what `use` makes of each block's results, in their order."""
    n = rows[0].shape[0]
    plan = NumpyPlan(space.xp, many_rows=n >= _MANY_ROWS)
    width = kernel.width(plan, parameters) + sum(math.prod(array.shape[1:]) for array in rows)
    size = how.block_size or _default_block_size(n, width)
    with np.errstate(all="ignore"):
        prepared = kernel.prepare(plan, parameters)

    def run(start: int) -> Any:
        block = slice(start, start + size)
        with np.errstate(all="ignore"):  # per thread
            inputs = [_rows_last(array[block], space.dtype) for array in rows]
            return use(block, evaluate(plan, prepared, *inputs))

    starts = range(0, max(1, n), size)
    large = n * width >= _THREADED_NUMBERS
    threads = how.workers or (available_threads() if large else 1)
    if large:
        _keep_freed_memory()
    with one_thread() if large or threads > 1 else nullcontext():
        yield from _in_order(run, starts, threads)


def _in_order(run: Callable[[int], Any], starts: range, threads: int) -> Iterator[Any]:
    """Yield what blocks give, in their order, with few of them under way or waiting at a time."""
    if threads == 1 or len(starts) <= 1:
        yield from map(run, starts)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Any] = deque()
        for start in starts:
            waiting.append(pool.submit(run, start))
            if len(waiting) == 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _rows_last(block: np.ndarray[Any, Any], dtype: Any) -> np.ndarray[Any, Any]:
    # Contiguous: operations keep the memory order of their input, and would crawl along columns.
    return np.ascontiguousarray(np.moveaxis(block, 0, -1), dtype=dtype)


def _write(result: np.ndarray[Any, Any], output: np.ndarray[Any, Any]) -> None:
    """Write what lies with its rows last."""
    if output.ndim == 2 and len(output) <= _FEW_COLUMNS:
        for j, column in enumerate(output):
            result[:, j] = column
    else:
        result[...] = output.T


def _default_block_size(n: int, width: int) -> int:
    """Rows in a block whose rows need `width` numbers."""
    size = min(max(_LEAST_ROWS, _BLOCK_NUMBERS // max(1, width)), _MOST_ROWS)
    if n > _LEAST_ROWS:
        size = min(size, max(_LEAST_ROWS, n // 16))  # enough of them for all threads
    # Whole vectors, but no power of two apart: those fall on each other in the cache.
    return size // 16 * 16 + 8


def _keep_freed_memory() -> None:
    """Let the allocator keep the temporaries of one block for the next.

    glibc hands memory back to the system above a limit, and getting it again costs more than the
    computation. The limit grows with the largest array that was ever freed, up to 32 MB.
    """
    np.empty((1 << 25) - (1 << 16), dtype=np.uint8)
