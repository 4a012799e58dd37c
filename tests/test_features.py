"""The faster form of densities: granted where it is exact, and only there."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from unittest import mock

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.execution.numpy import driver, ops
from estep_xp.families.gaussian import error_bound, product_form
from tests import oracle
from tests.oracle import FAMILIES
from tests.records import FULL, GAUSSIANS, TIED, few_on_jax, gaussians_only, random_weights

EPS = float(np.finfo(np.float64).eps)
OPS = ops.NumpyOps(np, many_rows=True)
N = 1200  # enough rows for features to be made

by_family = gaussians_only
by_spread = pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])


def draw(record, spread, n=N, k=4, d=6, seed=0):
    """Draw rows, weights and parameters whose means are `spread` times as far apart as usual."""
    params = record.random(seed, k, d)
    params["means"] = spread * params["means"]
    rng = np.random.default_rng(seed)
    x = params["means"][rng.integers(k, size=n)]
    return x + rng.normal(size=x.shape), random_weights(seed, k), params


def by_features(components, x):
    """Log-densities by features, whatever the bound says, and the bound of each row."""
    kind = components._quadratic
    form = form_of(components)
    rows = rows_of(form, kind, x)
    values = product_form.log_joint(OPS, form, product_form.evaluate_terms(OPS, kind, rows))
    return values.T, product_form.evaluate_bounds(OPS, kind, form, rows)


def form_of(components):
    """Return the product form, however large the bound is."""
    with mock.patch.object(error_bound, "_ALLOWED", np.inf):
        return components._prepare(OPS, None).product


def limit_of(record):
    """Return the largest bound that is good enough."""
    _, _, params = draw(record, 0.1, n=1)
    return record.family(**params)._prepare(OPS, None).product.bound.limit


def rows_of(form, kind, x):
    z = product_form.centre_rows(OPS, form, np.ascontiguousarray(x.T))
    return product_form.prepare_rows(OPS, kind, form, z)


def name_of(record):
    return record.family.__name__


def log_prob_of(record, params, x):
    """Log-densities and the terms T, both to 50 digits."""
    return oracle.gaussian(name_of(record), tuple(params.values()), x)


@by_family
@by_spread
@pytest.mark.parametrize("d", [1, 2, 6, 16])
def test_their_error_stays_below_what_is_said(record, spread, d):
    x, _, params = draw(record, spread, n=30, d=d)
    values, bounds = by_features(record.family(**params), x)
    exact, scale = log_prob_of(record, params, x)
    error = np.abs(oracle.exact(values) - exact).astype(float) / EPS
    assert (error <= bounds[:, None] + 4.0 * scale.astype(float)).all()


@by_family
@by_spread
def test_the_bound_is_one(record, spread):
    x, _, params = draw(record, spread)
    components = record.family(**params)
    form, kind = components._prepare(OPS, None).product, components._quadratic
    rows = rows_of(form, kind, x)
    sizes = np.abs(form.coefficients) @ np.abs(product_form.evaluate_terms(OPS, kind, rows))
    bounds = product_form.evaluate_bounds(OPS, kind, form, rows)
    assert (sizes.max(axis=0) <= bounds * (1 + 1e-12)).all()
    assert (bounds <= 8.0 * sizes.max(axis=0)).all()  # and no empty one


def at_the_edge(record):
    """Draw a mixture so far spread that features are granted to some rows of it only."""
    for spread in 2.0 ** np.arange(0, 12, 0.02):
        x, weights, params = draw(record, spread)
        _, bounds = by_features(record.family(**params), x)
        if np.sum(bounds > limit_of(record)) > 20:
            return x, weights, params, bounds
    raise AssertionError("features were granted to all rows of all mixtures")


@by_family
def test_rows_on_both_sides_of_the_edge_are_exact(record):
    x, weights, params, bounds = at_the_edge(record)
    limit = limit_of(record)
    ordered = np.argsort(bounds)
    first_not = np.searchsorted(bounds[ordered], limit, side="right")
    order = ordered[first_not - 20 : first_not + 20]  # the worst of those granted, the first not
    assert np.sum(bounds[order] > limit) == 20
    mixture = ex.Mixture(weights, record.family(**params))
    joint = ex.log_joint(x, mixture)[order]
    exact = oracle.mixture(name_of(record), tuple(params.values()), weights, x[order])
    oracle.assert_log_joint(joint, exact, "float64")


@by_family
def test_beyond_the_edge_nothing_is_left_to_features(record):
    x, _, params = draw(record, 1e3)
    assert record.family(**params)._prepare(OPS, None).product is None
    values, _ = by_features(record.family(**params), x)
    exact, scale = log_prob_of(record, params, x[:20])
    error = np.abs(oracle.exact(values[:20]) - exact).astype(float)
    allowed = oracle.bound(scale, "float64").astype(float)
    assert (error > allowed).any()  # there was a reason for it


@pytest.mark.parametrize("variance", [1e-6, 1.0])
@pytest.mark.parametrize("offset", [0.0, 1e8])
@by_family
def test_an_offset_of_all_rows_costs_features_nothing(record, offset, variance):
    x, weights, params = draw(record, 1.0)
    scale = np.sqrt(variance)
    params["means"] = offset + scale * params["means"]
    second = "variances" if "variances" in params else "precision_cholesky"
    params[second] = params[second] * (variance if second == "variances" else 1.0 / scale)
    x = offset + scale * x
    _, bounds = by_features(record.family(**params), x)
    assert (bounds <= limit_of(record)).all()
    joint = ex.log_joint(x, ex.Mixture(weights, record.family(**params)))[:20]
    exact = oracle.mixture(name_of(record), tuple(params.values()), weights, x[:20])
    oracle.assert_log_joint(joint, exact, "float64")


@by_family
@pytest.mark.parametrize("value", [1e9, 1e200, -1e300])
def test_single_rows_are_sorted_out(record, value):
    x, weights, params = draw(record, 1.0)
    odd = [3, 700, N - 1]
    x[odd] = value
    mixture = ex.Mixture(weights, record.family(**params))
    joint = ex.log_joint(x, mixture)
    exact = oracle.mixture(name_of(record), tuple(params.values()), weights, x[:5])
    with np.errstate(over="ignore"):
        oracle.assert_log_joint(joint[:5], exact, "float64")
        np.testing.assert_allclose(joint, record.log_joint(x, weights, params), rtol=1e-12)


@by_family
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_statistics_are_those_of_the_residual_form(record, dtype):
    x, weights, params = draw(record, 1.0)
    # Rows for both forms in one block; any further off, single precision could not tell whose.
    x[[5, 600]] = 1e3
    x, weights = x.astype(dtype), weights.astype(dtype)
    params = {name: a.astype(dtype) for name, a in params.items()}
    mixture = ex.Mixture(weights, record.family(**params))
    with mock.patch.object(driver, "_MANY_ROWS", np.inf):
        expected = ex.expected_statistics(x, mixture)
    result = ex.expected_statistics(x, mixture)
    tolerance = 200.0 * float(np.finfo(dtype).eps)
    for name in ("log_likelihood", "n_rows", "counts"):
        a, b = getattr(result, name), getattr(expected, name)
        assert a.dtype == b.dtype == np.dtype(dtype)
        np.testing.assert_allclose(a, b, rtol=tolerance)
    for a, b in zip(result.moments, expected.moments, strict=True):
        assert a.dtype == b.dtype == np.dtype(dtype)
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * float(np.abs(b).max()))


@by_family
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_row_is_named(record, value):
    x, weights, params = draw(record, 1.0)
    x[700, ...] = value
    mixture = ex.Mixture(weights, record.family(**params))
    for function in (ex.e_step, ex.log_likelihood, ex.expected_statistics):
        with pytest.raises(ValueError, match=r"x\[700"):
            function(x, mixture)


@by_family
def test_few_rows_do_without(record):
    x, weights, params = draw(record, 1.0, n=10)
    mixture = ex.Mixture(weights, record.family(**params))
    with mock.patch.object(product_form, "evaluate_terms", side_effect=AssertionError):
        ex.e_step(x, mixture)


@by_family
def test_float32_rows_are_evaluated_in_double_precision(record):
    x, weights, params = draw(record, 3.0)
    x, weights = x.astype("float32"), weights.astype("float32")
    params = {name: a.astype("float32") for name, a in params.items()}
    joint = ex.log_joint(x, ex.Mixture(weights, record.family(**params)))
    assert joint.dtype == np.float32
    exact = oracle.mixture(name_of(record), tuple(params.values()), weights, x[:20])
    oracle.assert_log_joint(joint[:20], exact, "float32")


CORRELATED = [TIED, FULL]


@pytest.mark.parametrize("size", [10.0, 1e3, 1e5])
@pytest.mark.parametrize("record", CORRELATED, ids=lambda record: record.name)
def test_factors_with_large_entries_off_their_diagonals(record, size):
    rng = np.random.default_rng(0)
    k, d = 3, 4
    params = record.random(0, k, d)
    factors = params["precision_cholesky"]
    factors += size * np.triu(rng.normal(size=factors.shape), 1)
    means = np.linalg.solve(
        np.swapaxes(np.broadcast_to(factors, (k, d, d)), 1, 2), rng.normal(size=(k, d, 1))
    )
    params["means"] = 3.0 * means[..., 0]
    component = rng.integers(k, size=N)
    noise = rng.normal(size=(N, d, 1))
    x = np.linalg.solve(np.swapaxes(np.broadcast_to(factors, (k, d, d)), 1, 2)[component], noise)
    x = params["means"][component] + x[..., 0]
    weights = random_weights(0, k)
    joint = ex.log_joint(x, ex.Mixture(weights, record.family(**params)))[:40]
    exact = oracle.mixture(name_of(record), tuple(params.values()), weights, x[:40])
    oracle.assert_log_joint(joint, exact, "float64")


# JAX decides for all rows at once, as the program runs.

jax_too = pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed")


def in_jax(function, x, weights, params, record, dtype, **extra):
    import jax
    import jax.numpy as jnp

    x, weights, *fields = (jnp.asarray(a, dtype) for a in (x, weights, *params.values()))
    result = function(x, ex.Mixture(weights, record.family(*fields)), **extra)
    return jax.tree.map(np.asarray, result)


@jax_too
@by_family
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spread", [0.5, 3.0, 1e3])
def test_jax_is_as_exact(record, dtype, spread):
    x, weights, params = draw(record, spread)
    x, weights, *fields = (np.asarray(a, dtype) for a in (x, weights, *params.values()))
    params = dict(zip(params, fields, strict=True))
    joint = in_jax(ex.log_joint, x, weights, params, record, dtype)[:30]
    exact = oracle.mixture(name_of(record), tuple(fields), weights, x[:30])
    oracle.assert_log_joint(joint, exact, dtype)


@few_on_jax
@jax_too
@pytest.mark.parametrize(
    ("record", "compiled"),
    [(record, i % 2 == 1) for i, record in enumerate(GAUSSIANS)],
    ids=[record.name for record in GAUSSIANS],
)
def test_jax_asks_once_for_all_rows(record, compiled):
    import jax

    x, weights, params = draw(record, 1.0)
    x[17] = 1e6
    call = jax.jit(ex.e_step) if compiled else ex.e_step
    result = in_jax(call, x, weights, params, record, "float64")
    expected = ex.e_step(x, ex.Mixture(weights, record.family(**params)))
    np.testing.assert_allclose(result.log_likelihood, expected.log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(result.responsibilities, expected.responsibilities, atol=1e-11)


@functools.cache
def gradient_of_one_in_a_batch():
    """Return a function that JAX compiles once a family and number of rows."""
    import jax

    def gradient(x, mixture):
        return jax.vmap(jax.grad(ex.log_likelihood, argnums=1), in_axes=(None, 0))(
            x, jax.tree.map(lambda a: a[None], mixture)
        )

    return jax.jit(gradient)


@few_on_jax
@jax_too
@by_family
@pytest.mark.parametrize("far", [False, True])
def test_derivatives_are_those_of_the_residual_form(record, far):
    import jax

    gradient = gradient_of_one_in_a_batch()
    x, weights, params = draw(record, 1.0)
    x = x[:1000]
    if far:
        x[17] = 1e150  # beyond what features can square

    many = in_jax(gradient, x, weights, params, record, "float64")
    few = [
        in_jax(gradient, part, weights, params, record, "float64") for part in (x[:500], x[500:])
    ]
    for whole, a, b in zip(jax.tree.leaves(many), *map(jax.tree.leaves, few), strict=True):
        assert np.isfinite(whole).all() or not np.isfinite(a + b).all()
        np.testing.assert_allclose(whole, a + b, rtol=1e-9, atol=1e-9 * float(np.abs(a + b).max()))


assert {name_of(record) for record in GAUSSIANS} == set(FAMILIES)


def second_moments(x, weights, means, factors):
    """Σ r (x − μ) (x − μ)ᵀ of full components, and a scale for each entry, in 80-bit numbers."""
    x, means, factors = (np.asarray(a, np.longdouble) for a in (x, means, factors))
    residuals = x[:, None, :] - means
    standardised = np.einsum("nkd,kde->nke", residuals, factors)
    logs = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(1) + np.log(weights)
    joint = logs - 0.5 * (standardised**2).sum(-1)
    shares = np.exp(joint - joint.max(axis=1, keepdims=True))
    weighted = residuals * (shares / shares.sum(axis=1, keepdims=True))[:, :, None]
    moments = np.einsum("nkd,nke->kde", weighted, residuals)
    deviations = np.sqrt(np.diagonal(moments, axis1=1, axis2=2))
    return moments, deviations[:, :, None] * deviations[:, None, :]


@jax_too
@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="long double is a double here")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spread", [0.3, 2.0, 3.0, 30.0, 3e3])
def test_jax_sums_moments_by_features_where_they_are_exact(spread, dtype):
    """From a spread of 3 on they are not."""
    record = FULL
    x, weights, params = draw(record, spread, d=12)
    x, weights = x.astype(dtype), weights.astype(dtype)
    params = {name: np.asarray(a, dtype) for name, a in params.items()}
    exact, scale = second_moments(x, weights, *params.values())
    actual = in_jax(ex.expected_statistics, x, weights, params, record, dtype).moments.second
    eps = float(np.finfo(dtype).eps)
    # What cancels has the rounding of a sum over a thousand rows, which is twice that of a number.
    allowed = max(16.0 * eps, 1e-13)
    # And what the rounding of the responsibilities makes: they go by the largest log-joint.
    np.testing.assert_array_less(np.abs(actual - exact), (allowed + 100 * eps) * scale)


@jax_too
def test_jax_sums_moments_of_rows_out_of_reach_by_residuals():
    """A row whose squares overflow is no part of a component that it does not belong to."""
    record = FULL
    d = 12
    x = np.random.default_rng(0).standard_normal((N, d))
    x[7] = 1e155
    factors = np.stack([np.eye(d), 1e-150 * np.eye(d)])
    params = {"means": np.zeros((2, d)), "precision_cholesky": factors}
    actual = in_jax(ex.expected_statistics, x, np.ones(2), params, record, "float64")
    inner = np.delete(x, 7, axis=0)
    np.testing.assert_allclose(actual.moments.second[0], inner.T @ inner, rtol=1e-10, atol=1e-9)
