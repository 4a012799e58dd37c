"""Every number of the E-step against the 50-digit oracle, where floating point is at its worst."""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.execution.numpy import driver
from tests import oracle
from tests.oracle import FAMILIES, mp

N, K, D = 6, 3, 3  # one shape for all cases, so JAX compiles each function once a family
DTYPES = ("float32", "float64")
CONCRETE = pytest.mark.backends("numpy", "numpy_features", "jax")
COMPILED = pytest.mark.backends("numpy", "numpy_features", "jax", "jax_jit")


@dataclass(frozen=True)
class Case:
    """Parameters and rows in float64, to be shaped for a family and rounded to a dtype."""

    means: np.ndarray  # (k, d)
    variances: np.ndarray  # (k, d); the tied family takes the first component's
    x: np.ndarray  # (n, d)
    weights: tuple[float, ...] = (0.2, 0.5, 0.6)
    correlation: float = 0.4  # size of the off-diagonal entries of P before P is scaled

    def fields(self, family):
        """Return the family's two fields; the univariate family takes the first feature."""
        if family == "UnivariateGaussian":
            return self.means[:, 0], self.variances[:, 0]
        d = self.means.shape[1]
        above = np.triu(np.random.default_rng(d).uniform(-1.0, 1.0, (d, d)), 1)
        factors = (np.eye(d) + self.correlation * above) / np.sqrt(self.variances)[:, None, :]
        return self.means, {
            "SphericalGaussian": self.variances[:, 0],
            "DiagonalGaussian": self.variances,
            "TiedGaussian": factors[0],
            "FullGaussian": factors,
        }[family]

    def rows(self, family):
        """Return x in the family's shape."""
        return self.x[:, 0] if family == "UnivariateGaussian" else self.x


@dataclass(frozen=True)
class Problem:
    """What a library function is given, rounded to its dtype, and the oracle of exactly that."""

    family: str
    dtype: str
    fields: tuple[np.ndarray, np.ndarray]
    weights: np.ndarray
    x: np.ndarray

    @functools.cached_property
    def oracle(self):
        return oracle.mixture(self.family, self.fields, self.weights, self.x)

    def arguments(self, backend):
        """Return x and the mixture as the backend's arrays."""
        fields = [backend.asarray(field, self.dtype) for field in self.fields]
        components = getattr(ex, self.family)(*fields)
        weights = backend.asarray(self.weights, self.dtype)
        return backend.data(self.x, self.dtype), ex.Mixture(weights, components)


def problem_of(case, family, dtype):
    """Round a case to a dtype, in a family's shapes."""
    fields = tuple(np.array(field, dtype=dtype) for field in case.fields(family))
    weights = np.array(case.weights, dtype=dtype)
    return Problem(family, dtype, fields, weights, np.array(case.rows(family), dtype=dtype))


@functools.cache
def problem(name, family, dtype):
    """Return a case by its name, so that all backends share its oracle."""
    return problem_of(CASES[name][0], family, dtype)


