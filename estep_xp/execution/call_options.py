"""The two keywords that users may give to any call over rows: block_size and workers."""

from __future__ import annotations

import operator
import os
import sys
from typing import Any, NamedTuple

from estep_xp.arrays.text import shown


class Options(NamedTuple):
    """Rows per block and number of threads; None for the driver's choice."""

    block_size: int | None
    workers: int | None


_BY_DEFAULT = Options(None, None)


def check_options(block_size: Any, workers: Any) -> Options:
    """Checked options; `workers` follows SciPy's convention, where -1 means all processors."""
    if block_size is None and workers is None:
        return _BY_DEFAULT
    block = None if block_size is None else _whole("block_size", block_size)
    if block is not None and block < 1:
        raise ValueError(f"block_size is {shown(block)}; block_size must be positive or None")
    threads = None if workers is None else _whole("workers", workers)
    if threads == -1:
        threads = available_threads()
    if threads is not None and threads < 1:
        raise ValueError(f"workers is {shown(threads)}; workers must be positive, -1 (all) or None")
    return Options(block, threads)


def available_threads() -> int:
    """Processors that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return allowed or os.cpu_count() or 1


def _whole(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} is {shown(value)}; {name} must be a whole number or None"
        ) from None
    if number > sys.maxsize:
        raise ValueError(f"{name} is {shown(number)}; {name} must be at most {sys.maxsize}")
    return number
