"""Every number of the E-step against the 50-digit oracle, where floating point is at its worst."""

from __future__ import annotations

import math

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.execution.numpy import driver
from tests import oracle
from tests.hard_cases import (
    COMPILED,
    CONCRETE,
    FREE,
    SELECTED,
    VECTOR,
    Case,
    K,
    N,
    by_dtype,
    by_family,
    draw,
    everywhere,
    one_program,
    problem,
    problem_of,
)
from tests.oracle import FAMILIES, mp
from tests.records import few_on_jax


def log_prob(x, components):
    """Call the method, as a function that can be compiled."""
    return components.log_prob(x)


def check_log_joint(backend, given):
    """Check log_prob and log_joint of one problem."""
    x, mixture = given.arguments(backend)
    densities = backend.to_numpy(backend.call(log_prob, x, mixture.components))
    oracle.assert_log_prob(densities, given.family, given.fields, given.x, given.dtype)
    log_joint = backend.to_numpy(backend.call(ex.log_joint, x, mixture))
    oracle.assert_log_joint(log_joint, given.oracle, given.dtype)


def check_e_step(backend, given):
    """Check what e_step and log_likelihood make of one problem."""
    x, mixture = given.arguments(backend)
    result = backend.call(ex.e_step, x, mixture)
    check_result(backend, result, given.oracle, given.dtype)
    total = backend.to_numpy(backend.call(ex.log_likelihood, x, mixture))
    oracle.assert_total(total, given.oracle, given.dtype)


def check_odd_shape(backend, given):
    """Check a problem of a shape of its own, for which JAX has to compile everything again."""
    if backend.name == "numpy":
        check_log_joint(backend, given)
    check_e_step(backend, given)


def check_result(backend, result, expected, dtype):
    """Check an EStep and what can be read off it."""
    responsibilities = backend.to_numpy(result.responsibilities)
    oracle.assert_responsibilities(responsibilities, expected, dtype)
    oracle.assert_log_likelihood(backend.to_numpy(result.log_likelihood), expected, dtype)
    oracle.assert_total(backend.to_numpy(result.total_log_likelihood), expected, dtype)
    oracle.assert_entropy(backend.to_numpy(result.entropy), expected, dtype)
    labels = backend.to_numpy(result.labels)
    slack = expected.responsibility_bound(dtype)
    for i, row in enumerate(expected.responsibilities):
        best = max(row) * mp.exp(-2 * slack[i, labels[i]])
        assert row[labels[i]] >= best, f"label {i} is {labels[i]}"


@CONCRETE
@pytest.mark.one_program("name", "family", "dtype")  # in JAX every other one
@everywhere
def test_hard_cases(backend, name, family, dtype):
    check_log_joint(backend, problem(name, family, dtype))
    check_e_step(backend, problem(name, family, dtype))


@few_on_jax
@pytest.mark.backends("jax_jit")
@one_program
@by_dtype
@by_family
@pytest.mark.parametrize("name", SELECTED)
def test_compiled(backend, name, family, dtype):
    check_e_step(backend, problem(name, family, dtype))


def test_cases_are_what_their_names_say():
    for family in FAMILIES:
        for size in (1e-18, 1e-36, 1e-300):
            given = problem(f"odds-{size:.0e}", family, "float64").oracle
            smallest = min(given.responsibilities[0])
            assert abs(mp.log(smallest) - math.log(size)) < 1.0
        given = problem("far-1000", family, "float64").oracle
        assert max(given.log_likelihood) < -1e4
        given = problem("far-40", family, "float64").oracle
        assert max(given.log_likelihood) < -100
        given = problem("symmetric", family, "float64").oracle
        assert all(row[0] == row[1] for row in given.responsibilities)
    for family in FREE:
        log_joint = problem("one-overflows", family, "float64").oracle.log_joint
        assert all(row[0] < -1e308 and min(row[1:]) > -1e4 for row in log_joint)


@few_on_jax
@CONCRETE
@one_program
@by_dtype
@pytest.mark.parametrize("family", VECTOR)
def test_seventy_dimensions(backend, family, dtype):
    rng = np.random.default_rng(70)
    means = rng.normal(0.0, 3e-6, (2, 70))
    x = means[[0, 1, 0]] + 1e-5 * np.array([[0.1], [1.0], [9.0]]) * rng.normal(size=(3, 70))
    case = Case(means, 1e-10 * rng.uniform(0.8, 1.25, (2, 70)), x, (0.7, 0.3), correlation=0.02)
    given = problem_of(case, family, dtype)
    # Densities of row 0 overflow float64, those of row 2 underflow it.
    assert given.oracle.log_likelihood[0] > 710
    assert given.oracle.log_likelihood[2] < -746
    check_odd_shape(backend, given)


