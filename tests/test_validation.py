"""Bad input: an error that says where and what, or NaN where values are unknown, as under jit."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pytest

import estep_xp as ex
from tests import bad_input
from tests.bad_calls import COVARIANCE, MEANS, POINTS, ROWS, WEIGHTS
from tests.bad_input import BAD_INPUT, FACTORS, INF, NAN
from tests.records import GAUSSIANS, every_family, few_on_jax, normalised

# Concrete values


@pytest.mark.backends("numpy", "array_api_strict", "jax", "torch")
@pytest.mark.parametrize("case", BAD_INPUT, ids=lambda case: case.name)
def test_bad_input_is_refused_with_the_place(backend, case):
    with pytest.raises((ValueError, TypeError)) as caught:
        case.call(backend, **case.bad)
    # LinAlgError is a ValueError too, and says nothing about which argument it is.
    assert type(caught.value) in (ValueError, TypeError), caught.value
    for words in case.words:
        assert re.search(words, str(caught.value)), (words, str(caught.value))


@pytest.mark.backends("numpy", "jax")
@pytest.mark.parametrize("good", bad_input.GOOD_CALLS, ids=lambda call: call.__name__)
def test_the_calls_of_the_table_are_good_without_their_mistakes(backend, good):
    good(backend)


SCREENED = {
    "variances": {"variances": np.array([1.0, -1.0])},
    "means": {"means": np.array([0.0, NAN])},
    "weights": {"weights": np.array([1.0, -1.0])},
    "x": {"x": np.array([1.0, NAN])},
}


@pytest.mark.backends("numpy", "jax")
@pytest.mark.parametrize("argument", SCREENED)
def test_every_function_looks(backend, argument):
    """The table's mistakes go through e_step; here are the other functions that take a mixture."""
    good = {"x": [0.5, 1.0], "weights": [1.0, 1.0], "means": [0.0, 1.0], "variances": [1.0, 1.0]}
    given = {name: backend.asarray(value) for name, value in (good | SCREENED[argument]).items()}
    components = ex.UnivariateGaussian(given["means"], given["variances"])
    mixture = ex.Mixture(given["weights"], components)
    match = rf"{argument}\[1\] is "
    for function in (ex.e_step, ex.log_joint, ex.log_likelihood):
        with pytest.raises(ValueError, match=match):
            function(given["x"], mixture)
    with pytest.raises(ValueError, match=match):
        ex.log_likelihood(given["x"], mixture, sample_weight=backend.asarray([1.0, 2.0]))
    if argument != "weights":
        with pytest.raises(ValueError, match=match):
            components.log_prob(given["x"])


@pytest.mark.backends("numpy", "array_api_strict", "jax", "torch")
def test_matrices_at_the_edge_of_definiteness(backend):
    """By rounding some can be factorised and some cannot: those are named in our own words."""
    rng = np.random.default_rng(0)
    means = backend.asarray(np.zeros((2, 3)))
    refusals = []
    for _ in range(60):
        rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        scale = 10.0 ** rng.uniform(-3, 3, (3, 1))
        matrix = scale * (rotation * [10.0 ** rng.uniform(-18, -15), 1, 1]) @ rotation.T * scale.T
        covariances = backend.asarray(np.stack([np.eye(3), 0.5 * (matrix + matrix.T)]))
        try:
            factors = ex.FullGaussian.from_covariances(means, covariances).precision_cholesky
        except ValueError as error:
            refusals.append(f"{type(error).__name__}: {error}")
        else:
            assert np.isfinite(backend.to_numpy(factors)).all()
    words = "ValueError: covariances[1] is not positive definite"
    assert 0 < sum(text.startswith(words) for text in refusals) == len(refusals) < 60


def test_covariances_of_a_bad_factor():
    factors = FACTORS.copy()
    factors[1, 0, 0] = -1.0
    with pytest.raises(ValueError, match=r"precision_cholesky\[1.*positive"):
        _ = ex.FullGaussian(MEANS, factors).covariances
    with pytest.raises(ValueError, match=r"precision_cholesky\[0, 0\] is -1\.0.*positive"):
        _ = ex.TiedGaussian(MEANS, factors[1]).covariances


