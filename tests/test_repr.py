"""What records look like: a line that says what they are, whatever they hold."""

from __future__ import annotations

import copy
import pickle
from typing import Any, NamedTuple

import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS
from tests.records import BERNOULLI, FULL, GAUSSIANS, POISSON, every_family, few_on_jax, problem

# Fits of a few iterations have a line, too.
pytestmark = pytest.mark.filterwarnings("ignore::estep_xp.ConvergenceWarning")

MOST = 400


def records(x: Any, mixture: ex.Mixture) -> list[Any]:
    """One record of each kind."""
    statistics = ex.expected_statistics(x, mixture)
    step, result = ex.e_step(x, mixture), ex.fit(x, mixture, max_iter=2)
    return [step, mixture, mixture.components, statistics, result]


def assert_short(record: Any) -> None:
    for text in (repr(record), str(record), f"{record}"):
        assert text.startswith(type(record).__name__ + "(")
        assert len(text) < MOST
        assert "\n" not in text
    table = record._repr_html_()
    assert table.startswith("<table>")
    assert type(record).__name__ in table
    assert "<object" not in table


@few_on_jax
@every_family
@pytest.mark.backends("numpy", "array_api_strict", "jax", "torch")
def test_records_of_many_numbers_are_short(backend, record):
    given = problem(record, k=20, d=8)
    mixture = given.mixture(backend, "float64")
    x = backend.data(record.data(1, 300, 8))
    for one in (ex.e_step(x, mixture), mixture, mixture.components):
        assert_short(one)


@every_family
@pytest.mark.parametrize("k", [1, 6, 20])
def test_records_of_few_numbers_are_short(record, k):
    given = problem(record, k=k, d=1)
    x = record.data(1, 30, 1)
    for one in records(x, given.mixture(BACKENDS["numpy"], "float64")):
        assert_short(one)


@pytest.mark.parametrize("record", [*GAUSSIANS, POISSON, BERNOULLI], ids=lambda record: record.name)
def test_moments_are_short(record):
    given = problem(record, k=20, d=1)
    x = record.data(1, 30, 1)
    mixture = given.mixture(BACKENDS["numpy"], "float64")
    assert_short(ex.expected_statistics(x, mixture).moments)


def test_the_line_says_what_it_is():
    x = np.random.default_rng(0).normal(size=(272, 2))
    start = ex.initialize(x, 2, ex.FullGaussian, method="k-means++")
    step = ex.e_step(x, start)
    total = step.log_likelihood.sum()
    assert repr(step) == f"EStep(n=272, k=2, log_likelihood={total:.6g})"
    assert repr(start) == "Mixture(weights=[0.5, 0.5], components=FullGaussian(k=2, d=2))"
    statistics = repr(ex.expected_statistics(x, start))
    assert statistics.startswith(f"Statistics(k=2, n_rows=272, log_likelihood={total:.6g}, ")
    result = ex.fit(x, start, max_iter=3)
    words = f"EMResult(log_likelihood={result.log_likelihood:.6g}, n_iter=3, converged=False, "
    assert repr(result).startswith(words)
    table = step._repr_html_()
    assert f"<tr><th>log_likelihood</th><td>{total:.6g}</td></tr>" in table


def test_few_numbers_are_shown():
    mixture = ex.Mixture([0.45, 0.55], ex.UnivariateGaussian([2.0, 6.0], np.array([1.0, 1.5])))
    components = "UnivariateGaussian(means=[2, 6], variances=[1, 1.5])"
    assert repr(mixture.components) == components
    assert repr(mixture) == f"Mixture(weights=[0.45, 0.55], components={components})"


class Laplace(NamedTuple):
    """A family of one's own, with a name that HTML would take for a tag if it were shown raw."""

    means: Any
    scales: Any


