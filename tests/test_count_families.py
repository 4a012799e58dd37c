"""Poisson and Bernoulli mixtures: what is special to counts. The laws of all families hold, too."""

from __future__ import annotations

import re

import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS
from tests.fits import cut_short, fit
from tests.oracle import assert_log_joint
from tests.records import BERNOULLI, POISSON, POISSON_OF_FEATURES, Problem, parametrize, problem

NUMPY = BACKENDS["numpy"]
counts = parametrize(POISSON, POISSON_OF_FEATURES, BERNOULLI)

# Densities and the E-step


HUGE = [[1e-300, 3e-5, 1e300], [0.0, 1.0, 7.0, 1e5, 1e15, 1e300]]
SURE = [[[5e-324, 0.5], [1.0 - 2.0**-53, 1e-300], [1.0, 1e-16]], [[1, 0], [0, 1], [1, 1], [0, 0]]]
EXTREMES = [(POISSON, *HUGE), (BERNOULLI, *SURE)]
FLOAT32 = [
    (POISSON, [1e-30, 3e-5, 1e30], [0.0, 1.0, 7.0, 1e5, 1e30]),
    (BERNOULLI, [[1e-37, 0.5], [1 - 2.0**-24, 1e-30], [1, 1e-7]], SURE[1]),
]


@pytest.mark.parametrize(
    ("dtype", "record", "parameters", "x"),
    [("float64", *one) for one in EXTREMES] + [("float32", *one) for one in FLOAT32],
    ids=["float64-poisson", "float64-bernoulli", "float32-poisson", "float32-bernoulli"],
)
@pytest.mark.backends("numpy", "array_api_strict", "torch")
def test_extremes(backend, dtype, record, parameters, x):
    arrays = (x, [0.2, 0.3, 0.5], parameters)
    x, weights, parameters = (np.asarray(a, dtype).astype(float) for a in arrays)
    case = Problem(record, x, weights, {record.family._fields[0]: parameters})
    joint = ex.log_joint(backend.data(x, dtype), case.mixture(backend, dtype))
    assert_log_joint(backend.to_numpy(joint), case.oracle(), dtype)


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


@counts
@pytest.mark.backends("numpy", "torch", "jax")
def test_whole_numbers_and_truth_values(backend, record):
    case = problem(record)
    mixture = case.mixture(backend)
    whole = case.x.astype("int32")
    expected = ex.e_step(backend.data(case.x), mixture).log_likelihood
    actual = ex.e_step(backend.data(whole), mixture).log_likelihood
    backend.assert_like(actual, "float64")
    assert (backend.to_numpy(actual) == backend.to_numpy(expected)).all()


# EM


@counts
def test_accelerated_fit_comes_to_the_same_maximum(record):
    case = problem(record, n=200)
    plain = ex.fit(case.x, case.mixture(NUMPY), tol=1e-9, max_iter=20_000)
    quick = ex.fit(case.x, case.mixture(NUMPY), tol=1e-9, max_iter=20_000, accelerate=True)
    assert quick.n_iter <= plain.n_iter
    assert float(quick.log_likelihood) >= float(plain.log_likelihood) - 1e-4


def test_parameters_at_their_bounds_do_not_stop_acceleration():
    """A rate of 0 has no logarithm, and EM leaves it where it is."""
    rng = np.random.default_rng(3)
    first = rng.random((400, 1)) < 0.5
    x = rng.poisson(np.where(first, [1.0, 2.0, 0.0, 3.0], [2.0, 1.5, 1.0, 2.0]))
    start = ex.Mixture([0.5, 0.5], ex.Poisson([[1.0, 2.0, 0.0, 3.0], [2.0, 1.0, 1.0, 2.0]]))
    plain = ex.fit(x, start, tol=1e-9)
    quick = ex.fit(x, start, tol=1e-9, accelerate=True)
    assert quick.n_iter < 0.8 * plain.n_iter
    assert quick.mixture.components.rates[0, 2] == 0.0
    assert float(quick.log_likelihood) == pytest.approx(float(plain.log_likelihood), abs=1e-5)


@cut_short
@counts
def test_information_criteria_count_the_parameters(record):
    case = problem(record)
    result = fit(NUMPY, case, max_iter=2)
    free = 3 - 1 + case.params[record.family._fields[0]].size
    total = float(result.log_likelihood)
    assert float(result.aic(case.x)) == pytest.approx(2 * free - 2 * total)
    expected = free * np.log(len(case.x)) - 2 * total
    assert float(result.bic(case.x)) == pytest.approx(expected)


