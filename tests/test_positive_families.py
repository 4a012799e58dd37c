"""Exponential, gamma and von Mises mixtures: what is special to them, beside the laws of all."""

from __future__ import annotations

import re

import mpmath
import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS
from tests.fits import cut_short, fit
from tests.oracle import assert_log_joint
from tests.records import RECORDS, Problem, parametrize, problem

NUMPY = BACKENDS["numpy"]
BY_NAME = {record.name: record for record in RECORDS}
EXPONENTIAL, GAMMA, VON_MISES = (BY_NAME[name] for name in ("exponential", "gamma", "von-mises"))
families = parametrize(EXPONENTIAL, GAMMA, VON_MISES)

# Densities


SIZES = [1e-30, 1e-3, 1.0, 3.0, 1e5, 1e30]
ANGLES = [0.0, 1e-7, 1.0, 1.00001, 3.1, -3.1, 6.2, 100.0]
CASES = [
    (EXPONENTIAL, "float64", [0.0, 1e-300, *SIZES, 1e300], {"rates": [1e-300, 3e-5, 1e10]}),
    (EXPONENTIAL, "float32", [0.0, *SIZES], {"rates": [1e-30, 3e-5, 1e10]}),
    (
        GAMMA,
        "float64",
        [1e-300, *SIZES, 1.0 + 1e-4, 1.0 - 1e-4, 1e300],
        {"shapes": [1e8, 1e-300, 0.3], "rates": [1e8, 1e300, 1e-300]},
    ),
    (
        GAMMA,
        "float64",
        [1e-300, *SIZES, 1e9, 1.00003e9, 1e300],
        {"shapes": [1e15, 2.5, 13.0], "rates": [1e6, 1e-290, 1e290]},
    ),
    (
        GAMMA,
        "float32",
        [*SIZES, 1.0 + 1e-4, 1.0 - 1e-4],
        {"shapes": [1e8, 1e-30, 0.3], "rates": [1e8, 1e30, 1e-30]},
    ),
    (
        VON_MISES,
        "float64",
        ANGLES,
        {"locations": [1.0, -3.0, 6.0], "concentrations": [1e10, 0.0, 7.7]},
    ),
    (
        VON_MISES,
        "float32",
        ANGLES,
        {"locations": [1.0, -3.0, 6.0], "concentrations": [1e10, 1e-30, 7.8]},
    ),
]


@pytest.mark.parametrize(("record", "dtype", "x", "params"), CASES)
@pytest.mark.backends("numpy", "array_api_strict", "torch")
def test_extremes(backend, record, dtype, x, params):
    x, weights = (np.asarray(a, dtype).astype(float) for a in (x, [0.2, 0.3, 0.5]))
    params = {name: np.asarray(a, dtype).astype(float) for name, a in params.items()}
    case = Problem(record, x, weights, params)
    joint = ex.log_joint(backend.data(x, dtype), case.mixture(backend, dtype))
    assert_log_joint(backend.to_numpy(joint), case.oracle(), dtype)


@pytest.mark.parametrize(
    ("dtype", "shape", "mean"), [("float64", 1e12, 1e6), ("float32", 1e6, 1e5)]
)
def test_large_shapes_keep_digits_in_any_units(dtype, shape, mean):
    """Logarithms of rows and rates are larger than what is left of them."""
    steps = np.linspace(-3.0, 3.0, 13) / np.sqrt(shape)
    x = (mean * (1.0 + steps)).astype(dtype)
    components = ex.Gamma(*(np.asarray([value], dtype) for value in (shape, shape / mean)))
    a, b = (mpmath.mpf(float(field[0])) for field in components)
    for row, found in zip(x, components.log_prob(x)[:, 0], strict=True):
        with mpmath.workdps(50):
            v = mpmath.mpf(float(row))
            log_prob = a * mpmath.log(b) + (a - 1) * mpmath.log(v) - b * v - mpmath.loggamma(a)
        assert abs(float(log_prob - float(found))) <= 30 * np.finfo(dtype).eps


def test_a_uniform_component_is_exact():
    log_prob = ex.VonMises([2.0], [0.0]).log_prob(ANGLES)
    assert (log_prob == -np.log(2.0 * np.pi)).all()


# EM


