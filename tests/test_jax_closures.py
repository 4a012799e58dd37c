"""Arrays that a compiled program closes over: their values exist, those of results do not."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex

jax = pytest.importorskip("jax")
jnp = jax.numpy


def arrays():
    x = np.asarray([0.0, 1.0, 3.0, 2.0, 0.0, 0.0, 5.0])
    components = ex.UnivariateGaussian(jnp.asarray([0.0, 2.0]), jnp.asarray([1.0, 1.0]))
    weights = jnp.asarray([0.3, 0.7])
    hmm = ex.HMM(weights, jnp.asarray([[0.9, 0.1], [0.2, 0.8]]), components)
    return jnp.asarray(x), ex.Mixture(weights, components), hmm


def test_mixtures():
    x, mixture, _ = arrays()
    step = jax.jit(lambda c: ex.e_step(x, mixture).responsibilities * c)
    expected = np.asarray(ex.e_step(x, mixture).responsibilities)
    np.testing.assert_allclose(step(2.0), 2.0 * expected, rtol=1e-14)


def test_chains():
    """Also where what is traced is an argument of the call."""
    x, _, hmm = arrays()
    total = jax.jit(lambda lengths: ex.log_likelihood(x, hmm, lengths=lengths))
    expected = ex.log_likelihood(x, hmm, lengths=[3, 4])
    np.testing.assert_allclose(total(jnp.asarray([3, 4])), expected, rtol=1e-14)
    goes_on = jax.jit(lambda start: ex.filtered(x, hmm, start=start).log_likelihood)
    start = jnp.asarray([[0.1, 0.9]])
    expected = ex.filtered(x, hmm, start=start).log_likelihood
    np.testing.assert_allclose(goes_on(start), expected, rtol=1e-14)


def test_a_bad_row_shows():
    x, mixture, _ = arrays()
    x = x.at[2].set(jnp.nan)
    found = jax.jit(lambda c: ex.e_step(x, mixture).log_likelihood * c)(1.0)
    assert np.flatnonzero(np.isnan(found)).tolist() == [2]


def test_bad_rows_that_a_program_closes_over_are_nan():
    """Their values exist, but what the program computes of them does not, yet."""
    x = jnp.asarray([0.0, 1.0, jnp.inf])
    components = ex.UnivariateGaussian(jnp.asarray([0.0, 3.0]), jnp.ones(2))
    mixture = ex.Mixture(jnp.ones(2), components)
    hmm = ex.HMM(jnp.ones(2), jnp.ones((2, 2)), components)
    by_row, total, by_sequence = jax.jit(
        lambda: (ex.log_density(x, mixture), ex.log_likelihood(x, mixture), ex.log_density(x, hmm))
    )()
    np.testing.assert_array_equal(np.isnan(by_row), [False, False, True])
    assert np.isnan(total)
    assert np.isnan(by_sequence).all()