def draw(seed):
    """Return a standard normal for the means, one for the rows, and variances around one."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(K, D)), rng.normal(size=(N, D)), rng.uniform(0.5, 2.0, (K, D))


def offset(value):
    """Means and rows far from zero; the larger offsets spread more, or float32 has few numbers."""
    means, x, variances = draw(1)
    spread = max(1.0, value * 1e-6)
    return Case(value + 2 * spread * means, spread**2 * variances, value + 3 * spread * x)


def clusters(value):
    """Means so far apart that no common centre is near them all, and rows around each."""
    means, x, variances = draw(2)
    means = means + value * np.array([[1.0], [-1.0], [1.0]])
    return Case(means, variances, np.tile(means, (N // K, 1)) + x)


def mixed_offsets():
    """Features with offsets of their own."""
    means, x, variances = draw(3)
    offsets = np.array([1e4, 1.0, 1e6])
    return Case(offsets + 2 * means, variances, offsets + 3 * x)


def outlier_row():
    """One row that has nothing to do with the others."""
    means, x, variances = draw(4)
    x[4] *= 1e6
    return Case(2 * means, variances, 3 * x)


def outlier_mean():
    """One component that has nothing to do with the rows."""
    means, x, variances = draw(5)
    means[1] *= 1e7
    return Case(2 * means, variances, 3 * x)


def variance(value):
    """Everything on the scale of one very small or very large variance."""
    means, x, variances = draw(6)
    return Case(2 * math.sqrt(value) * means, value * variances, 3 * math.sqrt(value) * x)


def variance_of_unit_data(value):
    """Rows of scale one under very small or very large variances; one row is a mean itself."""
    means, x, variances = draw(7)
    x[2] = means[1]
    return Case(means, value * variances, x)


def component_ratio():
    """Variances of 1e-6, 1 and 1e6 in one mixture."""
    means, x, variances = draw(8)
    scales = np.array([[1e-3], [1.0], [1e3]])
    return Case(scales * means, scales**2 * variances, np.tile(scales, (N // K, 1)) * x)


def feature_ratio():
    """Features of scales 1e-3, 1 and 1e3, so that P has a condition number of 1e6."""
    means, x, variances = draw(9)
    scales = np.array([1.0, 1e-3, 1e3])
    return Case(2 * scales * means, scales**2 * variances, 3 * scales * x, correlation=0.0)


def ill_conditioned(size):
    """Precision factors dominated by what is off their diagonals."""
    means, x, variances = draw(10)
    return Case(2 * means, variances, 3 * x, correlation=size)


def far(sigmas):
    """Rows that many standard deviations away from every mean."""
    means, x, variances = draw(11)
    direction = x / np.linalg.norm(x, axis=1, keepdims=True)
    direction[:, 0] = np.sign(direction[:, 0])  # the only feature of the univariate family
    return Case(means, np.tile(variances[:1], (K, 1)), sigmas * direction)


def odds(value):
    """Two components whose odds are ``value`` where x is on one of them, a third between them."""
    means, x, variances = np.zeros((K, D)), np.zeros((N, D)), np.ones((K, D))
    position = math.sqrt(-math.log(value) / 2)
    means[0, 0], means[1, 0] = -position, position
    x[:, 0] = position * np.array([1.0, -1.0, 0.99, -0.97, 0.3, 0.0])
    x[:, 1] = [0.0, 0.0, 1.0, -2.0, 3.0, 0.0]
    return Case(means, variances, x, (1.0, 1.0, 1.0), correlation=0.0)


def ties():
    """Two components that are the same, with the same weight."""
    means, x, variances = draw(12)
    means[1], variances[1] = means[0], variances[0]
    return Case(2 * means, variances, 3 * x, (1.0, 1.0, 3.0))


def symmetric():
    """Rows in the middle of two components."""
    means, x, variances = draw(13)
    means[1], variances[:] = -means[0], 1.0
    means[2] = 50.0
    return Case(2 * means, variances, 0 * x, (2.0, 2.0, 1.0), correlation=0.0)


def weights(*values):
    """Means and rows of scale one, with weights as extreme as it takes."""
    means, x, variances = draw(14)
    return Case(2 * means, variances, 3 * x, values)


def dead_component_at_the_rows():
    """Rows on a component of weight zero, so far from the others that those underflow beside it."""
    means, x, variances = draw(17)
    means[1:] += 200.0
    return Case(means, variances, x, (0.0, 0.5, 0.6))


def residual(value, deviation):
    """Residuals whose squares overflow, but not once they are standardised."""
    means, x, variances = draw(15)
    return Case(deviation * means, deviation**2 * variances, value * (3 + np.abs(x)))


def one_overflows(value, deviation):
    """One component infinitely far from every row, beside two that are not."""
    means, x, variances = draw(16)
    variances *= np.array([[deviation**2], [value**2], [value**2]])
    return Case(deviation * means, variances, value * (3 + np.abs(x)))


BOTH, WIDE = DTYPES, ("float64",)
ALL = FAMILIES
VECTOR = FAMILIES[1:]
MATRIX = FAMILIES[3:]
FREE = tuple(family for family in FAMILIES if family != "TiedGaussian")

# name: (case, dtypes that can hold it, families it says something about)
CASES = {
    "offset-1e2": (offset(1e2), BOTH, ALL),
    "offset-1e4": (offset(1e4), BOTH, ALL),
    "offset-1e6": (offset(1e6), BOTH, ALL),
    "offset-1e8": (offset(1e8), BOTH, ALL),
    "clusters-1e4": (clusters(1e4), BOTH, ALL),
    "clusters-1e8": (clusters(1e8), BOTH, ALL),
    "offsets-mixed": (mixed_offsets(), BOTH, VECTOR),
    "outlier-row": (outlier_row(), BOTH, ALL),
    "outlier-mean": (outlier_mean(), BOTH, ALL),
    "variance-1e-30": (variance(1e-30), BOTH, ALL),
    "variance-1e30": (variance(1e30), BOTH, ALL),
    "variance-1e-36": (variance(1e-36), BOTH, ALL),
    "variance-1e-300": (variance(1e-300), WIDE, ALL),
    "variance-1e300": (variance(1e300), WIDE, ALL),
    "unit-data-variance-1e-30": (variance_of_unit_data(1e-30), BOTH, ALL),
    "unit-data-variance-1e30": (variance_of_unit_data(1e30), BOTH, ALL),
    "component-ratio-1e12": (component_ratio(), BOTH, FREE),
    "feature-ratio-1e12": (feature_ratio(), BOTH, VECTOR),
    "ill-conditioned-1e3": (ill_conditioned(1e3), BOTH, MATRIX),
    "ill-conditioned-1e6": (ill_conditioned(1e6), BOTH, MATRIX),
    "far-40": (far(40.0), BOTH, ALL),
    "far-1000": (far(1000.0), BOTH, ALL),
    "odds-1e-18": (odds(1e-18), BOTH, ALL),
    "odds-1e-36": (odds(1e-36), BOTH, ALL),
    "odds-1e-300": (odds(1e-300), WIDE, ALL),
    "ties": (ties(), BOTH, ALL),
    "symmetric": (symmetric(), BOTH, ALL),
    "weights-zero": (weights(0.0, 0.5, 0.6), BOTH, ALL),
    "weights-zero-at-the-rows": (dead_component_at_the_rows(), BOTH, ALL),
    "weights-only-one": (weights(0.0, 3.0, 0.0), BOTH, ALL),
    "weights-1e-30": (weights(1e-30, 2e-30, 5e-30), BOTH, ALL),
    "weights-1e30": (weights(1e30, 2e30, 5e30), BOTH, ALL),
    "weights-1e-200": (weights(1e-200, 2e-200, 5e-200), WIDE, ALL),
    "weights-1e200": (weights(1e200, 2e200, 5e200), WIDE, ALL),
    "weights-ratio-1e30": (weights(1e-30, 1.0, 1e-10), BOTH, ALL),
    "weights-ratio-1e300": (weights(1e-300, 1.0, 1e-10), WIDE, ALL),
    "weights-sum-overflows-float32": (weights(3e38, 2e38, 1e38), BOTH, ALL),
    "weights-sum-overflows": (weights(1.5e308, 1e308, 0.5e308), WIDE, ALL),
    "square-overflows-float32": (residual(1e20, 1e15), BOTH, ALL),
    "square-overflows": (residual(1e160, 1e150), WIDE, ALL),
    "one-overflows-float32": (one_overflows(1e5, 1e-15), BOTH, FREE),
    "one-overflows": (one_overflows(1e10, 1e-150), WIDE, FREE),
}
SELECTED = ("offset-1e8", "variance-1e-30", "far-1000", "odds-1e-36", "weights-zero")

everywhere = pytest.mark.parametrize(
    ("name", "family", "dtype"),
    [(n, family, t) for n, (_, dtypes, families) in CASES.items() for family in families
     for t in dtypes],
)  # fmt: skip
by_family = pytest.mark.parametrize("family", FAMILIES)
by_dtype = pytest.mark.parametrize("dtype", DTYPES)
shared_by_jax = pytest.mark.shared_by_jax("family", "dtype")  # see conftest.py


def log_prob(x, components):
    """Call the method, as a function that can be compiled."""
    return components.log_prob(x)


def check_log_joint(backend, given):
    """Check log_prob and log_joint of one problem."""
    x, mixture = given.arguments(backend)
    densities = backend.to_numpy(backend.call(log_prob, x, mixture.components))
    oracle.assert_log_prob(densities, given.family, given.fields, given.x, given.dtype)
    log_joint = backend.to_numpy(backend.call(ex.log_joint, x, mixture))
    oracle.assert_log_joint(log_joint, given.oracle, given.dtype)


def check_e_step(backend, given):
    """Check what e_step and log_likelihood make of one problem."""
    x, mixture = given.arguments(backend)
    result = backend.call(ex.e_step, x, mixture)
    check_result(backend, result, given.oracle, given.dtype)
    total = backend.to_numpy(backend.call(ex.log_likelihood, x, mixture))
    oracle.assert_total(total, given.oracle, given.dtype)


def check_odd_shape(backend, given):
    """Check a problem of a shape of its own, for which JAX has to compile everything again."""
    if backend.name == "numpy":
        check_log_joint(backend, given)
    check_e_step(backend, given)


def check_result(backend, result, expected, dtype):
    """Check an EStep and what can be read off it."""
    responsibilities = backend.to_numpy(result.responsibilities)
    oracle.assert_responsibilities(responsibilities, expected, dtype)
    oracle.assert_log_likelihood(backend.to_numpy(result.log_likelihood), expected, dtype)
    oracle.assert_total(backend.to_numpy(result.total_log_likelihood), expected, dtype)
    oracle.assert_entropy(backend.to_numpy(result.entropy), expected, dtype)
    labels = backend.to_numpy(result.labels)
    slack = expected.responsibility_bound(dtype)
    for i, row in enumerate(expected.responsibilities):
        best = max(row) * mp.exp(-2 * slack[i, labels[i]])
        assert row[labels[i]] >= best, f"label {i} is {labels[i]}"


@CONCRETE
@everywhere
def test_log_joint(backend, name, family, dtype):
    check_log_joint(backend, problem(name, family, dtype))


@CONCRETE
@everywhere
def test_e_step(backend, name, family, dtype):
    check_e_step(backend, problem(name, family, dtype))


@pytest.mark.backends("jax_jit")
@shared_by_jax
@by_dtype
@by_family
@pytest.mark.parametrize("name", SELECTED)
def test_compiled(backend, name, family, dtype):
    check_e_step(backend, problem(name, family, dtype))


def test_cases_are_what_their_names_say():
    for family in FAMILIES:
        for size in (1e-18, 1e-36, 1e-300):
            given = problem(f"odds-{size:.0e}", family, "float64").oracle
            smallest = min(given.responsibilities[0])
            assert abs(mp.log(smallest) - math.log(size)) < 1.0
        given = problem("far-1000", family, "float64").oracle
        assert max(given.log_likelihood) < -1e4
        given = problem("far-40", family, "float64").oracle
        assert max(given.log_likelihood) < -100
        given = problem("symmetric", family, "float64").oracle
        assert all(row[0] == row[1] for row in given.responsibilities)
    for family in FREE:
        log_joint = problem("one-overflows", family, "float64").oracle.log_joint
        assert all(row[0] < -1e308 and min(row[1:]) > -1e4 for row in log_joint)


@CONCRETE
@by_dtype
@pytest.mark.parametrize("family", VECTOR)
def test_seventy_dimensions(backend, family, dtype):
    rng = np.random.default_rng(70)
    means = rng.normal(0.0, 3e-6, (2, 70))
    x = means[[0, 1, 0]] + 1e-5 * np.array([[0.1], [1.0], [9.0]]) * rng.normal(size=(3, 70))
    case = Case(means, 1e-10 * rng.uniform(0.8, 1.25, (2, 70)), x, (0.7, 0.3), correlation=0.02)
    given = problem_of(case, family, dtype)
    # Densities of row 0 overflow float64, those of row 2 underflow it.
    assert given.oracle.log_likelihood[0] > 710
    assert given.oracle.log_likelihood[2] < -746
    check_odd_shape(backend, given)


@CONCRETE
@pytest.mark.parametrize("family", ["UnivariateGaussian", "DiagonalGaussian", "FullGaussian"])
def test_seventy_components(backend, family):
    """So many that a compiler is given a loop over them."""
    rng = np.random.default_rng(71)
    means, variances = rng.normal(size=(70, 2)), rng.uniform(0.5, 2.0, (70, 2))
    mixing = tuple(rng.uniform(0.0, 1.0, 70))
    case = Case(1e4 + 5 * means, variances, 1e4 + 5 * rng.normal(size=(3, 2)), mixing)
    check_odd_shape(backend, problem_of(case, family, "float32"))


@CONCRETE
@by_dtype
@by_family
def test_one_component(backend, family, dtype):
    means, x, variances = draw(20)
    given = problem_of(Case(means[:1], variances[:1], 30 * x, (0.3,)), family, dtype)
    check_odd_shape(backend, given)
    result = backend.call(ex.e_step, *given.arguments(backend))
    np.testing.assert_array_equal(backend.to_numpy(result.entropy), 0.0)
    np.testing.assert_array_equal(backend.to_numpy(result.labels), 0)


@CONCRETE
@by_dtype
@by_family
def test_one_row(backend, family, dtype):
    means, x, variances = draw(21)
    given = problem_of(Case(means, variances, 3 * x[:1]), family, dtype)
    check_odd_shape(backend, given)


@CONCRETE
@by_dtype
@by_family
def test_no_rows(backend, family, dtype):
    means, x, variances = draw(22)
    given = problem_of(Case(means, variances, x[:0]), family, dtype)
    check_odd_shape(backend, given)
    arguments = given.arguments(backend)
    result = backend.call(ex.e_step, *arguments)
    assert backend.to_numpy(result.total_log_likelihood) == 0.0
    assert np.isnan(backend.to_numpy(result.mean_max_responsibility))
    nobody = backend.data(np.zeros(0), dtype)
    total = backend.call(ex.log_likelihood, *arguments, sample_weight=nobody)
    assert backend.to_numpy(total) == 0.0


@CONCRETE
@by_dtype
@by_family
@pytest.mark.parametrize("name", ["symmetric", "ties"])
def test_equal_components_share_equally(backend, name, family, dtype):
    x, mixture = problem(name, family, dtype).arguments(backend)
    result = backend.call(ex.e_step, x, mixture)
    responsibilities = backend.to_numpy(result.responsibilities)
    np.testing.assert_array_equal(responsibilities[:, 0], responsibilities[:, 1])
    labels = backend.to_numpy(result.labels)
    assert (labels != 1).all()  # the first of equals
    assert (labels == 0).any()


@CONCRETE
@by_dtype
@by_family
def test_zero_weights_are_exact(backend, family, dtype):
    x, mixture = problem("weights-zero", family, dtype).arguments(backend)
    log_joint = backend.to_numpy(backend.call(ex.log_joint, x, mixture))
    np.testing.assert_array_equal(log_joint[:, 0], -np.inf)
    responsibilities = backend.to_numpy(backend.call(ex.e_step, x, mixture).responsibilities)
    np.testing.assert_array_equal(responsibilities[:, 0], 0.0)


@COMPILED
@shared_by_jax
@by_dtype
@by_family
def test_certain_rows_have_no_entropy(backend, family, dtype):
    means, x, variances = draw(23)
    means += np.array([[-1e4], [0.0], [1e4]])
    case = Case(means, variances, np.tile(means, (N // K, 1)) + x)
    result = backend.call(ex.e_step, *problem_of(case, family, dtype).arguments(backend))
    np.testing.assert_array_equal(backend.to_numpy(result.entropy), 0.0)
    np.testing.assert_array_equal(backend.to_numpy(result.labels), np.tile(range(K), N // K))
    assert backend.to_numpy(result.mean_max_responsibility) == 1.0


@CONCRETE
@by_dtype
@pytest.mark.parametrize("k", [2, 7, 64])
def test_uniform_rows_have_entropy_log_k(backend, k, dtype):
    log_prob, weights = (
        backend.data(np.full((2, k), -3e4), dtype),
        backend.asarray([2.0] * k, dtype),
    )
    result = backend.call(ex.posterior, log_prob, weights)
    eps = np.finfo(dtype).eps
    entropy = backend.to_numpy(result.entropy)
    np.testing.assert_allclose(entropy, math.log(k), rtol=(16 + k) * eps)
    largest = backend.to_numpy(result.mean_max_responsibility)
    np.testing.assert_allclose(largest, 1.0 / k, rtol=16 * eps * 3e4)


@CONCRETE
@by_dtype
@by_family
def test_mean_max_responsibility(backend, family, dtype):
    given = problem("offset-1e2", family, dtype)
    result = backend.call(ex.e_step, *given.arguments(backend))
    actual = mp.mpf(float(backend.to_numpy(result.mean_max_responsibility)))
    expected = mp.fsum(max(row) for row in given.oracle.responsibilities) / N
    slack = max(given.oracle.responsibility_bound(dtype).flat)
    assert abs(actual - expected) <= 2 * slack * expected


@COMPILED
def test_worked_example(backend):
    """Three, and six, correct digits: what the package's guide publishes."""
    components = ex.UnivariateGaussian(backend.asarray([2.0, 6.0]), backend.asarray([1.0, 1.5]))
    mixture = ex.Mixture(backend.asarray([0.45, 0.55]), components)
    x = backend.data([1.0, 2.5, 4.0, 5.5, 7.0])
    result = backend.call(ex.e_step, x, mixture)
    first = [f"{value:.6g}" for value in backend.to_numpy(result.responsibilities)[:, 0]]
    assert first == ["0.999605", "0.981301", "0.339706", "0.00237684", "5.21167e-06"]


