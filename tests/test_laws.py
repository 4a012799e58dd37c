"""Laws that every family obeys on every input, stated as properties and tried on drawn examples.

Both sides of a law are rounded, so they may differ by twice the error that each may have (see
``oracle.py``): 16 eps (1 + T). Nothing here compares with a reference; ``test_exactness.py`` does.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import estep_xp as ex
from tests import oracle
from tests.lawful import (
    LAW,
    Problem,
    Solution,
    compiles,
    dtypes,
    floats,
    numpy_only,
    problems,
    shapes,
    solution_of,
    solve,
    total_of,
)
from tests.records import every_family, few_on_jax

pytestmark = [pytest.mark.backends("numpy", "jax"), few_on_jax]


@every_family
@LAW
@given(st.data())
def test_responsibilities_are_probabilities(backend, record, data):
    problem = data.draw(problems(backend, record))
    result = ex.e_step(*problem.arguments(backend))
    responsibilities = backend.to_numpy(result.responsibilities)
    assert (responsibilities >= 0).all()
    assert (responsibilities <= 1).all()
    oracle.assert_rows_sum_to_one(responsibilities)
    np.testing.assert_array_equal(backend.to_numpy(result.labels), responsibilities.argmax(axis=1))
    entropy = backend.to_numpy(result.entropy)
    k = responsibilities.shape[1]
    assert (entropy >= 0).all()
    assert (entropy <= np.log(k) + (16 + k) * np.finfo(problem.dtype).eps).all()


@numpy_only
@every_family
@LAW
@given(st.data())
def test_e_step_is_the_posterior_of_log_prob(backend, record, data):
    problem = data.draw(problems(backend, record))
    x, mixture = problem.arguments(backend)
    result = ex.posterior(mixture.components.log_prob(x), mixture.weights)
    same = solution_of(backend, ex.log_joint(x, mixture), result, problem)
    solve(backend, problem).assert_same(same)


@numpy_only
@every_family
@LAW
@given(st.data())
def test_log_joint_is_log_prob_plus_log_weight(backend, record, data):
    problem = data.draw(problems(backend, record))
    x, mixture = problem.arguments(backend)
    log_prob = backend.to_numpy(mixture.components.log_prob(x)).astype(np.float64)
    weights = problem.weights.astype(np.float64)
    with np.errstate(divide="ignore"):
        expected = log_prob + np.log(weights / weights.sum())
    log_joint = backend.to_numpy(ex.log_joint(x, mixture))
    finite = expected > -np.inf
    np.testing.assert_array_equal(log_joint[~finite], -np.inf)
    error = np.abs(log_joint - np.where(finite, expected, 0))
    assert (error <= 2 * problem.log_joint_bound)[finite].all()


@every_family
@LAW
@given(st.data())
def test_permuting_components_permutes_columns(backend, record, data):
    problem = data.draw(problems(backend, record))
    order = np.array(data.draw(st.permutations(range(len(problem.weights)))))
    permuted = solve(backend, problem.at(order))
    permuted.assert_same(solve(backend, problem).permuted(components=order))


@every_family
@LAW
@given(st.data())
def test_permuting_rows_permutes_rows(backend, record, data):
    problem = data.draw(problems(backend, record))
    order = np.array(data.draw(st.permutations(range(len(problem.x)))))
    permuted = solve(backend, replace(problem, x=problem.x[order]))
    permuted.assert_same(solve(backend, problem).permuted(rows=order))


@every_family
@LAW
@given(st.data())
def test_blocks_make_the_whole(backend, record, data):
    problem = data.draw(problems(backend, record))
    block_size = data.draw(st.sampled_from([2] if compiles(backend) else [1, 2, 7, 1000]))
    workers = data.draw(st.sampled_from([None, 1, 2]))
    options = {"block_size": block_size, "workers": workers}
    solve(backend, problem).assert_same(solve(backend, problem, **options))
    total, slack = total_of(backend, problem)
    assert abs(total - total_of(backend, problem, **options)[0]) <= 2 * slack


@numpy_only
@pytest.mark.parametrize("block_size", [None, 100, 999])
@every_family
def test_many_blocks_make_the_whole(backend, record, block_size):
    n, k, d = 5000, 3, 2
    params = record.random(0, k, d)
    problem = Problem(record, params, np.array([0.2, 0.3, 0.6]), record.data(0, n, d))
    whole = solve(backend, problem, block_size=n)
    whole.assert_same(solve(backend, problem, block_size=block_size, workers=2))


@every_family
@LAW
@given(st.data())
def test_scaling_weights_changes_nothing(backend, record, data):
    problem = data.draw(problems(backend, record))
    exponent = data.draw(st.integers(-80, 80))
    scaled = replace(problem, weights=np.ldexp(problem.weights, exponent))
    solve(backend, problem).assert_same(solve(backend, scaled))


@LAW
@given(st.data())
def test_adding_a_constant_to_log_prob_moves_the_log_likelihood_only(backend, data):
    n, k, _ = data.draw(shapes(backend))
    dtype = data.draw(dtypes(backend))
    # Multiples of 1/16: the sums with the constants are exact.
    sixteenths = hnp.arrays(np.int64, (n, k), elements=st.integers(-4000, 4000))
    log_prob = data.draw(sixteenths) / 16
    absent = data.draw(hnp.arrays(np.bool_, (n, k), elements=st.booleans()))
    log_prob[absent] = -np.inf
    weights = data.draw(hnp.arrays(np.float64, k, elements=floats(2**-10, 2**10))).astype(dtype)
    log_prob[:, 0] = np.where(absent.all(axis=1), 0.0, log_prob[:, 0])
    constant = data.draw(hnp.arrays(np.int64, (n, 1), elements=st.integers(-(10**5), 10**5)))
    before, after = (
        posterior_of(backend, values.astype(dtype), weights)
        for values in (log_prob, log_prob + constant)
    )
    before.assert_same(after, shift=constant)


def posterior_of(backend, log_prob, weights):
    """Return the solution for given log-densities; its log-joint is formed here, in float64."""
    result = ex.posterior(backend.data(log_prob), backend.asarray(weights))
    responsibilities, log_likelihood = (backend.to_numpy(a).astype(np.float64) for a in result)
    wide = weights.astype(np.float64)
    log_joint = log_prob + np.log(wide / wide.sum())
    constants = max(abs(np.log(wide.sum())), np.abs(np.log(wide)).max())
    scale = np.where(log_prob > -np.inf, np.abs(log_prob), 0.0).clip(constants)
    bound = 16 * np.finfo(log_prob.dtype).eps * (1 + scale)
    tiny = float(np.finfo(log_prob.dtype).tiny)
    return Solution(log_joint, responsibilities, log_likelihood, bound, tiny)


@numpy_only
@every_family
@LAW
@given(st.data())
def test_the_total_is_the_sum_of_the_rows(backend, record, data):
    problem = data.draw(problems(backend, record))
    total, slack = total_of(backend, problem)
    result = ex.e_step(*problem.arguments(backend))
    rows = backend.to_numpy(result.log_likelihood).astype(np.float64)
    assert abs(total - rows.sum()) <= 2 * slack
    assert abs(float(backend.to_numpy(result.total_log_likelihood)) - rows.sum()) <= slack


@numpy_only
@every_family
@LAW
@given(st.data())
def test_sample_weights_count_rows(backend, record, data):
    problem = data.draw(problems(backend, record))
    n = len(problem.x)
    counts = data.draw(hnp.arrays(np.int64, n, elements=st.integers(0, 2)))
    total, slack = total_of(backend, problem, counts.astype(np.float64))
    rows = solve(backend, problem).log_likelihood
    assert abs(total - (counts * rows).sum()) <= 2 * slack
    ones, slack = total_of(backend, problem, np.ones(n))
    assert abs(ones - total_of(backend, problem)[0]) <= 2 * slack


@numpy_only
@every_family
@LAW
@given(st.data())
def test_splitting_a_component_splits_its_responsibility(backend, record, data):
    problem = data.draw(problems(backend, record))
    k = len(problem.weights)
    split = data.draw(st.integers(0, k - 1))
    share = data.draw(st.sampled_from([0.0, 0.25, 0.5]))
    double = problem.at(np.append(np.arange(k), split))
    double.weights[[split, k]] *= np.array([1 - share, share], dtype=problem.dtype)
    before, after = solve(backend, problem), solve(backend, double)
    responsibilities = after.responsibilities[:, :k].copy()
    responsibilities[:, split] += after.responsibilities[:, k]
    joined = replace(
        before,
        log_likelihood=after.log_likelihood,
        responsibilities=responsibilities,
        # A small share has a larger logarithm than the weight had.
        bound=np.maximum(after.bound[:, :k], after.bound[:, [k]] * (np.arange(k) == split)),
    )
    before.assert_same(joined)


@numpy_only
@every_family
@LAW
@given(st.data())
def test_a_component_of_weight_zero_is_not_there(backend, record, data):
    problem = data.draw(problems(backend, record))
    k = len(problem.weights)
    absent = data.draw(st.integers(0, k - 1))
    double = problem.at(np.append(np.arange(k), absent))
    double.weights[k] = 0.0
    before, after = solve(backend, problem), solve(backend, double)
    np.testing.assert_array_equal(after.log_joint[:, k], -np.inf)
    np.testing.assert_array_equal(after.responsibilities[:, k], 0.0)
    before.assert_same(after.permuted(components=slice(0, k)))
