"""Holding the BLAS to one thread while blocks of rows run in parallel.

A matrix product that starts threads of its own inside each of ours takes longer, not less.

In some libraries the number of threads is a setting of the whole process, which `OneThread` holds
for the length of a call. In others each thread has its own, for which `on_one_thread` sees.
"""

from __future__ import annotations

import functools
import operator
import os
import time
from itertools import starmap
from typing import TYPE_CHECKING, Any, NamedTuple

from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from collections.abc import Callable


# The call that changes the setting, or looks at it; and the calls that hold it.
_turn: dict[str, OneThread] = {}
_holders: set[OneThread] = set()

# Threads that shared libraries, by their place in the list, had before a call held them to one.
_before: dict[int, int] = {}

# Seconds after which a turn, which takes microseconds, belongs to a call that is gone for good.
_PATIENCE = 1.0


class OneThread:
    """The BLAS held to one thread, from `begin` to `end`, which undoes what an interrupt has left.

    Of calls that overlap in time, the first makes the setting and the last takes it back, unless
    somebody else has changed it meanwhile.
    """

    def begin(self) -> None:
        """Hold the BLAS to one thread."""
        self._take_turn()
        _holders.add(self)
        for i, library in enumerate(_libraries().shared):
            threads = library.get() or 1
            if threads > 1:
                _before[i] = threads
                library.set(1)
        _turn.clear()

    def end(self) -> None:
        """Give the BLAS its threads back, in any thread, if no other call holds it."""
        self._take_turn()
        _holders.discard(self)
        if not _holders:
            _restore()
        _turn.clear()

    def _take_turn(self) -> None:
        # A lock that a call has, not a thread: if an interrupt ends `begin` or `end` in one thread,
        # the call still has it where another thread goes on with `end`.
        patience = time.monotonic() + _PATIENCE
        while _turn.setdefault("holder", self) is not self:
            if time.monotonic() > patience:
                _turn["holder"] = self
            time.sleep(1e-4)


def on_one_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function` with the BLAS of this thread held to one, where each thread has its own."""
    libraries = _libraries().own
    if not libraries:
        return function(*arguments)
    undo: list[tuple[Callable[[int], Any], int]] = []
    undone = starmap(operator.call, undo)  # calls nothing before it is iterated
    try:
        for library in libraries:
            library.hold(undo)
        return function(*arguments)
    finally:  # all in one call in C, which no interrupt divides
        list(undone)


class _Library(NamedTuple):
    """How to look at a number of threads, and how to set it."""

    get: Callable[[], int | None]
    set: Callable[[int], Any]
    exchanges: bool = False  # `set` returns what was set before, which `get` does not tell

    def hold(self, undo: list[tuple[Callable[[int], Any], int]]) -> None:
        """Set one thread, and put what undoes it before the rest."""
        if self.exchanges:
            undo[:0] = zip((self.set,), map(self.set, (1,)), strict=True)  # both in C, as above
        else:
            undo.insert(0, (self.set, self.get() or 1))
            self.set(1)


class _Libraries(NamedTuple):
    """Those whose number is the whole process's, and those where each thread has its own."""

    shared: list[_Library]
    own: list[_Library]


@functools.cache
def _libraries() -> _Libraries:
    # Looking at all libraries that are loaded takes milliseconds; NumPy's is one of them.
    libraries = _Libraries([], [])
    for controller in ThreadpoolController().select(user_api="blas").lib_controllers:
        kind, layer = controller.internal_api, getattr(controller, "threading_layer", None)
        dynlib = controller.dynlib
        if kind == "mkl":
            get, put = dynlib.MKL_Get_Max_Threads, dynlib.MKL_Set_Num_Threads_Local
            libraries.own.append(_Library(get, put, exchanges=True))
        elif kind == "openblas" and layer == "openmp" and os.name != "nt":
            libraries.own.append(_Library(dynlib.omp_get_max_threads, dynlib.omp_set_num_threads))
        elif kind == "openblas":
            # Its functions themselves: threadpoolctl would let this thread alone control OpenBLAS
            # from now on, so that limits that others set do nothing.
            name = next(name for name in controller.check_symbols if hasattr(dynlib, name))
            get, put = (getattr(dynlib, each) for each in (name, name.replace("_get_", "_set_")))
            libraries.shared.append(_Library(get, put))
        else:
            get, put = controller.get_num_threads, controller.set_num_threads
            libraries.shared.append(_Library(get, put))
    return libraries


def _restore() -> None:
    for i, threads in list(_before.items()):
        library = _libraries().shared[i]
        if library.get() == 1:
            library.set(threads)
    _before.clear()


def _forget() -> None:
    """In a forked process, give the BLAS back: calls of other threads do not go on there."""
    _turn.clear()
    _holders.clear()
    _restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
