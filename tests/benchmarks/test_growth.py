"""How time and memory grow, and what a second worker is worth. NumPy; memory in JAX, too."""

from __future__ import annotations

import os
from functools import partial
from operator import attrgetter

import pytest

import estep_xp as ex
from tests.benchmarks import memory
from tests.benchmarks.comparison import Contest, compare
from tests.benchmarks.growth import GROWTHS, PER_ROW_GOAL, WORKERS, exponent
from tests.benchmarks.problems import draw
from tests.benchmarks.timing import interleaved

NAME = attrgetter("name")


def _call(problem):
    case = draw(problem)
    return partial(ex.e_step, case.x, case.mixture())


@pytest.mark.parametrize("growth", GROWTHS, ids=NAME)
def test_time(growth, bench):
    calls = {size: _call(p) for size, p in growth.members(bench.pace.quick).items()}
    for call in calls.values():
        call()
    largest = max(calls)
    ours = calls.pop(largest)
    took, medians = interleaved(bench.fixture, bench.pace, ours, calls)
    times = medians | {largest: took}
    facts = {"times": times, "exponent": exponent(times), "expected": growth.expected}
    if growth.axis == "n":
        smallest = min(times)
        per_row = (times[largest] / largest) / (times[smallest] / smallest)
        facts |= {"per_row": per_row, "goal": PER_ROW_GOAL}
    bench.note("Growth", growth.name, **facts)


@pytest.mark.parametrize("problem", WORKERS, ids=NAME)
def test_two_workers(problem, bench):
    if (os.cpu_count() or 1) < 2:
        pytest.skip("there is one processor only")
    case = bench.case(problem)
    one, two = (partial(ex.e_step, case.x, case.mixture(), workers=w) for w in (1, 2))
    one(), two()
    compare(bench, "Two workers", problem, Contest(two, {"one worker": one}, {}, []))


@pytest.mark.parametrize("library", ["numpy", "jax"])
@pytest.mark.parametrize("problem", memory.PROBLEMS, ids=NAME)
def test_memory(problem, library, bench):
    pytest.importorskip(library)
    pytest.importorskip("resource")
    sizes = problem.tiny() if bench.pace.quick else problem
    peak = bench.fixture.pedantic(memory.measure, args=(library, sizes), rounds=1)
    bench.note("Memory", f"{problem.name}, {library}", **peak._asdict())
