"""What a fit says at its end: one warning where something is the matter, and nothing else."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS
from tests.records import GAUSSIANS, gaussians_only, parametrize

concrete = pytest.mark.backends("numpy", "array_api_strict", "jax", "torch")
matrices = parametrize(*GAUSSIANS[3:])

NUMPY = BACKENDS["numpy"]


def said(function, *arguments, **options):
    """Call it; what it gives, and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*arguments, **options)
    return result, [(one.category, str(one.message)) for one in caught]


def line(backend, means, weights=(0.5, 0.5)):
    components = ex.UnivariateGaussian(backend.asarray(means), backend.asarray([1.0, 1.0]))
    return ex.Mixture(backend.asarray(list(weights)), components)


def blobs(univariate=False, n=80, away=2.0):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) + away])
    return x[:, 0] if univariate else x


@concrete
def test_too_few_iterations(backend):
    x = backend.data(blobs(univariate=True))
    result, words = said(ex.fit, x, line(backend, [0.0, 1.0]), max_iter=2)
    ((category, text),) = words
    assert category is ex.ConvergenceWarning
    assert not result.converged
    assert text.startswith("not converged after 2 iterations; raise max_iter or tol")
    change = abs(np.diff(backend.to_numpy(result.history))[-1]) / 160
    assert f"{change:.2g}, and tol is 1e-06" in text


@concrete
def test_equal_rows(backend):
    x = np.r_[np.full(12, 3.0), np.random.default_rng(0).normal(size=50) + 9]
    result, words = said(ex.fit, backend.data(x), line(backend, [3.1, 9.0]))
    ((category, text),) = words
    assert category is ex.CollapseWarning
    assert text.startswith("component 0 has collapsed: a variance is no more than the floor")
    assert result.converged


@concrete
def test_a_component_far_from_all_rows(backend):
    x = backend.data(blobs(univariate=True))
    _, words = said(ex.fit, x, line(backend, [0.0, 1e5]))
    ((category, text),) = words
    assert category is ex.CollapseWarning
    assert text.startswith("component 1 has lost all rows")


def test_a_component_that_never_had_rows_is_none_that_lost_them():
    x = blobs(univariate=True)
    _, words = said(ex.fit, x, line(NUMPY, [0.0, 1e5], weights=(1.0, 0.0)))
    assert words == []


def test_both_in_one_warning():
    x = np.r_[np.full(12, 3.0), blobs(univariate=True) + 20]
    components = ex.UnivariateGaussian([3.1, 20.0, 21.0], [1.0, 1.0, 1.0])
    _, words = said(ex.fit, x, ex.Mixture(np.ones(3), components), max_iter=3)
    ((category, text),) = words
    assert category is ex.CollapseWarning
    assert "component 0 has collapsed" in text
    assert "not converged after 3 iterations" in text


@gaussians_only
@pytest.mark.parametrize("accelerate", [False, True])
def test_nothing_is_said_of_good_fits(record, accelerate):
    x = blobs(record.univariate, away=6.0)
    start = ex.initialize(x, 2, record.family, seed=0)
    result, words = said(ex.fit, x, start, accelerate=accelerate)
    assert result.converged
    assert words == []


@matrices
def test_features_that_determine_each_other(record):
    x = blobs(away=6.0)
    x = np.concatenate([x, x[:, :1] - 2 * x[:, 1:]], axis=1)
    _, words = said(ex.fit, x, ex.initialize(x, 2, record.family, seed=0))
    ((category, text),) = words
    assert category is ex.CollapseWarning
    assert text.startswith("components 0 and 1 have collapsed")


def test_few_rows_in_many_dimensions():
    """Three rows span a plane."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=(3, 4)) + 20, rng.normal(size=(60, 4))])
    start = ex.Mixture([0.1, 0.9], ex.FullGaussian([[20.0] * 4, [0.0] * 4], [np.eye(4)] * 2))
    _, words = said(ex.fit, x, start)
    ((category, text),) = words
    assert category is ex.CollapseWarning
    assert text.startswith("component 0 has collapsed")


def test_many_are_counted():
    x = np.repeat(np.arange(9.0) * 5, 4)
    start = ex.Mixture(np.ones(9), ex.UnivariateGaussian(np.arange(9.0) * 5, np.ones(9)))
    _, words = said(ex.fit, x, start)
    ((_, text),) = words
    assert text.startswith("9 components (0, 1, 2, 3, 4 ...) have collapsed")


def test_the_fit_that_is_returned_decides():
    """Another start may have collapsed."""
    x = blobs(univariate=True, away=8.0)
    start = ex.initialize(x, 2, ex.UnivariateGaussian, seed=0)
    lost = line(NUMPY, [4.0, 1e5])
    _, words = said(ex.fit, x, lost, n_init=4)
    assert words == []
    assert said(ex.fit, x, start, n_init=2)[1] == []


@pytest.mark.parametrize("error", [StopIteration, KeyboardInterrupt])
def test_a_wish_is_no_fault(error):
    """Who stops a fit knows that it has not converged."""

    def stop(_):
        raise error

    x = blobs(univariate=True)
    assert said(ex.fit, x, line(NUMPY, [0.0, 1.0]), callback=stop)[1] == []


@pytest.mark.backends("jax_jit")
def test_nothing_is_said_under_jit(backend):
    x = backend.data(blobs(univariate=True))
    fit = backend.call
    result, words = said(fit, ex.fit, x, line(backend, [0.0, 1.0]), max_iter=2)
    assert not bool(result.converged)
    assert words == []


def test_the_warning_points_at_the_caller():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ex.fit(blobs(univariate=True), line(NUMPY, [0.0, 1.0]), max_iter=1)
    assert [one.filename for one in caught] == [__file__]


def test_they_are_runtime_warnings():
    assert issubclass(ex.ConvergenceWarning, RuntimeWarning)
    assert issubclass(ex.CollapseWarning, RuntimeWarning)
