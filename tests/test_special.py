"""Special functions against mpmath, on every library and in both precisions."""

from __future__ import annotations

import numpy as np
import pytest

from estep_xp.arrays.namespace import namespace_of
from estep_xp.arrays.special import log_gamma, x_log_y
from tests.oracle import mp

DTYPES = ("float64", "float32")


def arguments(dtype):
    """Counts, numbers near the zeros and the branches, and sizes from tiny to huge."""
    rng = np.random.default_rng(3)
    limits = np.finfo(dtype)
    exponents = np.linspace(np.log10(limits.tiny) + 1, np.log10(limits.max) - 4, 60)
    edges = np.asarray([1.0, 2.0, 3.0, 12.0, 13.0], dtype)
    return np.concatenate(
        [
            np.arange(1, 40),
            np.nextafter(edges, 0),
            np.nextafter(edges, np.inf),
            rng.uniform(0.01, 40.0, 100),
            1.0 + 1e-3 * rng.standard_normal(20),
            2.0 + 1e-3 * rng.standard_normal(20),
            10.0**exponents,
            [2.0**24 + 2, 1e15, 2.0**53],
        ]
    ).astype(dtype)


def of_xp(function):
    """Call a function of a namespace and arrays with the namespace of its arrays."""
    return lambda *arrays: function(namespace_of(*arrays), *arrays)


# Compiled functions are kept by function, so these are made once.
LOG_GAMMA, X_LOG_Y = of_xp(log_gamma), of_xp(x_log_y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_gamma(backend, dtype):
    x = arguments(dtype)
    result = backend.call(LOG_GAMMA, backend.data(x, dtype))
    backend.assert_like(result, dtype)
    eps = float(np.finfo(dtype).eps)
    for value, actual in zip(x, backend.to_numpy(result), strict=True):
        expected = mp.loggamma(mp.mpf(float(value)))
        error = abs(mp.mpf(float(actual)) - expected)
        assert error <= 4 * eps * max(1, abs(expected)), f"log_gamma({value!r}) is {actual!r}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_factorials_of_0_and_1_are_exact(backend, dtype):
    result = backend.call(LOG_GAMMA, backend.data([1.0, 2.0], dtype))
    assert backend.to_numpy(result).tolist() == [0.0, 0.0]


@pytest.mark.backends("jax")
@pytest.mark.parametrize("dtype", DTYPES)
def test_derivative_of_log_gamma_is_digamma(backend, dtype):
    import jax

    x = arguments(dtype)
    x = x[x > 1e-3]
    slope = jax.jit(jax.vmap(jax.grad(LOG_GAMMA)))(backend.data(x, dtype))
    backend.assert_like(slope, dtype)
    eps = float(np.finfo(dtype).eps)
    for value, actual in zip(x, backend.to_numpy(slope), strict=True):
        expected = mp.digamma(mp.mpf(float(value)))
        error = abs(mp.mpf(float(actual)) - expected)
        assert error <= 32 * eps * max(1, abs(expected)), f"digamma({value!r}) is {actual!r}"


@pytest.mark.backends("jax")
def test_second_derivative_of_log_gamma_is_trigamma(backend):
    import jax

    x = np.asarray([0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 7.3, 12.9, 13.0, 1e3, 1e8])
    slope = jax.jit(jax.vmap(jax.grad(jax.grad(LOG_GAMMA))))(backend.data(x))
    expected = [float(mp.psi(1, mp.mpf(float(value)))) for value in x]
    np.testing.assert_allclose(backend.to_numpy(slope), expected, rtol=1e-12)


@pytest.mark.backends("torch")
def test_derivative_of_log_gamma_in_torch(backend):
    x = backend.data(np.asarray([0.5, 1.0, 2.0, 7.3, 13.0, 1e3])).requires_grad_()
    LOG_GAMMA(x).sum().backward()
    expected = [float(mp.digamma(mp.mpf(value))) for value in x.tolist()]
    np.testing.assert_allclose(backend.to_numpy(x.grad), expected, rtol=1e-13)


X = np.asarray([0.0, 0.0, 1.0, 2.0, 3.0, 0.5, 1e15])
Y = np.asarray([0.0, 5.0, 0.0, 1.0, 1e-30, 1e30, 3.0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_x_log_y(backend, dtype):
    x, y = backend.data(X, dtype), backend.data(Y, dtype)
    result = backend.call(X_LOG_Y, x, y)
    backend.assert_like(result, dtype)
    expected = [0.0, 0.0, -np.inf, *(X[3:] * np.log(Y[3:].astype(dtype).astype(float)))]
    rtol = 4 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(backend.to_numpy(result), expected, rtol=rtol)


@pytest.mark.backends("jax")
def test_derivatives_of_x_log_y_are_finite(backend):
    """They are log y and x / y; no number where y is 0 may come from log 0."""
    import jax

    x, y = backend.data(X), backend.data(Y)
    by_x, by_y = jax.jit(jax.vmap(jax.grad(X_LOG_Y, argnums=(0, 1))))(x, y)
    assert np.isfinite(np.asarray(by_x)).all()
    np.testing.assert_allclose(by_x[3:], np.log(Y[3:]), rtol=1e-15)
    np.testing.assert_allclose(by_y, [0.0, 0.0, 0.0, *(X[3:] / Y[3:])], rtol=1e-15)
