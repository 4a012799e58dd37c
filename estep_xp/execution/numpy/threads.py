"""Threads over blocks of rows, of which the caller's is one.

A thread that only waited for the others would take the GIL from them at the end of each block, and
reacquiring it takes longer than a small matrix product.

A KeyboardInterrupt may come between any two bytecodes of the main thread. So the caller's thread
takes no lock that helpers need, not even those of `Thread.start`; shared state changes by single
calls in C; and after an exception, another thread does the cleanup: interrupts reach the main
thread alone.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from _thread import start_new_thread
from collections import deque
from functools import partial
from operator import methodcaller
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Blocks, for each thread, that may be computed ahead of the first unfinished one.
_AHEAD = 2

# The last helpers, until later ones replace them. Python code runs when a Thread is freed, and an
# interrupt in that code would be swallowed: the main thread must not free it.
_hired: deque[threading.Thread] = deque(maxlen=64)


class Limit(Protocol):
    """A setting that holds while blocks run."""

    def begin(self) -> None:
        """Set it."""

    def end(self) -> None:
        """Undo what `begin` has done so far, from any thread.

        It may be called again, after an interrupt or needlessly, but never twice at a time.
        """


def in_order(
    run: Callable[[int], Any], starts: Sequence[int], threads: int, limit: Limit | None = None
) -> Iterator[Any]:
    """Yield `run(start)` for each start, in their order; few results wait at a time.

    `limit` begins before the first block, and ends after the last one.
    """
    threads = min(threads, len(starts))
    if threads <= 1 and limit is None:
        for start in starts:
            yield run(start)
        return
    crew, call = _Crew(run, starts, _AHEAD * threads, limit), _Call()
    try:
        crew.end_with(call)
        crew.begin(threads - 1)
        yield from crew.results()
        crew.end()
    except BaseException:  # GeneratorExit, too, if the generator is closed early
        try:
            start_new_thread(crew.clean_up, ())  # one call in C: the next interrupt comes after it
        except RuntimeError:  # the system starts no more threads
            crew.end()
        else:
            crew.cleaned_up.get()
        raise
    finally:
        crew.join()


class _Call:
    """A token that is freed when its call ends."""


class _Death(weakref.ref[_Call]):
    """Calls `start` when a call is freed: all in C, where no interrupt comes."""

    start: Callable[[], Any]


class _Failure(NamedTuple):
    error: BaseException


class _Crew:
    """Blocks to do, results of those that are done, and the threads at work."""

    def __init__(
        self, run: Callable[[int], Any], starts: Sequence[int], ahead: int, limit: Limit | None
    ) -> None:
        self.cleaned_up: SimpleQueue[None] = SimpleQueue()
        self._run = run
        self._starts = starts
        self._limit = limit
        self._death: _Death | None = None
        self._cleaning = threading.Lock()  # not for the caller's thread
        self._over = False
        self._hiring = False
        self._helpers: SimpleQueue[list[threading.Thread]] = SimpleQueue()
        self._blocks = iter(range(len(starts)))
        self._todo: SimpleQueue[int | None] = SimpleQueue()  # None: there are no more
        self._done: dict[int, Any] = {}
        self._news: SimpleQueue[None] = SimpleQueue()  # an item for each block of a helper
        for _ in range(ahead):
            self._allow_another()

    def begin(self, helpers: int) -> None:
        """Set the limit, and let helpers begin."""
        if self._limit is not None:
            self._limit.begin()
        if helpers:
            # If the system starts no more threads, the caller's thread computes all blocks.
            with contextlib.suppress(RuntimeError):
                start_new_thread(self._hire, (helpers,))

    def _hire(self, helpers: int) -> None:
        """Start helpers: in a thread, since an interrupt in `Thread.start` would hang them."""
        self._hiring = True  # before `_over` is read: `end` and `join` use the opposite order
        hired: list[threading.Thread] = []
        try:
            while len(hired) < helpers and not self._over:
                helper = threading.Thread(target=self._help, daemon=True)
                _hired.append(helper)
                helper.start()
                hired.append(helper)
        except RuntimeError:  # the system starts no more threads: these are enough
            pass
        finally:
            self._helpers.put(hired)

    def _help(self) -> None:
        while (block := self._todo.get()) is not None and not self._over:
            self._do(block, BaseException)
            self._news.put(None)
        self._todo.put(None)  # for the next helper

    def results(self) -> Iterator[Any]:
        """Yield results in order, doing blocks between them."""
        for expected in range(len(self._starts)):
            while expected not in self._done:
                block = self._next()
                if block is None:  # helpers are computing this block, or all that are left
                    self._news.get()
                else:
                    self._do(block, Exception)  # an interrupt does not wait for its turn
            result = self._done.pop(expected)
            if isinstance(result, _Failure):
                try:
                    raise result.error
                finally:  # else a reference cycle would keep this frame and its callers alive
                    del result
            yield result
            self._allow_another()

    def end(self) -> None:
        """Start no more blocks, and undo the limit."""
        self._over = True
        self._todo.put(None)
        if self._limit is not None:
            self._limit.end()
        self._death = None

    def clean_up(self) -> None:
        """End in a thread of its own, after an `end` that an interrupt may have divided."""
        try:
            with self._cleaning:  # if `call` is freed meanwhile, a second thread comes here
                self.end()
        finally:
            self.cleaned_up.put(None)

    def end_with(self, call: _Call) -> None:
        """Clean up when `call` is freed, in case a second interrupt has prevented it before."""
        death = _Death(call, methodcaller("start"))
        death.start = partial(start_new_thread, self.clean_up, ())
        self._death = death

    def join(self) -> None:
        """Wait for helpers, which end by themselves if the wait is interrupted."""
        if self._hiring:
            for helper in self._helpers.get():
                helper.join()

    def _allow_another(self) -> None:
        self._todo.put(next(self._blocks, None))

    def _next(self) -> int | None:
        """Take the next block; None if there is none, or none yet."""
        try:
            block = self._todo.get_nowait()
        except Empty:
            return None
        if block is None:
            self._todo.put(None)  # for helpers
        return block

    def _do(self, block: int, caught: type[BaseException]) -> None:
        try:
            self._done[block] = self._run(self._starts[block])
        except caught as error:
            self._done[block] = _Failure(error)
