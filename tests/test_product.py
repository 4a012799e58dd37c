"""Products of families, columns of several kinds, compared with the records of their parts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from array_api_compat import array_namespace

import estep_xp as ex
from tests import oracle
from tests.oracle import assert_log_joint
from tests.records import BERNOULLI, DIAGONAL, FULL, POISSON, SPHERICAL, UNIVARIATE, rounded
from tests.records.record import normalised, random_weights

PARTS = (FULL, POISSON, BERNOULLI, UNIVARIATE)
K, D = 3, 2


class Laplace(NamedTuple):
    """A family of the user's, of one column."""

    locations: Any
    scales: Any

    def log_prob(self, x):
        xp = array_namespace(x)
        z = xp.abs(x[:, None] - self.locations) / self.scales
        return -z - xp.log(2.0 * self.scales)

    def statistics(self, x, responsibilities):
        xp = array_namespace(x)
        distances = xp.abs(x[:, None] - self.locations) * responsibilities
        return LaplaceSums(xp.sum(distances, axis=0))

    def maximize(self, counts, statistics):
        return Laplace(self.locations, statistics.distances / counts)


class LaplaceSums(NamedTuple):
    distances: Any


class Case(NamedTuple):
    """Numbers of one test: rows, weights and the parameters of each part, in float64."""

    x: np.ndarray
    weights: np.ndarray
    params: tuple[dict[str, np.ndarray], ...]
    records: tuple[Any, ...]

    @classmethod
    def of(cls, records, n=6, seed=1, dtype="float64"):
        columns = [r.data(seed + i, n, D).reshape(n, -1) for i, r in enumerate(records)]
        params = tuple(rounded(r.random(seed + i, K, D), dtype) for i, r in enumerate(records))
        x = np.concatenate(columns, axis=1).astype(dtype).astype(float)
        return cls(x, random_weights(seed, K).astype(dtype).astype(float), params, records)

    def columns(self):
        """The rows of each part."""
        start = 0
        for record in self.records:
            width = 1 if record.univariate else D
            rows = self.x[:, start : start + width]
            yield rows[:, 0] if record.univariate else rows
            start += width

    def each(self):
        return zip(self.records, self.columns(), self.params, strict=True)

    def mixture(self, backend, dtype="float64"):
        parts = tuple(r.components(backend, p, dtype) for r, _, p in self.each())
        return ex.Mixture(backend.asarray(self.weights, dtype), ex.Product(parts))

    def template(self):
        return ex.Product(tuple(r.family(**p) for r, _, p in self.each()))

    def log_joint(self):
        log_weights = np.log(self.weights) - np.log(self.weights.sum())
        return log_weights + sum(r.log_density(x, p) for r, x, p in self.each())


def leaves(record):
    if isinstance(record, tuple):
        return [leaf for item in record for leaf in leaves(item)]
    return [record]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_density_to_50_digits(backend, dtype):
    case = Case.of(PARTS, dtype=dtype)
    joint = backend.call(ex.log_joint, backend.data(case.x, dtype), case.mixture(backend, dtype))
    backend.assert_like(joint, dtype)
    exact = [r.exact_log_density(x, p) for r, x, p in case.each()]
    densities = sum(np.asarray(values) for values, _ in exact)
    terms = np.max([np.asarray(t, dtype=object) for _, t in exact], axis=0)
    assert_log_joint(backend.to_numpy(joint), oracle.joint(densities, terms, case.weights), dtype)


def test_e_step(backend):
    case = Case.of(PARTS)
    step = backend.call(ex.e_step, backend.data(case.x), case.mixture(backend))
    responsibilities, log_likelihood = normalised(case.log_joint())
    np.testing.assert_allclose(
        backend.to_numpy(step.responsibilities), responsibilities, rtol=1e-12
    )
    np.testing.assert_allclose(backend.to_numpy(step.log_likelihood), log_likelihood, rtol=1e-12)


def test_an_iteration_of_em_is_that_of_each_part(backend):
    case = Case.of(PARTS, n=60)
    r, _ = normalised(case.log_joint())
    statistics = backend.call(ex.expected_statistics, backend.data(case.x), case.mixture(backend))
    for (record, x, params), found in zip(case.each(), statistics.moments.parts, strict=True):
        for name, terms in record.moments(x, params).items():
            expected = np.einsum("nk...,nk->k...", terms, r)
            actual = backend.to_numpy(getattr(found, name))
            np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10)
    new = ex.m_step(statistics, variance_floor=0.0).components
    for (record, x, params), found in zip(case.each(), new.parts, strict=True):
        fields = {name: backend.to_numpy(array) for name, array in found._asdict().items()}
        expected = record.estimate(record.maximize(x, r, 0.0, params))
        for name, array in record.estimate(fields).items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("floor", [None, 0.5])
