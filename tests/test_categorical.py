"""Categorical mixtures: what is special to kinds. The laws of all families hold, too."""

from __future__ import annotations

import re

import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS
from tests.oracle import assert_log_joint
from tests.records import RECORDS, Problem, problem

NUMPY = BACKENDS["numpy"]
CATEGORICAL = next(record for record in RECORDS if record.name == "categorical")


@pytest.mark.parametrize(
    ("dtype", "rows"),
    [
        ("float64", [[1e-300, 1.0, 0.0, 1e300], [1e308, 1e308, 1e308, 1e-308], [0, 0, 0, 5e-324]]),
        ("float32", [[1e-30, 1.0, 0.0, 1e30], [3e38, 3e38, 3e38, 1e-37], [0, 0, 0, 1e-45]]),
    ],
)
@pytest.mark.backends("numpy", "array_api_strict", "torch")
def test_extremes(backend, dtype, rows):
    arrays = ([0.0, 1.0, 2.0, 3.0], [0.2, 0.3, 0.5], rows)
    x, weights, table = (np.asarray(a, dtype).astype(float) for a in arrays)
    case = Problem(CATEGORICAL, x, weights, {"probabilities": table})
    joint = ex.log_joint(backend.data(x, dtype), case.mixture(backend, dtype))
    assert_log_joint(backend.to_numpy(joint), case.oracle(), dtype)


def test_rows_are_normalised_wherever_they_are_used():
    once, twice = ex.Categorical([[1.0, 3.0]]), ex.Categorical([[2.0, 6.0]])
    np.testing.assert_allclose(once.log_prob([0, 1]), twice.log_prob([0, 1]), rtol=1e-15)
    np.testing.assert_allclose(once.log_prob([0, 1]), np.log([[0.25], [0.75]]), rtol=1e-15)
    assert ex.n_parameters(ex.Mixture([1.0], once)) == 1


@pytest.mark.backends("numpy", "torch", "jax")
def test_whole_numbers(backend):
    case = problem(CATEGORICAL)
    mixture = case.mixture(backend)
    expected = ex.e_step(backend.data(case.x), mixture).log_likelihood
    actual = ex.e_step(backend.data(case.x.astype("int32")), mixture).log_likelihood
    backend.assert_like(actual, "float64")
    assert (backend.to_numpy(actual) == backend.to_numpy(expected)).all()


def test_an_absent_kind_ends_as_impossible():
    mixture = ex.estimate([0, 0, 1, 2], [0, 0, 0, 1], ex.Categorical([[1.0, 1.0, 1.0]] * 2))
    np.testing.assert_allclose(mixture.components.probabilities, [[2 / 3, 1 / 3, 0], [0, 0, 1]])
    with pytest.warns(RuntimeWarning, match="1 row has zero density"):
        step = ex.e_step([2], ex.Mixture([1.0, 0.0], mixture.components))
    assert step.log_likelihood[0] == -np.inf


@pytest.mark.parametrize("method", ["k-means", "k-means++", "random", "random_rows"])
def test_no_kind_begins_as_impossible(method):
    x = np.repeat([0.0, 3.0], [30, 20])
    start = ex.initialize(x, 2, ex.Categorical(np.ones((2, 5))), method=method)
    assert (start.components.probabilities > 0).all()
    np.testing.assert_allclose(start.components.probabilities.sum(axis=1), 1.0)


def test_kinds_have_no_order_for_a_start():
    """Kinds 0 and 4 go together in one component, and 2 in the other."""
    rng = np.random.default_rng(0)
    first = rng.random(600) < 0.5
    parts = [np.where(first, rng.choice([0, 4], 600), 2) for _ in range(3)]
    x = np.stack(parts, axis=1).astype(float)
    template = ex.Product(tuple(ex.Categorical(np.ones((2, 5))) for _ in range(3)))
    result = ex.fit(x, ex.initialize(x, 2, template))
    labels = ex.predict(x, result.mixture)
    assert len(set(labels[first])) == len(set(labels[~first])) == 1


