"""Whether one default call ends in the best optimum known, and what it costs, start included."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

import estep_xp as ex
from tests.benchmarks.numpy_peers import COVARIANCE_TYPES
from tests.benchmarks.problems import FAMILIES
from tests.benchmarks.start_problems import PROBLEMS, StartProblem

SEEDS = 3


class Run(NamedTuple):
    """Where one call has ended, and how long it took."""

    log_likelihood: float
    degenerate: bool  # a variance is at the floor: the likelihood has no bound there
    seconds: float  # of processors


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: f"starts-{problem.name}")
def test_starts(problem, bench):
    pytest.importorskip("sklearn")
    x, labels = problem.rows()
    seeds = range(SEEDS)
    if bench.pace.quick:
        x, labels, seeds = x[:60], None if labels is None else labels[:60], range(1)
    runs = {name: [run(problem, x, seed) for seed in seeds] for name, run in RUNS.items()}
    bench.fixture.pedantic(lambda: None, rounds=1)
    sure = [run.log_likelihood for some in runs.values() for run in some if not run.degenerate]
    if labels is not None:
        truth = _fit(x, lambda: ex.estimate(x, labels, FAMILIES[problem.family]))
        sure += [truth.log_likelihood] * (not truth.degenerate)
    best = max(sure, default=-np.inf)
    near = max(1.0, 1e-4 * len(x))
    reached = {
        name: [not run.degenerate and run.log_likelihood >= best - near for run in some]
        for name, some in runs.items()
    }
    bench.note(
        "Starts",
        problem.name,
        kind=problem.kind,
        reached={name: sum(flags) for name, flags in reached.items()},
        tries=len(seeds),
        seconds={
            name: sum(run.seconds for run in some) / len(seeds) for name, some in runs.items()
        },
    )


def _fit(x: np.ndarray, start: Callable[[], ex.Mixture]) -> Run:
    begin = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = ex.fit(x, start())
    took = time.process_time() - begin
    degenerate = any(issubclass(one.category, ex.CollapseWarning) for one in caught)
    return Run(float(result.log_likelihood), degenerate, took)


def ours(problem: StartProblem, x: np.ndarray, seed: int) -> Run:
    """The default start."""
    return _fit(x, lambda: ex.initialize(x, problem.k, FAMILIES[problem.family], seed=seed))


def plus_plus(problem: StartProblem, x: np.ndarray, seed: int) -> Run:
    """k-means++, the default before."""
    options = {"seed": seed, "method": "k-means++"}
    return _fit(x, lambda: ex.initialize(x, problem.k, FAMILIES[problem.family], **options))


def scikit_learn(problem: StartProblem, x: np.ndarray, seed: int) -> Run:
    """GaussianMixture as it comes; its mixture is judged by our log-likelihood."""
    from sklearn.mixture import GaussianMixture

    kind = COVARIANCE_TYPES[problem.family]
    model = GaussianMixture(problem.k, covariance_type=kind, random_state=seed)
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x.reshape(len(x), -1))
    took = time.process_time() - begin
    total = model.score(x.reshape(len(x), -1)) * len(x)
    smallest = np.min(np.linalg.eigvalsh(_matrices(model, kind)))
    return Run(float(total), bool(smallest <= 2.0 * model.reg_covar), took)


def _matrices(model, kind):
    covariances = model.covariances_
    if kind in ("full", "tied"):
        return covariances
    return np.asarray(covariances).reshape(-1, 1, 1)


RUNS = {"ours": ours, "k-means++": plus_plus, "scikit-learn": scikit_learn}
