"""Derivatives where a probability or rate is 0, or 1: one-sided, and second ones are numbers."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex

WEIGHTS = np.array([0.4, 0.6])
THIRD = 1.0 / 3.0
# A family, its parameters, a row, and derivatives of log p(x) = log Σ w f: Σ w f' over Σ w f.
CASES = {
    "poisson": (ex.Poisson, [0.0, 1.0], [0.0], [-0.4, -0.6 / np.e], 0.4 + 0.6 / np.e),
    "bernoulli": (
        ex.Bernoulli,
        [[0.0, 1.0], [0.5, 0.5]],
        [[0.0, 1.0]],
        [[-0.4, 0.4], [-0.3, 0.3]],
        0.4 + 0.15,
    ),
    "categorical": (
        ex.Categorical,
        [[0.5, 0.0, 0.5], [1.0, 1.0, 1.0]],
        [0],
        [[0.2, -0.2, -0.2], [0.4 * THIRD, -0.2 * THIRD, -0.2 * THIRD]],
        0.2 + 0.6 * THIRD,
    ),
}
cases = pytest.mark.parametrize("name", CASES)


@cases
@pytest.mark.backends("jax")
def test_in_jax(backend, name):
    import jax

    family, parameters, row, slopes, density = CASES[name]
    x, weights = backend.data(row, "float64"), backend.asarray(WEIGHTS)

    def total(parameters):
        return ex.log_likelihood(x, ex.Mixture(weights, family(parameters)))

    given = backend.asarray(parameters)
    expected = np.asarray(slopes) / density
    np.testing.assert_allclose(jax.grad(total)(given), expected, rtol=1e-13)
    assert np.isfinite(jax.jit(jax.hessian(total))(given)).all()


@cases
@pytest.mark.backends("torch")
def test_in_torch(backend, name):
    import torch

    family, parameters, row, slopes, density = CASES[name]
    given = torch.tensor(parameters, dtype=torch.float64, requires_grad=True)
    mixture = ex.Mixture(backend.asarray(WEIGHTS), family(given))
    ex.log_density(backend.data(row, "float64"), mixture).sum().backward()
    expected = np.asarray(slopes) / density
    np.testing.assert_allclose(given.grad.numpy(), expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("count", "rate", "expected"),
    [
        (1e306, 1e306, 0.0),
        (1e306, 1e308, 1e306 * (np.log(100.0) + 1.0 - 100.0)),
        (0.0, 1e308, -1e308),
    ],
)
def test_counts_whose_factorial_overflows(count, rate, expected):
    found = ex.Poisson([rate]).log_prob([count])[0, 0]
    # Terms of the size of 7e308 cancel: what is promised is relative to them.
    assert abs(found - expected) <= 1e-13 * 700.0 * count + 1e-15 * rate
