"""Laws of rows that lack values, or have errors: EM, derivatives, imputation, starts, bad input."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests.test_incomplete import KINDS, D, close, components, errors, patterns, prepared

NAN = float("nan")
FULL = ex.Mixture([0.4, 0.6], ex.FullGaussian(*components("FullGaussian")))


def holes(x, share, seed=0):
    return np.where(np.random.default_rng(seed).random(x.shape) < share, np.nan, x)


@pytest.mark.backends("numpy", "array_api_strict", "torch", "dask", "jax")
@pytest.mark.parametrize("kind", KINDS)
def test_impute(backend, kind):
    if backend.name == "jax" and kind != "variances":
        return  # one program is enough
    x, mixture, keywords, _, reference = prepared(backend, "FullGaussian", "float64", kind)
    del keywords["missing"]
    imputed = backend.call(ex.impute, x, mixture, **keywords)
    mean, covariance = reference.imputed()
    close(backend, imputed.mean, mean, "float64", 200.0)
    close(backend, imputed.covariance, covariance, "float64", 200.0)
    if kind == "none":
        seen, given = ~np.isnan(patterns(D)), patterns(D)
        np.testing.assert_array_equal(backend.to_numpy(imputed.mean)[seen], given[seen])
        known = backend.to_numpy(imputed.covariance)[seen[:, :, None] & seen[:, None, :]]
        np.testing.assert_array_equal(known, 0.0)


def test_nothing_observed():
    x = np.full((2, D), np.nan)
    step = ex.e_step(x, FULL, missing=True)
    np.testing.assert_allclose(step.log_likelihood, 0.0, atol=1e-15)
    np.testing.assert_allclose(step.responsibilities, [[0.4, 0.6]] * 2, rtol=1e-15)
    statistics = ex.expected_statistics(x, FULL, missing=True)
    np.testing.assert_allclose(statistics.moments.first, 0.0, atol=1e-15)


@pytest.mark.parametrize("n", [5, 3000])
def test_rows_without_holes_give_the_very_numbers(n):
    x = np.random.default_rng(0).normal(size=(n, D))
    one, other = (ex.e_step(x, FULL, missing=missing) for missing in (True, False))
    np.testing.assert_array_equal(one.responsibilities, other.responsibilities)
    a, b = (ex.expected_statistics(x, FULL, missing=missing) for missing in (True, False))
    np.testing.assert_array_equal(a.moments.second, b.moments.second)


@pytest.mark.parametrize("n", [10, 200])
def test_enormous_errors_are_holes(n):
    random = np.random.default_rng(0)
    x, hidden = random.normal(size=(n, D)), random.random((n, D)) < 0.4
    noisy = ex.e_step(x, FULL, noise=np.where(hidden, 1e300, 0.0))
    missing = ex.e_step(np.where(hidden, np.nan, x), FULL, missing=True)
    np.testing.assert_allclose(noisy.responsibilities, missing.responsibilities, rtol=1e-10)


@pytest.mark.parametrize("keyword", ["missing", "noise"])
@pytest.mark.parametrize("name", ["FullGaussian", "TiedGaussian", "DiagonalGaussian"])
def test_em_never_falls(name, keyword):
    x = ex.sample(FULL, 400, seed=1).x
    mixture = ex.Mixture([0.5, 0.5], getattr(ex, name)(*components(name, seed=3)))
    keywords = {"missing": True} if keyword == "missing" else {"noise": errors("variances", 400, D)}
    x = holes(x, 0.3) if keyword == "missing" else x
    with pytest.warns(ex.ConvergenceWarning):
        result = ex.fit(x, mixture, max_iter=25, tol=0.0, variance_floor=0.0, **keywords)
    assert (np.diff(result.history) > -1e-9).all()
    total = ex.log_likelihood(x, result.mixture, **keywords)
    np.testing.assert_allclose(result.log_likelihood, total, rtol=1e-12)


def test_truth_is_recovered_with_a_third_of_the_values_missing():
    means = np.array([[0.0, 0.0, 0.0], [5.0, 0.0, 3.0]])
    covariances = np.array([[[1.0, 0.7, 0.2], [0.7, 1.0, 0.3], [0.2, 0.3, 1.0]], np.eye(3)])
    truth = ex.Mixture([0.3, 0.7], ex.FullGaussian.from_covariances(means, covariances))
    x = holes(ex.sample(truth, 6000, seed=2).x, 0.3)
    start = ex.initialize(x, 2, ex.FullGaussian, missing=True)
    fitted = ex.fit(x, start, missing=True).mixture
    order = np.argsort(fitted.components.means[:, 0])
    np.testing.assert_allclose(fitted.weights[order], truth.weights, atol=0.02)
    np.testing.assert_allclose(fitted.components.means[order], means, atol=0.1)
    np.testing.assert_allclose(fitted.components.covariances[order], covariances, atol=0.1)


def test_extreme_deconvolution_recovers_what_lies_behind_the_errors():
    """Two narrow clusters behind errors that are wider than the clusters (Bovy et al. 2011)."""
    truth = ex.Mixture([0.5, 0.5], ex.DiagonalGaussian([[-2.0, 0.0], [2.0, 0.0]], [[0.1, 0.2]] * 2))
    random = np.random.default_rng(3)
    v = ex.sample(truth, 5000, seed=3).x
    noise = random.uniform(0.1, 2.0, v.shape)
    x = v + np.sqrt(noise) * random.normal(size=v.shape)
    start = ex.initialize(x, 2, ex.DiagonalGaussian, noise=noise)
    fitted = ex.fit(x, start, noise=noise, tol=1e-9).mixture
    order = np.argsort(fitted.components.means[:, 0])
    np.testing.assert_allclose(fitted.components.means[order], truth.components.means, atol=0.06)
    np.testing.assert_allclose(fitted.components.variances[order], [[0.1, 0.2]] * 2, atol=0.05)
    found, best = (((ex.impute(x, m, noise=noise).mean - v) ** 2).mean() for m in (fitted, truth))
    assert best < 0.3 * ((x - v) ** 2).mean()
    assert found < 1.02 * best


@pytest.mark.parametrize("family", [ex.Poisson, ex.Bernoulli])
def test_features_that_are_independent_are_left_out_one_by_one(family):
    random = np.random.default_rng(4)
    parameters = random.uniform(0.2, 0.8, (2, D)) * (5.0 if family is ex.Poisson else 1.0)
    x = holes(np.floor(random.uniform(0.0, 2.0, (30, D))), 0.4)
    mixture = ex.Mixture([0.4, 0.6], family(parameters))
    joint = ex.log_joint(x, mixture, missing=True)
    r = ex.e_step(x, mixture, missing=True).responsibilities
    for row, found in zip(x, joint, strict=True):
        seen = np.flatnonzero(~np.isnan(row))
        alone = np.log([0.4, 0.6])
        if len(seen):
            alone = ex.log_joint(row[None, seen], ex.marginal(mixture, seen))[0]
        np.testing.assert_allclose(found, alone, rtol=1e-13, atol=1e-14)
    expected = np.where(np.isnan(x)[:, None, :], parameters, np.nan_to_num(x)[:, None, :])
    sums = ex.expected_statistics(x, mixture, missing=True).moments[0]
    np.testing.assert_allclose(sums, (r[:, :, None] * expected).sum(axis=0), rtol=1e-13)
    np.testing.assert_allclose(
        ex.impute(x, mixture).mean, (r[:, :, None] * expected).sum(axis=1), rtol=1e-13
    )


def test_univariate_rows():
    mixture = ex.Mixture([0.3, 0.7], ex.UnivariateGaussian([0.0, 2.0], [1.0, 2.0]))
    x, noise = np.array([1.0, NAN, 3.0]), np.array([0.5, NAN, 0.0])
    wide = ex.Mixture([0.3, 0.7], ex.DiagonalGaussian([[0.0], [2.0]], [[1.0], [2.0]]))
    one = ex.impute(x, mixture, noise=noise)
    other = ex.impute(x[:, None], wide, noise=noise[:, None])
    np.testing.assert_allclose(one.mean, other.mean[:, 0], rtol=1e-14)
    np.testing.assert_allclose(one.covariance, other.covariance[:, 0, 0], rtol=1e-14)
    np.testing.assert_allclose(one.mean[1:], [1.4, 3.0])


@pytest.mark.backends("jax")
def test_gradients(backend):
    """By differences; those at holes are 0."""
    import jax

    x, mixture, _, host, _ = prepared(backend, "FullGaussian", "float64", "none", x=patterns(D, 1))
    given, h = patterns(D, 1), 1e-6

    def total(x, means):
        moved = mixture.components._replace(means=means)
        return ex.log_likelihood(x, mixture._replace(components=moved), missing=True)

    by_x, by_means = jax.grad(total, argnums=(0, 1))(x, mixture.components.means)
    np.testing.assert_array_equal(backend.to_numpy(by_x)[np.isnan(given)], 0.0)
    plain = ex.Mixture([0.4, 0.6], host)

    def difference(x, change, means):
        ends = (
            ex.log_likelihood(
                x + sign * change,
                plain._replace(components=host._replace(means=host.means + sign * means)),
                missing=True,
            )
            for sign in (1.0, -1.0)
        )
        return (next(ends) - next(ends)) / (2.0 * h)

    change = np.zeros_like(given)
    change[0, 1] = h
    assert abs(difference(given, change, 0.0) - by_x[0, 1]) < 1e-7
    change = np.zeros_like(host.means)
    change[1, 2] = h
    assert abs(difference(given, 0.0, change) - by_means[1, 2]) < 1e-7


@pytest.mark.backends("jax_jit")
def test_bad_values_under_jit_are_nan(backend):
    x = patterns(D, 1)
    x[2, 0] = np.inf
    mixture = ex.Mixture(*map(backend.asarray, FULL[:1]), FULL.components)
    found = backend.to_numpy(backend.call(ex.log_density, backend.data(x), mixture, missing=True))
    assert np.isnan(found[2])
    assert np.isfinite(np.delete(found, 2)).all()


def test_weights_and_merged_parts():
    x = holes(np.random.default_rng(1).normal(size=(300, D)), 0.3)
    weights = np.random.default_rng(2).integers(0, 3, 300).astype(float)
    whole = ex.expected_statistics(x, FULL, missing=True, sample_weight=weights)
    parts = [
        ex.expected_statistics(x[s], FULL, missing=True, sample_weight=weights[s])
        for s in (slice(100), slice(100, 300))
    ]
    merged = ex.merge(*parts)
    repeated = ex.expected_statistics(np.repeat(x, weights.astype(int), 0), FULL, missing=True)
    for other in (merged, repeated):
        np.testing.assert_allclose(whole.moments.second, other.moments.second, rtol=1e-11)
        np.testing.assert_allclose(whole.log_likelihood, other.log_likelihood, rtol=1e-12)


class Plain:
    def log_prob(self, x):
        return x[:, :1]


BAD = {
    "x[0, 1] is nan; x must be finite": (FULL, {}, 0.0),
    "x[1, 0] is inf; x must be finite": (FULL, {"missing": True}, np.inf),
    "noise has shape (3,); expected (2, 3)": (FULL, {"missing": True, "noise": np.ones(3)}, 0.0),
    "noise[1] is [ 1. -1.  1.]": (
        FULL,
        {"missing": True, "noise": np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])},
        0.0,
    ),
    "a covariance: finite, symmetric": (FULL, {"missing": True, "noise": -np.ones((2, 3, 3))}, 0.0),
    "missing=True needs a family": (ex.Mixture([1.0], Plain()), {"missing": True}, 0.0),
    "noise is for Gaussian families": (
        ex.Mixture([1.0], ex.Poisson([[1.0, 1.0, 1.0]])),
        {"missing": True, "noise": np.ones((2, 3))},
        0.0,
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message):
    mixture, keywords, value = BAD[message]
    x = np.array([[1.0, NAN, 2.0], [value, 0.0, 0.0]])
    with pytest.raises((ValueError, TypeError)) as error:
        ex.e_step(x, mixture, **keywords)
    assert message in str(error.value)


def test_starts_of_rows_with_holes():
    x = np.concatenate([np.random.default_rng(0).normal(size=(200, D)) + c for c in (0.0, 20.0)])
    for method in (None, "k-means", "k-means++", "random", "random_rows"):
        start = ex.initialize(holes(x, 0.3), 2, ex.FullGaussian, method=method, missing=True)
        assert np.isfinite(start.components.means).all()
        if method in (None, "k-means"):
            means = np.sort(start.components.means, axis=0)
            np.testing.assert_allclose(means, [[0.0] * D, [20.0] * D], atol=0.5)