@pytest.mark.parametrize(("dtype", "shape"), [("float64", 1e4), ("float64", 1e8), ("float32", 1e4)])
def test_large_shapes_are_found(dtype, shape):
    """Where log m − mean log x is 5e-9, and each of the two has but the digits of the dtype."""
    rng = np.random.default_rng(0)
    x = (7.0 * rng.gamma(shape, 1.0 / shape, 4000)).astype(dtype)
    if dtype == "float32" and shape == 1e8:
        return  # rows themselves are rounded by 1e-7, their deviations are 1e-4
    result = ex.fit(x, ex.initialize(x, 1, ex.Gamma), tol=1e-9)
    wide = x.astype(np.longdouble)
    gap = np.log(wide.mean()) - np.log(wide).mean()
    expected = float(1.0 / (2.0 * gap) + 1.0 / 6.0)  # to O(1 / shape)
    rtol = 1e-7 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(result.mixture.components.shapes, expected, rtol=rtol)


def test_large_concentrations_are_found():
    rng = np.random.default_rng(0)
    x = 2.5 + 1e-5 * rng.standard_normal(4000)
    result = ex.fit(x, ex.initialize(x, 1, ex.VonMises), tol=1e-9)
    locations, concentrations = result.mixture.components
    np.testing.assert_allclose(locations, x.mean(), rtol=1e-14)
    np.testing.assert_allclose(concentrations, 1.0 / x.var(), rtol=1e-8)


def test_locations_go_around_the_circle():
    """A component astride of π is one, and its location is an angle from −π to π."""
    rng = np.random.default_rng(1)
    x = np.mod(np.r_[rng.vonmises(np.pi, 30.0, 300), rng.vonmises(0.0, 30.0, 300)], 2 * np.pi)
    result = ex.fit(x, ex.initialize(x, 2, ex.VonMises))
    locations = np.sort(np.abs(result.mixture.components.locations))
    np.testing.assert_allclose(locations, [0.0, np.pi], atol=0.05)
    np.testing.assert_allclose(result.mixture.weights, 0.5, atol=0.01)


@families
def test_gradient_of_the_expected_log_density_is_zero_after_the_m_step(record):
    case = problem(record, n=60)
    statistics = ex.expected_statistics(case.x, case.mixture(NUMPY))
    new = ex.m_step(statistics)
    shares = ex.e_step(case.x, case.mixture(NUMPY)).responsibilities
    slopes = record.slopes(case.x, new.components._asdict()).by_field
    for name, by_row in slopes.items():
        size = np.einsum("nk,nk->k", shares, np.abs(by_row))
        total = np.einsum("nk,nk->k", shares, by_row)
        assert (np.abs(total) <= 1e-12 * size).all(), name


@families
def test_accelerated_fit_comes_to_the_same_maximum(record):
    case = problem(record, n=200)
    options = {"tol": 1e-9, "max_iter": 20_000}
    plain = ex.fit(case.x, case.mixture(NUMPY), **options)
    quick = ex.fit(case.x, case.mixture(NUMPY), accelerate=True, **options)
    assert quick.n_iter <= plain.n_iter
    assert float(quick.log_likelihood) >= float(plain.log_likelihood) - 1e-4


@cut_short
@families
def test_information_criteria_count_the_parameters(record):
    case = problem(record, n=60)
    result = fit(NUMPY, case, max_iter=2)
    free = 3 - 1 + sum(a.size for a in case.params.values())
    expected = 2 * free - 2 * float(result.log_likelihood)
    assert float(result.aic(case.x)) == pytest.approx(expected)


@pytest.mark.parametrize("family", [ex.Exponential, ex.Gamma, ex.VonMises])
def test_equal_rows_end_at_the_bound_with_a_warning(family):
    x = np.r_[np.zeros(9), 1.0, 5.0] if family is ex.Exponential else np.full(9, 1.25)
    start = ex.initialize(x, 1 + (family is ex.Exponential), family)
    with pytest.warns(ex.CollapseWarning, match="collapsed"):
        result = ex.fit(x, start)
    assert np.isfinite(result.log_likelihood)
    assert all(np.isfinite(a).all() for a in result.mixture.components)


def test_rows_of_zeros_have_the_largest_rate():
    mixture = ex.estimate([0.0, 0.0, 2.0], [0, 0, 1], ex.Exponential)
    assert mixture.components.rates[0] > 1e300
    assert mixture.components.rates[1] == 0.5


