"""Fits of NumPy arrays equal scikit-learn's, from the same starts and the same random numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import mixture
from sklearn.datasets import load_iris, load_wine

from estep_xp.sklearn import GaussianMixture

FAITHFUL = Path(__file__).parent.parent / "examples" / "data" / "faithful.csv"
ROWS = {
    "iris": (load_iris().data, 3),
    "wine": (load_wine().data, 3),
    "faithful": (np.loadtxt(FAITHFUL, delimiter=",", skiprows=1), 2),
}
TYPES = ("full", "tied", "diag", "spherical")
ARRAYS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")

every_set = pytest.mark.parametrize("name", ROWS)
every_type = pytest.mark.parametrize("covariance_type", TYPES)


def assert_close(ours, theirs):
    size = max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=1e-8 * size)


def assert_same_fit(x, ours, theirs):
    for name in ARRAYS:
        assert_close(getattr(ours, name), getattr(theirs, name))
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.converged_ == theirs.converged_
    assert_close(ours.lower_bound_, theirs.lower_bound_)
    assert_close(ours.lower_bounds_, theirs.lower_bounds_)
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
    for method in ("predict_proba", "score_samples", "score", "aic", "bic"):
        assert_close(getattr(ours, method)(x), getattr(theirs, method)(x))
    assert_same_samples(ours, theirs)
    assert ours._n_parameters() == theirs._n_parameters()


def assert_same_samples(ours, theirs):
    # From the very same covariances: axes of equal variances turn with their rounding.
    for name in ("weights_", "means_", "covariances_"):
        setattr(theirs, name, getattr(ours, name))
    for mine, others in zip(ours.sample(50), theirs.sample(50), strict=True):
        np.testing.assert_array_equal(mine, others)
        assert mine.dtype == others.dtype


def both(x, **options):
    return GaussianMixture(**options).fit(x), mixture.GaussianMixture(**options).fit(x)


@every_set
@every_type
@pytest.mark.parametrize(("init_params", "tol", "seed"), [("kmeans", 1e-3, 0), ("random", 1e-6, 1)])
@pytest.mark.filterwarnings("ignore:Best performing:sklearn.exceptions.ConvergenceWarning")
def test_same_random_numbers(name, covariance_type, init_params, tol, seed):
    x, k = ROWS[name]
    options = {"init_params": init_params, "tol": tol, "random_state": seed}
    assert_same_fit(x, *both(x, n_components=k, covariance_type=covariance_type, **options))


@every_set
@every_type
def test_same_explicit_start(name, covariance_type):
    x, k = ROWS[name]
    variances = x.var(axis=0)
    options = {
        "weights_init": np.arange(1.0, k + 1) / np.arange(1.0, k + 1).sum(),
        "means_init": x[:: len(x) // k][:k],
        "precisions_init": {
            "full": np.stack([np.diag(1.0 / variances)] * k),
            "tied": np.diag(1.0 / variances),
            "diag": np.stack([1.0 / variances] * k),
            "spherical": np.full(k, 1.0 / variances.mean()),
        }[covariance_type],
    }
    ours, theirs = both(x, n_components=k, covariance_type=covariance_type, tol=1e-5, **options)
    ours.random_state = theirs.random_state = 3  # for samples
    assert_same_fit(x, ours, theirs)


@pytest.mark.parametrize("left_out", ["weights_init", "means_init", "precisions_init"])
def test_a_part_of_a_start_takes_the_place_of_what_k_means_gives(left_out):
    x, k = ROWS["iris"]
    options = {
        "weights_init": [0.2, 0.3, 0.5],
        "means_init": x[[10, 70, 130]],
        "precisions_init": np.stack([np.eye(4)] * 3),
    }
    del options[left_out]
    assert_same_fit(x, *both(x, n_components=k, random_state=0, **options))


@pytest.mark.parametrize("name", ["faithful"])
def test_the_best_of_several_starts(name):
    x, _ = ROWS[name]
    options = {"n_components": 5, "n_init": 4, "init_params": "random", "random_state": 2}
    ours, theirs = both(x, **options)
    assert_same_fit(x, ours, theirs)
    single = GaussianMixture(**{**options, "n_init": 1}).fit(x)
    assert ours.lower_bound_ > single.lower_bound_


def test_a_warm_start_goes_on():
    x, k = ROWS["iris"]
    options = {"n_components": k, "max_iter": 3, "warm_start": True, "random_state": 0, "tol": 1e-7}
    models = (GaussianMixture(**options), mixture.GaussianMixture(**options))
    for _ in range(3):
        for model in models:
            with pytest.warns(Warning, match="did not converge"):
                model.fit(x)
        assert_same_fit(x, *models)  # makes them the same to the last bit


def test_one_hot_starts_have_weights_that_sum_to_one():
    x, k = ROWS["iris"]
    for init_params in ("k-means++", "random_from_data"):
        options = {"init_params": init_params, "random_state": 0, "n_components": k}
        ours, theirs = both(x, max_iter=0, **options)
        np.testing.assert_array_equal(ours.weights_, np.full(k, 1.0 / k))
        assert_close(theirs.weights_.sum(), k / len(x))  # which we don't follow
        assert_close(ours.means_, theirs.means_)
        # Responsibilities are the same, and so is all that follows from them.
        ours, theirs = both(x, **options)
        assert_close(ours.means_, theirs.means_)
        assert_close(ours.lower_bounds_[1:], theirs.lower_bounds_[1:])


@pytest.mark.parametrize("verbose", [1, 2])
def test_what_is_printed(capsys, verbose):
    x, k = ROWS["iris"]
    texts = []
    for class_ in (GaussianMixture, mixture.GaussianMixture):
        class_(k, verbose=verbose, verbose_interval=2, n_init=2, random_state=0).fit(x)
        lines = capsys.readouterr().out.splitlines()
        texts.append([line.partition("time lapse")[0] for line in lines])
    assert texts[0] == texts[1]
