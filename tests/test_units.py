"""The default floor of variances: a change of units changes nothing, whatever is fitted."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests import em_oracle
from tests.backends import BACKENDS
from tests.records import GAUSSIANS, few_on_jax, gaussians_only, parametrize, problem

NUMPY = BACKENDS["numpy"]
N, K, D = 30, 3, 2
LIBRARIES = pytest.mark.backends("numpy", "jax", "torch", "array_api_strict")

matrices = parametrize(*GAUSSIANS[2:])


def blobs(univariate):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(120, 3)) + np.repeat([0.0, 8.0], 60)[:, None]
    return x[:, 0] if univariate else x


def fit(backend, x, family, dtype="float64", **options):
    data = backend.data(x, dtype)
    return ex.fit(data, ex.initialize(data, 2, family, seed=0), **options)


def described(backend, result, units, offset=0.0):
    """Weights, means and deviations of features in the old units."""
    mixture = result.mixture
    covariances = backend.to_numpy(mixture.components.covariances).astype(float)
    means = (backend.to_numpy(mixture.components.means).astype(float) - offset) / units
    if hasattr(mixture.components, "precision_cholesky"):
        covariances = covariances / units / np.reshape(units, (-1, 1))
    else:
        covariances = covariances / np.square(units)
    return backend.to_numpy(mixture.weights).astype(float), means, covariances


def assert_same(one, other, rtol):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


# The number itself


def overall_floor(record, x, sample_weight):
    rows = np.reshape(x, (len(x), -1))
    mean = np.average(rows, axis=0, weights=sample_weight)
    variances = np.average((rows - mean) ** 2, axis=0, weights=sample_weight)
    floor = 1e-6 * variances
    return floor.mean() if record.name in ("univariate", "spherical") else floor


@few_on_jax
@pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "jax", "jax_jit", "torch")
@gaussians_only
@pytest.mark.parametrize("weighted", [False, True])
def test_a_millionth_of_the_variance_over_all_rows(backend, record, weighted):
    """Whatever the mixture that the statistics were taken under."""
    case = problem(record, n=N)
    sample_weight = np.arange(N) % 4 / 2 if weighted else None

    def both(x, mixture, sample_weight):
        statistics = ex.expected_statistics(x, mixture, sample_weight=sample_weight)
        return ex.m_step(statistics), ex.m_step(statistics, variance_floor=0.0)

    weight = None if sample_weight is None else backend.data(sample_weight)
    with_floor, without = (
        backend.to_numpy(mixture.components.covariances)
        for mixture in backend.call(both, backend.data(case.x), case.mixture(backend), weight)
    )
    expected = overall_floor(record, case.x, sample_weight)
    difference = with_floor - without
    if record.name in ("tied", "full"):
        expected = expected * np.eye(2)
    np.testing.assert_allclose(
        difference, np.broadcast_to(expected, difference.shape), rtol=1e-7, atol=1e-14
    )


@gaussians_only
def test_merged_statistics_know_the_variance_of_all_rows(record):
    case = problem(record, n=N)
    mixture = ex.Mixture(case.weights, record.family(**case.params))
    parts = [ex.expected_statistics(rows, mixture) for rows in (case.x[:7], case.x[7:])]
    merged = ex.m_step(ex.merge(*parts))
    whole = ex.m_step(ex.expected_statistics(case.x, mixture))
    for one, other in zip(merged.components, whole.components, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@gaussians_only
def test_iterations_of_the_oracle(record):
    """Plain EM in NumPy, with that floor."""
    case = problem(record, n=N)
    mixture = ex.Mixture(case.weights, record.family(**case.params))
    with pytest.warns(RuntimeWarning):
        result = ex.fit(case.x, mixture, max_iter=4, tol=0.0)
    _, heights = em_oracle.em(case, 4, floor=None)
    np.testing.assert_allclose(result.history, heights, rtol=1e-12)


# The law


@few_on_jax
@pytest.mark.backends("numpy", "jax")
@gaussians_only
@pytest.mark.parametrize("units", [1e-12, 1e-6, 1e6, 1e100])
@pytest.mark.parametrize("accelerate", [False, True], ids=["plain", "accelerated"])
def test_other_units_change_nothing(backend, record, units, accelerate):
    """The same iterations, and a log-likelihood that differs by the change of units alone."""
    x = blobs(record.univariate)
    one = fit(backend, x, record.family, accelerate=accelerate)
    other = fit(backend, x * units, record.family, accelerate=accelerate)
    assert (one.n_iter, one.converged) == (other.n_iter, other.converged)
    assert_same(described(backend, one, 1.0), described(backend, other, units), 1e-8)
    d = x.size // len(x)
    shift = len(x) * d * np.log(units)
    np.testing.assert_allclose(
        backend.to_numpy(other.history) + shift, backend.to_numpy(one.history), rtol=1e-9
    )


@matrices
def test_units_of_single_features_change_nothing(record):
    x, units = blobs(univariate=False), np.array([1e-12, 1.0, 1e9])
    start = ex.initialize(x, 2, ex.DiagonalGaussian, seed=0)
    means, (variances, *_) = start.components.means, start.components.variances
    results = []
    for scale in (np.ones(3), units):
        second = {
            "diagonal": np.tile(variances * scale**2, (2, 1)),
            "tied": np.diag(variances**-0.5 / scale),
            "full": np.tile(np.diag(variances**-0.5 / scale), (2, 1, 1)),
        }[record.name]
        mixture = ex.Mixture(start.weights, record.family(means * scale, second))
        results.append(ex.fit(x * scale, mixture))
    one, other = results
    assert one.n_iter == other.n_iter
    assert_same(described(NUMPY, one, np.ones(3)), described(NUMPY, other, units), 1e-8)


@gaussians_only
@pytest.mark.parametrize("units", [1.0, 1e-6, 1e3])
def test_an_offset_changes_nothing(record, units):
    x, offset = blobs(record.univariate), 1e5 * units
    one = fit(NUMPY, x, record.family)
    other = fit(NUMPY, x * units + offset, record.family)
    assert one.n_iter == other.n_iter
    assert_same(described(NUMPY, one, 1.0), described(NUMPY, other, units, offset), 1e-6)


@few_on_jax
@pytest.mark.backends("numpy", "jax")
@gaussians_only
@pytest.mark.parametrize("units", [1e-12, 1e-6, 1e6, 1e12])
def test_single_precision(backend, record, units):
    """As far as its squares go."""
    x = blobs(record.univariate)
    one = fit(backend, x, record.family, "float32")
    other = fit(backend, x * units, record.family, "float32")
    assert one.converged
    assert other.converged
    assert_same(described(backend, one, 1.0), described(backend, other, units), 2e-3)


@pytest.mark.parametrize("record", GAUSSIANS, ids=lambda record: record.name)
def test_what_single_precision_cannot_square_is_refused(record):
    """Variances of 1e-42 would keep a few bits."""
    x = np.float32(blobs(record.univariate) * 1e-21)
    with pytest.raises(ValueError, match="smaller units"):
        ex.initialize(x, 2, record.family, seed=0)
    start = ex.initialize(x * np.float32(1e3), 2, record.family, seed=0)
    with pytest.raises(ValueError, match="smaller units"):
        ex.fit(x, start)


# Features that do not vary


@few_on_jax
@LIBRARIES
@matrices
@pytest.mark.parametrize("value", [0.0, 3.0, -1e6])
def test_a_feature_that_never_varies_changes_nothing_else(backend, record, value):
    """It is named in a warning; the others are fitted as without it."""
    x = blobs(univariate=False)
    beside = np.concatenate([x, np.full((len(x), 1), value)], axis=1)
    with pytest.warns(ex.CollapseWarning, match="feature 3 varies within no component"):
        result = fit(backend, beside, record.family)
    assert result.converged
    alone = fit(backend, x, record.family)
    weights, means, covariances = described(backend, result, 1.0)
    np.testing.assert_array_equal(means[:, 3], value)
    kept = (..., slice(3)) if record.name == "diagonal" else (..., slice(3), slice(3))
    found = weights, means[:, :3], covariances[kept]
    assert_same(found, described(backend, alone, 1.0), 1e-8)


@few_on_jax
@LIBRARIES
@gaussians_only
@pytest.mark.parametrize("value", [0.0, 2.5])
def test_equal_rows_end_in_a_warning(backend, record, value):
    x = np.full_like(blobs(record.univariate), value)
    with pytest.warns(ex.CollapseWarning):
        result = fit(backend, x, record.family)
    assert result.converged
    assert np.isfinite(backend.to_numpy(result.log_likelihood))


# Derivatives


@few_on_jax
@pytest.mark.backends("jax")
@gaussians_only
def test_the_default_floor_has_derivatives(backend, record):
    """By all rows: those of their variance."""
    import jax

    case = problem(record, n=8)
    x, mixture = backend.data(case.x), case.mixture(backend)

    def total_floor(x):
        statistics = ex.expected_statistics(x, mixture)
        mixtures = (ex.m_step(statistics), ex.m_step(statistics, variance_floor=0.0))
        one, other = (1e6 * mixture.components.covariances.sum() for mixture in mixtures)
        return one - other

    deviations = case.x - case.x.mean(axis=0)
    times = {"univariate": K, "spherical": K / D, "diagonal": K, "tied": 1, "full": K}
    expected = times[record.name] * 2 * deviations / len(x)
    np.testing.assert_allclose(jax.grad(total_floor)(x), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("dtype", "units"), [("float32", 1e-25), ("float64", 1e-170)])
def test_units_whose_squares_vanish_are_refused(dtype, units):
    """Not taken for a feature that is 0 in all rows."""
    rng = np.random.default_rng(0)
    x = (units * np.r_[rng.normal(0, 1, 40), rng.normal(8, 1, 40)]).astype(dtype)
    start = ex.initialize((x / x.max()).astype(dtype), 2, ex.UnivariateGaussian)
    for call in (
        lambda: ex.fit(x, start),
        lambda: ex.initialize(x, 2, ex.UnivariateGaussian),
    ):
        words = rf"variances of about .* are too small for {dtype}; give"
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("method", [None, "k-means", "random"])
@pytest.mark.parametrize("units", [1e-300, 1e-160, 1e160])
def test_units_that_scales_and_factors_cannot_be_in_are_refused(units, method, d):
    x = units * np.random.default_rng(0).normal(size=(30, d))
    template = ex.FactorAnalyzer(np.zeros((2, d)), np.ones((2, d, 1)), np.ones((2, d)))
    rates = np.ones((2, 1))
    part = ex.Product((ex.Gamma(rates, rates), template))
    for rows, family in ((x, ex.StudentT), (x, template), (np.c_[abs(x[:, :1]), x], part)):
        with pytest.raises(ValueError, match=r"is too large|are too small"):
            ex.initialize(rows, 2, family, method=method)
    plain = ex.initialize(abs(x[:, :1]), 2, ex.Product((ex.Gamma(rates, rates),)), method=method)
    assert np.isfinite(ex.log_likelihood(abs(x[:, :1]), plain))


@pytest.mark.parametrize("floor", [0.5, 2.0, 20.0])
def test_a_floor_that_is_given_may_be_as_wide_as_components(floor):
    x = np.random.default_rng(0).normal(size=(100, 2))
    start = ex.initialize(x, 1, ex.FullGaussian, seed=0)
    fitted = ex.fit(x, start, variance_floor=floor).mixture.components.covariances[0]
    np.testing.assert_allclose(fitted, np.cov(x.T, bias=True) + floor * np.eye(2), rtol=1e-9)
