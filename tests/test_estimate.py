"""`estimate`: one M-step from known responsibilities or labels, against closed forms."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS
from tests.records import GAUSSIANS
from tests.test_open_family import Laplace

N, K, D = 40, 3, 2
families = pytest.mark.parametrize("record", GAUSSIANS, ids=lambda record: record.name)
concrete = pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "jax", "torch")


def rows_and_shares(record, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, D)) * [1.0, 3.0] + offset
    return (x[:, 0] if record.univariate else x), rng.dirichlet(np.ones(K), N)


def closed_form(record, x, r, floor=0.0):
    """Weights, means and covariances in the family's shape, as a textbook writes them."""
    counts = r.sum(axis=0)
    rows = x.reshape(len(x), -1)
    means = r.T @ rows / counts[:, None]
    d = rows.shape[1]
    residuals = rows[:, None, :] - means
    full = np.einsum("nk,nki,nkj->kij", r, residuals, residuals) / counts[:, None, None]
    full += floor * np.eye(d)
    covariances = {
        "univariate": full[:, 0, 0],
        "spherical": np.trace(full, axis1=1, axis2=2) / d,
        "diagonal": np.diagonal(full, axis1=1, axis2=2),
        "tied": np.einsum("k,kij->ij", counts / counts.sum(), full),
        "full": full,
    }[record.name]
    return counts / counts.sum(), means[:, 0] if record.univariate else means, covariances


def assert_equal(backend, mixture, expected, rtol=1e-12):
    found = (mixture.weights, mixture.components.means, mixture.components.covariances)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(backend.to_numpy(a), b, rtol=rtol, atol=1e-13)


# Against closed forms


@pytest.mark.one_program("record")  # see conftest.py
@families
@pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "jax", "jax_jit", "torch")
def test_responsibilities(backend, record):
    x, r = rows_and_shares(record)
    mixture = backend.call(
        ex.estimate, backend.data(x), backend.data(r), family=record.family, variance_floor=0.0
    )
    assert type(mixture.components) is record.family
    for array in (mixture.weights, *mixture.components):
        backend.assert_like(array, "float64")
    assert_equal(backend, mixture, closed_form(record, x, r))


@families
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_rows_of_any_sum_weights_and_an_offset(record, offset):
    x, r = rows_and_shares(record, offset)
    weight = np.arange(N) % 4 + 0.5
    scaled = r * np.linspace(0.1, 5.0, N)[:, None]
    mixture = ex.estimate(x, scaled, record.family, sample_weight=weight, variance_floor=0.25)
    expected = closed_form(record, x, scaled * weight[:, None], 0.25)
    # What rounding the mean costs, in terms of the offset.
    assert_equal(BACKENDS["numpy"], mixture, expected, rtol=1e-12 if offset == 0 else 1e-8)


