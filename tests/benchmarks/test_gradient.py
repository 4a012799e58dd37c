"""Value and gradient of the log-likelihood in JAX, beside the value alone and plain autodiff."""

from __future__ import annotations

from operator import attrgetter

import pytest

from tests.benchmarks.gradient_peers import ours, plain, shown
from tests.benchmarks.peers import verify
from tests.benchmarks.problems import GRADIENTS
from tests.benchmarks.timing import interleaved

jax = pytest.importorskip("jax")


@pytest.mark.on_gpu
@pytest.mark.parametrize("problem", GRADIENTS, ids=attrgetter("name"))
def test_gradient(problem, bench):
    case = bench.case(problem.problem)
    mine, theirs = ours(case), plain(case)
    verify("plain", shown(case, theirs), shown(case, mine), "float64")
    others = {
        "value": mine.value,
        "plain value": theirs.value,
        "plain": theirs.gradient,
    }
    took, times = interleaved(bench.fixture, bench.pace, mine.gradient, others)
    bench.note(
        "Gradient",
        problem.name,
        ours=took,
        times=times,
        over_value=took / times["value"],
        against_plain=times["plain"] / took,
        value_against_plain=times["plain value"] / times["value"],
        goals=problem.goals,
        device=jax.devices()[0].device_kind,
    )
