"""EM on every library: against plain EM in NumPy, where it stops, and what it refuses."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import estep_xp as ex
from tests import bad_fits, em_oracle
from tests.fits import (
    NUMPY,
    D,
    K,
    N,
    assert_same_fit,
    assert_same_mixture,
    concrete,
    cut_short,
    dtypes,
    fit,
    in_numpy,
    libraries,
    like,
    narrow,
)
from tests.records import (
    FULL,
    every_family,
    few_on_jax,
    gaussians_only,
    normalised,
    problem,
    with_m_step,
)
from tests.samples import EXAMPLES, SAMPLES

# Every library


@cut_short
@libraries
@pytest.mark.one_program("record", "dtype")  # see conftest.py
@with_m_step
@dtypes
def test_a_few_iterations(backend, record, dtype):
    """Against plain EM in NumPy; and what the result is made of."""
    case = problem(record, dtype=dtype, n=N)
    result = fit(backend, case, dtype, max_iter=4, tol=0.0, variance_floor=0.01)
    assert type(result) is ex.EMResult
    own = like(backend)
    for array in (
        result.log_likelihood,
        result.history,
        result.mixture.weights,
        *result.mixture.components,
    ):
        own.assert_like(array, dtype)
    result = in_numpy(backend, result)
    end, heights = em_oracle.em(case, 4, floor=0.01)
    assert result.n_iter == 4
    assert not result.converged
    assert result.history.shape == (4,)
    assert result.log_likelihood == result.history[-1]
    rtol = 1000 * np.finfo(dtype).eps
    np.testing.assert_allclose(result.history, heights, rtol=rtol)
    expected = ex.Mixture(end.weights, record.family(**end.params))
    assert_same_mixture(result.mixture, expected, rtol=10 * rtol)


@few_on_jax
@cut_short
@libraries
@with_m_step
def test_masked_and_weighted_rows(backend, record):
    case = problem(record, n=N)
    masked = np.arange(N) % 5 == 0
    sample_weight = np.where(masked, 0.0, np.arange(N) % 3 + 0.5)
    x = case.x.copy()
    x[masked] = np.nan
    options = {"max_iter": 4, "tol": 0.0, "variance_floor": 0.01}
    result = fit(backend, case._replace(x=x), sample_weight=sample_weight, **options)
    _, heights = em_oracle.em(case._replace(x=case.x[~masked]), 4, sample_weight[~masked], 0.01)
    np.testing.assert_allclose(in_numpy(backend, result).history, heights, rtol=1e-12)


@concrete
def test_lists_and_integers(backend):
    x = backend.asarray([1, 2, 2, 7, 8, 9])
    result = ex.fit(x, ex.Mixture([1, 1], ex.UnivariateGaussian([2, 7], [1, 1])))
    means = backend.to_numpy(result.mixture.components.means)
    np.testing.assert_allclose(means, [5 / 3, 8], rtol=1e-4)


# When it stops


@every_family
def test_the_rule_for_stopping(record):
    """As soon as the log-likelihood per row rises by less than tol, and no sooner."""
    case = problem(record, n=N)
    for sample_weight in (None, np.arange(N) % 3):
        n = N if sample_weight is None else sample_weight.sum()
        result = fit(NUMPY, case, sample_weight=sample_weight, tol=1e-3)
        total = ex.log_likelihood(case.x, case.mixture(NUMPY), sample_weight=sample_weight)
        rises = np.abs(np.diff([total, *result.history])) / n
        assert result.converged
        assert rises[-1] < 1e-3 <= rises[:-1].min()


@cut_short
def test_not_converged_at_max_iter():
    sample = SAMPLES[0]
    result = ex.fit(sample.x, sample.start(), max_iter=3, tol=1e-10)
    assert (result.converged, result.n_iter, result.history.shape) == (False, 3, (3,))
    assert result.history[-1] == result.log_likelihood
    again = ex.fit(sample.x, result.mixture, max_iter=2, tol=1e-10)
    whole = ex.fit(sample.x, sample.start(), max_iter=5, tol=1e-10)
    np.testing.assert_allclose(again.history, whole.history[3:], rtol=1e-13)


@cut_short
def test_converged_at_max_iter():
    """It did, if only just."""
    sample = SAMPLES[0]
    n_iter = ex.fit(sample.x, sample.start()).n_iter
    assert ex.fit(sample.x, sample.start(), max_iter=n_iter).converged is True
    assert ex.fit(sample.x, sample.start(), max_iter=n_iter - 1).converged is False


@cut_short
def test_a_tolerance_of_zero_never_converges_by_itself():
    sample = SAMPLES[0]
    result = ex.fit(sample.x, sample.start(), tol=0.0, max_iter=60)
    assert (result.converged, result.n_iter) == (False, 60)


# Sample weights


@cut_short
@every_family
def test_whole_sample_weights_are_repetitions(record):
    case = problem(record, n=N)
    times = np.arange(N) % 4
    options = {"max_iter": 6, "tol": 0.0, "variance_floor": 0.01}
    weighted = fit(NUMPY, case, sample_weight=times, **options)
    repeated = fit(NUMPY, case._replace(x=np.repeat(case.x, times, axis=0)), **options)
    assert_same_fit(weighted, repeated)


@narrow
@every_family
@pytest.mark.parametrize("accelerate", [False, True])
def test_the_scale_of_sample_weights_changes_only_the_log_likelihood(record, accelerate):
    case = problem(record, n=N)
    sample_weight = np.arange(N) % 4 / 2 + 0.25
    options = {"tol": 1e-4, "variance_floor": 0.01, "accelerate": accelerate}
    one = fit(NUMPY, case, sample_weight=sample_weight, **options)
    other = fit(NUMPY, case, sample_weight=1024 * sample_weight, **options)
    scaled = other._replace(
        log_likelihood=other.log_likelihood / 1024, history=other.history / 1024
    )
    assert_same_fit(one, scaled)


@pytest.mark.backends("numpy", "array_api_strict", "jax", "jax_jit", "torch", "dask")
def test_criteria_with_sample_weights(backend):
    """Weights are repetitions there, too, and masked rows may hold anything."""
    case = problem(FULL, n=N)
    times = np.arange(N) % 4
    repeated = np.repeat(case.x, times, axis=0)
    x = case.x.copy()
    x[times == 0] = np.nan
    mixture = case.mixture(backend)
    result = ex.EMResult(mixture, backend.asarray(0.0), 1, True, backend.asarray([0.0]))
    joint = case.record.log_joint(repeated, case.weights, case.params)
    shares, log_likelihood = normalised(joint)
    n_parameters = (K - 1) + K * D + K * D * (D + 1) / 2
    aic = 2 * n_parameters - 2 * log_likelihood.sum()
    bic = n_parameters * np.log(len(repeated)) - 2 * log_likelihood.sum()
    icl = bic - 2 * (shares * np.log(shares)).sum()
    actual = backend.call(criteria, result, backend.data(x), backend.data(times, "float64"))
    for value, expected in zip(actual, (aic, bic, icl), strict=True):
        backend.assert_like(value, "float64")
        np.testing.assert_allclose(backend.to_numpy(value), expected, rtol=1e-12)


def criteria(result, x, sample_weight):
    return tuple(
        criterion(x, sample_weight=sample_weight)
        for criterion in (result.aic, result.bic, result.icl)
    )


# float32, far away


@functools.cache
def two_clusters(univariate):
    rng = np.random.default_rng(11)
    x = rng.standard_normal((1000, 2))
    x[500:] += 6.0
    return x[:, 0] if univariate else x


def cluster_start(record, c, backend, dtype):
    means = np.array([[c + 0.5, c + 0.5], [c + 5.0, c + 5.0]])
    second = {
        "univariate": np.ones(2),
        "spherical": np.ones(2),
        "diagonal": np.ones((2, 2)),
        "tied": np.eye(2),
        "full": np.stack([np.eye(2)] * 2),
    }[record.name]
    means = means[:, 0] if record.univariate else means
    components = record.family(backend.asarray(means, dtype), backend.asarray(second, dtype))
    return ex.Mixture(backend.asarray([0.5, 0.5], dtype), components)


@few_on_jax
@pytest.mark.backends("numpy", "jax")
@gaussians_only
@pytest.mark.parametrize("c", [0.0, 1e4, 1e6])
def test_float32_offsets(backend, record, c):
    """Variances within 2 % of the float64 fit without an offset."""
    x = two_clusters(record.univariate)
    reference = ex.fit(x, cluster_start(record, 0.0, NUMPY, "float64")).mixture
    start = cluster_start(record, c, backend, "float32")
    result = ex.fit(backend.data(x + c, "float32"), start)
    assert result.converged
    backend.assert_like(result.mixture.components.means, "float32")
    actual, expected = (
        variances_of(np.asarray(components.covariances, dtype=float), record)
        for components in (result.mixture.components, reference.components)
    )
    np.testing.assert_allclose(actual, expected, rtol=0.02)
    means = np.asarray(result.mixture.components.means, dtype=float) - c
    np.testing.assert_allclose(means, reference.components.means, rtol=0, atol=0.07)
    np.testing.assert_allclose(result.mixture.weights, [0.5, 0.5], rtol=0.02)


def variances_of(covariances, record):
    if record.name in ("tied", "full"):
        return np.diagonal(covariances, axis1=-2, axis2=-1)
    return covariances


# Several starts


@pytest.mark.backends("numpy", "jax_jit")
def test_the_best_of_several_starts(backend):
    """The given mixture is the first, the others come from the seeds that follow."""
    x = np.loadtxt(EXAMPLES / "galaxies.csv", skiprows=1)
    poor = ex.Mixture(np.ones(5), ex.UnivariateGaussian(np.full(5, 2e4), np.full(5, 1e7)))
    options = {"tol": 1e-6, "max_iter": 300}
    starts = [poor, *(ex.initialize(x, 5, ex.UnivariateGaussian, seed=3 + i) for i in (1, 2))]
    alone = [ex.fit(x, start, **options) for start in starts]
    best = max(alone, key=lambda result: result.log_likelihood)
    assert best is not alone[0]
    native = ex.Mixture(
        backend.asarray(poor.weights), ex.UnivariateGaussian(*map(backend.asarray, poor.components))
    )
    result = backend.call(ex.fit, backend.data(x), native, n_init=3, seed=3, **options)
    if backend.lazy:  # the starts that compile are others
        assert backend.to_numpy(result.log_likelihood) > alone[0].log_likelihood + 1.0
    else:
        assert_same_fit(in_numpy(backend, result), best, rtol=1e-9)
    again = backend.call(ex.fit, backend.data(x), native, n_init=3, seed=3, **options)
    for one, other in zip(result.mixture.components, again.mixture.components, strict=True):
        np.testing.assert_array_equal(one, other)
    # A good first start stays the best.
    kept = ex.fit(x, best.mixture, n_init=3, seed=3, **options)
    assert kept.log_likelihood >= best.log_likelihood


# Refusals


@pytest.mark.backends("numpy", "jax")
@pytest.mark.parametrize("case", bad_fits.FIT, ids=lambda case: case.name)
def test_bad_input_is_refused_with_the_place(backend, case):
    bad_fits.assert_refused(backend, case)


@few_on_jax
@concrete
@gaussians_only
def test_rows_of_no_density_are_refused(backend, record):
    case = problem(record, n=N)
    x = case.x.copy()
    x[[4, 9]] = 1e200
    with pytest.raises(ValueError, match=r"2 rows have zero density .* is row 4"):
        fit(backend, case._replace(x=x))


@concrete
def test_a_variance_that_vanishes_is_refused(backend):
    """A component collapses onto equal rows when there is no floor."""
    x = np.array([0.0, 0.0, 0.0, 5.0, 6.0, 7.0])
    start = ex.Mixture(
        backend.asarray([0.5, 0.5]),
        ex.UnivariateGaussian(backend.asarray([0.0, 6.0]), backend.asarray([1e-4, 1.0])),
    )
    with pytest.raises(ValueError, match=r"variances\[0\].*variance_floor"):
        ex.fit(backend.data(x), start, variance_floor=0.0)
    with pytest.warns(ex.CollapseWarning, match="component 0 has collapsed"):
        result = ex.fit(backend.data(x), start, variance_floor=1e-6)
    assert result.converged
    np.testing.assert_allclose(
        backend.to_numpy(result.mixture.components.variances), [1e-6, 2 / 3], rtol=1e-5
    )
