"""The benchmarks run, on tiny sizes; and a peer that computes something else is found out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import chain_problems
from tests.benchmarks.growth import GROWTHS, WORKERS, exponent
from tests.benchmarks.memory import PROBLEMS as MEMORY
from tests.benchmarks.peers import Peer, WrongPeerError, built, verify, verify_all
from tests.benchmarks.problems import (
    ESTIMATOR_FITS,
    ESTIMATOR_PROBABILITIES,
    ESTIMATOR_SMALL_FITS,
    FAMILIES,
    FIT_JAX,
    FIT_NUMPY,
    GRADIENTS,
    JAX,
    NUMPY,
    NUMPY_FLOAT32,
    SMALL,
    draw,
    problem,
)
from tests.benchmarks.start_problems import PROBLEMS as START_PROBLEMS

ROOT = Path(__file__).parents[1]
TABLES = {
    "Chains, NumPy": chain_problems.POSTERIORS,
    "Chains, JAX": chain_problems.POSTERIORS[:-1],
    "Chains, Viterbi": chain_problems.PATHS,
    "Chains, value and gradient": chain_problems.GRADIENTS,
    "Chains, an iteration of EM": chain_problems.ITERATIONS,
    "NumPy": NUMPY,
    "NumPy, float32 beside our float64": (NUMPY_FLOAT32,),
    "Small": SMALL,
    "JAX": JAX,
    "fit, NumPy": FIT_NUMPY,
    "fit, JAX": FIT_JAX,
    "Gradient": GRADIENTS,
    "Starts": START_PROBLEMS,
    "Growth": GROWTHS,
    "Two workers": WORKERS,
    "Memory": MEMORY,
    "scikit-learn's estimator: fit, 20 iterations": ESTIMATOR_FITS,
    "scikit-learn's estimator: predict_proba": ESTIMATOR_PROBABILITIES,
    "scikit-learn's estimator: fit by default": ESTIMATOR_SMALL_FITS,
}


def _run(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.benchmarks", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_table_has_its_lines():
    """One a family, since the tiny problems of a family are the same; two families are enough."""
    pytest.importorskip("pytest_benchmark")
    tables = {}
    left_out = [name for name in FAMILIES if name not in ("univariate", "full")]
    only = f"^(?!.*({'|'.join(left_out)}))"
    for part in _run("--quick", "--only", only).split("\n### ")[1:]:
        section, *lines = part.split("\n\n| problems")[0].splitlines()
        tables[section] = [line.split(" | ")[0] for line in lines if line.startswith("| ")][2:]
    assert tables.keys() == TABLES.keys()
    for section, problems in TABLES.items():
        names = [f"| {line.name}" for line in problems]
        assert families_of(*tables[section]) == families_of(*names).difference(left_out)
        assert all(line.startswith(tuple(names)) for line in tables[section])
    growths = [growth.name for growth in GROWTHS if not families_of(growth.name) & {*left_out}]
    assert len(tables["Growth"]) == len(growths)
    assert len(tables["Memory"]) == 2 * len(families_of(*tables["Memory"]))  # NumPy and JAX


def families_of(*lines: str) -> set[str]:
    """Return the families that these lines of a table are about."""
    return {line.removeprefix("| ").replace(",", " ").split()[0] for line in lines}


def test_no_such_benchmark_is_said():
    pytest.importorskip("pytest_benchmark")
    assert _run("--only", "no such name").startswith("Nothing was measured")


def test_wrong_peers_are_found_out():
    ours = [np.asarray([[0.25, 0.75]]), np.asarray([-1.0])]
    verify("right", [ours[0] + 1e-12, ours[1]], ours, "float64")
    with pytest.raises(WrongPeerError, match="wrong, array 0: differs from ours by up to"):
        verify("wrong", [ours[0] + 1e-3, ours[1]], ours, "float64")
    with pytest.raises(WrongPeerError, match="nan, array 1: differs"):
        verify("nan", [ours[0], ours[1] * np.nan], ours, "float64")
    with pytest.raises(WrongPeerError, match=r"transposed, array 0: shape \(2, 1\), not \(1, 2\)"):
        verify("transposed", [ours[0].T, ours[1]], ours, "float64")
    with pytest.raises(WrongPeerError, match="second"):
        verify_all({"first": lambda: ours, "second": lambda: ours[::-1]}, lambda: ours, "float64")


def test_peers_that_are_not_installed_are_left_out():
    case = draw(problem("full", 5, 2, 3))
    here = Peer("here", "numpy", lambda case: lambda: case.x)
    away = Peer("away", "no_such_module", lambda case: 1 / 0)
    unable = Peer("unable", "numpy", lambda case: 1 / 0, lambda case: False)
    calls, absent = built([here, away, unable], case)
    assert list(calls) == ["here"]
    assert absent == ["away"]


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_drawn_from_the_mixture(family):
    case = draw(problem(family, 20_000, 3 if family != "univariate" else 1, 2))
    table, means = case.table, case.means.reshape(2, -1)
    np.testing.assert_allclose(table.mean(0), case.weights @ means, atol=0.1)
    factors, covariances = case.precision_cholesky, case.mixture().components.covariances
    np.testing.assert_allclose(covariances, case.covariances, rtol=1e-12)
    assert factors.shape == case.covariances.shape


def test_growth_is_a_power():
    assert exponent({10: 1.0, 20: 3.0, 40: 16.0}) == pytest.approx(2.0)
