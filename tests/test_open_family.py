"""A user's class with statistics and maximize is estimated as the package's own families are."""

from __future__ import annotations

import re
import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest
from array_api_compat import array_namespace

import estep_xp as ex
from tests.backends import BACKENDS

NUMPY = BACKENDS["numpy"]


class Sums(NamedTuple):
    """Weighted distances from the old locations, and sums of the rows."""

    distances: Any
    rows: Any


class Laplace(NamedTuple):
    """Laplace components whose locations are means: a class as a user writes it."""

    locations: Any
    scales: Any

    def log_prob(self, x):
        """Give log-densities, in nats."""
        xp = array_namespace(x)
        return -xp.abs(x[:, None] - self.locations) / self.scales - xp.log(2.0 * self.scales)

    def statistics(self, x, responsibilities):
        """Add up what rows tell of each component."""
        xp = array_namespace(x)
        distances = xp.abs(x[:, None] - self.locations)
        return Sums(
            xp.sum(responsibilities * distances, axis=0),
            xp.sum(responsibilities * x[:, None], axis=0),
        )

    def maximize(self, counts, statistics):
        """Give the scales about the old locations, and new locations."""
        return type(self)(statistics.rows / counts, statistics.distances / counts)

    @classmethod
    def start(cls, x, responsibilities):
        """Give components to begin with."""
        xp = array_namespace(x)
        counts = xp.sum(responsibilities, axis=0)
        locations = xp.sum(responsibilities * x[:, None], axis=0) / counts
        distances = xp.abs(x[:, None] - locations)
        return cls(locations, 0.5 + xp.sum(responsibilities * distances, axis=0) / counts)


X = np.asarray([-1.2, 0.1, 0.4, 0.9, 4.0, 5.5, 6.1, 7.7])
WEIGHT = np.asarray([1.0, 2.0, 1.0, 0.5, 1.0, 0.0, 1.5, 1.0])
LOCATIONS, SCALES, SHARES = (np.asarray(a) for a in ([0.0, 5.0], [1.0, 2.0], [0.3, 0.7]))


def laplace(backend=NUMPY, family=Laplace, weights=SHARES):
    components = family(backend.asarray(LOCATIONS), backend.asarray(SCALES))
    return ex.Mixture(backend.asarray(weights), components)


def step(x, weight, mixture):
    """One step of EM, as a textbook writes it: what the statistics and the mixture are then."""
    (locations, scales), shares = mixture.components, mixture.weights
    distances = np.abs(x[:, None] - locations)
    joint = np.log(shares / shares.sum()) - distances / scales - np.log(2.0 * scales)
    rows = np.logaddexp.reduce(joint, axis=1)
    r = weight[:, None] * np.exp(joint - rows[:, None])
    counts = r.sum(axis=0)
    sums = Sums((r * distances).sum(axis=0), (r * x[:, None]).sum(axis=0))
    new = Laplace(sums.rows / counts, sums.distances / counts)
    return weight @ rows, counts, sums, ex.Mixture(counts / counts.sum(), new)