@CONCRETE
@pytest.mark.parametrize("family", ["UnivariateGaussian", "DiagonalGaussian", "FullGaussian"])
def test_seventy_components(backend, family):
    """So many that a compiler is given a loop over them."""
    rng = np.random.default_rng(71)
    means, variances = rng.normal(size=(70, 2)), rng.uniform(0.5, 2.0, (70, 2))
    mixing = tuple(rng.uniform(0.0, 1.0, 70))
    case = Case(1e4 + 5 * means, variances, 1e4 + 5 * rng.normal(size=(3, 2)), mixing)
    check_odd_shape(backend, problem_of(case, family, "float32"))


@few_on_jax
@CONCRETE
@one_program
@by_dtype
@by_family
def test_one_component(backend, family, dtype):
    means, x, variances = draw(20)
    given = problem_of(Case(means[:1], variances[:1], 30 * x, (0.3,)), family, dtype)
    check_odd_shape(backend, given)
    result = backend.call(ex.e_step, *given.arguments(backend))
    np.testing.assert_array_equal(backend.to_numpy(result.entropy), 0.0)
    np.testing.assert_array_equal(backend.to_numpy(result.labels), 0)


@few_on_jax
@CONCRETE
@one_program
@by_dtype
@by_family
def test_one_row(backend, family, dtype):
    means, x, variances = draw(21)
    given = problem_of(Case(means, variances, 3 * x[:1]), family, dtype)
    check_odd_shape(backend, given)


@few_on_jax
@CONCRETE
@one_program
@by_dtype
@by_family
def test_no_rows(backend, family, dtype):
    means, x, variances = draw(22)
    given = problem_of(Case(means, variances, x[:0]), family, dtype)
    check_odd_shape(backend, given)
    arguments = given.arguments(backend)
    result = backend.call(ex.e_step, *arguments)
    assert backend.to_numpy(result.total_log_likelihood) == 0.0
    assert np.isnan(backend.to_numpy(result.mean_max_responsibility))
    nobody = backend.data(np.zeros(0), dtype)
    total = backend.call(ex.log_likelihood, *arguments, sample_weight=nobody)
    assert backend.to_numpy(total) == 0.0


@CONCRETE
@by_dtype
@by_family
@pytest.mark.parametrize("name", ["symmetric", "ties"])
def test_equal_components_share_equally(backend, name, family, dtype):
    x, mixture = problem(name, family, dtype).arguments(backend)
    result = backend.call(ex.e_step, x, mixture)
    responsibilities = backend.to_numpy(result.responsibilities)
    np.testing.assert_array_equal(responsibilities[:, 0], responsibilities[:, 1])
    labels = backend.to_numpy(result.labels)
    assert (labels != 1).all()  # the first of equals
    assert (labels == 0).any()


@CONCRETE
@by_dtype
@by_family
def test_zero_weights_are_exact(backend, family, dtype):
    x, mixture = problem("weights-zero", family, dtype).arguments(backend)
    log_joint = backend.to_numpy(backend.call(ex.log_joint, x, mixture))
    np.testing.assert_array_equal(log_joint[:, 0], -np.inf)
    responsibilities = backend.to_numpy(backend.call(ex.e_step, x, mixture).responsibilities)
    np.testing.assert_array_equal(responsibilities[:, 0], 0.0)


