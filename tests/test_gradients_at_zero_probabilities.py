"""Derivatives where a probability or rate is 0, or 1: one-sided, and second ones are numbers."""

from __future__ import annotations

import mpmath as mp
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


def bernoulli(p, row):
    return mp.fprod(one if value == 1 else 1 - one for one, value in zip(p, row, strict=True))


def poisson(rates, row):
    return mp.fprod(
        mp.power(rate, int(count)) * mp.exp(-rate) / mp.factorial(int(count))
        for rate, count in zip(rates, row, strict=True)
    )


def categorical(p, kind):
    return p[int(kind)] / mp.fsum(p)


# Rows that the first component makes impossible, by one parameter or by two.
IMPOSSIBLE = {
    "bernoulli": (
        ex.Bernoulli,
        bernoulli,
        [[0.0, 1.0, 0.0], [0.5, 0.5, 0.2]],
        [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 0.0]],
    ),
    "poisson": (
        ex.Poisson,
        poisson,
        [[0.0, 2.0], [1.0, 1.0]],
        [[0.0, 1.0], [1.0, 0.0], [1.0, 3.0], [2.0, 0.0]],
    ),
    "categorical": (
        ex.Categorical,
        categorical,
        [[0.5, 0.0, 0.5], [1.0, 1.0, 2.0]],
        [0.0, 1.0, 2.0, 1.0],
    ),
}


def difference_quotients(density, parameters, rows, sample_weight):
    """One-sided ones, from within 0 .. 1, to 60 digits."""

    def total(p):
        shares = [
            mp.fsum(mp.mpf(w) * density(own, row) for w, own in zip(WEIGHTS, p, strict=True))
            for row in rows
        ]
        return mp.fsum(mp.mpf(w) * mp.log(p) for w, p in zip(sample_weight, shares, strict=True))

    with mp.workdps(60):
        h = mp.mpf(10) ** -30
        exact = [[mp.mpf(one) for one in row] for row in parameters]
        found = np.zeros(np.shape(parameters))
        for i, j in np.ndindex(found.shape):
            step = -h if density is bernoulli and exact[i][j] == 1 else h
            moved = [list(row) for row in exact]
            moved[i][j] += step
            found[i, j] = float((total(moved) - total(exact)) / step)
        return found


@pytest.mark.parametrize("name", IMPOSSIBLE)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.backends("jax")
def test_rows_that_a_parameter_makes_impossible(backend, name, weighted):
    """The density there is 0 and its derivative is not: what the other factors give, over p(x)."""
    import jax

    family, density, parameters, rows = IMPOSSIBLE[name]
    sample_weight = np.arange(len(rows)) % 3.0 if weighted else np.ones(len(rows))
    given = {"sample_weight": backend.data(sample_weight, "float64")} if weighted else {}
    x = backend.data(rows, "float64")

    def total(parameters):
        mixture = ex.Mixture(backend.asarray(WEIGHTS), family(parameters))
        return ex.log_likelihood(x, mixture, **given)

    slopes = jax.grad(total)(backend.asarray(parameters))
    expected = difference_quotients(density, parameters, rows, sample_weight)
    np.testing.assert_allclose(slopes, expected, rtol=1e-12, atol=1e-20)


@pytest.mark.backends("jax")
def test_parts_that_a_parameter_makes_impossible(backend):
    """As rows of a Bernoulli component alone, whose other columns make no difference."""
    import jax

    _, density, parameters, rows = IMPOSSIBLE["bernoulli"]
    x = backend.data(np.c_[rows, np.linspace(-1.0, 1.0, len(rows))])
    alike = ex.UnivariateGaussian(*backend.asarray([[0.0, 0.0], [1.0, 1.0]]))

    def total(parameters):
        product = ex.Product((ex.Bernoulli(parameters), alike))
        return ex.log_likelihood(x, ex.Mixture(backend.asarray(WEIGHTS), product))

    slopes = jax.grad(total)(backend.asarray(parameters))
    expected = difference_quotients(density, parameters, rows, np.ones(len(rows)))
    np.testing.assert_allclose(slopes, expected, rtol=1e-12, atol=1e-20)


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