def log_densities(kind):
    """Return log-densities (n, k) of one kind for posterior."""
    values = np.random.default_rng(30).normal(0.0, 10.0, (N, 4))
    absent = np.zeros((N, 4), dtype=bool)
    absent[0, :2] = absent[1, 1] = absent[2, ::2] = True
    return {
        "plain": values,
        "minus-infinity": np.where(absent, -np.inf, values),
        "shift-1e5": values + 1e5,
        "shift--1e5": values - 1e5,
        "spread-1e4": values * 1e3,
        "tiny": values * np.array([0.0, 0.0, 1.0, 1.0]) - [0.0, 41.4465, 690.0, 80.0],
        # Where exponentials take another path, and where they are subnormal and then zero.
        "vanishing": 0.05 * values - [0.0, 511.0, 707.0, 745.0],
        "flat": 0 * values - 2e37,
        "huge": 0 * values + [2e37, 2e37, -2e37, 0.0],
    }[kind]


@COMPILED
@by_dtype
@pytest.mark.parametrize("mixing", [(0.1, 0.2, 0.3, 0.4), (1.0, 0.0, 2.0, 1e-30)])
@pytest.mark.parametrize(
    "kind",
    [
        "plain",
        "minus-infinity",
        "shift-1e5",
        "shift--1e5",
        "spread-1e4",
        "tiny",
        "vanishing",
        "flat",
        "huge",
    ],
)
def test_posterior(backend, kind, mixing, dtype):
    densities = log_densities(kind).astype(dtype)
    mixing = np.array(mixing, dtype=dtype)
    expected = oracle.posterior(densities, mixing)
    arguments = backend.data(densities, dtype), backend.asarray(mixing, dtype)
    check_result(backend, backend.call(ex.posterior, *arguments), expected, dtype)