@few_on_jax
@COMPILED
@one_program
@by_dtype
@by_family
def test_certain_rows_have_no_entropy(backend, family, dtype):
    means, x, variances = draw(23)
    means += np.array([[-1e4], [0.0], [1e4]])
    case = Case(means, variances, np.tile(means, (N // K, 1)) + x)
    result = backend.call(ex.e_step, *problem_of(case, family, dtype).arguments(backend))
    np.testing.assert_array_equal(backend.to_numpy(result.entropy), 0.0)
    np.testing.assert_array_equal(backend.to_numpy(result.labels), np.tile(range(K), N // K))
    assert backend.to_numpy(result.mean_max_responsibility) == 1.0


@CONCRETE
@by_dtype
@pytest.mark.parametrize("k", [2, 7, 64])
def test_uniform_rows_have_entropy_log_k(backend, k, dtype):
    log_prob, weights = (
        backend.data(np.full((2, k), -3e4), dtype),
        backend.asarray([2.0] * k, dtype),
    )
    result = backend.call(ex.posterior, log_prob, weights)
    eps = np.finfo(dtype).eps
    entropy = backend.to_numpy(result.entropy)
    np.testing.assert_allclose(entropy, math.log(k), rtol=(16 + k) * eps)
    largest = backend.to_numpy(result.mean_max_responsibility)
    np.testing.assert_allclose(largest, 1.0 / k, rtol=16 * eps * 3e4)


@CONCRETE
@by_dtype
@by_family
def test_mean_max_responsibility(backend, family, dtype):
    given = problem("offset-1e2", family, dtype)
    result = backend.call(ex.e_step, *given.arguments(backend))
    actual = mp.mpf(float(backend.to_numpy(result.mean_max_responsibility)))
    expected = mp.fsum(max(row) for row in given.oracle.responsibilities) / N
    slack = max(given.oracle.responsibility_bound(dtype).flat)
    assert abs(actual - expected) <= 2 * slack * expected


@COMPILED
def test_worked_example(backend):
    """Three, and six, correct digits: what the package's guide publishes."""
    components = ex.UnivariateGaussian(backend.asarray([2.0, 6.0]), backend.asarray([1.0, 1.5]))
    mixture = ex.Mixture(backend.asarray([0.45, 0.55]), components)
    x = backend.data([1.0, 2.5, 4.0, 5.5, 7.0])
    result = backend.call(ex.e_step, x, mixture)
    first = [f"{value:.6g}" for value in backend.to_numpy(result.responsibilities)[:, 0]]
    assert first == ["0.999605", "0.981301", "0.339706", "0.00237684", "5.21167e-06"]


def log_densities(kind):
    """Return log-densities (n, k) of one kind for posterior."""
    values = np.random.default_rng(30).normal(0.0, 10.0, (N, 4))
    absent = np.zeros((N, 4), dtype=bool)
    absent[0, :2] = absent[1, 1] = absent[2, ::2] = True
    return {
        "plain": values,
        "minus-infinity": np.where(absent, -np.inf, values),
        "shift-1e5": values + 1e5,
        "shift--1e5": values - 1e5,
        "spread-1e4": values * 1e3,
        "tiny": values * np.array([0.0, 0.0, 1.0, 1.0]) - [0.0, 41.4465, 690.0, 80.0],
        # Where exponentials take another path, and where they are subnormal and then zero.
        "vanishing": 0.05 * values - [0.0, 511.0, 707.0, 745.0],
        "flat": 0 * values - 2e37,
        "huge": 0 * values + [2e37, 2e37, -2e37, 0.0],
    }[kind]


@COMPILED
@by_dtype
@pytest.mark.parametrize("mixing", [(0.1, 0.2, 0.3, 0.4), (1.0, 0.0, 2.0, 1e-30)])
@pytest.mark.parametrize(
    "kind",
    [
        "plain",
        "minus-infinity",
        "shift-1e5",
        "shift--1e5",
        "spread-1e4",
        "tiny",
        "vanishing",
        "flat",
        "huge",
    ],
)
def test_posterior(backend, kind, mixing, dtype):
    densities = log_densities(kind).astype(dtype)
    mixing = np.array(mixing, dtype=dtype)
    expected = oracle.posterior(densities, mixing)
    arguments = backend.data(densities, dtype), backend.asarray(mixing, dtype)
    check_result(backend, backend.call(ex.posterior, *arguments), expected, dtype)


@pytest.mark.parametrize("vanishing", [0, 1, 5, 60, 200])
def test_exponentials_that_vanish(vanishing):
    """They take other paths, where they are few of a block and where they are many."""
    exponents = np.linspace(-700.0, 3.0, 200)
    exponents[:vanishing] = np.linspace(-760.0, -706.0, vanishing)
    exponents[:vanishing:7] = -math.inf
    exponents[1::90] = math.nan
    actual = driver._PLAIN.exp_(exponents.reshape(4, 50).copy()).ravel()
    expected = np.asarray([float(mp.exp(exponent)) for exponent in exponents])
    np.testing.assert_allclose(actual, expected, rtol=1e-15, atol=5e-324)
    np.testing.assert_array_equal(actual[exponents < -746.0], 0.0)


@pytest.mark.backends("numpy")
@by_dtype
@by_family
@pytest.mark.parametrize("name", ["offset-1e4", "variance-1e-30", "far-1000", "weights-zero"])
def test_weighted_total(backend, name, family, dtype):
    given = problem(name, family, dtype)
    x, mixture = given.arguments(backend)
    for seed in range(3):
        values = np.random.default_rng(seed).uniform(0.0, 5.0, N).astype(dtype)
        sample_weight = backend.data(values, dtype)
        total = backend.call(ex.log_likelihood, x, mixture, sample_weight=sample_weight)
        oracle.assert_total(backend.to_numpy(total), given.oracle, dtype, values)


@CONCRETE
@one_program
@by_dtype
@by_family
def test_total_over_many_rows(backend, family, dtype):
    """A sum over many rows is as accurate as its rows: none is lost beside the running total."""
    given = problem("offset-1e2", family, dtype)
    _, mixture = given.arguments(backend)
    copies = 20_000
    x = backend.data(np.tile(given.x, (copies,) + (1,) * (given.x.ndim - 1)), dtype)
    total = backend.to_numpy(backend.call(ex.log_likelihood, x, mixture))
    oracle.assert_total(total, given.oracle, dtype, np.full(N, float(copies)))
