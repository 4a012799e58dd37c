"""Twenty iterations of EM beside scikit-learn and gmmx, from the same start."""

from __future__ import annotations

from functools import partial
from operator import attrgetter

import pytest

import estep_xp as ex
from tests.benchmarks.comparison import compare, contest
from tests.benchmarks.fit_peers import FLOOR, JAX_PEERS, N_ITER, NUMPY_PEERS, displaced
from tests.benchmarks.floor import floor_of_fit, jax_rates, numpy_rates
from tests.benchmarks.jax_peers import blocking
from tests.benchmarks.problems import FIT_JAX, FIT_NUMPY

# Twenty iterations are timed, wherever they lead.
pytestmark = pytest.mark.filterwarnings(
    "ignore::estep_xp.ConvergenceWarning", "ignore::estep_xp.CollapseWarning"
)

NAME = attrgetter("name")
FIT = partial(ex.fit, tol=0.0, max_iter=N_ITER, variance_floor=FLOOR)


def _estimates(result):
    """What all have: weights, means, covariances."""
    mixture = result.mixture
    return mixture.weights, mixture.components.means, mixture.components.covariances


@pytest.mark.parametrize("problem", FIT_NUMPY, ids=NAME)
def test_fit(problem, bench):
    start = displaced(bench.case(problem))
    ours = partial(FIT, start.x, start.mixture())
    found = contest(start, NUMPY_PEERS, ours, shown=_estimates)
    rates = numpy_rates("float64", bench.pace.quick)
    least = floor_of_fit(start.problem, rates, N_ITER)
    compare(bench, "fit, NumPy", problem, found, least)


@pytest.mark.on_gpu
@pytest.mark.parametrize("problem", FIT_JAX, ids=NAME)
def test_fit_in_jax(problem, bench):
    jax = pytest.importorskip("jax")
    start = displaced(bench.case(problem))
    arguments = jax.tree.map(jax.numpy.asarray, (start.x, start.mixture()))
    inside, eager = blocking(jax.jit(FIT), *arguments), blocking(FIT, *arguments)
    found = contest(start, JAX_PEERS, inside, {"eager": eager}, _estimates)
    rates = jax_rates(problem.dtype, bench.pace.quick)
    least = floor_of_fit(start.problem, rates, N_ITER)
    compare(bench, "fit, JAX", problem, found, least, device=jax.devices()[0].device_kind)