def test_the_floor_reaches_gaussian_parts(floor):
    case = Case.of((DIAGONAL, POISSON, SPHERICAL), n=60)
    r = np.random.default_rng(0).dirichlet(np.ones(K), 60)
    mixture = ex.estimate(case.x, r, case.template(), variance_floor=floor)
    for (record, x, params), part in zip(case.each(), mixture.components.parts, strict=True):
        expected = record.maximize(x, r, floor, params)
        for name, array in part._asdict().items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-9, err_msg=record.name)


def _table(n=400, seed=0):
    """A survey: heights far from 0, a yes, a count."""
    rng = np.random.default_rng(seed)
    z = rng.integers(0, 2, n)
    return np.column_stack([
        rng.normal(1000.0 + 3.0 * z, 1.0), rng.normal(70.0 - 5.0 * z, 2.0),
        rng.random(n) < np.where(z, 0.2, 0.7), rng.poisson(np.where(z, 2.0, 9.0)),
    ]).astype(float), z  # fmt: skip


def _template(k=2):
    return ex.Product(
        (
            ex.DiagonalGaussian(np.zeros((k, 2)), np.ones((k, 2))),
            ex.Bernoulli(np.full((k, 1), 0.5)),
            ex.Poisson(np.ones(k)),
        )
    )


@pytest.mark.parametrize("method", [None, "k-means", "k-means++", "random"])
def test_starts_need_no_more_than_the_template_s_shapes(method):
    x, z = _table()
    start = ex.initialize(x, 2, _template(), method=method)
    result = ex.fit(x, start)
    found = ex.predict(x, result.mixture)
    assert max(np.mean(found == z), np.mean(found != z)) > 0.97
    assert (np.diff(result.history) > -1e-9).all()


def test_select_finds_the_number_of_components():
    x, _ = _table()
    selection = ex.select(x, ex.Product(_template(1).parts), 1)
    assert selection.table[0].family == "Product"
    ks = [ex.select(x, _template(k), k).table[0] for k in (1, 2, 3)]
    assert min(ks, key=lambda row: row.bic).n_components == 2


def test_a_product_of_one_part_is_the_part():
    x, _ = _table()
    part = ex.DiagonalGaussian([[1000.0, 70.0], [1003.0, 65.0]], [[1.0, 4.0], [1.0, 4.0]])
    one, alone = (ex.Mixture([0.5, 0.5], c) for c in (ex.Product((part,)), part))
    ours, theirs = (ex.fit(x[:, :2], m) for m in (one, alone))
    assert ours.n_iter == theirs.n_iter
    np.testing.assert_allclose(ours.log_likelihood, theirs.log_likelihood, rtol=1e-13)
    accelerated = ex.fit(x[:, :2], one, accelerate=True)
    np.testing.assert_allclose(accelerated.log_likelihood, theirs.log_likelihood, rtol=1e-7)
    assert ex.n_parameters(one) == ex.n_parameters(alone)


@pytest.mark.backends("numpy", "array_api_strict", "torch", "jax")
def test_a_user_s_class_is_a_part(backend):
    x, _ = _table(50)
    arrays = [backend.asarray(a) for a in ([999.0, 1002.0], [1.0, 2.0], [[0.3], [0.6]])]
    product = ex.Product((Laplace(*arrays[:2]), ex.Bernoulli(arrays[2])))
    mixture = ex.Mixture(backend.asarray([0.5, 0.5]), product)
    data = backend.data(x[:, [0, 2]])
    joint = backend.to_numpy(ex.log_joint(data, mixture))
    density = -np.abs(x[:, :1] - [999.0, 1002.0]) / [1.0, 2.0] - np.log([2.0, 4.0])
    density += np.log(np.where(x[:, 2:3] == 1, [0.3, 0.6], [0.7, 0.4]))
    np.testing.assert_allclose(joint, density - np.log(2.0), rtol=1e-13)
    result = ex.fit(data, mixture, max_iter=20, tol=0.5)
    assert (np.diff(backend.to_numpy(result.history)) > -1e-9).all()
    start = ex.initialize(data, 2, product, seed=1)
    assert type(start.components.parts[0]) is Laplace