@pytest.mark.parametrize("factor", [1.0, [1.0, 2.0], [[1.0, 2.0]], [[[[1.0]]]]])
def test_covariances_of_a_factor_of_no_shape(factor):
    for family in (ex.TiedGaussian, ex.FullGaussian):
        with pytest.raises(ValueError, match=r"precision_cholesky has shape \(.*expected \("):
            _ = family(MEANS, factor).covariances


@pytest.mark.backends("jax")
def test_variances_that_the_library_takes_for_zero(backend):
    """JAX flushes subnormal numbers; the message must not blame the family for the outcome."""
    variances = backend.asarray([1.0, 1e-310, 1.0])
    components = ex.UnivariateGaussian(backend.asarray(MEANS[:, 0]), variances)
    with pytest.raises(ValueError, match=r"variances\[1\] is 1e-310; .* at least 2\.225e-308"):
        components.log_prob(backend.asarray([0.0]))


def test_a_row_beyond_the_dtype_of_the_mixture_warns_of_nothing_else():
    components = ex.UnivariateGaussian(np.float32([0.0]), np.float32([1.0]))
    with pytest.warns(RuntimeWarning) as warned:
        result = ex.e_step([0.0, 1e300], ex.Mixture(np.float32([1.0]), components))
    assert len(warned) == 1
    assert "zero density" in str(warned[0].message)
    assert result.log_likelihood[1] == -np.inf


def test_a_negative_zero_is_a_zero():
    components = ex.UnivariateGaussian([0.0, 1.0], [1.0, 1.0])
    share = ex.e_step([0.5], ex.Mixture([1.0, -0.0], components)).responsibilities[0, 1]
    assert share == 0
    assert not np.signbit(share)


def test_conversion_to_dask_is_named_rightly():
    da = pytest.importorskip("dask.array")
    jnp = pytest.importorskip("jax.numpy")
    mixture = ex.Mixture(jnp.ones(1), ex.UnivariateGaussian([0.0], [1.0]))
    with pytest.raises(TypeError, match=r"dask\.array\.asarray\(weights\)"):
        ex.e_step(da.ones(3), mixture)


def test_the_place_is_right_in_a_later_block():
    """The index counts the rows of x, not those of the block in which the mistake was found."""
    x = np.zeros((50, 2))
    x[37, 1] = NAN
    mixture = ex.Mixture(WEIGHTS, ex.FullGaussian(MEANS, FACTORS))
    for options in ({}, {"block_size": 8}, {"block_size": 8, "workers": 2}):
        with pytest.raises(ValueError, match=re.escape("x[37, 1] is nan; x must be finite")):
            ex.e_step(x, mixture, **options)


class Transposed(NamedTuple):
    """A family of one's own that mixes up its axes."""

    means: Any

    def log_prob(self, x):
        return -((x[None, :] - self.means[:, None]) ** 2)


def test_a_family_that_mixes_up_its_axes():
    mixture = ex.Mixture(np.ones(3), Transposed(MEANS[:, 0]))
    with pytest.raises(ValueError, match=r"(?s)log_prob.*\(3, 5\).*\(5, 3\)"):
        ex.e_step(POINTS, mixture)


def test_rounding_is_no_asymmetry():
    """A covariance computed in floating point is symmetric to rounding only."""
    for dtype in (np.float32, np.float64):
        covariance = COVARIANCE.astype(dtype)
        covariance[0, 1] = np.nextafter(covariance[0, 1], dtype(1))
        tied = ex.TiedGaussian.from_covariance(MEANS.astype(dtype), covariance)
        full = ex.FullGaussian.from_covariances(MEANS.astype(dtype), np.stack([covariance] * 3))
        rtol = 8 * np.finfo(dtype).eps
        np.testing.assert_allclose(tied.covariances, COVARIANCE, rtol=rtol)
        np.testing.assert_allclose(full.covariances[2], COVARIANCE, rtol=rtol)


def test_extreme_but_good_input_raises_nothing_and_warns_of_nothing(backend):
    """Overflow, underflow and log(0) on the way are the library's business."""
    components = ex.UnivariateGaussian(
        backend.asarray([0.0, 1e150, -1e-300]), backend.asarray([1e-300, 1e300, 1.0])
    )
    mixture = ex.Mixture(backend.asarray([0.0, 1e-300, 1e300]), components)
    step = backend.call(ex.e_step, backend.data([0.0, -1e200, 1e150, 1e-320]), mixture)
    assert np.all(np.isfinite(backend.to_numpy(step.log_likelihood)))
    responsibilities = backend.to_numpy(step.responsibilities)
    np.testing.assert_allclose(
        responsibilities, [[0, 0, 1], [0, 1, 0], [0, 1, 0], [0, 0, 1]], rtol=1e-15, atol=1e-300
    )


