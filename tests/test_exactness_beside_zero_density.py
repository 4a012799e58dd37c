"""Rows of zero density and masked rows: the numbers beside them against the 50-digit oracle."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import estep_xp as ex
from tests import oracle
from tests.hard_cases import (
    COMPILED,
    Case,
    N,
    by_dtype,
    by_family,
    draw,
    one_program,
    problem,
    problem_of,
)
from tests.records import few_on_jax


def overflowing(family, dtype):
    """Return a problem whose rows 1 and 4 are infinitely far from every component."""
    means, x, variances = draw(24)
    x[1] = x[4] = {"float32": 1e25, "float64": 1e200}[dtype]
    x[4] *= -1.0
    return problem_of(Case(means, variances, 3 * x, correlation=0.1), family, dtype)


def check_degenerate(backend, result, expected, dtype, rows):
    """Check that these rows have zero density, and that the other rows are exact."""
    responsibilities = backend.to_numpy(result.responsibilities)
    log_likelihood = backend.to_numpy(result.log_likelihood)
    np.testing.assert_array_equal(responsibilities[rows], np.nan)
    np.testing.assert_array_equal(log_likelihood[rows], -np.inf)
    others = np.setdiff1d(np.arange(len(log_likelihood)), rows)
    kept = oracle.Oracle(expected.log_joint[others], expected.scale[others])
    oracle.assert_responsibilities(responsibilities[others], kept, dtype)
    oracle.assert_log_likelihood(log_likelihood[others], kept, dtype)


def call_degenerate(backend, count, first, function, *arguments):
    """Call, expecting one warning that counts the rows and names the first, where it can know."""
    if backend.lazy:
        return backend.call(function, *arguments)
    with pytest.warns(RuntimeWarning, match=rf"\b{count}\b") as caught:
        result = backend.call(function, *arguments)
    assert len(caught) == 1
    assert f" {first}" in str(caught[0].message).replace("[", " ")
    return result


@few_on_jax
@COMPILED
@one_program
@by_dtype
@by_family
def test_rows_of_zero_density(backend, family, dtype):
    given = overflowing(family, dtype)
    result = call_degenerate(backend, 2, 1, ex.e_step, *given.arguments(backend))
    check_degenerate(backend, result, given.oracle, dtype, [1, 4])


@few_on_jax
@COMPILED
@one_program
@by_dtype
@by_family
def test_total_over_a_row_of_zero_density(backend, family, dtype):
    x, mixture = overflowing(family, dtype).arguments(backend)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        total = backend.call(ex.log_likelihood, x, mixture)
    assert backend.to_numpy(total) == -np.inf


@COMPILED
@by_dtype
def test_posterior_of_nothing(backend, dtype):
    values = np.random.default_rng(31).normal(0.0, 10.0, (N, 4)).astype(dtype)
    mixing = np.array([0.0, 1.0, 1.0, 3.0], dtype=dtype)
    values[2] = values[5] = -np.inf
    values[3, 1:] = -np.inf  # only the component of weight zero is left
    arguments = backend.data(values, dtype), backend.asarray(mixing, dtype)
    result = call_degenerate(backend, 3, 2, ex.posterior, *arguments)
    check_degenerate(backend, result, oracle.posterior(values, mixing), dtype, [2, 3, 5])


@few_on_jax
@COMPILED
@one_program
@by_dtype
@by_family
def test_masked_rows_leave_the_total_alone(backend, family, dtype):
    given = problem("offset-1e2", family, dtype)
    x = np.array(given.x)
    mask = np.array([1.0, 0.0, 2.5, 0.0, 0.0, 0.75], dtype=dtype)
    x[1], x[3], x[4] = np.nan, -np.inf, {"float32": 1e38, "float64": 1e300}[dtype]
    _, mixture = given.arguments(backend)
    sample_weight = backend.data(mask, dtype)
    x = backend.data(x, dtype)
    total = backend.call(ex.log_likelihood, x, mixture, sample_weight=sample_weight)
    oracle.assert_total(backend.to_numpy(total), given.oracle, dtype, mask)
