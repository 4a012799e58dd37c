"""Poisson and Bernoulli mixtures: densities to 50 digits, statistics, M-step, gradients."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests.count_records import RECORDS, CountProblem, problem, textbook
from tests.oracle import (
    assert_log_joint,
    assert_log_likelihood,
    assert_responsibilities,
    assert_total,
)

records = pytest.mark.parametrize("record", RECORDS, ids=[record.name for record in RECORDS])
dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])
jax_only = pytest.mark.backends("jax")


# Densities and the E-step


@records
@dtypes
def test_e_step_to_fifty_digits(backend, record, dtype):
    case = problem(record, dtype)
    oracle, mixture = case.oracle(), case.mixture(backend, dtype)
    x = backend.data(case.x, dtype)
    step = backend.call(ex.e_step, x, mixture)
    joint = backend.call(ex.log_joint, x, mixture)
    total = backend.call(ex.log_likelihood, x, mixture)
    for result in (*step, joint, total):
        backend.assert_like(result, dtype)
    assert_log_joint(backend.to_numpy(joint), oracle, dtype)
    assert_log_likelihood(backend.to_numpy(step.log_likelihood), oracle, dtype)
    assert_responsibilities(backend.to_numpy(step.responsibilities), oracle, dtype)
    assert_total(backend.to_numpy(total), oracle, dtype)


@records
def test_log_prob(backend, record):
    case = problem(record)
    components = case.mixture(backend).components
    result = backend.call(lambda x, c: c.log_prob(x), backend.data(case.x), components)
    backend.assert_like(result, "float64")
    expected = case._replace(weights=np.ones(3)).oracle()
    joint = backend.to_numpy(result) - np.log(3.0)
    assert_log_joint(joint, expected, "float64")


HUGE = [[1e-300, 3e-5, 1e300], [0.0, 1.0, 7.0, 1e5, 1e15, 1e300]]
SURE = [[[5e-324, 0.5], [1.0 - 2.0**-53, 1e-300], [1.0, 1e-16]], [[1, 0], [0, 1], [1, 1], [0, 0]]]
EXTREMES = [(RECORDS[0], *HUGE), (RECORDS[2], *SURE)]
FLOAT32 = [
    (RECORDS[0], [1e-30, 3e-5, 1e30], [0.0, 1.0, 7.0, 1e5, 1e30]),
    (RECORDS[2], [[1e-37, 0.5], [1 - 2.0**-24, 1e-30], [1, 1e-7]], SURE[1]),
]


@pytest.mark.parametrize(
    ("dtype", "record", "parameters", "x"),
    [("float64", *one) for one in EXTREMES] + [("float32", *one) for one in FLOAT32],
    ids=["float64-poisson", "float64-bernoulli", "float32-poisson", "float32-bernoulli"],
)
@pytest.mark.backends("numpy", "array_api_strict", "torch")
def test_extremes(backend, dtype, record, parameters, x):
    rounded = (np.asarray(a, dtype).astype(float) for a in (x, [0.2, 0.3, 0.5], parameters))
    case = CountProblem(record, *rounded)
    joint = ex.log_joint(backend.data(x, dtype), case.mixture(backend, dtype))
    assert_log_joint(backend.to_numpy(joint), case.oracle(), dtype)


@records
def test_parameters_at_their_bounds_are_exact(backend, record):
    parameters, x = (np.asarray(a, dtype=float) for a in record.zeros)
    case = CountProblem(record, x, np.asarray([0.5, 0.25, 0.25]), parameters)
    mixture, oracle = case.mixture(backend), case.oracle()
    joint = backend.to_numpy(backend.call(ex.log_joint, backend.data(x), mixture))
    assert (joint == -np.inf).any()
    assert_log_joint(joint, oracle, "float64")
    shares = backend.to_numpy(backend.call(ex.e_step, backend.data(x), mixture).responsibilities)
    assert_responsibilities(shares, oracle, "float64")
    assert ((shares == 0.0) == (joint == -np.inf)).all()


def test_a_certain_event_has_log_probability_0():
    assert ex.Poisson([0.0]).log_prob([0.0]).tolist() == [[0.0]]
    assert ex.Bernoulli([[0.0, 1.0]]).log_prob([[0.0, 1.0]]).tolist() == [[0.0]]


def test_an_impossible_row_is_named():
    mixture = ex.Mixture([0.5, 0.5], ex.Poisson([0.0, 0.0]))
    with pytest.warns(RuntimeWarning, match="1 row has zero density .* the first is row 1"):
        step = ex.e_step([0.0, 2.0, 0.0], mixture)
    assert step.log_likelihood.tolist() == [0.0, -np.inf, 0.0]
    with pytest.raises(ValueError, match="the first is row 1; drop such rows"):
        ex.fit([0.0, 2.0, 0.0], mixture)


@records
@pytest.mark.backends("numpy", "torch", "jax")
def test_whole_numbers_and_truth_values(backend, record):
    case = problem(record)
    mixture = case.mixture(backend)
    whole = case.x.astype("int32")
    expected = ex.e_step(backend.data(case.x), mixture).log_likelihood
    actual = ex.e_step(backend.data(whole), mixture).log_likelihood
    backend.assert_like(actual, "float64")
    assert (backend.to_numpy(actual) == backend.to_numpy(expected)).all()


@records
def test_no_rows(backend, record):
    case = problem(record)
    empty = backend.data(case.x[:0])
    if backend.name == "dask":
        pytest.skip("Dask has no chunks of no rows")
    statistics = backend.call(ex.expected_statistics, empty, case.mixture(backend))
    assert backend.to_numpy(statistics.counts).tolist() == [0.0] * 3
    assert not backend.to_numpy(statistics.moments[0]).any()


# Statistics, M-step and EM


@records
def test_statistics_and_m_step_are_the_textbooks(backend, record):
    case = problem(record)
    weight = np.asarray([1.0, 2.0, 0.5, 0.0, 1.5, 1.0, 3.0])
    expected = textbook(case, weight)
    arrays = backend.data(case.x), case.mixture(backend)
    statistics = backend.call(ex.expected_statistics, *arrays, sample_weight=backend.data(weight))
    mixture = backend.call(ex.m_step, statistics)
    assert type(mixture.components) is record.family
    for name, actual in {
        "log_likelihood": statistics.log_likelihood,
        "n_rows": statistics.n_rows,
        "counts": statistics.counts,
        "sums": getattr(statistics.moments, record.sums),
        "weights": mixture.weights,
        "parameters": record.parameters(mixture.components),
    }.items():
        backend.assert_like(actual, "float64")
        np.testing.assert_allclose(backend.to_numpy(actual), expected[name], rtol=1e-13)


@records
@pytest.mark.backends("numpy", "jax", "torch")
def test_merged_statistics_are_those_of_all_rows(backend, record):
    case = problem(record)
    mixture = case.mixture(backend)
    whole = ex.expected_statistics(backend.data(case.x), mixture)
    rows = (case.x[:3], case.x[3:3], case.x[3:])
    first, nothing, second = (ex.expected_statistics(backend.data(part), mixture) for part in rows)
    merged = ex.merge(ex.merge(first, nothing), second)
    for actual, expected in zip(
        (*merged[1:4], *merged.moments), (*whole[1:4], *whole.moments), strict=True
    ):
        np.testing.assert_allclose(backend.to_numpy(actual), backend.to_numpy(expected), rtol=1e-14)


# Gradients of the log-likelihood: sums over rows of responsibilities times slopes


def slopes(case):
    """Derivatives of the log-likelihood, by parameters and weights, in closed form."""
    shares, counts = textbook(case)["responsibilities"], textbook(case)["counts"]
    by_row = case.record.slope(case.x[:, None, ...], case.parameters)
    by_parameters = (shares.reshape(*shares.shape, *(1,) * (by_row.ndim - 2)) * by_row).sum(axis=0)
    return by_parameters, counts / case.weights - len(case.x) / case.weights.sum()


@jax_only
@records
def test_gradient_in_jax(backend, record):
    import jax

    case = problem(record)
    slope = jax.jit(jax.grad(ex.log_likelihood, argnums=1))
    actual = slope(backend.data(case.x), case.mixture(backend))
    by_parameters, by_weights = slopes(case)
    assert type(actual.components) is record.family
    np.testing.assert_allclose(record.parameters(actual.components), by_parameters, rtol=1e-11)
    np.testing.assert_allclose(actual.weights, by_weights, rtol=1e-11, atol=1e-12)


@pytest.mark.backends("torch")
@records
def test_gradient_in_torch(backend, record):
    case = problem(record)
    parameters = backend.asarray(case.parameters, "float64").requires_grad_()
    mixture = ex.Mixture(backend.asarray(case.weights), record.family(parameters))
    ex.log_likelihood(backend.data(case.x), mixture).backward()
    np.testing.assert_allclose(backend.to_numpy(parameters.grad), slopes(case)[0], rtol=1e-11)


@jax_only
@records
def test_gradients_at_bounds_are_finite(backend, record):
    """Rows that are possible there have the slopes of the parameters that are inside."""
    import jax

    parameters, x = (np.asarray(a, dtype=float) for a in record.zeros)
    case = CountProblem(record, x, np.asarray([0.5, 0.25, 0.25]), parameters)
    slope = jax.jit(jax.grad(ex.log_likelihood, argnums=(0, 1)))
    leaves = jax.tree.leaves(slope(backend.data(x), case.mixture(backend)))
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    inside = (parameters > 0) & (parameters < (1 if record.name == "bernoulli" else np.inf))
    joint = np.asarray(case.oracle().log_joint, dtype=float)
    shares = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        by_row = record.slope(x[:, None, ...], parameters)
    by_row = np.where(inside, by_row, 0.0)
    expected = (shares.reshape(*shares.shape, *(1,) * (by_row.ndim - 2)) * by_row).sum(axis=0)
    actual = np.asarray(record.parameters(slope(backend.data(x), case.mixture(backend))[1][1]))
    np.testing.assert_allclose(actual[inside], expected[inside], rtol=1e-12)


@jax_only
@records
@pytest.mark.parametrize("value", [np.nan, np.inf, -1.5])
def test_masked_rows_have_no_part_in_values_or_gradients(backend, record, value):
    import jax

    case = problem(record)
    weight = np.ones(len(case.x))
    weight[2] = 0.0
    bad = np.array(case.x)
    bad[2] = value

    def total(x, mixture, weight):
        return ex.log_likelihood(x, mixture, sample_weight=weight)

    slope = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))
    mixture, weight = case.mixture(backend), backend.data(weight)
    expected = slope(backend.data(case.x), mixture, weight)
    actual = slope(backend.data(bad), mixture, weight)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    assert not np.asarray(actual[1][0])[2].any()