def test_a_user_s_class_says_how_many_columns_it_takes():
    class Plain(NamedTuple):
        centres: Any

        def log_prob(self, x):
            return -np.sum((x[:, None, :] - self.centres) ** 2, axis=2)

    class Sized(Plain):
        def features(self):
            return 2

    centres, poisson = np.zeros((2, 2)), ex.Poisson([1.0, 2.0])
    with pytest.raises(TypeError, match=r"parts\[1\] is a Plain, .* no method features\(\)"):
        ex.log_joint([[1.0, 0.0, 0.0]], ex.Mixture([1, 1], ex.Product((poisson, Plain(centres)))))
    joint = ex.log_joint(
        [[0.0, 1.0, 2.0]], ex.Mixture([1, 1], ex.Product((poisson, Sized(centres))))
    )
    np.testing.assert_allclose(joint, [[-6.0 - np.log(2), -7.0 - np.log(2)]])


def test_marginal_and_condition():
    case = Case.of((FULL, POISSON, BERNOULLI))
    mixture = ex.Mixture(case.weights, case.template())
    swapped = ex.marginal(mixture, [3, 2, 1, 0])
    np.testing.assert_allclose(
        ex.log_joint(case.x[:, [3, 2, 1, 0]], swapped),
        ex.log_joint(case.x[:, :4], ex.marginal(mixture, [0, 1, 2, 3])),
        rtol=1e-10,
    )
    known, rest = [1, 3], [0, 2, 4]
    for row in case.x:
        conditional = ex.condition(mixture, known, row[known])
        ratio = ex.log_density(row[None, :], mixture) - ex.log_density(
            row[None, known], ex.marginal(mixture, known)
        )
        np.testing.assert_allclose(ex.log_density(row[None, rest], conditional), ratio, rtol=1e-10)
    with pytest.raises(ValueError, match=r"features \[0, 1\] belong to parts\[0\] but do not"):
        ex.marginal(mixture, [0, 2, 1])
    with pytest.raises(ValueError, match=r"values\[1\] is 0\.5; values must be inside .* 0 or 1"):
        ex.condition(mixture, [0, 3], [0.0, 0.5])


@pytest.mark.backends("numpy", "array_api_strict", "torch", "jax")
def test_sample_and_file(backend, tmp_path):
    case = Case.of((FULL, POISSON, BERNOULLI))
    mixture = case.mixture(backend)
    drawn = ex.sample(mixture, 4000, seed=3)
    x, labels = map(backend.to_numpy, drawn)
    assert x.shape == (4000, 5)
    own = x[labels == 1]
    np.testing.assert_allclose(own[:, 2].mean(), case.params[1]["rates"][1], rtol=0.1)
    np.testing.assert_allclose(
        own[:, 3:].mean(axis=0), case.params[2]["probabilities"][1], atol=0.1
    )
    np.testing.assert_allclose(own[:, :2].mean(axis=0), case.params[0]["means"][1], atol=0.2)
    ex.save(tmp_path / "model.json", mixture, feature_names=list("abcde"))
    again = ex.load(tmp_path / "model.json")
    assert type(again.components) is ex.Product
    for one, other in zip(leaves(again), leaves(mixture), strict=True):
        np.testing.assert_array_equal(one, backend.to_numpy(other))


@pytest.mark.backends("numpy", "array_api_strict", "jax", "dask")
def test_rows_with_holes(backend):
    case = Case.of((FULL, POISSON, BERNOULLI), n=30)
    seen = np.random.default_rng(0).random(case.x.shape) < 0.6
    x = np.where(seen, case.x, np.nan)
    mixture = case.mixture(backend)
    plain = ex.Mixture(case.weights, case.template())
    expected = np.zeros(30)
    for i, row in enumerate(x):
        known = np.flatnonzero(seen[i]).tolist()
        if known:
            expected[i] = ex.log_density(row[None, known], ex.marginal(plain, known))[0]
    found = backend.call(lambda x, m: ex.log_density(x, m, missing=True), backend.data(x), mixture)
    np.testing.assert_allclose(backend.to_numpy(found), expected, rtol=1e-11, atol=1e-11)