def test_log_likelihoods_whose_sum_overflows_are_no_less_finite(backend):
    log_prob = backend.data(np.full((1000, 2), -1e306))
    step = backend.call(ex.posterior, log_prob, backend.asarray([0.5, 0.5]))
    np.testing.assert_array_equal(backend.to_numpy(step.log_likelihood), np.full(1000, -1e306))
    np.testing.assert_array_equal(backend.to_numpy(step.responsibilities), np.full((1000, 2), 0.5))


# Values unknown while the call runs


def bad_parameters():
    """Every kind of bad value, as (family, fields, weights, the columns it spoils)."""
    rows, k = MEANS, len(MEANS)
    for value in (-1.0, 0.0, INF, NAN):
        variances = np.array([1.0, value, 2.0])
        yield "univariate", {"means": rows[:, 0], "variances": variances}, WEIGHTS, [1]
        yield "spherical", {"means": rows, "variances": variances}, WEIGHTS, [1]
        each = np.stack([np.ones(k), variances], axis=1)
        yield "diagonal", {"means": rows, "variances": each}, WEIGHTS, [1]
        factors = FACTORS.copy()
        factors[1, 1, 1] = value
        yield "full", {"means": rows, "precision_cholesky": factors}, WEIGHTS, [1]
        yield "tied", {"means": rows, "precision_cholesky": factors[1]}, WEIGHTS, [0, 1, 2]
    factors = FACTORS.copy()
    factors[1, 1, 0] = 0.25
    yield "full", {"means": rows, "precision_cholesky": factors}, WEIGHTS, [1]
    yield "tied", {"means": rows, "precision_cholesky": factors[1]}, WEIGHTS, [0, 1, 2]
    for value in (INF, -INF, NAN):
        means = rows.copy()
        means[2, 0] = value
        yield "univariate", {"means": means[:, 0], "variances": np.ones(k)}, WEIGHTS, [2]
        yield "spherical", {"means": means, "variances": np.ones(k)}, WEIGHTS, [2]
        yield "diagonal", {"means": means, "variances": np.ones((k, 2))}, WEIGHTS, [2]
        yield "full", {"means": means, "precision_cholesky": FACTORS}, WEIGHTS, [2]
        yield "tied", {"means": means, "precision_cholesky": FACTORS[0]}, WEIGHTS, [2]
    good = {"means": rows[:, 0], "variances": np.ones(k)}
    for weights in ([-0.5, 1.0, 1.0], [INF, 1.0, 1.0], [NAN, 1.0, 1.0], [0.0, 0.0, 0.0]):
        yield "univariate", good, np.array(weights), []


def all_results(x, mixture):
    step = ex.e_step(x, mixture)
    return {
        "log_prob": mixture.components.log_prob(x),
        "log_joint": ex.log_joint(x, mixture),
        "responsibilities": step.responsibilities,
        "log_likelihood": step.log_likelihood,
        "total": ex.log_likelihood(x, mixture),
    }


@pytest.mark.backends("jax_jit")
def test_bad_parameters_under_jit_give_nan(backend):
    """In every row: none of them has a right answer. The columns of good components are right."""
    records = {record.name: record for record in GAUSSIANS}
    for name, params, weights, spoilt in bad_parameters():
        record = records[name]
        x = POINTS if record.univariate else ROWS
        mixture = record.mixture(backend, weights, params)
        results = backend.call(all_results, backend.data(x), mixture)
        results = {key: backend.to_numpy(value) for key, value in results.items()}
        where = (name, params, weights)
        assert np.all(np.isnan(results["responsibilities"])), where
        assert np.all(np.isnan(results["log_likelihood"])), where
        assert np.isnan(results["total"]), where
        assert np.all(np.isnan(results["log_joint"][:, spoilt])), where
        assert np.all(np.isnan(results["log_prob"][:, spoilt])), where
        good = np.setdiff1d(np.arange(3), spoilt)
        assert np.all(np.isfinite(results["log_prob"][:, good])), where


