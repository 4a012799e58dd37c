"""Sums made by hand that no rows have: an error that names the sum, NaN under jit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import estep_xp as ex
from tests.records import RECORDS, every_family, parametrize, problem
from tests.test_open_family import Laplace

K, N = 3, 30
BY_NAME = {record.name: record for record in RECORDS}


def more(a: Any) -> Any:
    return 1e3 * a + 1e3


# Family, field, what is done to its sums, and the entry that is named.
IMPOSSIBLE = [
    ("bernoulli", "ones", np.negative, "[0, 0]"),
    ("bernoulli", "ones", more, "[0, 0]"),
    ("poisson", "sums", np.negative, "[0]"),
    ("exponential", "sums", np.negative, "[0]"),
    ("categorical", "kinds", np.negative, "[0, 0]"),
    ("categorical", "kinds", more, "[0, 0]"),
    ("gamma", "sums", np.negative, "[0]"),
    ("gamma", "logs", more, "[0]"),
    ("gamma", "excess", np.negative, "[0]"),
    ("gamma", "excess", more, "[0]"),
    ("von-mises", "sines", more, "[0]"),
    ("von-mises", "versines", np.negative, "[0]"),
    ("von-mises", "versines", more, "[0]"),
    ("student-t", "weights", np.negative, "[0]"),
    ("student-t", "weights", more, "[0]"),
    ("student-t", "first", more, "[0, 0]"),
    ("student-t", "second", np.negative, "[0, 0, 0]"),
    ("student-t", "excess", np.negative, "[0]"),
    ("factor-analyzer", "rest", more, "[0, 0]"),
    ("factor-analyzer", "squares", np.negative, "[0, 0]"),
    ("factor-analyzer", "factors", more, "[0, 0]"),
    ("factor-analyzer", "cross", more, "[0, 0, 0]"),
    ("factor-analyzer", "factor_products", np.negative, "[0, 0, 0]"),
    *((record.name, "first", more, "[0") for record in RECORDS[:5]),
    *((record.name, "second", np.negative, "[0") for record in RECORDS[:5]),
]
impossible = pytest.mark.parametrize(
    ("name", "field", "change", "entry"),
    IMPOSSIBLE,
    ids=[f"{name}-{field}-{change.__name__}" for name, field, change, _ in IMPOSSIBLE],
)


def statistics_of(backend: Any, name: str, field: str, change: Any) -> Any:
    case = problem(BY_NAME[name], n=N)
    good = ex.expected_statistics(backend.data(case.x), case.mixture(backend))
    sums = backend.asarray(change(backend.to_numpy(getattr(good.moments, field))))
    return good._replace(moments=good.moments._replace(**{field: sums}))


@pytest.mark.backends("numpy")
@impossible
def test_the_sum_is_named(backend, name, field, change, entry):
    # What other sums contradict may be named in their place.
    with pytest.raises(ValueError, match="no rows have these sums") as caught:
        ex.m_step(statistics_of(backend, name, field, change))
    if (name, field) not in (("gamma", "logs"),):
        assert f"statistics.moments.{field}{entry}" in str(caught.value)


@pytest.mark.backends("jax", "torch", "array_api_strict")
@pytest.mark.parametrize(("name", "field"), [("bernoulli", "ones"), ("full", "second")])
def test_in_any_library(backend, name, field):
    with pytest.raises(ValueError, match=rf"statistics\.moments\.{field}\[0, 0"):
        ex.m_step(statistics_of(backend, name, field, np.negative))


@pytest.mark.backends("jax_jit")
@pytest.mark.parametrize("name", ["bernoulli", "gamma", "tied"])
def test_compiled_they_are_nan(backend, name):
    """Whatever is returned; sums of rows are what they were."""
    own = [case for case in IMPOSSIBLE if case[0] == name]
    case = problem(BY_NAME[name], n=N)
    good = ex.expected_statistics(backend.data(case.x), case.mixture(backend))
    new = backend.call(ex.m_step, good)
    for array, expected in zip((new.weights, *new.components), _flat(ex.m_step(good)), strict=True):
        np.testing.assert_allclose(backend.to_numpy(array), backend.to_numpy(expected), rtol=1e-9)
    for _, field, change, _ in own:
        bad = backend.call(ex.m_step, statistics_of(backend, name, field, change))
        assert all(np.isnan(backend.to_numpy(array)).all() for array in _flat(bad))


def _flat(mixture: ex.Mixture) -> tuple[Any, ...]:
    return mixture.weights, *mixture.components


@pytest.mark.backends("dask")
def test_in_a_lazy_graph_they_are_nan(backend):
    bad = ex.m_step(statistics_of(backend, "bernoulli", "ones", np.negative))
    assert all(np.isnan(backend.to_numpy(array)).all() for array in _flat(bad))


@pytest.mark.backends("jax_jit")
def test_compiled_counts_and_parts(backend):
    case = problem(BY_NAME["poisson"], n=N)
    part = case.mixture(backend).components
    mixture = ex.Mixture(backend.asarray(case.weights), ex.Product((part, part)))
    x = backend.data(np.stack([case.x, case.x], axis=1))
    good = ex.expected_statistics(x, mixture)
    one, other = good.moments.parts
    parts = good.moments._replace(parts=(one, type(other)(-other.sums)))
    for bad in (good._replace(counts=-good.counts), good._replace(moments=parts)):
        assert np.isnan(backend.to_numpy(backend.call(ex.m_step, bad).weights)).all()
    with pytest.raises(ValueError, match=r"statistics\.moments\.parts\[1\]\.sums\[0\]"):
        ex.m_step(good._replace(moments=parts))


def test_counts_of_a_chain():
    case = problem(BY_NAME["poisson"], n=N)
    poisson = BY_NAME["poisson"].family(**case.params)
    hmm = ex.HMM.from_mixture(ex.Mixture(case.weights, poisson))
    good = ex.expected_statistics(case.x, hmm)
    with pytest.raises(ValueError, match=r"statistics\.transitions\[0, 0\] is -"):
        ex.m_step(good._replace(transitions=-good.transitions))


# What rows have is never refused


@pytest.mark.backends("numpy")
@every_family
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_sums_of_rows_are_taken(backend, record, dtype):
    """Of many rows, of few, of equal ones, of small weights; scaled and merged."""
    mixture = problem(record, n=4).mixture(backend, dtype)
    for n, share in ((4000, 1.0), (1, 1.0), (3, 1e-30), (50, 1e-3)):
        x = problem(record, n=n).x
        for rows in (x, np.broadcast_to(x[:1], x.shape)):
            weight = backend.data(np.full(n, share), dtype)
            sums = ex.expected_statistics(backend.data(rows, dtype), mixture, sample_weight=weight)
            both = ex.merge(ex.scale(sums, 0.3), sums)
            new = ex.m_step(both, variance_floor=0.1)
            assert np.isfinite(backend.to_numpy(new.weights)).all()


GAUSSIANS = [
    ex.UnivariateGaussian([0.1, 1.4], [1.0, 1.0]),
    ex.SphericalGaussian([[0.1, 0.2], [1.4, 0.3]], [1.0, 1.0]),
    ex.DiagonalGaussian([[0.1, 0.2], [1.4, 0.3]], [[1.0, 1.0], [1.0, 1.0]]),
    ex.TiedGaussian([[0.1, 0.2], [1.4, 0.3]], [[1.0, 0.2], [0.0, 1.0]]),
    ex.FullGaussian([[0.1, 0.2], [1.4, 0.3]], [[[1.0, 0.2], [0.0, 1.0]]] * 2),
]
every_gaussian = pytest.mark.parametrize("components", GAUSSIANS, ids=lambda c: type(c).__name__)


@pytest.mark.backends("numpy")
@every_gaussian
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_rows_at_the_mean_are_taken(backend, components, dtype):
    """Cancelling leaves rounding errors of either sign where squares are 0, or nearly."""
    arrays = [backend.asarray(array, dtype) for array in components]
    mixture = ex.Mixture(backend.asarray([0.5, 0.5], dtype), type(components)(*arrays))
    for mean in components.means:
        for distance in (0.0, 1e-7, 1e-6, 1e-5, 1e-4):
            x = np.broadcast_to(np.asarray(mean) + distance, (3000, *np.shape(mean)))
            sums = ex.expected_statistics(backend.data(x, dtype), mixture)
            new = ex.m_step(sums, variance_floor=0.1)
            assert np.isfinite(backend.to_numpy(new.weights)).all()


@every_gaussian
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_component_with_hardly_any_rows_is_taken(components, dtype):
    """Of subnormal responsibilities sums of products vanish, and others do not."""
    exponents = np.linspace(307, 324, 100) if dtype == "float64" else np.linspace(37, 46, 100)
    own = type(components)(*(np.asarray(array, dtype) for array in components))
    x = np.asarray(components.means, dtype) + np.asarray(0.3, dtype)
    for weight in 10.0**-exponents:
        mixture = ex.Mixture(np.asarray([1.0, weight], dtype), own)
        sums = ex.expected_statistics(x[:1], mixture)
        assert np.isfinite(ex.m_step(sums, variance_floor=0.1).weights).all()


@every_gaussian
def test_rows_far_from_the_old_means_are_taken(components):
    """Recentred, squares are at least those of the mean, whatever was lost at the old means."""
    new = ex.Mixture([0.5, 0.5], type(components)(*map(np.asarray, components)))
    for far in np.linspace(1e6, 1e7, 20):
        old = new._replace(components=new.components._replace(means=new.components.means + far))
        x = new.components.means + 1e-3 * np.ones_like(new.components.means)
        sums = ex.recenter(ex.expected_statistics(x, old), new)
        assert np.isfinite(ex.m_step(sums, variance_floor=100.0).weights).all()


@parametrize(*(r for r in RECORDS if r.name not in ("student-t", "factor-analyzer")))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_sums_under_other_components_are_taken(record, dtype):
    cases = [problem(record, seed=seed, n=400) for seed in (0, 1)]
    old, new = (ex.Mixture(case.weights, record.family(**case.params)) for case in cases)
    x = cases[0].x.astype(dtype)
    sums = ex.recenter(ex.expected_statistics(x, old), new)
    assert np.isfinite(ex.m_step(sums, variance_floor=0.1).weights).all()


# A user's class


@pytest.mark.parametrize("shape", [(1,), (4,), ()])
def test_sums_of_a_users_class_with_another_leading_axis(shape):
    x = np.asarray([-1.0, 0.5, 3.0, 4.5])
    mixture = ex.Mixture(np.ones(2), Laplace(np.asarray([0.0, 4.0]), np.ones(2)))
    good = ex.expected_statistics(x, mixture)
    bad = good._replace(moments=good.moments._replace(rows=np.ones(shape)))
    with pytest.raises(
        ValueError, match=r"statistics\.moments\.rows is of shape .* leading axis of 2"
    ):
        ex.m_step(bad)
    nothing = good._replace(moments=good.moments._replace(rows=None))
    with pytest.raises(ValueError, match=r"statistics\.moments\.rows is of None"):
        ex.m_step(nothing)