def test_draws_have_the_probabilities():
    model = ex.Mixture([1.0], ex.Categorical([[0.0, 1.0, 3.0, 0.0]]))
    x = ex.sample(model, 20_000, seed=1).x
    shares = np.bincount(x.astype(int), minlength=4) / len(x)
    np.testing.assert_allclose(shares, [0.0, 0.25, 0.75, 0.0], atol=0.02)
    assert shares[0] == shares[3] == 0.0


def test_missing_rows_add_what_is_expected():
    mixture = problem(CATEGORICAL).mixture(NUMPY)
    x = np.asarray([0.0, np.nan, 3.0])
    statistics = ex.expected_statistics(x, mixture, missing=True)
    seen = ex.expected_statistics(x[[0, 2]], mixture)
    assert float(statistics.log_likelihood) == pytest.approx(float(seen.log_likelihood))
    p = mixture.components.probabilities
    shares = mixture.weights / mixture.weights.sum()
    expected = seen.moments.kinds + shares[:, None] * p / p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(statistics.moments.kinds, expected, rtol=1e-13)


@pytest.mark.backends("jax")
def test_standard_errors_are_those_of_shares(backend):
    """Of a single component √(p (1 − p) / n), whatever sum its row has."""
    import estep_xp.jax

    x = backend.data(np.repeat([0.0, 1.0, 2.0], [10, 30, 60]))
    mixture = ex.Mixture(
        backend.asarray([1.0]), ex.Categorical(backend.asarray([[2.0, 6.0, 12.0]]))
    )
    errors = estep_xp.jax.standard_errors(x, mixture).components.probabilities
    p = np.asarray([[0.1, 0.3, 0.6]])
    np.testing.assert_allclose(errors, np.sqrt(p * (1.0 - p) / 100), rtol=1e-10)


@pytest.mark.parametrize(
    ("components", "x", "words"),
    [
        (ex.Categorical([[0.5, -0.5]]), [0], "probabilities[0, 1] is -0.5; probabilities must be"),
        (ex.Categorical([[0.5, np.inf]]), [0], "probabilities[0, 1] is inf; probabilities must be"),
        (ex.Categorical([[1.0], [0.0]]), [0], "probabilities[1] sums to 0; at least one"),
        (ex.Categorical([0.5, 0.5]), [0], "probabilities has shape (2,); expected (k, m)"),
        (ex.Categorical(np.ones((0, 2))), [0], "probabilities is empty"),
        (ex.Categorical(np.ones((2, 0))), [0], "probabilities has no columns"),
        (ex.Categorical([[1.0, 1.0]]), [[0]], "x has shape (1, 1); expected (n,) for Categorical"),
        (ex.Categorical([[1.0, 1.0]]), [0, 2], "x[1] is 2; x must be a kind: a whole number from"),
        (ex.Categorical([[1.0, 1.0]]), [0.5], "x[0] is 0.5; x must be a kind"),
    ],
)
def test_bad_arguments_are_named(components, x, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        components.log_prob(x)


def test_a_class_alone_is_no_start():
    with pytest.raises(TypeError, match="give components Categorical"):
        ex.initialize([0, 1, 1], 2, ex.Categorical)


def test_a_template_may_have_any_number_of_components():
    """Of the kinds alone the template tells: `select` tries several numbers of components."""
    rng = np.random.default_rng(4)
    group = rng.integers(0, 2, size=300)
    kinds = np.where(rng.random(300) < 0.9, group, 2)
    x = np.column_stack([rng.normal(8.0 * group), kinds])
    normal = ex.UnivariateGaussian(np.zeros(2), np.ones(2))
    template = ex.Product((normal, ex.Categorical(np.full((2, 3), 1 / 3))))
    selection = ex.select(x, template, range(1, 4))
    assert sorted(row.n_components for row in selection.table) == [1, 2, 3]
    assert selection.best.mixture.weights.shape == (2,)
    probabilities = selection.best.mixture.components.parts[1].probabilities
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
