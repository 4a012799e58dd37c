"""NumPy: blocks of rows that fit in the cache, rows last, written into the results as they come."""

from __future__ import annotations

import functools
import math
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp._summation import Sum
from estep_xp.execution._kernel import Plan, RowKernel, SumKernel, each_component

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from estep_xp._namespace import Space
    from estep_xp._typing import Array
    from estep_xp.execution._options import Options

# Numbers in a block, over its features and components: 2 MB of float64, with its temporaries about
# what a core's share of the cache holds.
_BLOCK_NUMBERS = 1 << 18


def map_rows(
    kernel: RowKernel, space: Space, rows: tuple[Array, ...], parameters: Any, how: Options
) -> tuple[Array, ...]:
    """Run `kernel` block by block, in threads if asked to."""
    plan = _plan(space)
    n = rows[0].shape[0]
    tails = kernel.tails
    results = tuple(np.empty((n, *tail), dtype=space.dtype) for tail in tails)
    with np.errstate(all="ignore"):
        prepared = kernel.prepare(plan, parameters)

    def run(start: int) -> None:
        block = slice(start, start + size)
        with np.errstate(all="ignore"):  # per thread
            inputs = [_rows_last(array[block], space.dtype) for array in rows]
            outputs = kernel.rows(plan, prepared, *inputs)
        for result, output in zip(results, outputs, strict=True):
            result[block] = output.T

    size = how.block_size or _default_block_size(rows, sum(map(math.prod, tails)))
    for _ in _in_order(run, range(0, n, size), how.workers):
        pass
    return results


def sum_rows(
    kernel: SumKernel, space: Space, rows: tuple[Array, ...], parameters: Any, how: Options
) -> tuple[Array, ...]:
    """Add the sums of blocks in their order, so that threads change no digit."""
    plan = _plan(space)
    n = rows[0].shape[0]
    with np.errstate(all="ignore"):
        prepared = kernel.prepare(plan, parameters)

    def run(start: int) -> tuple[Array, ...]:
        block = slice(start, start + size)
        with np.errstate(all="ignore"):  # per thread
            inputs = [_rows_last(array[block], space.dtype) for array in rows]
            return kernel.sums(plan, prepared, *inputs)

    size = how.block_size or _default_block_size(rows, kernel.width)
    terms = _in_order(run, range(0, max(1, n), size), how.workers)
    with np.errstate(all="ignore"):
        sums = [Sum.of(plan.xp, term) for term in next(terms)]
        for term in terms:
            sums = [one.plus(more) for one, more in zip(sums, term, strict=True)]
        return tuple(one.value(plan.xp)[()] for one in sums)  # scalars, as NumPy's own sums are


def compute(function: Callable[..., Any], space: Space, *arrays: Array) -> Any:
    """Call `function` with floating-point warnings off: results are checked instead."""
    with np.errstate(all="ignore"):
        return function(space.xp, *arrays)


def _in_order(run: Callable[[int], Any], starts: range, workers: int) -> Iterator[Any]:
    """Yield what blocks give, in their order, with few of them under way or waiting at a time."""
    if workers == 1 or len(starts) <= 1:
        yield from map(run, starts)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Any] = deque()
        for start in starts:
            waiting.append(pool.submit(run, start))
            if len(waiting) == 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _plan(space: Space) -> Plan:
    return Plan(space.xp, 0, functools.partial(each_component, space.xp))


def _rows_last(block: np.ndarray[Any, Any], dtype: Any) -> np.ndarray[Any, Any]:
    # Contiguous: operations keep the memory order of their input, and would crawl along columns.
    return np.ascontiguousarray(np.moveaxis(block, 0, -1), dtype=dtype)


def _default_block_size(rows: tuple[Array, ...], width: int) -> int:
    """Rows in a block, for results or temporaries of `width` numbers a row."""
    width += sum(math.prod(array.shape[1:]) for array in rows)
    return max(64, _BLOCK_NUMBERS // max(1, width))
