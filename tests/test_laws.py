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
    by_family,
    compiles,
    components_at,
    dtypes,
    floats,
    mixing_weights,
    numpy_only,
    problems,
    second_field,
    shapes,
    solution_of,
    solve,
    total_of,
)
from tests.oracle import FAMILIES

pytestmark = pytest.mark.backends("numpy", "jax")


@by_family
@LAW
@given(st.data())
def test_responsibilities_are_probabilities(backend, family, data):
    problem = data.draw(problems(backend, family))
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
@by_family
@LAW
@given(st.data())
def test_e_step_is_the_posterior_of_log_prob(backend, family, data):
    problem = data.draw(problems(backend, family))
    x, mixture = problem.arguments(backend)
    result = ex.posterior(mixture.components.log_prob(x), mixture.weights)
    same = solution_of(backend, ex.log_joint(x, mixture), result, problem)
    solve(backend, problem).assert_same(same)


@numpy_only
@by_family
@LAW
@given(st.data())
def test_log_joint_is_log_prob_plus_log_weight(backend, family, data):
    problem = data.draw(problems(backend, family))
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


@by_family
@LAW
@given(st.data())
def test_permuting_components_permutes_columns(backend, family, data):
    problem = data.draw(problems(backend, family))
    order = np.array(data.draw(st.permutations(range(len(problem.weights)))))
    permuted = solve(backend, components_at(problem, order))
    permuted.assert_same(solve(backend, problem).permuted(components=order))


@by_family
@LAW
@given(st.data())
def test_permuting_rows_permutes_rows(backend, family, data):
    problem = data.draw(problems(backend, family))
    order = np.array(data.draw(st.permutations(range(len(problem.x)))))
    permuted = solve(backend, replace(problem, x=problem.x[order]))
    permuted.assert_same(solve(backend, problem).permuted(rows=order))


@by_family
@LAW
@given(st.data())
def test_blocks_make_the_whole(backend, family, data):
    problem = data.draw(problems(backend, family))
    block_size = data.draw(st.sampled_from([2] if compiles(backend) else [1, 2, 7, 1000]))
    workers = data.draw(st.sampled_from([None, 1, 2]))
    options = {"block_size": block_size, "workers": workers}
    solve(backend, problem).assert_same(solve(backend, problem, **options))
    total, slack = total_of(backend, problem)
    assert abs(total - total_of(backend, problem, **options)[0]) <= 2 * slack


@numpy_only
@pytest.mark.parametrize("block_size", [None, 100, 999])
@by_family
def test_many_blocks_make_the_whole(backend, family, block_size):
    rng = np.random.default_rng(0)
    n, k, d = 5000, 3, 2
    variances, above = rng.uniform(0.5, 2.0, (k, d)), rng.uniform(-0.5, 0.5, (k, d, d))
    means, x = rng.normal(0.0, 3.0, (k, d)), rng.normal(0.0, 5.0, (n, d))
    if family == "UnivariateGaussian":
        means, x = means[:, 0], x[:, 0]
    fields = (means, second_field(family, variances, above))
    problem = Problem(family, fields, np.array([0.2, 0.3, 0.6]), x)
    whole = solve(backend, problem, block_size=n)
    whole.assert_same(solve(backend, problem, block_size=block_size, workers=2))


@by_family
@LAW
@given(st.data())
def test_scaling_weights_changes_nothing(backend, family, data):
    problem = data.draw(problems(backend, family))
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
@by_family
@LAW
@given(st.data())
def test_the_total_is_the_sum_of_the_rows(backend, family, data):
    problem = data.draw(problems(backend, family))
    total, slack = total_of(backend, problem)
    result = ex.e_step(*problem.arguments(backend))
    rows = backend.to_numpy(result.log_likelihood).astype(np.float64)
    assert abs(total - rows.sum()) <= 2 * slack
    assert abs(float(backend.to_numpy(result.total_log_likelihood)) - rows.sum()) <= slack


@numpy_only
@by_family
@LAW
@given(st.data())
def test_sample_weights_count_rows(backend, family, data):
    problem = data.draw(problems(backend, family))
    n = len(problem.x)
    counts = data.draw(hnp.arrays(np.int64, n, elements=st.integers(0, 2)))
    total, slack = total_of(backend, problem, counts.astype(np.float64))
    rows = solve(backend, problem).log_likelihood
    assert abs(total - (counts * rows).sum()) <= 2 * slack
    ones, slack = total_of(backend, problem, np.ones(n))
    assert abs(ones - total_of(backend, problem)[0]) <= 2 * slack


@numpy_only
@by_family
@LAW
@given(st.data())
def test_splitting_a_component_splits_its_responsibility(backend, family, data):
    problem = data.draw(problems(backend, family))
    k = len(problem.weights)
    split = data.draw(st.integers(0, k - 1))
    share = data.draw(st.sampled_from([0.0, 0.25, 0.5]))
    double = components_at(problem, np.append(np.arange(k), split))
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
@by_family
@LAW
@given(st.data())
def test_a_component_of_weight_zero_is_not_there(backend, family, data):
    problem = data.draw(problems(backend, family))
    k = len(problem.weights)
    absent = data.draw(st.integers(0, k - 1))
    double = components_at(problem, np.append(np.arange(k), absent))
    double.weights[k] = 0.0
    before, after = solve(backend, problem), solve(backend, double)
    np.testing.assert_array_equal(after.log_joint[:, k], -np.inf)
    np.testing.assert_array_equal(after.responsibilities[:, k], 0.0)
    before.assert_same(after.permuted(components=slice(0, k)))


