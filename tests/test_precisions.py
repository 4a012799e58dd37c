"""Precisions are the inverses of covariances, and components can be made of them."""

import numpy as np
import pytest

import estep_xp as ex
from tests.tool_mixtures import GAUSSIANS, covariance_matrices, every_mixture, numbers


@pytest.mark.parametrize("name", GAUSSIANS)
def test_they_invert_the_covariances(name):
    components = GAUSSIANS[name].components
    precisions, covariances = components.precisions, components.covariances
    assert precisions.shape == covariances.shape
    if name in ("TiedGaussian", "FullGaussian"):
        np.testing.assert_allclose(
            precisions @ covariances, np.broadcast_to(np.eye(4), covariances.shape), atol=1e-12
        )
        np.testing.assert_array_equal(precisions, precisions.mT)
    else:
        np.testing.assert_allclose(precisions * covariances, 1.0, rtol=1e-15)


def test_univariate():
    components = every_mixture()["UnivariateGaussian 1"].components
    np.testing.assert_array_equal(components.precisions, 1.0 / components.variances)


@pytest.mark.backends("numpy", "jax", "torch", "array_api_strict")  # parameters, which Dask has not
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_components_from_precisions(dtype, backend):
    _, means, precisions = numbers(3)
    means, precisions = (backend.asarray(a, dtype) for a in (means, precisions))
    full = backend.call(ex.FullGaussian.from_precisions, means, precisions)
    tied = backend.call(ex.TiedGaussian.from_precision, means, precisions[0, ...])
    for components, expected in ((full, precisions), (tied, precisions[0, ...])):
        backend.assert_like(components.precision_cholesky, dtype)
        factor = backend.to_numpy(components.precision_cholesky)
        assert (np.tril(factor, -1) == 0).all()
        np.testing.assert_allclose(
            factor @ factor.mT,
            backend.to_numpy(expected),
            rtol=1e2 * np.finfo(dtype).eps,
            atol=1e-5,
        )


def test_in_other_units_each_feature_keeps_its_digits():
    _, means, precisions = numbers(3)
    units = np.array([1e-150, 1.0, 1e80, 1e140])
    scaled = ex.FullGaussian.from_precisions(means, precisions * units[:, None] * units)
    plain = ex.FullGaussian.from_precisions(means, precisions)
    expected = plain.precision_cholesky * units[:, None]
    np.testing.assert_allclose(scaled.precision_cholesky, expected, rtol=1e-12)


def test_the_same_density_as_from_covariances():
    mixture = GAUSSIANS["FullGaussian"]
    other = ex.FullGaussian.from_precisions(
        mixture.components.means, np.linalg.inv(covariance_matrices(mixture.components))
    )
    x = ex.sample(mixture, 20, seed=0).x
    np.testing.assert_allclose(other.log_prob(x), mixture.components.log_prob(x), rtol=1e-10)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1.0, 2.0], [2.0, 1.0]], r"precisions\[0\] is not positive definite"),
        ([[1.0, 0.5], [0.0, 1.0]], r"precisions\[0\] is not symmetric"),
        (
            [[1.0, np.nan], [np.nan, 1.0]],
            r"precisions\[0, 0, 1\] is nan; precisions must be finite",
        ),
        ([[1.0]], r"precisions has shape \(1, 1, 1\); expected \(1, 2, 2\)"),
    ],
)
def test_bad_precisions(matrix, message):
    with pytest.raises(ValueError, match=message):
        ex.FullGaussian.from_precisions([[0.0, 0.0]], [matrix])
    one = message.replace(r"precisions\[0\]", "precision").replace(
        r"precisions\[0, ", r"precision\["
    )
    one = (
        one.replace("precisions", "precision")
        .replace("(1, 1, 1", "(1, 1")
        .replace("(1, 2, 2", "(2, 2")
    )
    with pytest.raises(ValueError, match=one):
        ex.TiedGaussian.from_precision([[0.0, 0.0]], matrix)


@pytest.mark.filterwarnings("error")
def test_of_a_variance_so_small_that_they_overflow():
    assert ex.UnivariateGaussian([0.0], [1e-320]).precisions.tolist() == [np.inf]
    assert ex.SphericalGaussian([[0.0]], [1e-320]).precisions.tolist() == [np.inf]
    assert ex.DiagonalGaussian([[0.0]], [[1e-320]]).precisions.tolist() == [[np.inf]]
