"""An EM step of rows with holes or errors beside one of complete rows. NumPy, one thread."""

from __future__ import annotations

from functools import partial
from operator import attrgetter

import pytest

import estep_xp as ex
from tests.benchmarks.missing_problems import PROBLEMS
from tests.benchmarks.timing import interleaved


@pytest.mark.parametrize("problem", PROBLEMS, ids=attrgetter("name"))
def test_missing(problem, bench):
    case = bench.case(problem.complete)
    x, keywords = problem.spoil(case.x)
    mixture = case.mixture()

    def step(x, **keywords):
        return ex.m_step(ex.expected_statistics(x, mixture, workers=1, **keywords))

    ours, complete = partial(step, x, **keywords), partial(step, case.x)
    ours(), complete()
    took, medians = interleaved(bench.fixture, bench.pace, ours, {"complete": complete})
    bench.note(
        "Missing",
        problem.name,
        ours=took,
        complete=medians["complete"],
        goal=problem.goal,
        aim=problem.aim,
    )
