"""Starts of families without centres, which begin from hard shares of the rows."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS
from tests.fits import cut_short, fit
from tests.records import OTHERS, few_on_jax, parametrize, problem

K = 3
NUMPY = BACKENDS["numpy"]
others = parametrize(*OTHERS)


def arrays_of(mixture):
    return mixture.weights, *mixture.components


@cut_short
@others
@pytest.mark.parametrize("seed", range(6))
def test_every_start_can_be_fitted(record, seed):
    case = problem(record, n=40)
    start = ex.initialize(case.x, K, record.start_of(K), seed=seed)
    assert type(start.components) is record.family
    assert float(np.sum(start.weights)) == pytest.approx(1.0)
    assert (start.weights > 0).all()
    for name, parameters in start.components._asdict().items():
        assert parameters.shape == case.params[name].shape
        assert np.isfinite(parameters).all()
    result = ex.fit(case.x, start, max_iter=5)
    assert float(result.log_likelihood) >= float(ex.log_likelihood(case.x, start)) - 1e-12
    assert np.isfinite(result.history).all()


@few_on_jax
@others
@pytest.mark.backends("array_api_strict", "jax", "jax_jit", "torch")
def test_starts_are_the_same_in_every_library(backend, record):
    case = problem(record, n=7)
    named = {"n_components": K, "family": record.start_of(K), "seed": 1, "method": "k-means++"}
    expected = ex.initialize(case.x, **named)
    start = backend.call(ex.initialize, backend.data(case.x), **named)
    for actual, reference in zip(arrays_of(start), arrays_of(expected), strict=True):
        backend.assert_like(actual, "float64")
        np.testing.assert_allclose(backend.to_numpy(actual), reference, rtol=1e-13)


@others
def test_float32_stays(record):
    x = problem(record, dtype="float32", n=20).x.astype("float32")
    for array in arrays_of(ex.initialize(x, 2, record.start_of(2), seed=0)):
        assert array.dtype == np.float32


@others
@pytest.mark.parametrize("value", [np.nan, np.inf, -1.5])
@pytest.mark.backends("numpy", "array_api_strict", "jax", "torch")
def test_masked_rows_may_hold_anything(backend, record, value):
    case = problem(record, n=7)
    weight = np.ones(len(case.x))
    weight[2] = 0.0
    good, bad = np.delete(case.x, 2, axis=0), np.array(case.x)
    bad[2] = value
    start = ex.initialize(
        backend.data(bad), 2, record.start_of(2), seed=0, sample_weight=backend.data(weight)
    )
    expected = ex.initialize(good, 2, record.start_of(2), seed=0)
    for actual, reference in zip(arrays_of(start), arrays_of(expected), strict=True):
        np.testing.assert_allclose(backend.to_numpy(actual), reference, rtol=1e-13)


@others
@pytest.mark.parametrize("row", [0, 1])
def test_rows_that_are_all_equal(record, row):
    x = np.repeat(problem(record).x[row : row + 1], 5, axis=0)
    start = ex.initialize(x, K, record.start_of(K), seed=0)
    assert (start.weights > 0).all()
    with pytest.warns(ex.CollapseWarning) if record.collapses else contextlib.nullcontext():
        result = ex.fit(x, start)
    assert np.isfinite(result.log_likelihood)
    assert (result.mixture.weights > 0).all()


@cut_short
@others
def test_several_starts(record):
    case = problem(record, n=200)
    one = fit(NUMPY, case, max_iter=20)
    best = fit(NUMPY, case, max_iter=20, n_init=3)
    assert float(best.log_likelihood) >= float(one.log_likelihood)


@others
def test_components_as_a_template(record):
    case = problem(record, n=30)
    template = case.mixture(NUMPY).components
    start = ex.initialize(case.x, K, template, seed=0)
    for name, parameters in start.components._asdict().items():
        assert parameters.shape == case.params[name].shape
    if record.needs_template:  # its shape alone counts, not its components
        fewer = ex.initialize(case.x, 2, template, seed=0)
        assert fewer.weights.shape == (2,)
        return
    words = "family describes 3 components but n_components is 2"
    with pytest.raises(ValueError, match=words):
        ex.initialize(case.x, 2, template, seed=0)


@pytest.mark.parametrize("method", [None, "k-means", "k-means++", "random", "random_rows"])
def test_a_template_of_lists(method):
    x = np.array([1.0, 2.0, 3.0, 40.0, 42.0])
    one, other = (
        ex.initialize(x, 2, ex.Poisson(rates), method=method)
        for rates in ([1.0, 2.0], np.array([1.0, 2.0]))
    )
    assert one.components.rates.tolist() == other.components.rates.tolist()
    with pytest.raises(ValueError, match="family describes 2 components but n_components is 3"):
        ex.initialize(x, 3, ex.Poisson([1.0, 2.0]), method=method)
