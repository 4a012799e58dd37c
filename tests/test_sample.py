"""Rows at random have the mixture's moments, and are the same for the same seed."""

import numpy as np
import pytest

import estep_xp as ex
from tests.tool_mixtures import GAUSSIANS, covariance_matrices, every_mixture, on_backend

MIXTURES = every_mixture()
eager = pytest.mark.backends("numpy", "torch", "array_api_strict")


@pytest.mark.parametrize("name", GAUSSIANS)
def test_moments_of_gaussians(name):
    mixture = GAUSSIANS[name]
    x, labels = ex.sample(mixture, 40_000, seed=1)
    covariances = covariance_matrices(mixture.components)
    for k, weight in enumerate(mixture.weights):
        rows = x[labels == k]
        spread = np.sqrt(len(rows))
        assert abs(len(rows) - 40_000 * weight) < 5 * np.sqrt(40_000 * weight)
        deviations = np.sqrt(np.diagonal(covariances[k]))
        assert (abs(rows.mean(0) - mixture.components.means[k]) < 5 * deviations / spread).all()
        allowed = 7 * deviations[:, None] * deviations / spread
        assert (abs(np.cov(rows.T) - covariances[k]) < allowed).all()


@pytest.mark.parametrize("name", ["Poisson 2", "Poisson 1", "Bernoulli 2", "UnivariateGaussian 1"])
def test_means_of_the_others(name):
    mixture = MIXTURES[name]
    x, labels = ex.sample(mixture, 40_000, seed=1)
    ex.log_density(x, mixture)  # all rows are in the support
    for k, parameter in enumerate(mixture.components[0]):
        rows = x[labels == k]
        assert (abs(rows.mean(0) - parameter) < 5 * rows.std(0) / np.sqrt(len(rows))).all()


def test_rows_are_in_random_order():
    _, labels = ex.sample(GAUSSIANS["FullGaussian"], 1000, seed=4)
    changes = np.mean(labels[1:] != labels[:-1])
    weights = GAUSSIANS["FullGaussian"].weights
    assert abs(changes - (1 - np.sum(weights**2))) < 0.08


@pytest.mark.backends("numpy", "jax", "torch", "array_api_strict")  # parameters, which Dask has not
@pytest.mark.parametrize(("name", "dtype"), [("FullGaussian", "float32"), ("Poisson 2", "float64")])
def test_the_same_rows_for_the_same_seed(name, dtype, backend):
    mixture = on_backend(backend, MIXTURES[name], dtype)
    x, labels = backend.call(lambda m: ex.sample(m, 20, seed=7), mixture)
    again = ex.sample(on_backend(backend, MIXTURES[name], dtype), 20, seed=7)
    backend.assert_like(x, dtype)
    backend.assert_like(labels, int)
    np.testing.assert_array_equal(backend.to_numpy(labels), backend.to_numpy(again.labels))
    np.testing.assert_allclose(backend.to_numpy(x), backend.to_numpy(again.x), rtol=1e-5)
    other = ex.sample(on_backend(backend, MIXTURES[name], dtype), 20, seed=8)
    assert (backend.to_numpy(other.x) != backend.to_numpy(x)).any()


@eager
def test_numbers_are_those_of_numpy_on_libraries_without_keys(backend):
    x = ex.sample(on_backend(backend, GAUSSIANS["FullGaussian"]), 20, seed=7).x
    expected = ex.sample(GAUSSIANS["FullGaussian"], 20, seed=7).x
    np.testing.assert_allclose(backend.to_numpy(x), expected, rtol=1e-12)


def test_seeds_of_every_kind():
    mixture = GAUSSIANS["DiagonalGaussian"]
    expected = ex.sample(mixture, 5, seed=3).x
    np.testing.assert_array_equal(ex.sample(mixture, 5, seed=np.random.default_rng(3)).x, expected)
    generator = np.random.default_rng(3)
    first, second = (ex.sample(mixture, 5, seed=generator).x for _ in range(2))
    assert (first != second).any()
    assert ex.sample(mixture, 5, seed=[1, 2]).x.shape == (5, 4)


