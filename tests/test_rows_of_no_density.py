"""Rows of zero density under every component: one warning, and NaN where they are."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import estep_xp as ex
from tests.bad_input import INF, NAN
from tests.records import UNIVARIATE, normalised


def assert_warns_once(call, count, first):
    """Call, and demand one RuntimeWarning that gives the number of rows and the first of them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    assert [entry.category for entry in caught] == [RuntimeWarning], caught
    message = str(caught[0].message)
    assert {str(count), str(first)} <= set(re.findall(r"\d+", message)), message
    # It points at the line of the caller, not into the library.
    assert caught[0].filename == __file__
    return result


# Densities beyond float64 even in log space: (x - mean)^2 overflows for every component.
FAR = np.array([0.5, 1.0, 2.0, 1e200, -1.0, 3.0, -1e250, 1.5, 1e180])
NEAR = [0, 1, 2, 4, 5, 7]


@pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "jax", "torch")
@pytest.mark.parametrize(
    "options", [{}, {"block_size": 2}, {"block_size": 2, "workers": 2}], ids=str
)
def test_rows_of_no_density_are_counted_in_one_warning(backend, options):
    components = ex.UnivariateGaussian(backend.asarray([0.0, 2.0]), backend.asarray([1.0, 2.0]))
    mixture = ex.Mixture(backend.asarray([0.5, 0.5]), components)
    x = backend.data(FAR)
    step = assert_warns_once(lambda: ex.e_step(x, mixture, **options), count=3, first=3)
    assert_degenerate(backend, step)
    log_joint = ex.log_joint(x, mixture)
    again = assert_warns_once(
        lambda: ex.posterior(log_joint, backend.asarray([1.0, 1.0])), count=3, first=3
    )
    assert np.all(np.isnan(backend.to_numpy(again.responsibilities)[[3, 6, 8]]))


@pytest.mark.backends("jax_jit", "dask")
def test_rows_of_no_density_where_values_are_unknown(backend):
    components = ex.UnivariateGaussian(backend.asarray([0.0, 2.0]), backend.asarray([1.0, 2.0]))
    mixture = ex.Mixture(backend.asarray([0.5, 0.5]), components)
    assert_degenerate(backend, backend.call(ex.e_step, backend.data(FAR), mixture))


def assert_degenerate(backend, step):
    """NaN and -inf in these rows; the others as if they were alone."""
    log_likelihood = backend.to_numpy(step.log_likelihood)
    responsibilities = backend.to_numpy(step.responsibilities)
    assert np.all(log_likelihood[[3, 6, 8]] == -INF)
    assert np.all(np.isnan(responsibilities[[3, 6, 8]]))
    params = {"means": np.array([0.0, 2.0]), "variances": np.array([1.0, 2.0])}
    expected = normalised(UNIVARIATE.log_joint(FAR[NEAR], np.array([0.5, 0.5]), params))
    np.testing.assert_allclose(responsibilities[NEAR], expected[0], rtol=1e-14)
    np.testing.assert_allclose(log_likelihood[NEAR], expected[1], rtol=1e-14)


@pytest.mark.backends("numpy", "jax", "torch")
def test_zero_density_of_the_components_that_have_weight(backend):
    """The only component that reaches the row has weight 0, or the row of log_prob is -inf."""
    log_prob = backend.asarray([[0.0, -1.0], [-INF, 0.0], [-INF, -INF]])
    step = assert_warns_once(
        lambda: ex.posterior(log_prob, backend.asarray([1.0, 0.0])), count=2, first=1
    )
    np.testing.assert_array_equal(
        backend.to_numpy(step.responsibilities), [[1.0, 0.0], [NAN, NAN], [NAN, NAN]]
    )
    np.testing.assert_array_equal(backend.to_numpy(step.log_likelihood), [0.0, -INF, -INF])


@pytest.mark.backends("numpy", "jax", "torch")
def test_total_of_a_row_of_no_density(backend):
    """-inf, with the warning; none where the row's sample weight is 0."""
    components = ex.UnivariateGaussian(backend.asarray([0.0, 2.0]), backend.asarray([1.0, 2.0]))
    mixture = ex.Mixture(backend.asarray([0.5, 0.5]), components)
    x = backend.data(FAR)
    total = assert_warns_once(lambda: ex.log_likelihood(x, mixture), count=3, first=3)
    assert backend.to_numpy(total) == -INF
    kept = np.isin(np.arange(9), NEAR).astype(float)
    masked = ex.log_likelihood(x, mixture, sample_weight=backend.asarray(kept))
    alone = ex.log_likelihood(backend.asarray(FAR[NEAR]), mixture)
    np.testing.assert_allclose(backend.to_numpy(masked), backend.to_numpy(alone), rtol=1e-15)
