"""Derivatives and differences of log-gamma against mpmath, on every library, in both precisions."""

from __future__ import annotations

import numpy as np
import pytest

from estep_xp.arrays import special
from estep_xp.arrays.namespace import namespace_of
from tests.oracle import mp

DTYPES = ("float64", "float32")
FUNCTIONS = {
    # name: to 50 digits, and the size that errors are compared with
    "log_minus_digamma": (lambda x: mp.log(x) - mp.digamma(x), abs),
    "digamma": (mp.digamma, lambda value: max(1, abs(value))),
    "trigamma": (lambda x: mp.psi(1, x), abs),
    "log_gamma_scaled": (
        lambda x: mp.loggamma(x) - x * mp.log(x) + x,
        lambda value: max(1, abs(value)),
    ),
}
BY_XP = {
    name: lambda x, name=name: getattr(special, name)(namespace_of(x), x) for name in FUNCTIONS
}
# Operation by operation JAX compiles each of them; what is compiled as a whole tells as much.
every_library = pytest.mark.backends("numpy", "array_api_strict", "jax_jit", "torch")
by_function = pytest.mark.parametrize("name", FUNCTIONS)


def arguments(dtype):
    """Numbers near 0, of every size, and on both sides of where one form follows another."""
    rng = np.random.default_rng(3)
    edges = np.asarray([1.0, 10.0, 13.0], dtype)
    sizes = 10.0 ** np.linspace(-30, 20, 60)
    near = [np.nextafter(edges, 0), edges, np.nextafter(edges, np.inf)]
    root = 1.4616321449683623 + 1e-6 * rng.standard_normal(5)  # of digamma
    return np.concatenate([*near, sizes, root, rng.uniform(0.05, 30.0, 60)]).astype(dtype)


@pytest.mark.one_program("name", "dtype")  # see conftest.py
@every_library
@by_function
@pytest.mark.parametrize("dtype", DTYPES)
def test_values(backend, name, dtype):
    exact, size = FUNCTIONS[name]
    x = arguments(dtype)
    if name == "trigamma" and dtype == "float32":
        x = x[x > 1e-18]  # or it overflows
    result = backend.call(BY_XP[name], backend.data(x, dtype))
    backend.assert_like(result, dtype)
    eps = float(np.finfo(dtype).eps)
    for value, actual in zip(x, backend.to_numpy(result), strict=True):
        expected = exact(mp.mpf(float(value)))
        error = abs(mp.mpf(float(actual)) - expected)
        assert error <= 4 * eps * size(expected), f"{name}({value!r}) is {actual!r}"


@by_function
@pytest.mark.backends("jax", "torch")
def test_derivatives(backend, name):
    x = arguments("float64")
    x = x[(x > 1e-9) & (x < 1e12)]
    actual = slopes(backend, BY_XP[name], x)
    for value, slope in zip(x, actual, strict=True):
        digamma, trigamma = (mp.psi(order, mp.mpf(float(value))) for order in (0, 1))
        expected = {
            "log_minus_digamma": 1 / mp.mpf(value) - trigamma,
            "digamma": trigamma,
            "trigamma": mp.psi(2, mp.mpf(float(value))),
            "log_gamma_scaled": digamma - mp.log(mp.mpf(value)),
        }[name]
        error = abs(mp.mpf(float(slope)) - expected)
        assert error <= 1e-14 * max(abs(expected), 1), f"{name}'({value!r}) is {slope!r}"


def slopes(backend, function, x):
    """Differentiate a function of each number."""
    native = backend.data(x)
    if backend.name == "torch":
        native.requires_grad_()
        function(native).sum().backward()
        return native.grad.numpy()
    import jax

    return np.asarray(jax.jit(jax.grad(lambda x: function(x).sum()))(native))


def ratio(x, a):
    return special.log_gamma_ratio(namespace_of(x), x, a)


PAIRS = [(x, a) for x in (2e-38, 1e-20, 0.005, 0.5, 3.2, 12.99, 13.0, 500.0, 1e7, 5e11, 1e20)
         for a in (0.0, 0.5, 1.0, 6.5, 512.0)]  # fmt: skip


def exact_ratio(x, a):
    return mp.loggamma(x + a) - mp.loggamma(x) - a * mp.log(x)


@every_library
@pytest.mark.parametrize("dtype", DTYPES)
def test_ratios(backend, dtype):
    x, a = np.asarray(PAIRS, dtype).T
    result = backend.call(ratio, backend.data(x, dtype), backend.data(a, dtype))
    backend.assert_like(result, dtype)
    eps = float(np.finfo(dtype).eps)
    for one, more, actual in zip(x, a, backend.to_numpy(result), strict=True):
        exact, extra = mp.mpf(float(one)), mp.mpf(float(more))
        error = abs(mp.mpf(float(actual)) - exact_ratio(exact, extra))
        size = 1 + extra * (mp.log(1 + 13 / exact) if one < 13 else 1)
        assert error <= 6 * eps * size, f"ratio({one!r}, {more!r}) is {actual!r}"


@pytest.mark.backends("jax")
def test_derivatives_of_ratios(backend):
    """By x also where the ratio is next to nothing: relatively exact at 1e11."""
    import jax

    pairs = [(x, a) for x, a in PAIRS if 1e-3 < x < 1e12 and a > 0.0]
    x, a = np.asarray(pairs).T
    slopes = jax.jit(jax.vmap(jax.grad(ratio)))(backend.data(x), backend.data(a))
    for (x, a), slope in zip(pairs, slopes.tolist(), strict=True):
        exact, extra = mp.mpf(x), mp.mpf(a)
        expected = mp.digamma(exact + extra) - mp.digamma(exact) - extra / exact
        error = abs(mp.mpf(slope) - expected)
        assert error <= 1e-13 * max(abs(expected), extra / exact**2), (x, a, slope)


@every_library
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_inverse_of_log_minus_digamma(backend, dtype):
    """Shapes of gamma distributions, up to those of rows that are nearly equal."""
    x = 10.0 ** np.linspace(-15, 11, 53)
    with mp.workdps(80):
        gaps = [float(mp.log(mp.mpf(one)) - mp.digamma(mp.mpf(one))) for one in x]
    result = backend.call(inverse, backend.data(gaps, dtype))
    backend.assert_like(result, dtype)
    np.testing.assert_allclose(backend.to_numpy(result), x, rtol=4 * np.finfo(dtype).eps)


def inverse(gap):
    return special.solve_log_minus_digamma(namespace_of(gap), gap)
