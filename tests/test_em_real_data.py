"""EM on real data: it climbs, acceleration helps it, and it finds what scikit-learn finds."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

import estep_xp as ex
from tests.fits import NUMPY, cut_short, fit
from tests.records import gaussians_only, problem
from tests.samples import SAMPLES, real_data


@functools.cache
def fitted(index, accelerate, variance_floor=1e-6):
    """Fit a sample to the end; several tests look at it."""
    sample = SAMPLES[index]
    return ex.fit(
        sample.x,
        sample.start(),
        tol=1e-10,
        max_iter=10_000,
        accelerate=accelerate,
        variance_floor=variance_floor,
    )


def floor_effect(mixture, n, floor):
    covariances = np.asarray(mixture.components.covariances)
    if covariances.ndim == 3:
        inverse_squares = np.trace(np.linalg.matrix_power(covariances, -2), axis1=1, axis2=2)
    else:
        inverse_squares = np.sum(covariances**-2.0)
    return float(n * floor**2 * np.max(inverse_squares) / 4)


def rounding_of(log_likelihood):
    return 1e-11 * abs(log_likelihood)


@real_data
@pytest.mark.parametrize("accelerate", [False, True], ids=["plain", "accelerated"])
@pytest.mark.parametrize("variance_floor", [0.0, 1e-6])
def test_the_history_never_falls(sample, accelerate, variance_floor):
    """By more than rounding; it starts no lower than the start and ends at the result."""
    result = fitted(SAMPLES.index(sample), accelerate, variance_floor)
    assert result.converged is True
    before = float(ex.log_likelihood(sample.x, sample.start()))
    rises = np.diff([before, *result.history])
    allowed = rounding_of(result.log_likelihood)
    if accelerate:
        # A floor e keeps the M-step from the maximum of its objective by N e² tr(C⁻²) / 4 at most:
        # nothing, but for a component that would collapse without it. An extrapolation may come
        # nearer, and the next step leads back.
        allowed += floor_effect(result.mixture, len(sample.x), variance_floor)
    assert rises.min() >= -allowed, rises.min()
    assert len(result.history) == result.n_iter
    assert result.history[-1] == result.log_likelihood
    total = ex.log_likelihood(sample.x, result.mixture)
    np.testing.assert_allclose(result.log_likelihood, total, rtol=1e-13)


KINDS = {
    "univariate": "diag",
    "spherical": "spherical",
    "diagonal": "diag",
    "tied": "tied",
    "full": "full",
}


@functools.cache
def scikit_learn(index):
    """Fit scikit-learn's mixture from the same start, by the same rule."""
    sample = SAMPLES[index]
    weights, components = sample.start()
    if hasattr(components, "variances"):
        precisions = 1.0 / components.variances
    else:
        factors = components.precision_cholesky
        precisions = factors @ np.swapaxes(factors, -1, -2)
    kind = KINDS[sample.record.name]
    return GaussianMixture(
        sample.k,
        covariance_type=kind,
        tol=1e-10,
        max_iter=10_000,
        weights_init=weights,
        means_init=components.means.reshape(sample.k, -1),
        precisions_init=precisions[:, None] if sample.record.univariate else precisions,
    ).fit(sample.rows)


@real_data
def test_scikit_learns_optimum(sample):
    """From the same start to the same mixture, not only to the same height."""
    index = SAMPLES.index(sample)
    result, other = fitted(index, False), scikit_learn(index)
    total = other.score(sample.rows) * len(sample.x)
    assert abs(result.log_likelihood - total) < 1e-6
    # scikit-learn counts E-steps, the first included.
    assert abs(result.n_iter + 1 - other.n_iter_) <= 1
    scale = sample.rows.std(axis=0)
    means = result.mixture.components.means.reshape(sample.k, -1)
    np.testing.assert_allclose(result.mixture.weights, other.weights_, rtol=0, atol=1e-5)
    np.testing.assert_allclose(means / scale, other.means_ / scale, rtol=0, atol=1e-4)


@real_data
def test_acceleration_reaches_the_same_optimum(sample):
    plain, fast = (fitted(SAMPLES.index(sample), accelerate) for accelerate in (False, True))
    assert fast.converged
    assert abs(fast.log_likelihood - plain.log_likelihood) < 1e-6 * len(sample.x)
    assert fast.n_iter <= plain.n_iter


def test_acceleration_saves_iterations():
    """On these data it takes half of them: 229 instead of 442."""
    plain, fast = (
        sum(fitted(i, accelerate).n_iter for i in range(len(SAMPLES)))
        for accelerate in (False, True)
    )
    assert fast < 0.6 * plain, (fast, plain)


@cut_short
@gaussians_only
def test_acceleration_falls_back_where_it_leaps_too_far(record):
    """Shapeless data, where extrapolations often overshoot: never lower, and no slower."""
    counts = [0, 0]
    for seed in (0, 1, 3, 4):
        case = problem(record, seed=seed, n=200)
        options = {"tol": 1e-7, "max_iter": 500, "variance_floor": 0.0}
        for accelerate in (False, True):
            result = fit(NUMPY, case, accelerate=accelerate, **options)
            rises = np.diff(result.history)
            assert rises.min() >= -rounding_of(result.log_likelihood), (seed, accelerate)
            counts[accelerate] += result.n_iter
    assert counts[1] < counts[0]


@real_data
def test_aic_bic_and_icl(sample):
    """Of scikit-learn's own fit; it knows no ICL, so that one is computed by hand."""
    index = SAMPLES.index(sample)
    result, other = fitted(index, False), scikit_learn(index)
    np.testing.assert_allclose(result.aic(sample.x), other.aic(sample.rows), rtol=1e-8)
    np.testing.assert_allclose(result.aic(), result.aic(sample.x), rtol=1e-12)
    np.testing.assert_allclose(result.bic(sample.x), other.bic(sample.rows), rtol=1e-8)
    shares = other.predict_proba(sample.rows)
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum()
    expected = other.bic(sample.rows) + 2 * entropy
    np.testing.assert_allclose(result.icl(sample.x), expected, rtol=1e-6)


@cut_short
def test_an_extrapolation_never_ends_a_fit():
    """It may come out at the height of the step before, with a long climb still ahead."""
    rng = np.random.default_rng(59)
    x = np.concatenate([rng.normal(size=(60, 2)), rng.normal(size=(40, 2)) + 1.5])
    start = ex.initialize(x, 3, ex.FullGaussian, seed=59)
    result = ex.fit(x, start, tol=1e-4, accelerate=True)
    assert result.converged
    further = ex.fit(x, result.mixture, max_iter=1)
    assert further.log_likelihood - result.log_likelihood < 1e-4 * len(x)