@pytest.mark.parametrize("vanishing", [0, 1, 5, 60, 200])
def test_exponentials_that_vanish(vanishing):
    """They take other paths, where they are few of a block and where they are many."""
    exponents = np.linspace(-700.0, 3.0, 200)
    exponents[:vanishing] = np.linspace(-760.0, -706.0, vanishing)
    exponents[:vanishing:7] = -math.inf
    exponents[1::90] = math.nan
    actual = driver._PLAIN.exp(exponents.reshape(4, 50).copy()).ravel()
    expected = np.asarray([float(mp.exp(exponent)) for exponent in exponents])
    np.testing.assert_allclose(actual, expected, rtol=1e-15, atol=5e-324)
    np.testing.assert_array_equal(actual[exponents < -746.0], 0.0)


def overflowing(family, dtype):
    """Return a problem whose rows 1 and 4 are infinitely far from every component."""
    means, x, variances = draw(24)
    x[1] = x[4] = {"float32": 1e25, "float64": 1e200}[dtype]
    x[4] *= -1.0
    return problem_of(Case(means, variances, 3 * x, correlation=0.1), family, dtype)


def check_degenerate(backend, result, expected, dtype, rows):
    """Check that these rows have zero density, and that the other rows are exact."""
    responsibilities = backend.to_numpy(result.responsibilities)
    log_likelihood = backend.to_numpy(result.log_likelihood)
    np.testing.assert_array_equal(responsibilities[rows], np.nan)
    np.testing.assert_array_equal(log_likelihood[rows], -np.inf)
    others = np.setdiff1d(np.arange(len(log_likelihood)), rows)
    kept = oracle.Oracle(expected.log_joint[others], expected.scale[others])
    oracle.assert_responsibilities(responsibilities[others], kept, dtype)
    oracle.assert_log_likelihood(log_likelihood[others], kept, dtype)


