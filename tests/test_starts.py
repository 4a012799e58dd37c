"""Starts: the finished one that is the default, and the plain ones; laws that hold for all."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests.records import GAUSSIANS

K, D = 3, 2
METHODS = (None, "k-means", "k-means++", "random", "random_rows")
families = pytest.mark.parametrize("record", GAUSSIANS, ids=lambda record: record.name)
methods = pytest.mark.parametrize("method", METHODS)
numpy_like = pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "torch")


def clusters(record, n=90, apart=8.0, seed=0):
    """Three clusters, the rows of each one after the other."""
    rng = np.random.default_rng(seed)
    centres = apart * np.array([[0.0, 0.0], [1.0, 0.3], [0.2, 1.0]])
    x = centres[np.arange(n) * K // n] + rng.standard_normal((n, D))
    return x[:, 0] + x[:, 1] if record.univariate else x


def assert_usable(x, mixture):
    assert (mixture.weights > 0).all()
    assert np.sum(mixture.weights) == pytest.approx(1.0)
    assert np.isfinite(ex.e_step(x, mixture).log_likelihood).all()


def assert_close(one, other, rtol=1e-9):
    for a, b in zip(
        (one.weights, *one.components), (other.weights, *other.components), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


# What holds for all


@numpy_like
@families
@methods
def test_every_method_gives_a_start(backend, record, method):
    x = clusters(record)
    mixture = ex.initialize(backend.data(x, "float32"), K, record.family, method=method)
    for array in (mixture.weights, *mixture.components):
        backend.assert_like(array, "float32")
    weights, *fields = map(backend.to_numpy, (mixture.weights, *mixture.components))
    assert_usable(x.astype("float32"), ex.Mixture(weights, record.family(*fields)))


@families
@methods
def test_a_seed_is_a_start(record, method):
    x = clusters(record, apart=2.0)
    one, same, other = (
        ex.initialize(x, K, record.family, method=method, seed=s) for s in (4, 4, 5)
    )
    assert all((a == b).all() for a, b in zip(one.components, same.components, strict=True))
    assert method is None or (one.components.means != other.components.means).any()


@families
@methods
def test_rows_of_weight_zero_are_as_if_absent(record, method):
    x = clusters(record)
    weight = np.where(np.arange(len(x)) % 4 == 1, 0.0, np.arange(len(x)) % 3 + 0.5)
    spoiled = x.copy()
    spoiled[weight == 0] = np.nan
    found = ex.initialize(spoiled, K, record.family, method=method, sample_weight=weight)
    assert_usable(x, found)
    if method in ("random", "random_rows", "k-means++"):
        return  # their draws are of all rows
    alone = ex.initialize(
        x[weight > 0], K, record.family, method=method, sample_weight=weight[weight > 0]
    )
    assert_close(found, alone, 1e-12)


@families
@pytest.mark.parametrize("method", [None, "k-means"])
def test_units_of_features_change_nothing(record, method):
    x = clusters(record, apart=4.0)
    scale = 1e6 if record.univariate or record.name == "spherical" else np.array([1e-6, 1e6])
    one, other = (ex.initialize(a, K, record.family, method=method) for a in (x, x * scale))
    np.testing.assert_allclose(other.components.means, one.components.means * scale, rtol=1e-6)
    np.testing.assert_allclose(other.weights, one.weights, rtol=1e-6)


@families
def test_an_offset_changes_nothing(record):
    x = clusters(record, apart=4.0)
    one, other = (ex.initialize(a, K, record.family) for a in (x, x + 1e6))
    np.testing.assert_allclose(other.components.means - 1e6, one.components.means, atol=1e-6)


@families
@pytest.mark.parametrize("method", [None, "k-means"])
def test_integer_weights_are_repeated_rows(record, method):
    """Clusters so far apart that no draw matters."""
    x = clusters(record, apart=100.0)
    weight = np.arange(len(x)) % 3 + 1
    one = ex.initialize(x, K, record.family, method=method, sample_weight=weight)
    other = ex.initialize(np.repeat(x, weight, axis=0), K, record.family, method=method)
    places = (np.argsort(m.components.means.reshape(K, -1)[:, 0]) for m in (one, other))
    for a, b in zip(places, places, strict=False):
        np.testing.assert_allclose(one.weights[a], other.weights[b], rtol=1e-6)
        np.testing.assert_allclose(one.components.means[a], other.components.means[b], rtol=1e-6)


# Structured input


@families
@methods
@pytest.mark.parametrize(
    "kind", ["equal rows", "as many as components", "constant feature", "pairs"]
)
def test_structured_rows(record, method, kind):
    x = clusters(record)
    x = {
        "equal rows": np.zeros_like(x) + 7.0,
        "as many as components": x[[0, 40, 80]],
        "constant feature": x * (0.0 if record.univariate else np.array([1.0, 0.0])) + 3.0,
        "pairs": np.repeat(x[[0, 40, 80]], 2, axis=0),
    }[kind]
    assert_usable(x, ex.initialize(x, K, record.family, method=method))


@families
@methods
def test_one_row(record, method):
    x = clusters(record)[:1]
    mixture = ex.initialize(x, 1, record.family, method=method)
    np.testing.assert_allclose(mixture.components.means, x, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_counts(method):
    rng = np.random.default_rng(0)
    x = rng.poisson(np.array([[1.0, 9.0], [8.0, 2.0]])[np.arange(100) // 50])
    mixture = ex.initialize(x, 2, ex.Poisson, method=method)
    assert_usable(x, mixture)
    if method is None:
        assert sorted(mixture.components.rates[:, 0].round().tolist()) == [1.0, 8.0]
    assert_usable(x > 4, ex.initialize(x > 4, 2, ex.Bernoulli, method=method))


# The finished start


def test_a_missing_cluster_is_found():
    """k-means++ seeds and EM leave one of many clusters out more often than not."""
    rng = np.random.default_rng(3)
    centres = 10.0 * rng.standard_normal((12, 2))
    labels = np.arange(600) % 12
    x = centres[labels] + rng.standard_normal((600, 2))
    best = ex.fit(x, ex.estimate(x, labels, ex.FullGaussian)).log_likelihood
    for seed in range(3):
        start = ex.initialize(x, 12, ex.FullGaussian, seed=seed)
        assert ex.fit(x, start).log_likelihood > best - 1.0


@pytest.mark.parametrize("family", [ex.TiedGaussian, ex.FullGaussian])
def test_long_clusters_are_told_apart(family):
    """Of clusters much longer than they lie apart, distances say little."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((300, 2)) * [30.0, 0.5]
    x[:, 1] += 5.0 * (np.arange(300) % 3)
    x = x @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    start = ex.initialize(x, 3, family)
    best = ex.fit(x, ex.estimate(x, np.arange(300) % 3, family)).log_likelihood
    assert ex.fit(x, start).log_likelihood > best - 1.0