def test_rates_of_rows_of_zeros_become_zero_and_stay_there():
    start = ex.Mixture([0.5, 0.5], ex.Poisson([0.0, 3.0]))
    result = ex.fit([0.0, 0.0, 0.0, 5.0, 4.0, 6.0, 0.0], start)
    assert result.mixture.components.rates[0] == 0.0
    np.testing.assert_allclose(result.mixture.components.rates[1], 4.96508, rtol=1e-5)


@pytest.mark.parametrize("offset", [1e15, 1e300])
def test_huge_counts(offset):
    start = ex.Mixture([0.5, 0.5], ex.Poisson([offset, 1e3]))
    result = ex.fit([offset, 2.0 * offset, 1e3], start)
    np.testing.assert_allclose(result.mixture.components.rates, [1.5 * offset, 1e3], rtol=1e-12)


@counts
def test_one_row_one_component(record):
    x = problem(record).x[:1]
    result = ex.fit(x, ex.initialize(x, 1, record.family, seed=0))
    np.testing.assert_allclose(result.mixture.components[0], x, rtol=1e-12)


# Bad input


@pytest.mark.parametrize(
    ("components", "x", "words"),
    [
        (ex.Poisson([1.0, -2.0]), [1.0], "rates[1] is -2.0; rates must be non-negative and finite"),
        (ex.Poisson([1.0, np.nan]), [1.0], "rates[1] is nan; rates must be"),
        (ex.Poisson([[1.0, np.inf]]), [[1.0, 1.0]], "rates[0, 1] is inf; rates must be"),
        (ex.Poisson(2.0), [1.0], "rates has shape (); expected (k,) or (k, d)"),
        (ex.Poisson([[[2.0]]]), [1.0], "rates has shape (1, 1, 1); expected (k,) or (k, d)"),
        (ex.Poisson([]), [1.0], "rates is empty; a mixture has at least one component"),
        (ex.Poisson([2.0]), [[1.0]], "x has shape (1, 1); expected (n,) for Poisson components"),
        (ex.Poisson([[2.0]]), [1.0], "expected (n, 1) for Poisson components"),
        (ex.Bernoulli([[0.5, 1.5]]), [[1, 0]], "probabilities[0, 1] is 1.5; probabilities must be"),
        (ex.Bernoulli([[-0.1]]), [[1]], "probabilities[0, 0] is -0.1; probabilities must be from"),
        (ex.Bernoulli([[np.nan]]), [[1]], "probabilities[0, 0] is nan; probabilities must be"),
        (ex.Bernoulli([0.5]), [1], "probabilities has shape (1,); expected (k, d)"),
        (ex.Bernoulli([[0.5, 0.5]]), [[1]], "x has shape (1, 1); expected (n, 2) for Bernoulli"),
        (ex.Bernoulli(np.zeros((0, 2))), [[1, 0]], "probabilities is empty"),
        (ex.Poisson([1.0]), [np.nan], "x[0] is nan; x must be finite"),
        (ex.Bernoulli([[0.5]]), [[np.inf]], "x[0, 0] is inf; x must be finite"),
    ],
)
def test_bad_arguments_are_named(components, x, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        components.log_prob(x)


@counts
def test_sums_of_another_shape_or_kind_are_refused(record):
    case = problem(record)
    statistics = ex.expected_statistics(case.x, case.mixture(NUMPY))
    (name,) = statistics.moments._fields
    short = statistics.moments._replace(**{name: statistics.moments[0][:2]})
    with pytest.raises(ValueError, match=rf"statistics.moments.{name} has shape"):
        ex.m_step(statistics._replace(moments=short))
    with pytest.raises(TypeError, match=r"statistics.moments is a tuple; expected \w+Statistics"):
        ex.m_step(statistics._replace(moments=(1.0, 2.0)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_factorials_from_a_table_are_those_of_single_counts(dtype):
    """Of many counts, with none that is large, and of few."""
    x = np.r_[np.arange(40.0), np.zeros(400)].astype(dtype)
    poisson = ex.Poisson(np.asarray([0.5, 7.0], dtype))
    alone = np.concatenate([poisson.log_prob(x[i : i + 1]) for i in range(len(x))])
    found = poisson.log_prob(x)
    assert found.dtype == alone.dtype == dtype
    np.testing.assert_array_equal(found, alone)
