"""What nobody may read: errors of masked rows and of holes; columns of which nothing is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.arrays.block import BlockOps
from estep_xp.families.gaussian.error_bound import pattern_bound, size_bound
from tests.test_incomplete import components

D = 3
MIXTURE = ex.Mixture([0.4, 0.6], ex.FullGaussian(*components("FullGaussian")))
X = np.random.default_rng(0).normal(size=(40, D))
NAN = float("nan")
bad_values = pytest.mark.parametrize("bad", [NAN, -1.0, np.inf])
kinds = pytest.mark.parametrize("kind", ["variances", "covariances"])


def errors(kind):
    matrices = np.broadcast_to(0.3 * np.eye(D), (40, D, D)).copy()
    return matrices if kind == "covariances" else np.full((40, D), 0.3)


@bad_values
@kinds
@pytest.mark.parametrize("missing", [True, False])
def test_errors_of_masked_rows(kind, bad, missing):
    weight, noise = np.ones(40), errors(kind)
    weight[3], noise[3] = 0.0, bad
    others = weight > 0
    found = ex.expected_statistics(X, MIXTURE, noise=noise, sample_weight=weight, missing=missing)
    expected = ex.expected_statistics(X[others], MIXTURE, noise=noise[others], missing=missing)
    np.testing.assert_allclose(found.moments.second, expected.moments.second, rtol=1e-11)
    start = ex.initialize(X, 2, ex.FullGaussian, noise=noise, sample_weight=weight, missing=missing)
    assert np.isfinite(start.components.means).all()
    with pytest.raises(ValueError, match=r"noise\[3"):
        ex.expected_statistics(X, MIXTURE, noise=noise, missing=missing)


@kinds
@pytest.mark.backends("jax_jit")
def test_errors_of_holes_under_jit(backend, kind):
    import jax

    x, noise = np.where(np.arange(40)[:, None] + np.arange(D) == 6, NAN, X), errors(kind)
    reference = ex.log_density(x, MIXTURE, noise=noise, missing=True)
    density = jax.jit(lambda x, s: ex.log_density(x, MIXTURE, noise=s, missing=True))
    for bad in (NAN, -1.0, np.inf):
        noise[5, 1] = bad
        if kind == "covariances":
            noise[5, :, 1] = bad
        np.testing.assert_allclose(
            density(*map(backend.asarray, (x, noise))), reference, rtol=1e-12
        )


@pytest.mark.parametrize("method", [None, "k-means", "k-means++", "random", "random_rows"])
def test_a_column_never_observed_starts_with_a_variance(method):
    x = np.where(np.arange(D) == 1, NAN, X)
    start = ex.initialize(x, 2, ex.FullGaussian, missing=True, method=method)
    assert (start.components.covariances[:, 1, 1] > 0.05).all()


def test_a_column_never_observed_starts_inside_its_support():
    x = np.where(np.arange(D) == 1, NAN, np.abs(X))
    gamma = ex.initialize(x, 2, ex.Gamma, missing=True).components
    assert (gamma.shapes[:, 1] < 10.0).all()
    flags = np.where(np.isnan(x), NAN, 1.0 * (x > 0.5))
    found = ex.initialize(flags, 2, ex.Bernoulli, missing=True).components.probabilities
    assert ((found > 0.1) & (found < 0.9))[:, 1].all()


@pytest.mark.parametrize("x", [np.array([0, 1, 2, 1, 1, 2]), [0, 1, 2, 1, 1, 2]])
def test_integers_beside_a_template_adopt_its_dtype(x):
    start = ex.initialize(x, 2, ex.Categorical(np.ones((2, 3), dtype=np.float32)))
    assert start.weights.dtype == start.components.probabilities.dtype == np.float32


def test_nan_without_missing_is_hinted_at():
    x = np.where(np.arange(D) == 1, NAN, X)
    with pytest.raises(ValueError, match=r"x\[0, 1\] is nan; x must be finite; .* missing=True"):
        ex.e_step(x, MIXTURE)
    x[0, 1] = np.inf
    with pytest.raises(ValueError, match=r"x\[0, 1\] is inf; x must be finite$"):
        ex.e_step(x, MIXTURE)


def test_parts_of_a_product_share_the_error_that_is_allowed():
    whole = BlockOps(np)
    for bound in (size_bound, pattern_bound):
        limits = [bound(ops, 4).limit for ops in (whole, replace(whole, sharing=2))]
        assert limits[0] == 2.0 * limits[1]
    part = MIXTURE.components
    product = ex.Product((part, part))
    x = np.concatenate([X, X], axis=1)
    x = np.where(np.random.default_rng(1).random(x.shape) < 0.3, NAN, x)
    joint = ex.Product((part, part)).log_prob(np.concatenate([X, X], axis=1))
    alone = part.log_prob(X)
    np.testing.assert_allclose(joint, 2.0 * alone, rtol=1e-12)
    found = ex.log_joint(x, ex.Mixture([0.4, 0.6], product), missing=True)
    halves = [ex.log_joint(half, MIXTURE, missing=True) for half in (x[:, :D], x[:, D:])]
    expected = halves[0] + halves[1] - np.log([0.4, 0.6])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
