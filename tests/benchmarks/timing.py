"""Times that can be compared: ours and the others' turn by turn in one process, and medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

Call = Callable[[], Any]  # does all of its work before it returns


class Pace(NamedTuple):
    """How thoroughly to measure."""

    rounds: int = 7
    # Threads of BLAS and OpenMP spin for up to 0.1 s after a call, in the next one's way.
    pause: float = 0.15
    quick: bool = False


QUICK = Pace(rounds=2, pause=0.0, quick=True)

# Seconds that a virtual machine's processors may take to wake up.
_AWAKE = 0.05

# What takes so many times longer than the quickest is called in every third round only.
_SLOW = 3.0


def seconds(call: Call) -> float:
    """Time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def repeated(call: Call, times: int) -> Call:
    """Several calls for one, where one is too short to be timed."""

    def calls() -> None:
        for _ in range(times):
            call()

    return calls if times > 1 else call


def interleaved(
    benchmark: Any, pace: Pace, ours: Call, others: dict[str, Call], repeats: int = 1
) -> tuple[float, dict[str, float]]:
    """Median seconds of a call of ours and of each of the others.

    pytest-benchmark records ours; in its setup the others have their turn, so that a slow minute of
    the machine is slow for all. Each is called right after calls of its own that do not count.
    """
    others = {name: repeated(call, repeats) for name, call in others.items()}
    ours = repeated(ours, repeats)
    every = _every(others)
    times: dict[str, list[float]] = {name: [] for name in others}
    done = 0

    def turn_of_the_others() -> None:
        nonlocal done
        for name, call in others.items():
            if done % every[name] == 0:
                _settle(pace, call)
                times[name].append(seconds(call))
        done += 1
        _settle(pace, ours)

    benchmark.pedantic(ours, setup=turn_of_the_others, rounds=pace.rounds)
    medians = {name: statistics.median(taken) / repeats for name, taken in times.items()}
    return statistics.median(benchmark.stats.stats.data) / repeats, medians


def _settle(pace: Pace, call: Call) -> None:
    """Let threads of others come to rest, and wake processors that did meanwhile."""
    if pace.pause:
        time.sleep(pace.pause)
        start = time.perf_counter()
        while time.perf_counter() - start < _AWAKE:
            call()


def _every(others: dict[str, Call]) -> dict[str, int]:
    """In which rounds each has its turn: in all, or in every third."""
    if len(others) < 2:
        return dict.fromkeys(others, 1)
    first = {name: seconds(call) for name, call in others.items()}
    quickest = min(first.values())
    return {name: 1 if took <= _SLOW * quickest else 3 for name, took in first.items()}