@families
def test_recentered_sums_are_those_about_the_other_components(record):
    case, other = problem(record, n=40), problem(record, seed=2, n=40)
    statistics = ex.expected_statistics(case.x, case.mixture(NUMPY))
    moved = ex.recenter(statistics, other.mixture(NUMPY)).moments
    shares = ex.e_step(case.x, case.mixture(NUMPY)).responsibilities
    for name, by_row in record.moments(case.x, other.params).items():
        expected = np.einsum("nk,nk->k", shares, by_row)
        np.testing.assert_allclose(getattr(moved, name), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("ratio", [1e20, 1e5, 0.9, 1.0, 1e-5, 1e-20])
def test_gamma_sums_are_recentered_far_away(ratio):
    """The logarithm of the ratio of means is not lost beside the ratio."""
    x = [0.5, 1.0, 2.5]
    old, new = (ex.Mixture([1.0], ex.Gamma([2.0], [2.0 / mean])) for mean in (1.0, ratio))
    moved = ex.recenter(ex.expected_statistics(x, old), new)
    expected = ex.expected_statistics(x, new)
    for one, other in zip(moved.moments, expected.moments, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)


# Holes


@pytest.mark.parametrize(
    "components",
    [
        ex.Gamma([[2.0, 3.0], [1.0, 0.5]], [[1.0, 1.0], [2.0, 3.0]]),
        ex.Exponential([[1.0, 2.0], [0.3, 4.0]]),
    ],
    ids=["gamma", "exponential"],
)
def test_features_that_were_not_observed(components):
    """They add nothing to the density, and to the sums what the component expects of them."""
    mixture = ex.Mixture([0.4, 0.6], components)
    x = np.asarray([[1.0, np.nan], [np.nan, 2.0], [np.nan, np.nan]])
    density = ex.log_density(x, mixture, missing=True)
    alone = [ex.log_density(x[i : i + 1, [i]], ex.marginal(mixture, [i]))[0] for i in (0, 1)]
    np.testing.assert_allclose(density, [*alone, 0.0], rtol=1e-13, atol=1e-15)
    again = ex.m_step(ex.expected_statistics(x[2:], mixture, missing=True)).components
    for one, other in zip(again, components, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    holes = np.random.default_rng(0).random((300, 2)) < 0.2
    rows = np.where(holes, np.nan, ex.sample(mixture, 300, seed=1).x)
    history = ex.fit(rows, mixture, missing=True).history
    assert (np.diff(history) > -1e-9).all()


# Draws and bad input


@pytest.mark.parametrize("kappa", [0.0, 1e-6, 0.5, 4.0, 300.0, 1e9])
@pytest.mark.backends("numpy", "jax")
def test_draws_of_von_mises(backend, kappa):
    from estep_xp.arrays.special import bessel_ratio

    model = ex.Mixture(
        backend.asarray([1.0]), ex.VonMises(backend.asarray([1.0]), backend.asarray([kappa]))
    )
    seed = 3
    if backend.name == "jax":
        import jax

        seed = jax.random.key(3)
    n = 20_000
    angles = backend.to_numpy(ex.sample(model, n, seed=seed).x) - 1.0
    ratio, lack = bessel_ratio(np, np.asarray([kappa]))
    # Of 1 − cos: its mean, and no less than its standard deviation.
    half = 2.0 * np.sin(0.5 * angles) ** 2
    assert abs(half.mean() - lack[0]) <= 5.0 * half.std() / np.sqrt(n)
    assert abs(np.sin(angles).mean()) <= 5.0 * np.sin(angles).std() / np.sqrt(n)
    assert 0.0 <= ratio[0] <= 1.0


@pytest.mark.parametrize(
    ("components", "x", "words"),
    [
        (ex.Exponential([1.0, 0.0]), [1.0], "rates[1] is 0.0; rates must be positive and finite"),
        (ex.Exponential([[[2.0]]]), [1.0], "rates has shape (1, 1, 1); expected (k,) or (k, d)"),
        (ex.Exponential([]), [1.0], "rates is empty"),
        (ex.Exponential([1.0]), [-1.0], "x[0] is -1.0; x must not be negative"),
        (ex.Gamma([1.0], [np.inf]), [1.0], "rates[0] is inf; rates must be positive"),
        (ex.Gamma([-1.0], [1.0]), [1.0], "shapes[0] is -1.0; shapes must be positive"),
        (ex.Gamma([1.0], [1.0, 2.0]), [1.0], "rates has shape (2,); expected (1,), the shape of"),
        (ex.Gamma([1.0], [1.0]), [[1.0]], "x has shape (1, 1); expected (n,) for Gamma"),
        (ex.Gamma([1.0], [1.0]), [0.0], "x[0] is 0.0; x must be positive"),
        (
            ex.VonMises([1.0], [-1.0]),
            [1.0],
            "concentrations[0] is -1.0; concentrations must be non",
        ),
        (ex.VonMises([np.nan], [1.0]), [1.0], "locations[0] is nan; locations must be finite"),
        (ex.VonMises([1.0], [[1.0]]), [1.0], "concentrations has shape (1, 1); expected (1,)"),
        (ex.VonMises([1.0], [1.0]), [np.inf], "x[0] is inf; x must be finite"),
    ],
)
def test_bad_arguments_are_named(components, x, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        components.log_prob(x)