def call_degenerate(backend, count, first, function, *arguments):
    """Call, expecting one warning that counts the rows and names the first, where it can know."""
    if backend.lazy:
        return backend.call(function, *arguments)
    with pytest.warns(RuntimeWarning, match=rf"\b{count}\b") as caught:
        result = backend.call(function, *arguments)
    assert len(caught) == 1
    assert f" {first}" in str(caught[0].message).replace("[", " ")
    return result


@COMPILED
@shared_by_jax
@by_dtype
@by_family
def test_rows_of_zero_density(backend, family, dtype):
    given = overflowing(family, dtype)
    result = call_degenerate(backend, 2, 1, ex.e_step, *given.arguments(backend))
    check_degenerate(backend, result, given.oracle, dtype, [1, 4])


@COMPILED
@shared_by_jax
@by_dtype
@by_family
def test_total_over_a_row_of_zero_density(backend, family, dtype):
    x, mixture = overflowing(family, dtype).arguments(backend)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        total = backend.call(ex.log_likelihood, x, mixture)
    assert backend.to_numpy(total) == -np.inf


@COMPILED
@by_dtype
def test_posterior_of_nothing(backend, dtype):
    values = np.random.default_rng(31).normal(0.0, 10.0, (N, 4)).astype(dtype)
    mixing = np.array([0.0, 1.0, 1.0, 3.0], dtype=dtype)
    values[2] = values[5] = -np.inf
    values[3, 1:] = -np.inf  # only the component of weight zero is left
    arguments = backend.data(values, dtype), backend.asarray(mixing, dtype)
    result = call_degenerate(backend, 3, 2, ex.posterior, *arguments)
    check_degenerate(backend, result, oracle.posterior(values, mixing), dtype, [2, 3, 5])


