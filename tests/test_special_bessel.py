"""Modified Bessel functions against mpmath, on every library, in both precisions."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from estep_xp.arrays.namespace import namespace_of
from estep_xp.arrays.special import bessel_ratio, inverse_bessel_ratio, log_i0_scaled
from tests.oracle import mp

# Operation by operation JAX compiles each of them; what is compiled as a whole tells as much.
every_library = pytest.mark.backends("numpy", "array_api_strict", "jax_jit", "torch")
in_both_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])
SIZES = [1e-30, 1e-9, 0.3, 1.0, 4.2, 7.7, 7.749, 7.75, 9.1, 13.0, 40.0, 700.0, 1e5, 1e10]


@functools.cache
def exact_ratio(x):
    """I1 / I0, which mpmath takes minutes for at 1e10."""
    if x < 1e4:
        return mp.besseli(1, x) / mp.besseli(0, x)
    return asymptotic(1, x) / asymptotic(0, x)


@functools.cache
def exact_log(x):
    if x < 1e4:
        return mp.log(mp.besseli(0, x)) - x
    return mp.log(asymptotic(0, x)) - mp.log(2 * mp.pi * x) / 2


def asymptotic(order, x):
    """Give √(2πx) exp(−x) I(x) for large x (Abramowitz and Stegun 1964, 9.7.1)."""
    terms = [mp.mpf(1)]
    for i in range(1, 20):
        terms.append(terms[-1] * ((2 * i - 1) ** 2 - 4 * order**2) / (8 * i * x))
    return mp.fsum(terms)


def everything(x):
    xp = namespace_of(x)
    return log_i0_scaled(xp, x), *bessel_ratio(xp, x)


@every_library
@in_both_dtypes
def test_values(backend, dtype):
    x = np.asarray(SIZES, dtype)
    results = backend.call(everything, backend.data(x, dtype))
    exact = exact_log, exact_ratio, lambda x: 1 - exact_ratio(x)
    eps = float(np.finfo(dtype).eps)
    for result, function, units in zip(results, exact, (4, 4, 24), strict=True):
        backend.assert_like(result, dtype)
        for value, actual in zip(x, backend.to_numpy(result), strict=True):
            expected = function(mp.mpf(float(value)))
            error = abs(mp.mpf(float(actual)) - expected)
            assert error <= units * eps * abs(expected), f"{value!r}: {actual!r}"


def test_values_at_0_are_exact():
    log, ratio, lack = everything(np.zeros(1))
    assert (log[0], ratio[0], lack[0]) == (0.0, 0.0, 1.0)


@pytest.mark.backends("jax", "torch")
def test_derivative_of_log_i0_scaled(backend):
    """It is I1 / I0 − 1, and −1 at 0."""
    x = np.asarray([0.0, *SIZES])
    native = backend.data(x)
    if backend.name == "torch":
        native.requires_grad_()
        log_i0_scaled(namespace_of(native), native).sum().backward()
        slopes = native.grad.numpy()
    else:
        import jax

        slopes = jax.jit(jax.grad(lambda x: log_i0_scaled(jax.numpy, x).sum()))(native)
    expected = [float(exact_ratio(mp.mpf(value)) - 1) for value in x]
    np.testing.assert_allclose(slopes, expected, rtol=1e-14)


def inverse(ratio, lack):
    return inverse_bessel_ratio(namespace_of(ratio), ratio, lack)


@every_library
@in_both_dtypes
def test_inverse(backend, dtype):
    ratios = [exact_ratio(mp.mpf(x)) for x in SIZES]
    numbers = ([float(f(r)) for r in ratios] for f in (lambda r: r, lambda r: 1 - r))
    result = backend.call(inverse, *(backend.data(a, dtype) for a in numbers))
    backend.assert_like(result, dtype)
    # Near 8 a rounding of the ratio moves x by 14 times as much.
    rtol = 40 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(backend.to_numpy(result), SIZES, rtol=rtol)


def test_inverse_at_the_ends():
    x = inverse(np.asarray([0.0, 1.0]), np.asarray([1.0, 0.0]))
    assert x.tolist() == [0.0, np.inf]


@pytest.mark.backends("jax")
def test_derivative_of_the_inverse(backend):
    """By implicit differentiation: dx/dr = 1 / A′(x), A′ = 1 − A / x − A²."""
    import jax

    x = np.asarray([1e-9, 0.3, 1.0, 4.2, 7.7, 9.1, 40.0, 1e5])
    exact = [exact_ratio(mp.mpf(one)) for one in x]
    lack = np.asarray([float(1 - r) for r in exact])
    slope = jax.jit(jax.grad(lambda lack: inverse(1.0 - lack, lack).sum()))(backend.data(lack))
    expected = [float(-1 / (1 - r / mp.mpf(one) - r * r)) for one, r in zip(x, exact, strict=True)]
    np.testing.assert_allclose(slope[1:], expected[1:], rtol=1e-12)