def fit(x, mixture, **options):
    """Fit without a word about an end that comes too early."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ex.ConvergenceWarning)
        return ex.fit(x, mixture, max_iter=3, tol=0.0, **options)


def assert_close(backend, actual, expected, rtol=1e-13):
    for a, b in zip(actual, expected, strict=True):
        backend.assert_like(a, "float64")
        np.testing.assert_allclose(backend.to_numpy(a), b, rtol=rtol)


# What works for a class of one's own


def test_statistics_and_m_step(backend):
    log_likelihood, counts, sums, mixture = step(X, WEIGHT, laplace())
    statistics = backend.call(
        ex.expected_statistics,
        backend.data(X),
        laplace(backend),
        sample_weight=backend.data(WEIGHT),
    )
    assert type(statistics.moments) is Sums
    assert_close(backend, statistics[1:4], (log_likelihood, WEIGHT.sum(), counts))
    assert_close(backend, statistics.moments, sums)
    new = backend.call(ex.m_step, statistics)
    assert type(new.components) is Laplace
    assert_close(backend, (new.weights, *new.components), (mixture.weights, *mixture.components))


@pytest.mark.backends("numpy", "jax", "torch")
def test_merge(backend):
    whole, first, nothing, second = (
        ex.expected_statistics(backend.data(x), laplace(backend)) for x in (X, X[:3], X[:0], X[3:])
    )
    merged = ex.merge(ex.merge(first, nothing), second)
    expected = map(backend.to_numpy, whole.moments)
    assert_close(backend, merged.moments, expected)


@pytest.mark.backends("numpy", "array_api_strict", "jax", "torch")
def test_fit(backend):
    mixture = laplace()
    for _ in range(3):
        *_, mixture = step(X, WEIGHT, mixture)
    result = fit(backend.data(X), laplace(backend), sample_weight=backend.data(WEIGHT))
    assert_close(backend, result.mixture.components, mixture.components)
    blocks = fit(backend.data(X), laplace(backend), block_size=3)
    whole = fit(backend.data(X), laplace(backend))
    assert_close(backend, blocks.mixture[:1], [backend.to_numpy(whole.mixture.weights)])


@pytest.mark.backends("dask")
def test_fit_in_dask(backend):
    result = fit(backend.data(X), laplace())
    np.testing.assert_allclose(result.history, fit(X, laplace()).history, rtol=1e-13)


@pytest.mark.backends("jax")
def test_fit_of_a_batch_of_mixtures_under_jit(backend):
    import jax

    starts = [laplace(backend), laplace(backend, weights=[0.6, 0.4])]
    batch = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *starts)
    x = backend.data(X)
    result = jax.jit(jax.vmap(lambda m: ex.fit(x, m, max_iter=3, tol=0.0)))(batch)
    for i, start in enumerate((laplace(), laplace(weights=np.asarray([0.6, 0.4])))):
        expected = fit(X, start).mixture
        np.testing.assert_allclose(result.mixture.weights[i], expected.weights, rtol=1e-12)
        for actual, value in zip(result.mixture.components, expected.components, strict=True):
            np.testing.assert_allclose(actual[i], value, rtol=1e-12)


@pytest.mark.backends("jax")
def test_gradient_through_a_step_of_em(backend):
    """Against finite differences in NumPy."""
    import jax

    def height(scales, data, backend):
        components = Laplace(backend.asarray(LOCATIONS) if backend is NUMPY else locations, scales)
        mixture = ex.Mixture(SHARES if backend is NUMPY else weights, components)
        new = ex.m_step(ex.expected_statistics(data, mixture))
        return ex.log_likelihood(data, new)

    locations, weights, x = (backend.data(a) for a in (LOCATIONS, SHARES, X))
    slope = jax.jit(jax.grad(lambda scales: height(scales, x, backend)))(backend.data(SCALES))
    for i, actual in enumerate(np.asarray(slope)):
        shift = 1e-6 * np.eye(2)[i]
        rise = height(SCALES + shift, X, NUMPY) - height(SCALES - shift, X, NUMPY)
        assert actual == pytest.approx(rise / 2e-6, rel=1e-6)


@pytest.mark.backends("numpy", "array_api_strict", "jax", "torch")
def test_start(backend):
    start = ex.initialize(backend.data(X), 2, Laplace, method="k-means++")
    expected = ex.initialize(X, 2, Laplace, method="k-means++")
    assert_close(backend, (start.weights, *start.components), [expected[0], *expected[1]])
    assert sorted(expected.weights.tolist()) == [0.5, 0.5]
    np.testing.assert_allclose(sorted(expected.components.locations), [0.05, 5.825])


@pytest.mark.backends("numpy", "jax", "torch")
def test_start_from_a_template(backend):
    template = laplace(backend).components
    start = ex.initialize(backend.data(X), 2, template, method="k-means++")
    assert_close(backend, [start.weights], [[0.5, 0.5]])
    assert sorted(backend.to_numpy(start.components.locations).round(3).tolist()) == [0.05, 5.825]
    best = fit(backend.data(X), start, n_init=2)
    assert type(best.mixture.components) is Laplace


def test_equal_rows_start_no_component_without_rows():
    start = ex.initialize(np.ones(5), 3, Laplace, seed=0)
    assert (start.weights > 0).all()
    assert np.isfinite(start.components.locations).all()


def test_a_component_that_lost_its_rows_keeps_its_parameters():
    class Careful(Laplace):
        def maximize(self, counts, statistics):
            assert (counts > 0.1).all()
            assert (statistics.distances > 0).all()
            return super().maximize(counts, statistics)

    mixture = laplace(family=Careful, weights=np.asarray([1.0, 0.0]))
    new = ex.m_step(ex.expected_statistics(X, mixture))
    assert new.weights.tolist() == [1.0, 0.0]
    assert new.components.locations[0] == pytest.approx(X.mean())
    assert (new.components.locations[1], new.components.scales[1]) == (5.0, 2.0)


@pytest.mark.parametrize("block_size", [None, 4])
def test_the_class_never_sees_masked_rows(block_size):
    class Strict(Laplace):
        def log_prob(self, x):
            assert (abs(x) < 100).all(), "a masked row has come through"
            return super().log_prob(x)

        def statistics(self, x, responsibilities):
            assert (abs(x) < 100).all(), "a masked row has come through"
            return super().statistics(x, responsibilities)

        @classmethod
        def start(cls, x, responsibilities):
            assert (abs(x) < 100).all(), "a masked row has come through"
            return super().start(x, responsibilities)

    expected = fit(X, laplace())
    for value in (np.nan, -np.inf, 1e9):
        x = np.concatenate([X[:2], [value], X[2:], np.full(9, value)])
        weight = np.concatenate([[1.0, 1.0, 0.0], np.ones(6), np.zeros(9)])
        options = {"sample_weight": weight, "block_size": block_size}
        result = fit(x, laplace(family=Strict), **options)
        np.testing.assert_allclose(result.history, expected.history, rtol=1e-13)
        ex.initialize(x, 2, Strict, sample_weight=weight)
        start = ex.initialize(x, 2, Strict, method="k-means++", sample_weight=weight)
        np.testing.assert_allclose(sorted(start.components.locations), [0.05, 5.825])


def test_number_of_parameters():
    class Counted(Laplace):
        def n_parameters(self):
            return 10

    for family, free in ((Laplace, 5), (Counted, 11)):
        result = fit(X, laplace(family=family))
        expected = free * np.log(len(X)) - 2 * float(result.log_likelihood)
        assert float(result.bic(X)) == pytest.approx(expected)


# What a class lacks, or gives wrong, is told by its name


class OnlyDensity(NamedTuple):
    """Enough for the E-step."""

    locations: Any
    scales: Any
    log_prob = Laplace.log_prob


class NoMaximize(NamedTuple):
    """Sums, but nothing made of them."""

    locations: Any
    scales: Any
    log_prob = Laplace.log_prob
    statistics = Laplace.statistics


class NoTuple:
    """All methods, but no arrays that can be seen."""

    def __init__(self, locations, scales):
        self.locations, self.scales = locations, scales

    log_prob = Laplace.log_prob
    statistics = Laplace.statistics
    maximize = Laplace.maximize


MISSING = [
    (OnlyDensity, "OnlyDensity has no method statistics"),
    (NoMaximize, "NoMaximize has no method maximize"),
    (NoTuple, "NoTuple is no NamedTuple"),
]


@pytest.mark.parametrize(("family", "words"), MISSING)
def test_a_missing_method_is_named(family, words):
    mixture = laplace(family=family)
    assert np.isfinite(ex.e_step(X, mixture).log_likelihood).all()
    template = mixture.components
    for call in (
        lambda: ex.expected_statistics(X, mixture),
        lambda: ex.fit(X, mixture),
        lambda: ex.initialize(X, 2, template, seed=0),
    ):
        with pytest.raises(TypeError, match=words):
            call()
    with pytest.raises(TypeError, match=f"{family.__name__}, which has no method start; give"):
        ex.initialize(X, 2, family, seed=0)


def test_acceleration_is_refused():
    with pytest.raises(TypeError, match=r"accelerate=True needs .* and Laplace has none"):
        ex.fit(X, laplace(), accelerate=True)


class One(NamedTuple):
    """A record of one array."""

    a: Any


WRONG_STATISTICS = {
    "an array": (
        lambda s, x, r: r.sum(axis=0),
        TypeError,
        "gives a ndarray; expected a NamedTuple",
    ),
    "a tuple": (
        lambda s, x, r: (r.sum(axis=0),),
        TypeError,
        "gives a tuple; expected a NamedTuple",
    ),
    "nothing": (lambda s, x, r: None, TypeError, "gives a NoneType; expected a NamedTuple"),
    "rows": (
        lambda s, x, r: One(x),
        ValueError,
        ".a is of shape (8,); expected a leading axis of 2",
    ),
    "a sum": (
        lambda s, x, r: One(x.sum()),
        ValueError,
        ".a is of shape (); expected a leading axis",
    ),
    "a float": (
        lambda s, x, r: One(1.0),
        ValueError,
        ".a is of float; expected a leading axis of 2",
    ),
}


@pytest.mark.parametrize("kind", WRONG_STATISTICS)
def test_wrong_statistics(kind):
    method, error, words = WRONG_STATISTICS[kind]
    family = type("Wrong", (Laplace,), {"statistics": method})
    with pytest.raises(
        error, match=r"Wrong\.statistics\(x, responsibilities\).*" + re.escape(words)
    ):
        ex.fit(X, laplace(family=family))


WRONG_COMPONENTS = {
    "nothing": (lambda s, c, m: None, TypeError, "gives a NoneType; expected a Wrong"),
    "a tuple": (lambda s, c, m: (c, c), TypeError, "gives a tuple; expected a Wrong"),
    "another": (lambda s, c, m: Laplace(c, c), TypeError, "gives a Laplace; expected a Wrong"),
    "three": (
        lambda s, c, m: type(s)(np.ones(3), c),
        ValueError,
        ".locations is of shape (3,); expected shape (2,), as before",
    ),
    "a float": (
        lambda s, c, m: type(s)(c, 2.0),
        ValueError,
        ".scales is of shape (); expected shape (2,), as before",
    ),
}


@pytest.mark.parametrize("kind", WRONG_COMPONENTS)
def test_wrong_components(kind):
    method, error, words = WRONG_COMPONENTS[kind]
    family = type("Wrong", (Laplace,), {"maximize": method})
    with pytest.raises(error, match=r"Wrong\.maximize\(counts, statistics\).*" + re.escape(words)):
        ex.fit(X, laplace(family=family))


def test_a_start_that_is_none():
    family = type("Wrong", (Laplace,), {"start": staticmethod(lambda x, responsibilities: None)})
    with pytest.raises(TypeError, match=r"Wrong\.start\(x, responsibilities\) gives a NoneType"):
        ex.initialize(X, 2, family, seed=0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_not_finite(value):
    x = np.where(X == 0.4, value, X)
    for call in (
        lambda: ex.fit(x, laplace()),
        lambda: ex.initialize(x, 2, Laplace, seed=0),
        lambda: ex.initialize(x, 2, laplace().components, seed=0),
    ):
        with pytest.raises(ValueError, match=rf"x\[2\] is {value}; x must be finite"):
            call()
