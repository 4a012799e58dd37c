"""Derivatives by quantities in other units are the same numbers, rescaled."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests.derivatives import D, K, N, derivatives, differentiate, jax_only, total_of
from tests.records import GAUSSIANS, UNIVARIATE, parametrize, problem


def total_by_covariances(x, weights, means, covariances):
    components = ex.FullGaussian.from_covariances(means, covariances)
    return ex.log_likelihood(x, ex.Mixture(weights, components))


def total_by_covariance(x, weights, means, covariance):
    components = ex.TiedGaussian.from_covariance(means, covariance)
    return ex.log_likelihood(x, ex.Mixture(weights, components))


UNITS = {  # a power of ten and half of it: what float32 just holds
    "float32": [1e-30, 1e-8, 1e30],
    "float64": [1e-300, 1e-30, 1e300],
}
units = pytest.mark.parametrize(
    ("dtype", "unit"), [(dtype, unit) for dtype, scales in UNITS.items() for unit in scales]
)


@derivatives
@units
@pytest.mark.parametrize("total", [total_by_covariance, total_by_covariances])
def test_covariances_in_other_units(backend, total, dtype, unit):
    """d/dC of the total in units of C: the factorisation must not square them on the way."""
    rng = np.random.default_rng(5)
    root = rng.standard_normal((K, D, D))
    covariances = root @ np.swapaxes(root, 1, 2) + np.eye(D)
    covariances = covariances if total is total_by_covariances else covariances[0]
    x, means = rng.standard_normal((2, K, D))

    def by_covariance(unit, dtype):
        arrays = (x * unit**0.5, np.ones(K), means * unit**0.5, covariances * unit)
        native = [backend.asarray(a, dtype) for a in arrays]
        return differentiate(backend, total, native)[3].astype(float) * unit

    expected = by_covariance(1.0, "float64")
    tolerance = 2000 * np.finfo(dtype).eps * np.abs(expected).max()
    np.testing.assert_allclose(by_covariance(unit, dtype), expected, rtol=0, atol=tolerance)


@derivatives
@units
def test_weights_in_other_units(backend, dtype, unit):
    """Weights need not sum to 1, nor be near it."""
    case = problem(UNIVARIATE)
    case = case._replace(weights=np.array([0.5, 0.0, 2.0]))

    def by_weights(unit, dtype):
        arrays = case._replace(weights=case.weights * unit).arrays(backend, dtype)
        ones = backend.asarray(np.ones(N), dtype)
        by = differentiate(backend, total_of(case.record.family), arrays, ones)[1]
        return by.astype(float) * unit

    expected = by_weights(1.0, "float64")
    tolerance = 2000 * np.finfo(dtype).eps * np.abs(expected).max()
    np.testing.assert_allclose(by_weights(unit, dtype), expected, rtol=0, atol=tolerance)


@jax_only
@units
@parametrize(*GAUSSIANS[:3])
def test_forward_derivative_by_variances_in_other_units(record, backend, dtype, unit):
    """Forward mode meets dP/dv before the residual: it must not be asked for alone."""
    import jax

    case = problem(record)

    def forward(unit, dtype):
        params = {
            "means": case.params["means"] * unit**0.5,
            "variances": case.params["variances"] * unit,
        }
        scaled = case._replace(x=case.x * unit**0.5, params=params)
        x, weights, means, variances = scaled.arrays(backend, dtype)
        ones = backend.asarray(np.ones(N), dtype)

        def by_variances(variances):
            return total_of(record.family)(x, weights, means, variances, ones)

        # The tangent is in units of the variances, too, so that it is no larger than they are.
        return float(jax.jvp(by_variances, (variances,), (variances,))[1])

    expected = forward(1.0, "float64")
    tolerance = 2000 * np.finfo(dtype).eps * (1 + abs(expected))
    # XLA takes subnormal numbers for zero: a row adds nothing to a second moment below them.
    tolerance += N * D * float(np.finfo(dtype).smallest_normal) / unit * (1 + abs(expected))
    np.testing.assert_allclose(forward(unit, dtype), expected, rtol=0, atol=tolerance)


@jax_only
@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_forward_derivative_by_one_unit_of_variance(backend, unit):
    """(d²/2v² − 1/2v) for a row at distance d: finite, although v^-1.5 is not."""
    import jax

    def total(variance):
        components = ex.UnivariateGaussian(backend.asarray([0.0], "float32"), variance[None])
        return ex.log_likelihood(
            backend.asarray([2.0 * unit**0.5], "float32"), ex.Mixture([1.0], components)
        )

    variance, one = (backend.asarray(value, "float32") for value in (unit, 1.0))
    slope = float(jax.jvp(total, (variance,), (one,))[1])
    np.testing.assert_allclose(slope * unit, 1.5, rtol=1e-5)


@derivatives
@pytest.mark.parametrize(("dtype", "largest"), [("float32", 88.0), ("float64", 709.0)])
def test_zero_weight_of_a_component_more_likely_by_far(backend, dtype, largest):
    """Its derivative is p_k/p − 1, here almost the largest number that there is."""
    x = np.sqrt(2 * largest)
    weights = backend.asarray([1.0, 0.0], dtype)
    arrays = [backend.asarray([x], dtype), weights]
    arrays += [backend.asarray([0.0, x], dtype), backend.asarray([1.0, 1.0], dtype)]
    ones = backend.asarray([1.0], dtype)
    actual = differentiate(backend, total_of(UNIVARIATE.family), arrays, ones)[1]
    distance = float(np.asarray([x], dtype)[0])
    bound = 16 * np.finfo(dtype).eps * (1 + largest)
    np.testing.assert_allclose(actual[1], np.exp(distance**2 / 2), rtol=2 * bound)
    assert actual[0] == 0.0
