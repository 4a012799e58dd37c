"""Marginals and conditionals: against 50 digits, near singular and far from the origin."""

import warnings

import mpmath
import numpy as np
import pytest

import estep_xp as ex
from tests.tool_mixtures import GAUSSIANS, covariance_matrices, every_mixture, on_backend

mp = mpmath.MPContext()
mp.dps = 50
no_dask = pytest.mark.backends("numpy", "jax", "torch", "array_api_strict")


def _exact_covariance(factor):
    factor = mp.matrix(factor.tolist())
    return (factor * factor.T) ** -1


def _block(matrix, rows, columns):
    return mp.matrix([[matrix[i, j] for j in columns] for i in rows])


def _exact_conditional(mean, factor, known, others, values):
    """Mean and covariance of the other features, to 50 digits."""
    covariance, mean = _exact_covariance(factor), mp.matrix(mean.tolist())
    gain = _block(covariance, others, known) * _block(covariance, known, known) ** -1
    residual = mp.matrix([mp.mpf(float(v)) - mean[j] for v, j in zip(values, known, strict=True)])
    shift = gain * residual
    mean = [mean[j] + shift[i] for i, j in enumerate(others)]
    rest = _block(covariance, others, others) - gain * _block(covariance, known, others)
    return _floats(mp.matrix(mean))[:, 0], _floats(rest)


def _floats(matrix):
    return np.array(matrix.tolist(), dtype=float)


@pytest.mark.parametrize("name", GAUSSIANS)
@pytest.mark.parametrize("features", [[2], [0, 1], [3, 1], [1, 0, 3, 2]])
def test_a_marginal_has_these_means_and_covariances(name, features):
    mixture = GAUSSIANS[name]
    found = ex.marginal(mixture, features)
    assert type(found.components) is type(mixture.components)
    np.testing.assert_array_equal(found.weights, mixture.weights)
    np.testing.assert_array_equal(found.components.means, mixture.components.means[:, features])
    expected = covariance_matrices(mixture.components)[:, features][:, :, features]
    np.testing.assert_allclose(covariance_matrices(found.components), expected, atol=1e-13)


