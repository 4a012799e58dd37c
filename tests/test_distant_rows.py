"""One M-step of gamma and von Mises components is right however far they are from the rows."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests.fits import cut_short
from tests.oracle import mp
from tests.records.von_mises import log_i0_scaled

# How far: rows over the mean of the component.
RATIOS = [1e-12, 1e-4, 0.2, 1.0, 6.0, 1e4, 1e12]


def gamma_maximum(x):
    """Shape and mean that make rows most likely, to 50 digits."""
    rows = [mp.mpf(float(value)) for value in x]
    mean = mp.fsum(rows) / len(rows)
    gap = mp.log(mean) - mp.fsum(map(mp.log, rows)) / len(rows)
    found = mp.findroot(lambda t: t - mp.digamma(mp.exp(t)) - gap, mp.log(0.5 / gap), tol=1e-30)
    return float(mp.exp(found)), float(mean)


def rows_of(shape, ratio, dtype):
    x = np.random.default_rng(3).gamma(shape, 1.0 / shape, 60) * ratio
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.backends("numpy", "jax")
def test_gamma_rows_far_from_the_mean(backend, dtype, ratio):
    # Of logarithms as large as 28 float32 has as many digits as the mean of 60 of them needs.
    shapes, rtol = ([0.7, 3.0, 40.0], 1e-12) if dtype == "float64" else ([0.7, 3.0], 3e-5)
    for shape in shapes:
        rows = rows_of(shape, ratio, dtype)
        x = backend.data(rows, dtype)
        start = ex.Gamma(backend.data([2.0], dtype), backend.data([2.0], dtype))
        mixture = ex.Mixture(backend.data([1.0], dtype), start)
        once = backend.call(lambda x, m: ex.m_step(ex.expected_statistics(x, m)), x, mixture)
        found, rates = map(backend.to_numpy, once.components)
        expected, mean = gamma_maximum(rows)
        np.testing.assert_allclose(found, expected, rtol=rtol * max(shape, 1.0))
        np.testing.assert_allclose(found / rates, mean, rtol=8.0 * np.finfo(dtype).eps)
        before, after = (float(ex.log_likelihood(x, one)) for one in (mixture, once))
        assert after >= before - 1e-6 * abs(before)


@cut_short
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("ratio", RATIOS)
def test_em_never_falls_where_rows_are_nearly_equal(dtype, ratio):
    """From afar they cannot be told from equal rows; the next step can."""
    x = rows_of(1e6, ratio, dtype)
    start = ex.Mixture(np.ones(1, dtype), ex.Gamma(np.full(1, 2, dtype), np.full(1, 2, dtype)))
    result = ex.fit(x, start, max_iter=5, tol=0.0)
    history = np.r_[float(ex.log_likelihood(x, start)), result.history]
    assert (np.diff(history) >= -1e-6 * np.abs(history[1:])).all()
    expected, mean = gamma_maximum(x)
    shape, rate = (a[0] for a in result.mixture.components)
    np.testing.assert_allclose([shape, shape / rate], [expected, mean], rtol=1e-3)


@pytest.mark.parametrize("ratio", [1e-8, 1e8])
def test_estimates_from_a_distant_template(ratio):
    x = rows_of(3.0, ratio, "float64")
    template = ex.Gamma([2.0], [2.0])
    shapes, rates = ex.estimate(x, np.zeros(60, int), template).components
    np.testing.assert_allclose([shapes[0], shapes[0] / rates[0]], gamma_maximum(x), rtol=1e-12)


def test_sums_of_distant_rows_merge_recentre_and_scale():
    x = rows_of(3.0, 1e8, "float64")
    far, near = (ex.Mixture([1.0], ex.Gamma([2.0], [2.0 / m])) for m in (1.0, 0.9e8))
    parts = [ex.expected_statistics(piece, far) for piece in (x[:20], x[20:])]
    whole = ex.merge(*parts)
    for one in (whole, ex.scale(whole, 3.0), ex.recenter(whole, near)):
        shapes, rates = ex.m_step(one).components
        expected = gamma_maximum(x)
        np.testing.assert_allclose([shapes[0], shapes[0] / rates[0]], expected, rtol=1e-11)


@cut_short
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("turn", [0.0, 1e-3, 0.5 * np.pi, 3.0, np.pi])
@pytest.mark.parametrize("kappa", [5.0, 1e4, 1e8])
def test_von_mises_rows_far_from_the_location(dtype, turn, kappa):
    x = (turn + np.random.default_rng(4).standard_normal(60) / np.sqrt(kappa)).astype(dtype)
    start = ex.Mixture(np.ones(1, dtype), ex.VonMises(np.zeros(1, dtype), np.full(1, 1.5, dtype)))
    result = ex.fit(x, start, max_iter=4, tol=0.0)
    history = np.r_[float(ex.log_likelihood(x, start)), result.history]
    assert (np.diff(history) >= -1e-5 * np.abs(history[1:])).all()
    rows = [mp.mpf(float(value)) for value in x]
    sine, cosine = (mp.fsum(map(f, rows)) / len(rows) for f in (mp.sin, mp.cos))
    location, length = mp.atan2(sine, cosine), mp.hypot(sine, cosine)
    # A(κ) = length, by the derivative of log I₀.
    guess = 0.5 / (1 - length)
    found = mp.findroot(
        lambda k: (
            mp.diff(log_i0_scaled, k) + 1 - length
            if k < 1e3
            else (1 / (2 * k) + 1 / (8 * k**2) + 1 / (8 * k**3) - (1 - length))
        ),
        (guess, guess * 1.01),
        solver="secant",
        tol=1e-20,
    )
    locations, kappas = result.mixture.components
    eps = np.finfo(dtype).eps
    away = abs(np.exp(1j * float(locations[0])) - np.exp(1j * float(location)))
    assert away <= 8.0 * np.pi * eps
    np.testing.assert_allclose(kappas[0], float(found), rtol=max(1e-6, 1e3 * eps))
