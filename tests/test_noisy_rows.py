"""Many rows with errors at once: one feature's large error takes no digits of the others."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import estep_xp as ex

N = 80  # rows that are worked on at once


def log_density(x, mean, covariance):
    """To 50 digits."""
    with mpmath.workdps(50):
        matrix = mpmath.matrix(covariance)
        z = mpmath.matrix(x) - mpmath.matrix(mean)
        square = (z.T * mpmath.lu_solve(matrix, z))[0]
        return float(-(square + mpmath.log(mpmath.det(matrix)) + 2 * mpmath.log(2 * mpmath.pi)) / 2)


@pytest.mark.parametrize("size", [1.0, 1e4, 1e9, 1e14])
@pytest.mark.parametrize("full", [False, True], ids=["variances", "covariances"])
def test_a_large_error_of_one_feature(size, full):
    rng = np.random.default_rng(0)
    v = np.asarray([[2.0, 0.9], [0.9, 0.5]])
    means = np.asarray([[0.0, 1.0], [0.5, 1.2]])
    noise = np.stack([size * rng.uniform(1, 2, N), rng.uniform(0.1, 0.2, N)], axis=1)
    x = rng.normal(means[0], np.sqrt(np.diagonal(v) + noise))
    components = ex.FullGaussian.from_covariances(means, np.stack([v, v]))
    given = np.stack([np.diag(s) for s in noise]) if full else noise
    found = ex.log_joint(x, ex.Mixture([1.0, 1.0], components), noise=given)
    for i in range(0, N, 16):
        for j, mean in enumerate(means):
            t = np.asarray(v) + np.diag(noise[i])
            expected = log_density(x[i], mean, t) + np.log(0.5)
            assert abs(found[i, j] - expected) <= 1e-12 * (1 + abs(expected))
    # Of v given x: the feature that is nearly unknown follows from the other one.
    one = ex.Mixture([1.0], ex.FullGaussian.from_covariances(means[:1], v[None]))
    imputed = ex.impute(x, one, noise=given)
    for i in range(0, N, 16):
        with mpmath.workdps(50):
            gain = mpmath.matrix(v) * mpmath.matrix(v + np.diag(noise[i])) ** -1
            mean = mpmath.matrix(means[0]) + gain * (mpmath.matrix(x[i]) - mpmath.matrix(means[0]))
            covariance = mpmath.matrix(v) - gain * mpmath.matrix(v)
        np.testing.assert_allclose(imputed.mean[i], [float(m) for m in mean], rtol=1e-11)
        np.testing.assert_allclose(
            imputed.covariance[i].ravel(), [float(c) for c in covariance], rtol=1e-10
        )


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("family", [ex.SphericalGaussian, ex.DiagonalGaussian])
def test_many_rows_of_independent_features(family, missing):
    rng = np.random.default_rng(0)
    means = np.asarray([[0.0, 1.0], [5.0, -2.0]])
    variances = np.asarray([[2.0, 2.0], [0.5, 0.5]])
    own = variances if family is ex.DiagonalGaussian else variances[:, 0]
    noise = rng.uniform(0.0, 3.0, (N, 2))
    x = means[rng.integers(2, size=N)] + rng.normal(size=(N, 2))
    if missing:
        x[rng.uniform(size=x.shape) < 0.3] = np.nan
    mixture = ex.Mixture([0.5, 0.5], family(means, own))
    total = variances + noise[:, None, :]
    terms = (x[:, None, :] - means) ** 2 / total + np.log(2.0 * np.pi * total)
    expected = np.log(0.5) - 0.5 * np.nansum(terms, axis=2)
    found = ex.log_joint(x, mixture, noise=noise, missing=missing)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)
