"""E-steps of NumPy arrays beside scikit-learn, the textbook and SciPy."""

from __future__ import annotations

from functools import partial
from operator import attrgetter

import pytest

import estep_xp as ex
from tests.benchmarks.comparison import compare, contest
from tests.benchmarks.floor import floor, numpy_rates
from tests.benchmarks.numpy_peers import PEERS
from tests.benchmarks.peers import Peer
from tests.benchmarks.problems import NUMPY, NUMPY_FLOAT32, SMALL, draw

NAME = attrgetter("name")


@pytest.mark.parametrize("problem", NUMPY, ids=NAME)
def test_e_step(problem, bench):
    case = bench.case(problem)
    found = contest(case, PEERS, partial(ex.e_step, case.x, case.mixture()))
    least = floor(case.problem, numpy_rates("float64", bench.pace.quick))
    compare(bench, "NumPy", problem, found, least, against="scikit-learn")


def _in_float64(case):
    twice = draw(case.problem._replace(dtype="float64"))
    return partial(ex.e_step, twice.x, twice.mixture())


def test_e_step_in_float32(bench):
    case = bench.case(NUMPY_FLOAT32)
    peers = (Peer("ours, float64", "estep_xp", _in_float64),)
    found = contest(case, peers, partial(ex.e_step, case.x, case.mixture()))
    least = floor(case.problem, numpy_rates("float32", bench.pace.quick))
    compare(bench, "NumPy, float32 beside our float64", NUMPY_FLOAT32, found, least)


@pytest.mark.parametrize("problem", SMALL, ids=NAME)
def test_small(problem, bench):
    case = bench.case(problem)
    found = contest(case, PEERS, partial(ex.e_step, case.x, case.mixture()))
    compare(bench, "Small", problem, found, against="NumPy, textbook", repeats=100)
