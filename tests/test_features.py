"""The faster form of densities: granted where it is exact, and only there."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.execution import _numpy
from estep_xp.families import _features
from tests import families, oracle
from tests.oracle import FAMILIES

EPS = float(np.finfo(np.float64).eps)
LIMIT = _features._ALLOWED / (_features._GROWTH * EPS)
PLAN = _numpy.NumpyPlan(np, many_rows=True)
N = 1200  # enough rows for features to be made

by_family = pytest.mark.parametrize("record", families.RECORDS, ids=lambda record: record.name)
by_spread = pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])


def draw(record, spread, n=N, k=4, d=6, seed=0):
    """Draw rows, weights and parameters whose means are `spread` times as far apart as usual."""
    params = record.random(seed, k, d)
    params["means"] = spread * params["means"]
    rng = np.random.default_rng(seed)
    x = params["means"][rng.integers(k, size=n)]
    return x + rng.normal(size=x.shape), families.random_weights(seed, k), params


def by_features(components, x):
    """Log-densities by features, whatever the bound says, and the bound of each row."""
    with mock.patch.object(_features, "_ALLOWED", np.inf):
        shared = components._prepare(PLAN, None)
        features = _features.features_of(
            PLAN, components._quadratic, shared.natural, np.ascontiguousarray(x.T)
        )
    values = shared.natural.parameters @ features
    return values[:-1].T, values[-1]


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
    assert (error <= 3.0 * bounds[:, None]).all()
    near = scale.astype(float) < 3.0 / 16.0 * bounds[:, None]
    assert near.any() or spread < 3.0
    assert (error <= _features._GROWTH * bounds[:, None])[near].all()


@by_family
@by_spread
def test_the_bound_is_one(record, spread):
    x, _, params = draw(record, spread)
    components = record.family(**params)
    shared = components._prepare(PLAN, None)
    features = _features.features_of(
        PLAN, components._quadratic, shared.natural, np.ascontiguousarray(x.T)
    )
    sizes = np.abs(shared.natural.parameters[:-1]) @ np.abs(features)
    _, bounds = by_features(components, x)
    assert (sizes.max(axis=0) <= bounds * (1 + 1e-12)).all()
    assert (bounds <= 4.0 * sizes.max(axis=0)).all()  # and no empty one


def at_the_edge(record):
    """Draw a mixture so far spread that features are granted to some rows of it only."""
    for spread in 2.0 ** np.arange(0, 12, 0.25):
        x, weights, params = draw(record, spread)
        _, bounds = by_features(record.family(**params), x)
        if np.mean(bounds > LIMIT) > 0.1:
            return x, weights, params, bounds
    raise AssertionError("features were granted to all rows of all mixtures")


@by_family
def test_rows_on_both_sides_of_the_edge_are_exact(record):
    x, weights, params, bounds = at_the_edge(record)
    order = np.argsort(np.abs(bounds - LIMIT))[:40]  # the worst of those granted, and the first not
    assert 0 < np.sum(bounds[order] > LIMIT) < len(order)
    mixture = ex.Mixture(weights, record.family(**params))
    joint = ex.log_joint(x, mixture)[order]
    exact = oracle.mixture(name_of(record), tuple(params.values()), weights, x[order])
    oracle.assert_log_joint(joint, exact, "float64")


@by_family
def test_beyond_the_edge_nothing_is_left_to_features(record):
    x, _, params = draw(record, 1e3)
    assert record.family(**params)._prepare(PLAN, None).natural is None
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
    assert (bounds <= LIMIT).all()
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
    x[[5, 600]] = 1e7  # rows for both forms in one block
    x, weights = x.astype(dtype), weights.astype(dtype)
    params = {name: a.astype(dtype) for name, a in params.items()}
    mixture = ex.Mixture(weights, record.family(**params))
    with mock.patch.object(_numpy, "_MANY_ROWS", np.inf):
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
    with mock.patch.object(_features, "features_of", side_effect=AssertionError):
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


assert {name_of(record) for record in families.RECORDS} == set(FAMILIES)