@by_family
@LAW
@given(st.data())
def test_translating_data_and_means_changes_nothing(backend, family, data):
    grid = 2.0**-6
    problem = data.draw(problems(backend, family, grid))
    # The largest power of two beside which the grid is still exact.
    bits = -int(np.log2(np.finfo(problem.dtype).eps)) - 6
    shift = data.draw(st.sampled_from([1, -1])) * 2.0 ** data.draw(st.integers(3, bits - 1))
    means, second = problem.fields
    shift = problem.dtype.type(shift)
    moved = replace(problem, x=problem.x + shift, fields=(means + shift, second))
    np.testing.assert_array_equal(moved.x - shift, problem.x)
    np.testing.assert_array_equal(moved.fields[0] - shift, means)
    solve(backend, problem).assert_same(solve(backend, moved))


@st.composite
def nested(draw, backend):
    """Draw means (k, d), variances (k, d) with exact square roots, weights, rows, a dtype."""
    n, k, d = draw(shapes(backend))
    means = draw(hnp.arrays(np.float64, (k, d), elements=floats(-8, 8)))
    x = draw(hnp.arrays(np.float64, (n, d), elements=floats(-16, 16)))
    variances = 4.0 ** draw(hnp.arrays(np.int64, (k, d), elements=st.integers(-3, 3)))
    weights = draw(mixing_weights(backend, k))
    return [
        a.astype(dtype) for dtype in [draw(dtypes(backend))] for a in (means, variances, weights, x)
    ]


@LAW
@given(st.data())
def test_families_are_nested(backend, data):
    means, variances, weights, x = data.draw(nested(backend))
    k, d = means.shape

    def solution(family, second, means=means, x=x):
        return solve(backend, Problem(family, (means, second), weights, x))

    factors = (np.eye(d) / np.sqrt(variances)[:, None, :]).astype(x.dtype)
    diagonal = solution("DiagonalGaussian", variances)
    diagonal.assert_same(solution("FullGaussian", factors))

    spherical = solution("SphericalGaussian", variances[:, 0])
    equal = np.repeat(variances[:, :1], d, axis=1)
    spherical.assert_same(solution("DiagonalGaussian", equal))

    tied = solution("TiedGaussian", factors[0])
    tied.assert_same(solution("FullGaussian", np.repeat(factors[:1], k, axis=0)))
    tied.assert_same(solution("DiagonalGaussian", np.repeat(variances[:1], k, axis=0)))

    univariate = solution("UnivariateGaussian", variances[:, 0], means[:, 0], x[:, 0])
    univariate.assert_same(solution("SphericalGaussian", variances[:, 0], means[:, :1], x[:, :1]))


@st.composite
def covariance_matrices(draw, backend):
    """Draw well-conditioned covariances (k, d, d)."""
    _, k, d = draw(shapes(backend))
    roots = draw(hnp.arrays(np.float64, (k, d, d), elements=floats(-1, 1)))
    covariances = roots @ np.swapaxes(roots, 1, 2) + np.eye(d) / 4
    covariances = covariances.astype(draw(dtypes(backend)))
    return (covariances + np.swapaxes(covariances, 1, 2)) / 2


@LAW
@given(st.data())
def test_covariances_survive_their_factorisation(backend, data):
    covariances = data.draw(covariance_matrices(backend))
    (k, d, _), dtype = covariances.shape, covariances.dtype
    condition = np.linalg.cond(covariances.astype(np.float64)).max()
    slack = 16 * d * np.finfo(dtype).eps * condition * np.abs(covariances).max()
    means = backend.asarray(np.zeros((k, d)), dtype)
    full = ex.FullGaussian.from_covariances(means, backend.asarray(covariances))
    tied = ex.TiedGaussian.from_covariance(means, backend.asarray(covariances[0]))
    for components, expected in [(full, covariances), (tied, covariances[0])]:
        actual = backend.to_numpy(components.covariances)
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, expected, rtol=0, atol=slack)
        factor = backend.to_numpy(components.precision_cholesky)
        np.testing.assert_array_equal(factor, np.triu(factor))
        assert (np.diagonal(factor, axis1=-2, axis2=-1) > 0).all()
        unit = factor @ np.swapaxes(factor, -1, -2) @ expected
        np.testing.assert_allclose(unit, np.eye(d) + 0 * unit, rtol=0, atol=4 * slack * condition)


@LAW
@given(st.data())
def test_factors_scale_with_the_features(backend, data):
    covariances = data.draw(covariance_matrices(backend))
    (k, d, _), dtype = covariances.shape, covariances.dtype
    # Powers of two are exact: variances from 1e-30 to 1e30 are no harder than those around one.
    powers = data.draw(hnp.arrays(np.int64, d, elements=st.integers(-50, 50)))
    scales = np.ldexp(np.ones(d, dtype=dtype), powers)
    means = backend.asarray(np.zeros((k, d)), dtype)
    plain, scaled = (
        ex.FullGaussian.from_covariances(means, backend.asarray(values))
        for values in (covariances, covariances * scales * scales[:, None])
    )
    slack = 16 * d * np.finfo(dtype).eps * np.linalg.cond(covariances.astype(np.float64)).max()
    expected = backend.to_numpy(plain.precision_cholesky)
    actual = backend.to_numpy(scaled.precision_cholesky) * scales[:, None]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=slack * np.abs(expected).max())


@pytest.mark.parametrize("family", FAMILIES[:3])
@LAW
@given(st.data())
def test_variances_are_their_own_covariances(backend, family, data):
    problem = data.draw(problems(backend, family))
    _, mixture = problem.arguments(backend)
    covariances = backend.to_numpy(mixture.components.covariances)
    np.testing.assert_array_equal(covariances, problem.fields[1])
    assert covariances.dtype == problem.dtype