@few_on_jax
@pytest.mark.backends("jax_jit", "dask")
@every_family
def test_bad_rows_give_nan_where_values_are_unknown(backend, record):
    """In these rows only; infinite observations included, whose density would be a plausible 0."""
    x = record.data(1, 6, 2)
    good = x.copy()
    for row, value in ((1, INF), (3, NAN), (4, -INF)):
        x[(row,) if record.univariate else (row, 1)] = value
    params, weights = record.random(2, 3, 2), np.array([0.2, 0.3, 0.5])
    mixture = record.mixture(backend, weights, params)
    results = backend.call(all_results, backend.data(x), mixture)
    results = {key: backend.to_numpy(value) for key, value in results.items()}
    bad, fine = [1, 3, 4], [0, 2, 5]
    responsibilities, log_likelihood = normalised(record.log_joint(good, weights, params))
    for name in ("log_prob", "log_joint", "responsibilities", "log_likelihood"):
        assert np.all(np.isnan(results[name][bad])), name
    assert np.isnan(results["total"])
    np.testing.assert_allclose(
        results["responsibilities"][fine], responsibilities[fine], rtol=1e-12
    )
    np.testing.assert_allclose(results["log_likelihood"][fine], log_likelihood[fine], rtol=1e-12)


BAD_COVARIANCES = {
    "indefinite": [[1.0, 2.0], [2.0, 1.0]],
    "negative": [[-1.0, 0.0], [0.0, 1.0]],
    "singular": [[1.0, 1.0], [1.0, 1.0]],
    "zero": [[0.0, 0.0], [0.0, 0.0]],
    "infinite": [[INF, 0.0], [0.0, 1.0]],
    "nan above": [[1.0, NAN], [0.0, 1.0]],
    "nan below": [[1.0, 0.0], [NAN, 1.0]],
    "asymmetric": [[1.0, 0.5], [0.25, 1.0]],
}


def step_from_covariances(x, means, covariances):
    full = ex.FullGaussian.from_covariances(means, covariances)
    tied = ex.TiedGaussian.from_covariance(means, covariances[1, ...])
    weights = [0.25, 0.5, 0.25]
    return [ex.e_step(x, ex.Mixture(weights, components)) for components in (full, tied)]


@pytest.mark.backends("jax_jit")
@pytest.mark.parametrize("kind", BAD_COVARIANCES)
def test_bad_covariances_under_jit_give_nan(backend, kind):
    covariances = np.stack([COVARIANCE, np.array(BAD_COVARIANCES[kind]), COVARIANCE])
    arrays = [backend.asarray(a) for a in (ROWS, MEANS, covariances)]
    for step in backend.call(step_from_covariances, *arrays):
        assert np.all(np.isnan(backend.to_numpy(step.responsibilities)))
        assert np.all(np.isnan(backend.to_numpy(step.log_likelihood)))


@pytest.mark.backends("jax_jit", "dask")
def test_bad_log_prob_gives_nan_where_values_are_unknown(backend):
    log_prob = np.array([[0.0, 1.0], [NAN, 0.0], [0.0, INF], [INF, -INF], [-1.0, -INF]])
    weights = backend.asarray([0.5, 0.5])
    step = backend.call(ex.posterior, backend.data(log_prob), weights)
    responsibilities = backend.to_numpy(step.responsibilities)
    assert np.all(np.isnan(responsibilities[1:4]))
    assert np.all(np.isnan(backend.to_numpy(step.log_likelihood)[1:4]))
    np.testing.assert_allclose(responsibilities[0, 1], 1 / (1 + np.exp(-1.0)), rtol=1e-15)
    np.testing.assert_array_equal(responsibilities[4], [1.0, 0.0])


def weighted_total(x, mixture, sample_weight):
    return ex.log_likelihood(x, mixture, sample_weight=sample_weight)


@pytest.mark.backends("jax_jit", "dask")
def test_bad_sample_weight_gives_nan_where_values_are_unknown(backend):
    components = ex.UnivariateGaussian(backend.asarray([0.0, 1.0]), backend.asarray([1.0, 2.0]))
    mixture = ex.Mixture(backend.asarray([0.5, 0.5]), components)
    for value in (-1.0, NAN, INF):
        sample_weight = backend.data([1.0, 1.0, value, 1.0, 0.0])
        total = backend.call(weighted_total, backend.data(POINTS), mixture, sample_weight)
        assert np.isnan(backend.to_numpy(total)), value
