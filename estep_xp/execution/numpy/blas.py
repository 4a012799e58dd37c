"""Limit the BLAS to one thread while blocks of rows run in parallel.

A matrix product that starts threads of its own inside each of ours takes longer, not less.

In some libraries the number of threads is a setting of the whole process, which `OneThread` changes
for the length of a call. In others it is a setting of each thread, which `on_one_thread` changes.
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


# The call that is changing or reading the setting; and the calls for which it is one thread.
_turn: dict[str, OneThread] = {}
_holders: set[OneThread] = set()

# Number of threads of shared libraries, by index, before a call limited them to one.
_before: dict[int, int] = {}

# A turn takes microseconds: one that lasts this many seconds belongs to a call that has ended.
_PATIENCE = 1.0


class OneThread:
    """The BLAS limited to one thread, from `begin` to `end`, also if an interrupt ends `begin`.

    Of calls that overlap in time, the first changes the setting and the last restores it, unless
    other code has changed it meanwhile.
    """

    def begin(self) -> None:
        """Limit the BLAS to one thread."""
        self._take_turn()
        _holders.add(self)
        for i, library in enumerate(_libraries().shared):
            threads = library.get() or 1
            if threads > 1:
                _before[i] = threads
                library.set(1)
        _turn.clear()

    def end(self) -> None:
        """Restore the BLAS's threads, from any thread, unless another call is limiting them."""
        self._take_turn()
        _holders.discard(self)
        if not _holders:
            _restore()
        _turn.clear()

    def _take_turn(self) -> None:
        # A lock that belongs to a call, not to a thread: if an interrupt ends `begin` or `end` in
        # one thread, the call still holds it when another thread continues with `end`.
        patience = time.monotonic() + _PATIENCE
        while _turn.setdefault("holder", self) is not self:
            if time.monotonic() > patience:
                _turn["holder"] = self
            time.sleep(1e-4)


def on_one_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function` with this thread's BLAS limited to one thread, where each has a setting."""
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
    """How to read and set a number of threads."""

    get: Callable[[], int | None]
    set: Callable[[int], Any]
    exchanges: bool = False  # `set` returns the previous setting, which `get` does not

    def hold(self, undo: list[tuple[Callable[[int], Any], int]]) -> None:
        """Set one thread, and put the call that restores the setting before the others."""
        if self.exchanges:
            undo[:0] = zip((self.set,), map(self.set, (1,)), strict=True)  # both in C, as above
        else:
            undo.insert(0, (self.set, self.get() or 1))
            self.set(1)


class _Libraries(NamedTuple):
    """Libraries with one setting for the process, and those with one for each thread."""

    shared: list[_Library]
    own: list[_Library]


@functools.cache
def _libraries() -> _Libraries:
    # Cached: inspecting all libraries that are loaded takes milliseconds. NumPy's is one of them.
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
            # Its own functions: threadpoolctl would make this thread the only one that controls
            # OpenBLAS from now on, so that limits set by other threads do nothing.
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
    """Restore the BLAS in a forked process: calls of other threads do not continue there."""
    _turn.clear()
    _holders.clear()
    _restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
