"""Holding the BLAS to one thread while blocks of rows run in parallel.

A matrix product that starts threads of its own inside each of ours takes longer, not less.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_holders = 0
_limits: Any = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold the BLAS to one thread for the length of a ``with`` block.

    The setting is the whole process's: of calls that overlap in time, the first makes it and the
    last takes it back.
    """
    _hold()
    try:
        yield
    finally:
        _release()


def _hold() -> None:
    global _holders, _limits
    with _lock:
        if _holders == 0:
            _limits = _controller().limit(limits=1, user_api="blas")
        _holders += 1


def _release() -> None:
    global _holders, _limits
    with _lock:
        _holders -= 1
        if _holders == 0:
            _limits.restore_original_limits()
            _limits = None


@functools.cache
def _controller() -> ThreadpoolController:
    # It looks at all libraries that are loaded, which takes milliseconds; NumPy's is one of them.
    return ThreadpoolController()
