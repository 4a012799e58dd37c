"""Rows outside a family's support, and parameters at their bounds, which rule rows out."""

from __future__ import annotations

import re

import numpy as np
import pytest

import estep_xp as ex
from tests.fisher import shares
from tests.oracle import assert_log_joint, assert_responsibilities
from tests.records import RECORDS, Problem, few_on_jax, parametrize, problem

N = 7
with_support = parametrize(*(record for record in RECORDS if record.outside))
AT_BOUNDS = [record for record in RECORDS if record.at_bounds]
with_bounds = parametrize(*AT_BOUNDS)
PAIRS = [(record, value) for record in RECORDS for value in record.outside]
outside = pytest.mark.parametrize(
    ("record", "value"), PAIRS, ids=[f"{record.name}-{value}" for record, value in PAIRS]
)


def with_entry(x, row, value):
    """Rows, the first number of one of them replaced."""
    changed = np.array(x)
    changed[(row, *(0,) * (x.ndim - 1))] = value
    return changed


def all_three(x, mixture):
    """Compute all in one function, which is compiled at once."""
    return ex.e_step(x, mixture), ex.log_joint(x, mixture), ex.log_likelihood(x, mixture)


# Rows


@few_on_jax
@outside
@pytest.mark.backends("numpy", "array_api_strict", "jax", "torch")
def test_numbers_outside_the_support_are_named(backend, record, value):
    case = problem(record, n=N)
    mixture = case.mixture(backend)
    x = backend.data(with_entry(case.x, 4, value))
    index = ", ".join(["4", *["0"] * (case.x.ndim - 1)])
    match = re.escape(f"x[{index}] is {value}; {record.support}")
    for call in (
        lambda: mixture.components.log_prob(x),
        lambda: ex.e_step(x, mixture),
        lambda: ex.log_joint(x, mixture),
        lambda: ex.log_likelihood(x, mixture),
        lambda: ex.expected_statistics(x, mixture),
        lambda: ex.fit(x, mixture),
        lambda: ex.initialize(x, 2, record.start_of(2), seed=0),
    ):
        with pytest.raises(ValueError, match=match):
            call()


@outside
@pytest.mark.backends("jax_jit", "dask")
def test_numbers_outside_the_support_are_nan_where_no_one_can_look(backend, record, value):
    case = problem(record, n=N)
    x, mixture = backend.data(with_entry(case.x, 4, value)), case.mixture(backend)
    step, _, total = backend.call(all_three, x, mixture)
    assert np.isnan(backend.to_numpy(step.log_likelihood)).tolist() == [i == 4 for i in range(N)]
    assert np.isnan(backend.to_numpy(step.responsibilities)[4]).all()
    assert np.isnan(backend.to_numpy(total))


@few_on_jax
@outside
@pytest.mark.backends("jax_jit")
def test_starts_from_numbers_outside_the_support_are_nan_where_no_one_can_look(
    backend, record, value
):
    x = backend.data(with_entry(problem(record, n=N).x, 4, value))
    named = {"n_components": 2, "family": record.start_of(2), "seed": 1}
    start = backend.call(ex.initialize, x, **named)
    assert any(np.isnan(backend.to_numpy(field)).any() for field in start.components)


@with_support
def test_blocks_of_masked_rows_alone(record):
    """A block of which no row takes part has no valid row to stand in for the others."""
    case = problem(record, n=N)
    missing = np.full((6, *case.x.shape[1:]), np.nan)
    weight = np.concatenate([np.ones(N), np.zeros(6)])
    mixture = ex.Mixture(case.weights, record.family(**case.params))
    expected = ex.expected_statistics(case.x, mixture, block_size=3)
    x = np.concatenate([case.x, missing])
    actual = ex.expected_statistics(x, mixture, sample_weight=weight, block_size=3)
    np.testing.assert_allclose(actual.log_likelihood, expected.log_likelihood, rtol=1e-13)
    for one, other in zip(actual.moments, expected.moments, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


@with_support
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
@pytest.mark.backends("jax_jit")
def test_bad_parameters_are_nan_where_no_one_can_look(backend, record, value):
    case = problem(record)
    for name in case.params:
        params = case.params | {name: with_entry(case.params[name], 1, value)}
        mixture = case._replace(params=params).mixture(backend)
        step, joint, _ = backend.call(all_three, backend.data(case.x), mixture)
        joint = backend.to_numpy(joint)
        assert np.isnan(joint).tolist() == [[False, True, False]] * len(case.x)
        assert np.isnan(backend.to_numpy(step.log_likelihood)).all()


# Parameters at their bounds


def case_at_bounds(record):
    params, x = record.at_bounds
    return Problem(record, np.asarray(x), np.asarray([0.5, 0.25, 0.25]), params)


@with_bounds
def test_parameters_at_their_bounds_are_exact(backend, record):
    case = case_at_bounds(record)
    mixture, oracle = case.mixture(backend), case.oracle()
    step, joint, _ = backend.call(all_three, backend.data(case.x), mixture)
    joint = backend.to_numpy(joint)
    assert (joint == -np.inf).any()
    assert_log_joint(joint, oracle, "float64")
    responsibilities = backend.to_numpy(step.responsibilities)
    assert_responsibilities(responsibilities, oracle, "float64")
    assert ((responsibilities == 0.0) == (joint == -np.inf)).all()


@parametrize(*(record for record in AT_BOUNDS if record.slopes))
@pytest.mark.backends("jax")
def test_gradients_at_bounds_are_finite(backend, record):
    """Rows that are possible there have the slopes of the parameters that are inside."""
    import jax

    case = case_at_bounds(record)
    slope = jax.jit(jax.grad(ex.log_likelihood, argnums=(0, 1)))
    by_x, by_mixture = slope(backend.data(case.x), case.mixture(backend))
    for leaf in (by_x, *jax.tree.leaves(by_mixture)):
        assert np.isfinite(leaf).all()
    responsibilities = shares(case.record.log_density(case.x, case.params), case.weights)[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        by_field = record.slopes(case.x, case.params).by_field
    for name, by_row in by_field.items():
        inside = (case.params[name] > 0) & (case.params[name] != 1)
        expected = np.einsum("nk,nk...->k...", responsibilities, np.where(inside, by_row, 0.0))
        actual = np.asarray(getattr(by_mixture.components, name))
        np.testing.assert_allclose(actual[inside], expected[inside], rtol=1e-12)


@pytest.mark.backends("jax")
def test_compiled_with_constant_probabilities_bad_rows_are_nan(backend):
    """XLA compiles the exponential of a constant NaN to any number."""
    import jax

    parameters = (backend.asarray(a, "float32") for a in ([0.5, 0.5], [[0.2], [0.8]]))
    weights, probabilities = parameters
    mixture = ex.Mixture(weights, ex.Bernoulli(probabilities))
    shares = jax.jit(lambda x: ex.e_step(x, mixture).responsibilities)
    for value in (0.5, 2.0, np.nan, np.inf):
        assert np.isnan(shares(backend.data(np.full((3, 1), value), "float32"))).all()
