"""estep_xp.jax.fit and em_step: derivatives of a fixed point, and when not to believe them."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests.records import FULL, UNIVARIATE
from tests.textbook import assert_trees_close, case_of

jax = pytest.importorskip("jax", reason="jax is not installed")
jnp = jax.numpy

import estep_xp.jax as ej  # noqa: E402


def fit_case(record, n=60):
    """Two groups of rows that lie apart, so that few iterations are enough."""
    x, mixture = case_of(record, n=n, k=2)
    x = x.at[: n // 3].add(6.0)
    return x, mixture, jnp.linspace(0.5, 1.5, n)


def test_em_step_is_an_iteration_of_fit():
    x, mixture, weight = fit_case(FULL)
    actual = ej.em_step(mixture, x, sample_weight=weight, variance_floor=0.01)
    with pytest.warns(ex.ConvergenceWarning):
        expected = ex.fit(x, mixture, sample_weight=weight, variance_floor=0.01, max_iter=1)
    assert_trees_close(actual, expected.mixture)


@pytest.mark.filterwarnings("ignore::estep_xp.ConvergenceWarning")
@pytest.mark.parametrize(
    ("record", "iterations"), [(UNIVARIATE, 600), (FULL, 200)], ids=["univariate", "full"]
)
def test_implicit_derivatives(record, iterations):
    """By rows, weights of rows and the floor: NumPy's difference quotients; and both modes agree.

    Derivatives of all iterations are the same, but take long to compile.
    """
    x, mixture, weight = fit_case(record)

    def summary(mixture):
        means, second = mixture.components
        return (means**2).sum() + (
            second * jnp.arange(1.0, 1 + second.size).reshape(second.shape)
        ).sum()

    def implicit(x, weight, floor):
        result = ej.fit(x, mixture, sample_weight=weight, variance_floor=floor, tol=1e-15)
        return summary(result.mixture) + result.log_likelihood, result

    def in_numpy(x, weight, floor):
        result = ex.fit(
            x, start, sample_weight=weight, variance_floor=floor, tol=0.0, max_iter=iterations
        )
        return summary(result.mixture) + result.log_likelihood

    arguments = (x, weight, jnp.asarray(0.05))
    actual, result = jax.jit(jax.grad(implicit, argnums=(0, 1, 2), has_aux=True))(*arguments)
    assert bool(result.at_fixed_point)
    assert bool(result.regular)
    here, start = jax.tree.map(np.asarray, (arguments, mixture))
    for seed in range(3):
        rng = np.random.default_rng(seed)
        along = [rng.uniform(-1.0, 1.0, array.shape) for array in here]
        ends = [
            in_numpy(*(a + step * b for a, b in zip(here, along, strict=True)))
            for step in (1e-5, -1e-5)
        ]
        slope = sum((a * b).sum() for a, b in zip(actual, along, strict=True))
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-6)
    if record is UNIVARIATE:
        ones = jax.tree.map(jnp.ones_like, arguments)
        forward = jax.jit(lambda a: jax.jvp(lambda *b: implicit(*b)[0], a, ones)[1])(arguments)
        np.testing.assert_allclose(forward, sum(slope.sum() for slope in actual), rtol=1e-6)


def test_fit_tells_when_it_is_not_to_be_believed():
    x, mixture, _ = fit_case(UNIVARIATE)
    early = ej.fit(x, mixture, max_iter=2)
    assert not bool(early.at_fixed_point)
    assert not bool(early.converged)
    twins = ex.UnivariateGaussian(jnp.zeros(2), jnp.ones(2))

    def of_twins(x):
        result = ej.fit(x, ex.Mixture(jnp.asarray([0.5, 0.5]), twins))
        return result.mixture.weights[0], result

    slope, result = jax.grad(of_twins, has_aux=True)(x)
    assert bool(result.at_fixed_point)
    assert not bool(result.regular)
    assert bool(jnp.isnan(slope).all())
