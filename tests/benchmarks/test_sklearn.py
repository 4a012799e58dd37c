"""Our `GaussianMixture` beside scikit-learn's: the same calls, from the same starts."""

from __future__ import annotations

from functools import partial
from operator import attrgetter

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import mixture
from sklearn.datasets import load_iris, load_wine

from estep_xp.sklearn import GaussianMixture
from tests.benchmarks.comparison import compare, contest
from tests.benchmarks.fit_peers import displaced, fit_call, scikit_learn
from tests.benchmarks.numpy_peers import COVARIANCE_TYPES
from tests.benchmarks.peers import Peer
from tests.benchmarks.problems import (
    ESTIMATOR_FITS,
    ESTIMATOR_PROBABILITIES,
    ESTIMATOR_SMALL_FITS,
    Case,
)

NAME = attrgetter("name")


@pytest.mark.parametrize("problem", ESTIMATOR_FITS, ids=NAME)
def test_estimator_fit(problem, bench):
    start = displaced(bench.case(problem))
    peers = (Peer("scikit-learn", "sklearn", scikit_learn),)
    found = contest(start, peers, fit_call(GaussianMixture, start))
    compare(bench, "scikit-learn's estimator: fit, 20 iterations", problem, found)


@pytest.mark.parametrize("problem", ESTIMATOR_PROBABILITIES, ids=NAME)
def test_estimator_predict_proba(problem, bench):
    case = bench.case(problem)
    theirs = Peer("scikit-learn", "sklearn", partial(_probabilities, mixture.GaussianMixture))
    found = contest(case, (theirs,), _probabilities(GaussianMixture, case), shown=lambda r: (r,))
    compare(bench, "scikit-learn's estimator: predict_proba", problem, found)


@pytest.mark.parametrize("problem", ESTIMATOR_SMALL_FITS, ids=NAME)
def test_estimator_small_fit(problem, bench):
    rows = (load_iris if problem.name.endswith("iris") else load_wine)().data
    nothing = np.empty(0)
    case = Case(problem, rows, nothing, nothing, nothing, nothing)
    theirs = Peer("scikit-learn", "sklearn", partial(_default_fit, mixture.GaussianMixture))
    found = contest(case, (theirs,), _default_fit(GaussianMixture, case))
    compare(bench, "scikit-learn's estimator: fit by default", problem, found, repeats=5)


def _probabilities(class_, case):
    model = class_(case.problem.k, covariance_type=COVARIANCE_TYPES[case.problem.family])
    model.weights_, model.means_ = case.weights, case.means
    factors = case.precision_cholesky
    model.precisions_cholesky_ = factors
    result = partial(model.predict_proba, case.x)
    return (lambda: (result(),)) if class_ is mixture.GaussianMixture else result


def _default_fit(class_, case):
    model = class_(3, covariance_type=COVARIANCE_TYPES[case.problem.family], random_state=0)

    def call():
        model.fit(case.x)
        return model.weights_, model.means_, model.covariances_

    return call