@pytest.mark.parametrize("known", [[0], [2], [0, 1], [3, 1], [2, 0, 3]])
def test_conditionals_to_fifty_digits(known):
    mixture = GAUSSIANS["FullGaussian"]
    values = np.linspace(-1.0, 2.0, len(known))
    others = [j for j in range(4) if j not in known]
    found = ex.condition(mixture, known, values).components
    for k in range(3):
        mean, factor = (a[k] for a in mixture.components)
        expected = _exact_conditional(mean, factor, known, others, values)
        np.testing.assert_allclose(found.means[k], expected[0], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(found.covariances[k], expected[1], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("known", [[0], [1], [2], [0, 2]])
def test_near_singular_and_far_away(known):
    # The second feature is the first but for a millionth, all of them lie at a million.
    factor = np.array([[1.0, -1e6, 0.3], [0.0, 1e6, 0.1], [0.0, 0.0, 2.0]])
    mean = np.array([1e6, 1e6, -1e6])
    mixture = ex.Mixture([1.0], ex.FullGaussian(mean[None], factor[None]))
    values = mean[known] + 0.75
    others = [j for j in range(3) if j not in known]
    found = ex.condition(mixture, known, values).components
    expected = _exact_conditional(mean, factor, known, others, values)
    # Every digit of a mean of a million, and of a covariance as many as its own factor has.
    np.testing.assert_allclose(found.means[0], expected[0], rtol=4e-16)
    np.testing.assert_allclose(found.covariances[0], expected[1], rtol=1e-9)
    alone = ex.marginal(mixture, known).components.covariances[0]
    covariance = _floats(_block(_exact_covariance(factor), known, known))
    np.testing.assert_allclose(alone, covariance, rtol=1e-9)


@pytest.mark.parametrize("name", every_mixture())
def test_density_is_that_of_the_known_times_that_of_the_others(name):
    mixture = every_mixture()[name]
    x = np.asarray(ex.sample(mixture, 5, seed=0).x)
    if x.ndim == 1:
        with pytest.raises(TypeError, match="rows have no features to choose from"):
            ex.marginal(mixture, [0])
        return
    for row in x:
        given = ex.condition(mixture, [2, 0], row[[2, 0]])
        parts = ex.log_density(row[None, [2, 0]], ex.marginal(mixture, [2, 0]))
        parts = parts + ex.log_density(row[None, [1, 3]], given)
        np.testing.assert_allclose(parts, ex.log_density(row[None], mixture), rtol=1e-12)


def test_all_features_in_order_change_nothing():
    mixture = GAUSSIANS["FullGaussian"]
    same = ex.marginal(mixture, range(4))
    np.testing.assert_array_equal(
        same.components.precision_cholesky, mixture.components.precision_cholesky
    )


@no_dask
@pytest.mark.parametrize(
    ("name", "dtype"), [("FullGaussian", "float64"), ("TiedGaussian", "float32")]
)
def test_on_every_library(name, dtype, backend):
    mixture = on_backend(backend, GAUSSIANS[name], dtype)
    values = backend.asarray([0.5, -0.25], dtype)
    found = backend.call(lambda m, v: ex.condition(m, [3, 1], v), mixture, values)
    expected = ex.condition(GAUSSIANS[name], [3, 1], [0.5, -0.25])
    for one, other in zip(found.components, expected.components, strict=True):
        backend.assert_like(one, dtype)
        np.testing.assert_allclose(
            backend.to_numpy(one), other, rtol=1e3 * np.finfo(dtype).eps, atol=1e-5
        )
    alone = backend.call(lambda m: ex.marginal(m, [3, 1]), mixture)
    backend.assert_like(alone.components.means, dtype)
    np.testing.assert_allclose(
        backend.to_numpy(found.weights), expected.weights, rtol=1e3 * np.finfo(dtype).eps, atol=1e-6
    )


@pytest.mark.backends("jax")
def test_derivatives_and_batches_of_values(backend):
    import jax
    import jax.numpy as jnp

    mixture = on_backend(backend, GAUSSIANS["FullGaussian"])

    def regression(value):
        given = ex.condition(mixture, [1], value)
        return jnp.sum(given.weights[:, None] * given.components.means, axis=0)

    at, step = jnp.asarray([0.3]), 1e-5
    slopes = jax.jacobian(regression)(at)[:, 0]
    expected = (regression(at + step) - regression(at - step)) / (2 * step)
    np.testing.assert_allclose(slopes, expected, rtol=1e-7)
    many = jax.vmap(regression)(jnp.linspace(-1.0, 1.0, 5)[:, None])
    assert many.shape == (5, 3)


BAD = [
    ([4], ValueError, r"features\[0\] is 4; features must be from 0 to 3"),
    ([-1], ValueError, r"features\[0\] is -1; features must be from 0 to 3"),
    ([0, 0], ValueError, r"features\[1\] is 0 once more; features must be distinct"),
    ([], ValueError, "features is empty"),
    ([0.5], TypeError, r"features\[0\] is 0.5; features must be integers"),
    ([True], TypeError, r"features\[0\] is True; features must be integers"),
    (1, TypeError, "features is 1; expected a list of integers"),
    ("01", TypeError, "expected a list of integers"),
]


@pytest.mark.parametrize(("features", "error", "message"), BAD)
def test_bad_features(features, error, message):
    with pytest.raises(error, match=message):
        ex.marginal(GAUSSIANS["FullGaussian"], features)
    with pytest.raises(error, match=message):
        ex.condition(GAUSSIANS["FullGaussian"], features, [0.0])


def test_bad_values():
    mixture = GAUSSIANS["FullGaussian"]
    with pytest.raises(
        ValueError, match=r"values has shape \(1,\); expected \(2,\): one for each feature"
    ):
        ex.condition(mixture, [0, 1], [0.0])
    with pytest.raises(ValueError, match=r"values\[1\] is nan; values must be finite"):
        ex.condition(mixture, [0, 1], [0.0, np.nan])
    with pytest.raises(ValueError, match="features has all 4 features of x"):
        ex.condition(mixture, range(4), np.zeros(4))
    with pytest.raises(TypeError, match=r"did you mean \.mixture"):
        ex.marginal(ex.expected_statistics(np.zeros((1, 4)), mixture), [0])
    impossible = ex.Mixture([1.0], ex.Bernoulli([[0.0, 0.5]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one error is enough
        with pytest.raises(ValueError, match="values have zero density under every component"):
            ex.condition(impossible, [0], [1.0])
    with pytest.raises(ValueError, match=r"values\[0\] is 0.5; values must be 0 or 1"):
        ex.condition(impossible, [0], [0.5])