@families
def test_hard_responsibilities_are_an_m_step(record):
    """Where a mixture leaves no doubt, its expected statistics give the same."""
    rng = np.random.default_rng(1)
    labels = np.arange(N) % K
    x = rng.standard_normal((N, D)) + 1000.0 * labels[:, None]
    x = x[:, 0] if record.univariate else x
    mixture = ex.estimate(x, labels, record.family)
    again = ex.m_step(ex.expected_statistics(x, mixture))
    for a, b in zip(
        (mixture.weights, *mixture.components), (again.weights, *again.components), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@families
@concrete
def test_labels_are_hard_responsibilities(backend, record):
    x, _ = rows_and_shares(record)
    labels = np.arange(N) % 4 - 1
    r = (labels[:, None] == np.arange(K)).astype(float)
    mixture = ex.estimate(backend.data(x), backend.asarray(labels), record.family)
    expected = ex.estimate(x, r, record.family)
    assert_equal(
        backend,
        mixture,
        (expected.weights, expected.components.means, expected.components.covariances),
    )


@families
def test_a_label_that_no_row_has(record):
    x, _ = rows_and_shares(record)
    mixture = ex.estimate(x, np.zeros(N, dtype=int), record.family, n_components=2)
    assert mixture.weights.tolist() == [1.0, 0.0]
    assert all(np.isfinite(array).all() for array in mixture.components)
    assert np.isfinite(ex.e_step(x, mixture).log_likelihood).all()


@families
def test_rows_without_a_component_may_hold_anything(record):
    x, r = rows_and_shares(record)
    expected = ex.estimate(x[3:], r[3:], record.family)
    x, r = x.copy(), r.copy()
    x[:3] = [np.nan, np.inf, 1e300] if record.univariate else [[np.nan, 0], [0, np.inf], [1e300, 0]]
    weight = np.ones(N)
    r[:2], weight[2] = 0.0, 0.0
    mixture = ex.estimate(x, r, record.family, sample_weight=weight)
    for a, b in zip(
        (mixture.weights, *mixture.components),
        (expected.weights, *expected.components),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_counts():
    x = np.array([[0.0, 3.0], [2.0, 5.0], [7.0, 1.0], [9.0, 0.0]])
    poisson = ex.estimate(x, [0, 0, 1, 1], ex.Poisson)
    assert poisson.components.rates.tolist() == [[1.0, 4.0], [8.0, 0.5]]
    one = ex.estimate(x[:, 0], [0, 0, 1, 1], ex.Poisson)
    assert one.components.rates.tolist() == [1.0, 8.0]
    bernoulli = ex.estimate((x > 2).astype(int), [0, 0, 1, 1], ex.Bernoulli)
    assert bernoulli.components.probabilities.tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_a_class_of_ones_own():
    x = np.array([0.0, 1.0, 5.0, 9.0])
    r = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    mixture = ex.estimate(x, r, Laplace)
    expected = Laplace.start(x, r)
    assert mixture.weights.tolist() == [1 / 3, 2 / 3]
    assert mixture.components.locations.tolist() == expected.locations.tolist()
    template = Laplace(np.array([0.0, 7.0]), np.ones(2))
    by_template = ex.estimate(x, r, template)
    assert by_template.components.locations.tolist() == [0.5, 7.0]
    assert by_template.components.scales.tolist() == [0.5, 2.0]


def test_a_template_of_lists():
    mixture = ex.estimate([1, 2, 9], [0, 0, 2], ex.Poisson([1.0, 2.0, 3.0]))
    assert mixture.components.rates.tolist() == [1.5, 2.0, 9.0]


def test_a_component_without_rows_starts_as_all_rows_do():
    """A class of one's own need not think of it."""

    class Started(Laplace):
        @classmethod
        def start(cls, x, responsibilities):
            centres = responsibilities.T @ x / responsibilities.sum(axis=0)
            return Laplace(centres, np.ones(len(centres)))

    mixture = ex.estimate([1.0, 2.0, 9.0], [0, 0, 2], Started)
    assert mixture.weights.tolist() == [2 / 3, 0.0, 1 / 3]
    assert mixture.components.locations.tolist() == [1.5, 4.0, 9.0]


@pytest.mark.parametrize("x", [np.zeros(0), np.zeros((0, 2))])
def test_no_rows(x):
    family = ex.UnivariateGaussian if x.ndim == 1 else ex.FullGaussian
    for given in (np.zeros(0, dtype=int), np.zeros((0, 2))):
        with pytest.raises(ValueError, match="no row belongs to a component"):
            ex.estimate(x, given, family)


def test_responsibilities_whose_sum_is_too_large():
    """NumPy's own warnings do not show, nor is x blamed."""
    x = np.arange(60.0)
    with (
        np.errstate(all="raise"),
        pytest.raises(ValueError, match="responsibilities are too large: their sum overflows"),
    ):
        ex.estimate(x, np.full((60, 2), 1e307), ex.UnivariateGaussian)


def test_components_as_a_template():
    x, r = rows_and_shares(GAUSSIANS[-1])
    template = ex.FullGaussian.from_covariances(np.ones((K, D)), np.stack([np.eye(D)] * K))
    one, other = (ex.estimate(x, r, family) for family in (template, ex.FullGaussian))
    np.testing.assert_allclose(one.components.covariances, other.components.covariances, rtol=1e-12)
    r[:, 1] = 0.0
    assert ex.estimate(x, r, template).components.means[1].tolist() == [1.0, 1.0]


# Kinds of input


def test_lists_and_data_frames():
    pandas = pytest.importorskip("pandas")
    x, labels = [[1.0, 2.0], [1.5, 2.0], [7.0, 1.0], [8.0, 0.0]], [0, 0, 1, 1]
    expected = ex.estimate(np.asarray(x), np.asarray(labels), ex.SphericalGaussian)
    for rows, given in (
        (x, labels),
        (pandas.DataFrame(x, columns=["a", "b"]), pandas.Series(labels)),
    ):
        mixture = ex.estimate(rows, given, ex.SphericalGaussian)
        np.testing.assert_array_equal(mixture.components.means, expected.components.means)


def test_float32_stays():
    x, r = rows_and_shares(GAUSSIANS[-1])
    mixture = ex.estimate(x.astype("float32"), r.astype("float32"), ex.FullGaussian)
    assert mixture.weights.dtype == mixture.components[1].dtype == np.float32


@pytest.mark.backends("dask")
def test_rows_in_chunks(backend):
    x, r = rows_and_shares(GAUSSIANS[-1])
    mixture = ex.estimate(backend.data(x), backend.data(r), ex.FullGaussian)
    expected = ex.estimate(x, r, ex.FullGaussian)
    for a, b in zip(mixture.components, expected.components, strict=True):
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-12)
    labels = np.arange(N) % K
    one = ex.estimate(backend.data(x), backend.data(labels), ex.FullGaussian, n_components=K)
    other = ex.estimate(x, labels, ex.FullGaussian)
    np.testing.assert_allclose(one.components.means, other.components.means, rtol=1e-12)


@pytest.mark.backends("jax")
def test_labels_under_jit_and_vmap(backend):
    import jax

    x, _ = rows_and_shares(GAUSSIANS[-1])
    labels = np.stack([np.arange(N) % K, np.arange(N) // 14])

    def one(labels):
        return ex.estimate(backend.data(x), labels, ex.DiagonalGaussian, n_components=K)

    both = jax.jit(jax.vmap(one))(backend.asarray(labels))
    for i in range(2):
        expected = ex.estimate(x, labels[i], ex.DiagonalGaussian)
        np.testing.assert_allclose(both.components.means[i], expected.components.means, rtol=1e-12)
    with pytest.raises(ValueError, match="give n_components"):
        jax.jit(lambda labels: ex.estimate(x, labels, ex.DiagonalGaussian))(labels[0])


# Bad input


class Bad(NamedTuple):
    """What is wrong with a call, and the words that say so."""

    changes: dict[str, Any]
    words: str
    error: Any = ValueError


X = np.array([[0.0, 1.0], [1.0, 0.0], [4.0, 5.0], [5.0, 4.0]])
R = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 1.0]])
BAD = {
    "rows": Bad({"responsibilities": R[:3]}, "responsibilities has shape (3, 2); expected (4, k)"),
    "axes": Bad({"responsibilities": R[None]}, "responsibilities has shape (1, 4, 2)"),
    "columns": Bad({"n_components": 3}, "responsibilities has shape (4, 2); expected (4, 3)"),
    "none": Bad({"responsibilities": R[:, :0]}, "at least one component"),
    "negative": Bad(
        {"responsibilities": -R}, "responsibilities[0, 0] is -1.0; responsibilities must"
    ),
    "nan": Bad({"responsibilities": R * np.nan}, "responsibilities[0, 0] is nan"),
    "zero": Bad({"responsibilities": 0 * R}, "no row belongs to a component"),
    "no label": Bad({"responsibilities": [-1, -1, -1, -1]}, "no row belongs to a component"),
    "floats": Bad({"responsibilities": R[:, 0]}, "expected labels, which are integers", TypeError),
    "label": Bad(
        {"responsibilities": [0, 1, 2, 1], "n_components": 2},
        "responsibilities[2] is 2; labels must be from 0 to 1",
    ),
    "low label": Bad({"responsibilities": [0, -2, 1, 1]}, "responsibilities[1] is -2; labels"),
    "labels": Bad({"responsibilities": [0, 1]}, "responsibilities has shape (2,); expected (4,)"),
    "nothing": Bad({"responsibilities": None}, "responsibilities is None", TypeError),
    "family": Bad({"family": "full"}, "did you mean estep_xp.FullGaussian?", TypeError),
    "axes of x": Bad({"family": ex.UnivariateGaussian}, "x has shape (4, 2); expected (n,)"),
    "x": Bad({"x": np.where(X == 5.0, np.nan, X)}, "x[2, 1] is nan; x must be finite"),
    "support": Bad({"x": X - 1.0, "family": ex.Poisson}, "x[0, 0] is -1.0; x must be a count"),
    "weight": Bad({"sample_weight": [1.0, 1.0, -1.0, 1.0]}, "sample_weight[2] is -1.0"),
    "no weight": Bad({"sample_weight": np.zeros(4)}, "sample_weight sums to 0"),
    "floor": Bad({"variance_floor": -1.0}, "variance_floor is -1.0"),
    "k": Bad({"n_components": 0}, "n_components is 0; n_components must be at least 1"),
    "template": Bad(
        {"family": ex.SphericalGaussian(np.ones((3, 2)), np.ones(3))},
        "family describes 3 components but n_components is 2",
    ),
    "indefinite": Bad(
        {"responsibilities": [0, 0, 1, 1], "variance_floor": 0.0}, "is not positive definite"
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    changes, words, error = BAD[name]
    arguments = {"x": X, "responsibilities": R, "family": ex.FullGaussian} | changes
    with pytest.raises(error, match=re.escape(words)) as caught:
        ex.estimate(**arguments)
    assert type(caught.value) is error


def test_labels_that_are_missing_or_count_otherwise():
    pandas = pytest.importorskip("pandas")
    x = np.arange(8.0).reshape(4, 2)
    for dtype in ("float64", "Int64"):
        with pytest.raises(ValueError, match=r"responsibilities\[2\] is missing; labels are"):
            ex.estimate(x, pandas.Series([0, 1, None, 0], dtype=dtype), ex.DiagonalGaussian)
    for large in (10**12, 2**63 + 5):
        labels = np.array([0, large, 1, 0], dtype=np.uint64)
        with pytest.raises(ValueError, match=rf"responsibilities\[1\] is {large}, so there are"):
            ex.estimate(x, labels, ex.DiagonalGaussian)
    with pytest.raises(ValueError, match="n_components is 1000000000000; expected at most"):
        ex.estimate(x, [0, 1, 1, 0], ex.DiagonalGaussian, n_components=10**12)