def test_many_rows_are_sampled():
    x = np.concatenate([np.random.default_rng(i).normal(6.0 * i, 1.0, 5000) for i in range(3)])
    start = ex.initialize(x, 3, ex.UnivariateGaussian)
    np.testing.assert_allclose(np.sort(start.components.means), [0.0, 6.0, 12.0], atol=0.2)


def test_the_seed_is_zero_by_default():
    x = clusters(GAUSSIANS[-1])
    one, other = ex.initialize(x, K, ex.FullGaussian), ex.initialize(x, K, ex.FullGaussian, seed=0)
    assert (one.components.means == other.components.means).all()


# Transformations


@pytest.mark.backends("jax", "jax_jit")
@pytest.mark.parametrize("method", [None, "random"])
def test_under_jit(backend, method):
    x = clusters(GAUSSIANS[-1])
    mixture = backend.call(
        ex.initialize, backend.data(x), n_components=K, family=ex.FullGaussian, method=method
    )
    weights, *fields = map(backend.to_numpy, (mixture.weights, *mixture.components))
    assert_usable(x, ex.Mixture(weights, ex.FullGaussian(*fields)))


# Bad input


@pytest.mark.parametrize("method", ["kmeans", 3, "K-means"])
def test_no_such_method(method):
    with pytest.raises(ValueError, match=r"method is .*; expected one of 'k-means', 'k-means\+\+'"):
        ex.initialize(clusters(GAUSSIANS[-1]), K, ex.FullGaussian, method=method)


@methods
def test_bad_rows_are_named(method):
    x = clusters(GAUSSIANS[-1])
    x[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"x\[7, 1\] is nan; x must be finite"):
        ex.initialize(x, K, ex.FullGaussian, method=method)


def test_no_component_of_a_few_rows_of_noise():
    """The likelihood of a covariance of d + 1 rows has no maximum, so that it beats all others."""
    for seed in range(5):
        x = np.random.default_rng(2000 + seed).normal(size=(200, 2))
        start = ex.initialize(x, 3, ex.FullGaussian, seed=seed)
        assert start.weights.min() * len(x) > 3.99


@pytest.mark.parametrize("family", [ex.Exponential, ex.Exponential(np.ones(2, np.float32))])
def test_a_start_of_zeros_in_single_precision(family):
    """The largest rate of double precision, in which starts are made, is no number there."""
    x = np.concatenate([np.zeros(50), np.random.default_rng(0).exponential(size=50)])
    rates = ex.initialize(x.astype(np.float32), 2, family).components.rates
    assert rates.dtype == np.float32
    assert np.isfinite(rates).all()
    assert rates.max() > 1e37