@pytest.mark.backends("jax")
def test_keys(backend):
    import jax

    mixture = on_backend(backend, GAUSSIANS["FullGaussian"])
    expected = ex.sample(mixture, 5, seed=3)
    for seed in (jax.random.key(3), jax.random.PRNGKey(3)):
        found = jax.jit(lambda key: ex.sample(mixture, 5, seed=key))(seed)
        np.testing.assert_allclose(found.x, expected.x, rtol=1e-6)
    many = jax.vmap(lambda key: ex.sample(mixture, 5, seed=key).x)(
        jax.random.split(jax.random.key(0), 3)
    )
    assert many.shape == (3, 5, 4)
    assert (many[0] != many[1]).any()


@pytest.mark.backends("jax")
def test_derivatives_by_means(backend):
    import jax

    mixture = on_backend(backend, GAUSSIANS["FullGaussian"])
    gradient = jax.grad(lambda m: ex.sample(m, 50, seed=0).x.sum())(mixture)
    labels = ex.sample(mixture, 50, seed=0).labels
    counts = np.bincount(np.asarray(labels), minlength=3)
    np.testing.assert_allclose(gradient.components.means, counts[:, None] * np.ones(4))


def test_weight_zero_is_never_drawn():
    mixture = ex.Mixture([0.0, 1.0, 1.0, 0.0], ex.UnivariateGaussian(np.arange(4.0), np.ones(4)))
    assert set(ex.sample(mixture, 2000, seed=0).labels.tolist()) == {1, 2}
    alone = ex.Mixture([0.0, 5e-300, 0.0], ex.UnivariateGaussian(np.arange(3.0), np.ones(3)))
    assert set(ex.sample(alone, 50, seed=0).labels.tolist()) == {1}


def test_a_users_class():
    class Own:
        def log_prob(self, x):
            return np.zeros((len(x), 2))

        def sample(self, random, labels):
            return labels + random.random(len(labels))

    x, labels = ex.sample(ex.Mixture([0.5, 0.5], Own()), 100, seed=0)
    np.testing.assert_array_equal(np.floor(x), labels)


def test_bad_input():
    mixture = GAUSSIANS["FullGaussian"]

    class Mute:
        def log_prob(self, x):
            return np.zeros((len(x), 2))

    with pytest.raises(ValueError, match="n is -1; n must be at least 0"):
        ex.sample(mixture, -1)
    with pytest.raises(TypeError, match=r"n is 2\.5; n must be a whole number"):
        ex.sample(mixture, 2.5)
    with pytest.raises(ValueError, match="seed is -3; seed must be a non-negative integer"):
        ex.sample(mixture, 3, seed=-3)
    with pytest.raises(TypeError, match=r"no method sample\(random, labels\)"):
        ex.sample(ex.Mixture([0.5, 0.5], Mute()), 3)
    with pytest.raises(ValueError, match="weights"):
        ex.sample(ex.Mixture([-1.0, 1.0], ex.UnivariateGaussian([0.0, 1.0], [1.0, 1.0])), 3)
    assert ex.sample(mixture, 0).x.shape == (0, 4)


@pytest.mark.parametrize(
    "mixture",
    [
        ex.Mixture([-1.0, 1.0], ex.UnivariateGaussian([0.0, 1.0], [1.0, 1.0])),
        ex.Mixture([0.0, 0.0], ex.FullGaussian([[0.0], [1.0]], [[[1.0]], [[1.0]]])),
        ex.Mixture([np.nan, 1.0], ex.Poisson([1.0, 2.0])),
        ex.Mixture([1.0, 1.0], ex.Poisson([-2.0, np.nan])),
        ex.Mixture([1.0, 1.0], ex.Bernoulli([[2.0], [-1.0]])),
    ],
)
@pytest.mark.backends("jax")
def test_bad_values_under_jit_are_rows_of_nan(mixture, backend):
    import jax

    arrays = jax.tree.map(lambda one: backend.data(np.asarray(one), "float64"), mixture)
    drawn = jax.jit(lambda model: ex.sample(model, 5))(arrays)
    assert np.isnan(backend.to_numpy(drawn.x)).all()
