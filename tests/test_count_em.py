"""EM of Poisson and Bernoulli mixtures: fits, starts, acceleration, masked rows, bad input."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS
from tests.count_records import RECORDS, K, problem

NUMPY = BACKENDS["numpy"]
records = pytest.mark.parametrize("record", RECORDS, ids=[record.name for record in RECORDS])
BAD_ROWS = [(record, value) for record in RECORDS for value in record.outside]
bad_rows = pytest.mark.parametrize(
    ("record", "value"), BAD_ROWS, ids=[f"{record.name}-{value}" for record, value in BAD_ROWS]
)


def fitted(case, backend=NUMPY, x=None, **options):
    """Fit without a word about an end that comes too early."""
    x = case.x if x is None else x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ex.ConvergenceWarning)
        return ex.fit(backend.data(x), case.mixture(backend), **options)


def with_entry(x, row, value):
    """Rows, the first number of one of them replaced."""
    changed = np.array(x)
    changed[(row, *(0,) * (x.ndim - 1))] = value
    return changed


# Fits


@records
@pytest.mark.backends("numpy", "array_api_strict", "jax", "torch", "dask")
def test_fit(backend, record):
    case = problem(record)
    reference = fitted(case, max_iter=4, tol=0.0)
    assert (np.diff(reference.history) >= -1e-12).all()
    result = fitted(case, backend, max_iter=4, tol=0.0)
    assert result.n_iter == reference.n_iter
    parameters = record.parameters(result.mixture.components)
    np.testing.assert_allclose(
        np.asarray(parameters) if backend.name == "dask" else backend.to_numpy(parameters),
        record.parameters(reference.mixture.components),
        rtol=1e-12,
    )


@records
@pytest.mark.backends("jax")
def test_fit_under_jit_and_vmap(backend, record):
    import jax

    case = problem(record)
    reference = fitted(case, max_iter=4, tol=0.0)
    x = backend.data(case.x)
    batch = jax.numpy.stack([x, x[::-1]])
    fit = jax.jit(jax.vmap(lambda x: ex.fit(x, case.mixture(backend), max_iter=4, tol=0.0)))
    result = fit(batch)
    assert type(result.mixture.components) is record.family
    for parameters in record.parameters(result.mixture.components):
        expected = record.parameters(reference.mixture.components)
        np.testing.assert_allclose(parameters, expected, rtol=1e-12)


@records
def test_blocks_and_threads_change_nothing_but_rounding(record):
    case = problem(record, n=50)
    whole = fitted(case, max_iter=3)
    pieces = fitted(case, max_iter=3, block_size=7, workers=2)
    np.testing.assert_allclose(pieces.history, whole.history, rtol=1e-13)


@records
def test_float32_stays(record):
    case = problem(record, "float32")
    x, mixture = case.x.astype("float32"), case.mixture(NUMPY, "float32")
    result = ex.fit(x, mixture, tol=1e-3)
    assert result.log_likelihood.dtype == np.float32
    assert record.parameters(result.mixture.components).dtype == np.float32
    start = ex.initialize(x, 2, record.family, seed=0)
    assert record.parameters(start.components).dtype == np.float32


@records
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


@records
def test_several_starts(record):
    case = problem(record, n=50)
    one = fitted(case, max_iter=20)
    best = fitted(case, max_iter=20, n_init=3)
    assert float(best.log_likelihood) >= float(one.log_likelihood)


@records
def test_information_criteria_count_the_parameters(record):
    case = problem(record)
    result = fitted(case, max_iter=2)
    free = K - 1 + case.parameters.size
    total = float(result.log_likelihood)
    assert float(result.aic(case.x)) == pytest.approx(2 * free - 2 * total)
    expected = free * np.log(len(case.x)) - 2 * total
    assert float(result.bic(case.x)) == pytest.approx(expected)


@records
@pytest.mark.backends("numpy", "jax", "torch")
def test_a_component_without_weight_keeps_its_parameters(backend, record):
    case = problem(record)._replace(weights=np.asarray([0.5, 0.5, 0.0]))
    statistics = ex.expected_statistics(backend.data(case.x), case.mixture(backend))
    new = ex.m_step(statistics)
    assert backend.to_numpy(new.weights)[2] == 0.0
    parameters = backend.to_numpy(record.parameters(new.components))
    assert (parameters[2] == case.parameters[2]).all()
    assert np.isfinite(parameters).all()


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


# Masked rows


@records
@pytest.mark.parametrize("value", [np.nan, np.inf, -1.5])
@pytest.mark.backends("numpy", "array_api_strict", "jax", "torch")
def test_masked_rows_may_hold_anything(backend, record, value):
    case = problem(record)
    weight = np.ones(len(case.x))
    weight[2] = 0.0
    good, bad = np.delete(case.x, 2, axis=0), np.array(case.x)
    bad[2] = value
    expected = fitted(case, x=good, max_iter=3)
    actual = fitted(case, backend, bad, max_iter=3, sample_weight=backend.data(weight))
    np.testing.assert_allclose(
        backend.to_numpy(actual.log_likelihood), expected.log_likelihood, rtol=1e-13
    )
    start = ex.initialize(
        backend.data(bad), 2, record.family, seed=0, sample_weight=backend.data(weight)
    )
    parameters = backend.to_numpy(record.parameters(start.components))
    expected = ex.initialize(good, 2, record.family, seed=0)
    np.testing.assert_allclose(parameters, record.parameters(expected.components), rtol=1e-13)


@records
def test_blocks_of_masked_rows_alone(record):
    """A block of which no row takes part has no valid row to stand in for the others."""
    case = problem(record)
    missing = np.full((6, *case.x.shape[1:]), np.nan)
    weight = np.concatenate([np.ones(len(case.x)), np.zeros(6)])
    options = {"max_iter": 3, "block_size": 3}
    expected = fitted(case, **options)
    x = np.concatenate([case.x, missing])
    actual = fitted(case, x=x, sample_weight=weight, **options)
    np.testing.assert_allclose(actual.log_likelihood, expected.log_likelihood, rtol=1e-13)


# Starts


@records
@pytest.mark.parametrize("seed", range(6))
def test_every_start_can_be_fitted(record, seed):
    case = problem(record, n=40)
    start = ex.initialize(case.x, K, record.family, seed=seed)
    assert type(start.components) is record.family
    assert float(np.sum(start.weights)) == pytest.approx(1.0)
    assert (start.weights > 0).all()
    parameters = record.parameters(start.components)
    assert parameters.shape == case.parameters.shape
    assert (parameters > 0).all()
    assert record.family is ex.Poisson or (parameters < 1).all()
    result = fitted(case._replace(weights=start.weights, parameters=parameters), max_iter=5)
    assert float(result.log_likelihood) >= float(ex.log_likelihood(case.x, start)) - 1e-12


@records
@pytest.mark.backends("array_api_strict", "jax", "jax_jit", "torch")
def test_starts_are_the_same_in_every_library(backend, record):
    case = problem(record)
    expected = ex.initialize(case.x, K, record.family, seed=1)
    x = backend.data(case.x)
    start = backend.call(ex.initialize, x, n_components=K, family=record.family, seed=1)
    for actual, reference in (
        (start.weights, expected.weights),
        (record.parameters(start.components), record.parameters(expected.components)),
    ):
        backend.assert_like(actual, "float64")
        np.testing.assert_allclose(backend.to_numpy(actual), reference, rtol=1e-13)


@records
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_rows_that_are_all_equal(record, value):
    x = np.full((5, *problem(record).x.shape[1:]), value)
    start = ex.initialize(x, K, record.family, seed=0)
    assert (start.weights > 0).all()
    result = ex.fit(x, start)
    assert np.isfinite(result.log_likelihood)
    assert (result.mixture.weights > 0).all()


@records
def test_one_row_one_component(record):
    x = problem(record).x[:1]
    result = ex.fit(x, ex.initialize(x, 1, record.family, seed=0))
    np.testing.assert_allclose(record.parameters(result.mixture.components), x, rtol=1e-12)


@records
def test_components_as_a_template(record):
    case = problem(record, n=30)
    template = case.mixture(NUMPY).components
    start = ex.initialize(case.x, K, template, seed=0)
    assert record.parameters(start.components).shape == case.parameters.shape
    words = "family describes 3 components but n_components is 2"
    with pytest.raises(ValueError, match=words):
        ex.initialize(case.x, 2, template, seed=0)


# Bad input


@bad_rows
@pytest.mark.backends("numpy", "array_api_strict", "jax", "torch")
def test_numbers_outside_the_support_are_named(backend, record, value):
    case = problem(record)
    mixture = case.mixture(backend)
    x = backend.data(with_entry(case.x, 4, value))
    index = ", ".join(["4", *["0"] * (case.x.ndim - 1)])
    match = re.escape(f"x[{index}] is {value}; {record.words}")
    for call in (
        lambda: mixture.components.log_prob(x),
        lambda: ex.e_step(x, mixture),
        lambda: ex.log_joint(x, mixture),
        lambda: ex.log_likelihood(x, mixture),
        lambda: ex.expected_statistics(x, mixture),
        lambda: ex.fit(x, mixture),
        lambda: ex.initialize(x, 2, record.family, seed=0),
    ):
        with pytest.raises(ValueError, match=match):
            call()


@bad_rows
@pytest.mark.backends("jax_jit", "dask")
def test_numbers_outside_the_support_are_nan_where_no_one_can_look(backend, record, value):
    case = problem(record)
    x, mixture = backend.data(with_entry(case.x, 4, value)), case.mixture(backend)
    step = backend.call(ex.e_step, x, mixture)
    assert np.isnan(backend.to_numpy(step.log_likelihood)).tolist() == [i == 4 for i in range(7)]
    assert np.isnan(backend.to_numpy(step.responsibilities)[4]).all()
    assert np.isnan(backend.to_numpy(backend.call(ex.log_likelihood, x, mixture)))
    if backend.name == "jax_jit":
        start = backend.call(ex.initialize, x, n_components=2, family=record.family, seed=1)
        assert np.isnan(backend.to_numpy(record.parameters(start.components))).any()


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


@records
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
@pytest.mark.backends("jax_jit")
def test_bad_parameters_are_nan_where_no_one_can_look(backend, record, value):
    case = problem(record)
    parameters = with_entry(case.parameters, 1, value)
    mixture = case._replace(parameters=parameters).mixture(backend)
    joint = backend.to_numpy(backend.call(ex.log_joint, backend.data(case.x), mixture))
    assert np.isnan(joint).tolist() == [[False, True, False]] * len(case.x)
    step = backend.call(ex.e_step, backend.data(case.x), mixture)
    assert np.isnan(backend.to_numpy(step.log_likelihood)).all()


@records
def test_sums_of_another_shape_or_kind_are_refused(record):
    case = problem(record)
    statistics = ex.expected_statistics(case.x, case.mixture(NUMPY))
    short = statistics.moments._replace(**{record.sums: statistics.moments[0][:2]})
    with pytest.raises(ValueError, match=rf"statistics.moments.{record.sums} has shape"):
        ex.m_step(statistics._replace(moments=short))
    with pytest.raises(TypeError, match=r"statistics.moments is a tuple; expected \w+Statistics"):
        ex.m_step(statistics._replace(moments=(1.0, 2.0)))


@records
def test_repr(record):
    case = problem(record)
    shown = repr(case.mixture(NUMPY))
    assert f"components={record.family.__name__}(" in shown
    assert "\n" not in shown
    assert len(repr(record.family(np.full((500, 2), 0.5)))) < 100