@COMPILED
@shared_by_jax
@by_dtype
@by_family
def test_masked_rows_leave_the_total_alone(backend, family, dtype):
    given = problem("offset-1e2", family, dtype)
    x = np.array(given.x)
    mask = np.array([1.0, 0.0, 2.5, 0.0, 0.0, 0.75], dtype=dtype)
    x[1], x[3], x[4] = np.nan, -np.inf, {"float32": 1e38, "float64": 1e300}[dtype]
    _, mixture = given.arguments(backend)
    sample_weight = backend.data(mask, dtype)
    x = backend.data(x, dtype)
    total = backend.call(ex.log_likelihood, x, mixture, sample_weight=sample_weight)
    oracle.assert_total(backend.to_numpy(total), given.oracle, dtype, mask)


@pytest.mark.backends("numpy")
@by_dtype
@by_family
@pytest.mark.parametrize("name", ["offset-1e4", "variance-1e-30", "far-1000", "weights-zero"])
def test_weighted_total(backend, name, family, dtype):
    given = problem(name, family, dtype)
    x, mixture = given.arguments(backend)
    for seed in range(3):
        values = np.random.default_rng(seed).uniform(0.0, 5.0, N).astype(dtype)
        sample_weight = backend.data(values, dtype)
        total = backend.call(ex.log_likelihood, x, mixture, sample_weight=sample_weight)
        oracle.assert_total(backend.to_numpy(total), given.oracle, dtype, values)


@CONCRETE
@by_dtype
@by_family
def test_total_over_many_rows(backend, family, dtype):
    """A sum over many rows is as accurate as its rows: none is lost beside the running total."""
    given = problem("offset-1e2", family, dtype)
    _, mixture = given.arguments(backend)
    copies = 20_000
    x = backend.data(np.tile(given.x, (copies,) + (1,) * (given.x.ndim - 1)), dtype)
    total = backend.to_numpy(backend.call(ex.log_likelihood, x, mixture))
    oracle.assert_total(total, given.oracle, dtype, np.full(N, float(copies)))
