"""scikit-learn's own checks of estimators, and its own tests of its class, run on ours."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

import sklearn
from sklearn.utils.estimator_checks import check_estimator

from estep_xp.sklearn import GaussianMixture

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(
    not version("scikit-learn").startswith("1.9"), reason="the list is of scikit-learn 1.9's tests"
)
def test_scikit_learns_own_tests_pass_on_ours():
    for library in ("array_api_strict", "torch", "pandas"):
        pytest.importorskip(library)  # what the tests of the list take
    folder = Path(sklearn.__file__).parent
    tests = [
        folder / "mixture" / "tests" / f"test_{name}.py" for name in ("gaussian_mixture", "mixture")
    ]
    options = ["-q", "-p", "tests.sklearn_swap", "-p", "no:cacheprovider", "-c", os.devnull]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", folder.parent, *tests],
        cwd=folder.parent,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "SCIPY_ARRAY_API": "1",
            "SKLEARN_RUN_FLOAT32_TESTS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-1000:]
    assert "141 passed" in run.stdout


# With repeated rows k-means starts elsewhere, whatever their weights say.
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": "k-means draws other starts from repeated rows"
}


@pytest.mark.filterwarnings("ignore")  # what the checks do is not ours
@pytest.mark.parametrize("k", [1, 2])
def test_check_estimator(k):
    results = check_estimator(
        GaussianMixture(n_components=k),
        expected_failed_checks=EXPECTED_FAILURES if k > 1 else {},
        on_skip=None,
        on_fail="raise",
    )
    assert len(results) > 40
