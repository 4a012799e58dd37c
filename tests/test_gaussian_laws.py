"""Laws of Gaussian families alone: of centres, covariances and their factors.

See ``test_laws.py`` for those of every family, and for what two results may differ by.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import estep_xp as ex
from tests.lawful import LAW, Problem, dtypes, floats, mixing_weights, problems, shapes, solve
from tests.records import (
    DIAGONAL,
    FULL,
    SPHERICAL,
    TIED,
    UNIVARIATE,
    few_on_jax,
    gaussians_only,
    parametrize,
)

pytestmark = pytest.mark.backends("numpy", "jax")


@few_on_jax
@gaussians_only
@LAW
@given(st.data())
def test_translating_data_and_means_changes_nothing(backend, record, data):
    grid = 2.0**-6
    problem = data.draw(problems(backend, record))
    x, means = (np.round(a / grid) * grid for a in (problem.x, problem.params["means"]))
    problem = replace(problem, x=x, params=problem.params | {"means": means})
    # The largest power of two beside which the grid is still exact.
    bits = -int(np.log2(np.finfo(problem.dtype).eps)) - 6
    shift = data.draw(st.sampled_from([1, -1])) * 2.0 ** data.draw(st.integers(3, bits - 1))
    shift = problem.dtype.type(shift)
    params = problem.params | {"means": means + shift}
    moved = replace(problem, x=x + shift, params=params)
    np.testing.assert_array_equal(moved.x - shift, x)
    np.testing.assert_array_equal(params["means"] - shift, means)
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

    def solution(record, second, means=means, x=x):
        name = "precision_cholesky" if record in (TIED, FULL) else "variances"
        return solve(backend, Problem(record, {"means": means, name: second}, weights, x))

    factors = (np.eye(d) / np.sqrt(variances)[:, None, :]).astype(x.dtype)
    diagonal = solution(DIAGONAL, variances)
    diagonal.assert_same(solution(FULL, factors))

    spherical = solution(SPHERICAL, variances[:, 0])
    equal = np.repeat(variances[:, :1], d, axis=1)
    spherical.assert_same(solution(DIAGONAL, equal))

    tied = solution(TIED, factors[0])
    tied.assert_same(solution(FULL, np.repeat(factors[:1], k, axis=0)))
    tied.assert_same(solution(DIAGONAL, np.repeat(variances[:1], k, axis=0)))

    univariate = solution(UNIVARIATE, variances[:, 0], means[:, 0], x[:, 0])
    univariate.assert_same(solution(SPHERICAL, variances[:, 0], means[:, :1], x[:, :1]))


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


@parametrize(UNIVARIATE, SPHERICAL, DIAGONAL)
@LAW
@given(st.data())
def test_variances_are_their_own_covariances(backend, record, data):
    problem = data.draw(problems(backend, record))
    _, mixture = problem.arguments(backend)
    covariances = backend.to_numpy(mixture.components.covariances)
    np.testing.assert_array_equal(covariances, problem.params["variances"])
    assert covariances.dtype == problem.dtype


def test_rows_drawn_together_vary_as_all_do():
    """Components that vary alike already, in the mean of their rows, are left as they are."""
    counts, variances = np.asarray([10.0, 30.0]), np.asarray([2.0, 5.0])
    components = ex.DiagonalGaussian(np.zeros((2, 2)), np.ones((2, 2)))
    moments = components._moments(np.zeros((2, 2)), counts[:, None] * variances)
    more, drawn = components._draw_together(np, counts, moments, 7.0)
    np.testing.assert_allclose(more, counts + 7.0)
    np.testing.assert_allclose(drawn.second / more[:, None], [variances, variances], rtol=1e-14)
