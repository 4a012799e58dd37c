"""Threads over blocks of rows, of which the caller's is one.

A thread that only waited for the others would take Python's lock from them at the end of each
block, and to get it back takes longer than a small matrix product.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Blocks, for each thread, that may be under way or wait for those before them.
_AHEAD = 2


def in_order(run: Callable[[int], Any], starts: Sequence[int], threads: int) -> Iterator[Any]:
    """Yield what `run` gives for each start, in their order, with few results waiting at a time."""
    threads = min(threads, len(starts))
    if threads <= 1:
        yield from map(run, starts)
        return
    crew = _Crew(run, starts, _AHEAD * threads)
    helpers: list[threading.Thread] = []
    try:
        for _ in range(threads - 1):
            helper = threading.Thread(target=crew.help, daemon=True)
            helper.start()
            helpers.append(helper)
        yield from crew.results()
    finally:  # also when an exception flies, or nobody wants the rest
        crew.stop()
        for helper in helpers:
            helper.join()


class _Failure(NamedTuple):
    error: BaseException


class _Crew:
    """Blocks to do, and results of those that are done."""

    def __init__(self, run: Callable[[int], Any], starts: Sequence[int], ahead: int) -> None:
        self._run = run
        self._starts = starts
        self._ahead = ahead
        self._begun = 0  # blocks that somebody has taken
        self._yielded = 0
        self._end = len(starts)
        self._done: dict[int, Any] = {}
        self._changed = threading.Condition()

    def help(self) -> None:
        """Do blocks until none is left."""
        while (block := self._next(wait=True)) is not None:
            self._do(block)

    def results(self) -> Iterator[Any]:
        """Yield results in order, doing blocks between them."""
        for expected in range(len(self._starts)):
            while expected not in self._done:
                block = self._next(wait=False)
                if block is None:  # others are at all that is left, or at this one
                    with self._changed:
                        self._changed.wait_for(functools.partial(self._done.__contains__, expected))
                else:
                    self._do(block)
            result = self._done.pop(expected)
            if isinstance(result, _Failure):
                raise result.error
            yield result
            with self._changed:
                self._yielded += 1
                self._changed.notify_all()

    def stop(self) -> None:
        """Let no block begin any more."""
        with self._changed:
            self._end = self._begun
            self._changed.notify_all()

    def _next(self, *, wait: bool) -> int | None:
        """Take the next block; None if there is none, or none yet and nobody waits for it."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._begun == self._end or self._may_begin())
            if self._begun == self._end or not self._may_begin():
                return None
            self._begun += 1
            return self._begun - 1

    def _may_begin(self) -> bool:
        return self._begun - self._yielded < self._ahead

    def _do(self, block: int) -> None:
        try:
            result = self._run(self._starts[block])
        except BaseException as error:
            result = _Failure(error)
        with self._changed:
            self._done[block] = result
            self._changed.notify_all()