def test_holes_are_filled_and_em_never_falls():
    x, _ = _table()
    mixture = ex.fit(x, ex.initialize(x, 2, _template())).mixture
    hidden = np.random.default_rng(1).random(x.shape) < 0.3
    result = ex.fit(np.where(hidden, np.nan, x), mixture, missing=True, tol=1e-8)
    assert (np.diff(result.history) > -1e-9).all()
    filled = ex.impute(np.where(hidden, np.nan, x), mixture)
    np.testing.assert_array_equal(filled.mean[~hidden], x[~hidden])
    assert np.isfinite(filled.mean).all()
    assert filled.covariance.shape == (400, 4, 4)
    parts = (Laplace(np.zeros(2), np.ones(2)), ex.Bernoulli([[0.5], [0.5]]))
    with pytest.raises(TypeError, match=r"missing=True needs a family .* not Product"):
        ex.log_density(x[:, [0, 2]], ex.Mixture([1, 1], ex.Product(parts)), missing=True)


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ((), ValueError, "parts is empty"),
        (3, TypeError, "parts is of type int"),
        ((ex.Poisson,), TypeError, r"parts\[0\] is the class Poisson"),
        ((ex.Poisson([1.0]), ex.Poisson([1.0, 2.0])), ValueError, r"parts\[1\] describes 2 comp"),
        ((ex.Poisson([1.0]), ex.Poisson([-1.0])), ValueError, r"parts\[1\]: rates\[0\] is -1\.0"),
    ],
)
def test_bad_parts(parts, error, message):
    with pytest.raises(error, match=message):
        ex.log_joint([[1.0, 2.0]], ex.Mixture([1.0], ex.Product(parts)))


def test_bad_rows_and_families():
    x, _ = _table()
    mixture = ex.initialize(x, 2, _template(), method="k-means")
    x[7, 3] = 0.5
    for call in (ex.e_step, ex.fit):
        with pytest.raises(ValueError, match=r"x\[7, 3\] is 0\.5; .* column 3 must be a count"):
            call(x, mixture)
    for call in (mixture.components.log_prob, lambda x: ex.initialize(x, 2, _template())):
        with pytest.raises(ValueError, match=r"x\[7, 3\] is 0\.5"):
            call(x)
    with pytest.raises(TypeError, match=r"family is the class Product, .* of the wished shapes"):
        ex.initialize(x, 2, ex.Product)
    weight = np.ones(len(x))
    weight[7] = 0.0
    assert np.isfinite(ex.fit(x, mixture, sample_weight=weight).log_likelihood)


def test_statistics_merge_and_recenter():
    x, _ = _table()
    mixture = ex.initialize(x, 2, _template(), method="k-means")
    other = ex.m_step(ex.expected_statistics(x, mixture))
    whole = ex.expected_statistics(x, other)
    both = ex.merge(*(ex.expected_statistics(part, other) for part in (x[:150], x[150:])))
    halves = ex.merge(ex.scale(whole, 0.5), ex.scale(whole, 0.5))
    there = ex.recenter(ex.recenter(whole, mixture), other)
    for found in (both, halves, there):
        for one, expected in zip(leaves(found.moments), leaves(whole.moments), strict=True):
            np.testing.assert_allclose(one, expected, rtol=1e-9, atol=1e-6)


@pytest.mark.backends("jax")
def test_transformations(backend):
    import jax

    import estep_xp.jax

    case = Case.of((FULL, POISSON, BERNOULLI))
    mixture, x = case.mixture(backend), backend.data(case.x)
    gradient = jax.grad(lambda m: ex.log_likelihood(x, m))(mixture)
    r, _ = normalised(case.log_joint())
    for (record, rows, params), own in zip(case.each(), gradient.components.parts, strict=True):
        for name, slopes in record.slopes(rows, params).by_field.items():
            expected = np.einsum("nk...,nk->k...", slopes, r)
            np.testing.assert_allclose(getattr(own, name), expected, rtol=1e-8, atol=1e-10)
    free = estep_xp.jax.unconstrain(mixture)
    for one, other in zip(
        leaves(estep_xp.jax.constrain(free).components), leaves(mixture.components), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    rows = jax.numpy.stack([x, x])
    totals = jax.jit(jax.vmap(lambda rows: ex.log_likelihood(rows, mixture)))(rows)
    np.testing.assert_allclose(totals, [ex.log_likelihood(x, mixture)] * 2, rtol=1e-12)
    bad = x.at[2, 2].set(0.5)
    values = jax.jit(ex.log_density)(bad, mixture)
    np.testing.assert_array_equal(np.isnan(values), np.arange(len(x)) == 2)