class Silent:
    """What has no repr."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Loud:
    """What has no shape, either."""

    @property
    def shape(self) -> Any:
        raise RuntimeError("no shape")

    @property
    def dtype(self) -> Any:
        raise RuntimeError("no dtype")


ODD = [
    None,
    object(),
    "text",
    "<b>" * 1000,
    10**5000,
    [[1.0], [2.0, 3.0]],
    [],
    {},
    np.zeros((0, 3)),
    np.array([1.0, None], dtype=object),
    np.full(3, np.nan),
    np.array(["a"]),
    np.zeros((2, 3, 4, 5)),
    Silent(),
    Loud(),
    Laplace(np.zeros(1000), Silent()),
    ex.UnivariateGaussian,
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_whatever_a_record_holds(odd):
    inner: Any
    for family in (ex.UnivariateGaussian, ex.FullGaussian):
        for inner in (odd, family(odd, odd)):
            mixture = ex.Mixture(odd, inner)
            for record in (
                mixture,
                ex.EStep(odd, odd),
                ex.Statistics(mixture, odd, odd, odd, odd),
                ex.EMResult(mixture, odd, odd, odd, odd),
                ex.EMResult(odd, odd, odd, odd, odd),
            ):
                assert_short(record)
                assert "<b>" not in record._repr_html_()


def test_sums_of_extremes_say_so():
    with np.errstate(all="raise"):
        for values in ([np.inf, -np.inf], [1e308, 1e308], [-np.inf, 0.0], [np.nan, 1.0]):
            assert_short(ex.EStep(np.ones((2, 1)), np.array(values)))


def test_a_users_family_is_short():
    mixture = ex.Mixture(np.ones(1000), Laplace(np.zeros(1000), np.ones(1000)))
    shown = "Laplace(means=array of shape (1000,), scales=array of shape (1000,))"
    assert repr(mixture) == f"Mixture(k=1000, components={shown})"


@every_family
def test_lazy_records_compute_nothing(record):
    da = pytest.importorskip("dask.array")
    lazily = BACKENDS["dask"].call
    x = record.data(1, 300, 8)
    rows = da.from_array(x, chunks=(100, *x.shape[1:]))
    mixture = problem(record, k=20, d=8).mixture(BACKENDS["numpy"], "float64")
    statistics = lazily(ex.expected_statistics, rows, mixture)
    new = lazily(ex.m_step, statistics)
    unknown = rows[rows.reshape(300, -1)[:, 0] > 0]
    steps = [lazily(ex.e_step, one, mixture) for one in (rows, unknown)]
    for one in (*steps, statistics, new, new.components):
        lazily(assert_short, one)
    assert repr(steps[0]) == "EStep(n=300, k=20, log_likelihood=lazy of shape (300,))"
    assert repr(steps[1]).startswith("EStep(n=unknown, k=20, ")


UNIT = ex.Mixture([1.0], ex.DiagonalGaussian([[0.0, 0.0]], [[1.0, 1.0]]))


def test_traced_records():
    jax = pytest.importorskip("jax")
    record = FULL
    mixture = problem(record, k=3, d=2).mixture(BACKENDS["jax"], "float64")
    x = BACKENDS["jax"].data(record.data(1, 30, 2))
    seen = []

    def look(x: Any, mixture: Any) -> Any:
        step = ex.EStep(x, x[:, 0])
        moments = ex.expected_statistics(np.zeros((0, 2)), UNIT).moments._replace(first=x)
        statistics = ex.Statistics(mixture, x[0, 0], x[0, 0], x[0], moments)
        result = ex.EMResult(mixture, x[0, 0], x[0, 0], x[0, 0] > 0, x)
        for one in (step, mixture, mixture.components, statistics, moments, result):
            assert_short(one)
            seen.append(repr(one))
        return step

    jax.jit(look)(x, mixture)
    jax.vmap(look, in_axes=(0, None))(x[:, None], mixture)
    jax.grad(lambda m: look(x, m).log_likelihood.sum())(mixture)
    assert any("traced" in text for text in seen)
    donated = look(x, mixture)
    for array in donated:
        array.delete()
    assert_short(donated)
    # As JAX rebuilds them: around placeholders, and around structures.
    leaves, structure = jax.tree.flatten(mixture)
    for filler in (object(), None, jax.ShapeDtypeStruct((3,), "float64")):
        assert_short(jax.tree.unflatten(structure, [filler] * len(leaves)))


def test_torch_transformations():
    torch = pytest.importorskip("torch")

    def look(x: Any) -> Any:
        step = ex.EStep(x[:, None], x)
        assert_short(step)
        return step.log_likelihood

    torch.func.vmap(look)(torch.ones(3, 2))
    assert_short(ex.EStep(torch.empty(3, 2, device="meta"), torch.empty(3, device="meta")))
    assert_short(ex.EStep(torch.ones(3, 2, requires_grad=True), torch.ones(3, requires_grad=True)))


def test_records_of_jax():
    pytest.importorskip("jax")
    import estep_xp.jax as exj

    x = np.random.default_rng(0).normal(size=(50, 3))
    start = ex.initialize(x, 2, ex.DiagonalGaussian, seed=0)
    result = exj.ImplicitFit(start, np.float64(-12.5), 3, True, 1e-9, True, True)
    assert_short(result)
    assert repr(result).startswith("ImplicitFit(log_likelihood=-12.5, n_iter=3, converged=True, ")
    assert_short(exj.Unconstrained(start.weights, start.components))


@every_family
def test_records_are_the_tuples_that_they_were(record):
    """They are copied, pickled, compared by their fields, and taken apart by JAX."""
    mixture = problem(record, k=3, d=2).mixture(BACKENDS["numpy"], "float64")
    for one in records(record.data(1, 30, 2), mixture):
        for other in (copy.deepcopy(one), pickle.loads(pickle.dumps(one)), one._replace()):
            assert type(other) is type(one)
            assert other._fields == one._fields
            assert repr(other) == repr(one)
    jax = pytest.importorskip("jax")
    assert len(jax.tree.leaves(mixture)) == 1 + len(mixture.components)
