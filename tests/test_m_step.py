"""The M-step: closed forms, scikit-learn's own, lost components, and derivatives of unrolled EM."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.mixture._gaussian_mixture import _estimate_gaussian_parameters

import estep_xp as ex
from tests import bad_fits, em_oracle
from tests.backends import BACKENDS
from tests.families import RECORDS, problem

N, K, D = 30, 3, 2
FLOOR = 0.01
LEFT = [0, 2]  # components that are not lost

families = pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
concrete = pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "jax", "torch")
libraries = pytest.mark.backends("numpy", "array_api_strict", "jax", "torch", "dask")
jax_only = pytest.mark.backends("jax")
derivatives = pytest.mark.backends("jax_jit", "torch")


def em_step(x, mixture, sample_weight=None):
    """One E-step and one M-step: a single program where the library compiles."""
    statistics = ex.expected_statistics(x, mixture, sample_weight=sample_weight)
    return ex.m_step(statistics, variance_floor=FLOOR)


def step(backend, case, dtype="float64", sample_weight=None):
    if sample_weight is not None:
        sample_weight = backend.data(sample_weight, dtype)
    return backend.call(
        em_step, backend.data(case.x, dtype), case.mixture(backend, dtype), sample_weight
    )


def estimate_of(backend, mixture):
    """Weights, means and covariances in float64, the latter inverted here in NumPy."""
    weights, means, second = (
        backend.to_numpy(a).astype(float) for a in (mixture.weights, *mixture.components)
    )
    if hasattr(mixture.components, "precision_cholesky"):
        second = np.linalg.inv(second @ np.swapaxes(second, -1, -2))
    return em_oracle.Estimate(weights, means, second)


def assert_estimate(actual, expected, dtype="float64"):
    """Compare with the closed form, in problems of scale 1 and conditions of a few dozens."""
    eps = np.finfo(dtype).eps
    for name, rounding in (("weights", 8), ("means", 64), ("covariances", 512)):
        one, other = getattr(actual, name), getattr(expected, name)
        np.testing.assert_allclose(one, other, rtol=0, atol=rounding * eps, err_msg=name)


# Values


@families
@dtypes
def test_closed_form(backend, record, dtype):
    case = problem(record, dtype=dtype, n=N)
    mixture = step(backend, case, dtype)
    assert type(mixture) is ex.Mixture
    assert type(mixture.components) is record.family
    for array in (mixture.weights, *mixture.components):
        backend.assert_like(array, dtype)
    expected = em_oracle.m_step(case, floor=FLOOR)
    assert_estimate(estimate_of(backend, mixture), expected, dtype)


@libraries
@families
def test_closed_form_with_sample_weights(backend, record):
    case = problem(record, n=N)
    sample_weight = np.arange(N) % 4 / 2
    expected = em_oracle.m_step(case, sample_weight, FLOOR)
    mixture = step(backend, case, sample_weight=sample_weight)
    assert_estimate(estimate_of(backend, mixture), expected)
    # Only their proportions count.
    mixture = step(backend, case, sample_weight=1000 * sample_weight)
    assert_estimate(estimate_of(backend, mixture), expected)


def test_a_floor_is_added():
    """As it is, whatever the units; of the default there is more in test_units.py."""
    case = problem(RECORDS[0], n=N)
    backend = BACKENDS["numpy"]
    statistics = ex.expected_statistics(case.x, case.mixture(backend))
    variances = [
        ex.m_step(statistics, variance_floor=floor).components.variances for floor in (1e-6, 0.0)
    ]
    np.testing.assert_allclose(variances[0] - variances[1], 1e-6, rtol=1e-9)


@concrete
@pytest.mark.parametrize("name", ["tied", "full"])
@dtypes
def test_matrices_are_exactly_symmetric_and_factors_triangular(backend, name, dtype):
    (record,) = (record for record in RECORDS if record.name == name)
    components = step(backend, problem(record, dtype=dtype, n=N), dtype).components
    covariances = backend.to_numpy(components.covariances)
    np.testing.assert_array_equal(covariances, np.swapaxes(covariances, -1, -2))
    factors = backend.to_numpy(components.precision_cholesky)
    np.testing.assert_array_equal(np.tril(factors, -1), np.zeros(factors.shape))


KINDS = {"spherical": "spherical", "diagonal": "diag", "tied": "tied", "full": "full"}


@pytest.mark.parametrize("record", RECORDS[1:], ids=lambda record: record.name)
@pytest.mark.parametrize("floor", [0.0, 1e-6, 0.1])
def test_parity_with_scikit_learn(record, floor):
    """From the same responsibilities, with ``reg_covar`` in the place of ``variance_floor``."""
    x = load_iris().data
    start = ex.initialize(x, 3, record.family, seed=0)
    responsibilities = ex.e_step(x, start).responsibilities
    counts, means, covariances = _estimate_gaussian_parameters(
        x, responsibilities, floor, KINDS[record.name]
    )
    mixture = ex.m_step(ex.expected_statistics(x, start), variance_floor=floor)
    np.testing.assert_allclose(mixture.weights, counts / len(x), rtol=1e-13)
    np.testing.assert_allclose(mixture.components.means, means, rtol=1e-13)
    np.testing.assert_allclose(mixture.components.covariances, covariances, rtol=1e-12, atol=1e-14)


@pytest.mark.backends("numpy", "jax", "torch")
@families
def test_an_offset_moves_the_means_and_nothing_else(backend, record):
    """In float32, a million away: weights and covariances are the same to the last bit."""
    case = problem(record, dtype="float32", n=N)
    x, means = (np.round(a * 8) / 8 for a in (case.x, case.params["means"]))
    case = case._replace(x=x, params=case.params | {"means": means})
    offset = 2.0**20
    far = case._replace(x=x + offset, params=case.params | {"means": means + offset})
    near, far = (step(backend, one, "float32") for one in (case, far))
    np.testing.assert_array_equal(backend.to_numpy(near.weights), backend.to_numpy(far.weights))
    one, other = (backend.to_numpy(m.components[1]) for m in (near, far))
    np.testing.assert_array_equal(one, other)
    one, other = (backend.to_numpy(m.components.means).astype(float) for m in (near, far))
    np.testing.assert_allclose(one, other - offset, rtol=0, atol=1 / 16)  # half its last digit


@libraries
@families
def test_permuting_components(backend, record):
    case = problem(record, n=N)
    order = np.array([2, 0, 1])
    params = {
        name: a if (record.name, name) == ("tied", "precision_cholesky") else a[order]
        for name, a in case.params.items()
    }
    permuted = step(backend, case._replace(weights=case.weights[order], params=params))
    weights, means, covariances = em_oracle.m_step(case, floor=FLOOR)
    covariances = covariances if record.name == "tied" else covariances[order]
    expected = em_oracle.Estimate(weights[order], means[order], covariances)
    assert_estimate(estimate_of(backend, permuted), expected)


# Lost components


def with_a_far_component(record, dtype="float64"):
    """A problem whose component 1 is out of reach of every row; and the same without it."""
    case = problem(record, dtype=dtype, n=N)
    means = case.params["means"].copy()
    means[1] = 1e6
    far = case._replace(params=case.params | {"means": means})
    params = {
        name: a if (record.name, name) == ("tied", "precision_cholesky") else a[LEFT]
        for name, a in case.params.items()
    }
    return far, case._replace(weights=case.weights[LEFT], params=params)


@libraries
@families
@dtypes
def test_a_component_that_lost_its_rows(backend, record, dtype):
    """It keeps its parameters, with weight zero; the others are as if it had never been."""
    far, without = with_a_far_component(record, dtype)
    mixture = step(backend, far, dtype)
    assert backend.to_numpy(mixture.weights)[1] == 0.0
    means = backend.to_numpy(mixture.components.means)
    np.testing.assert_array_equal(means[1], far.params["means"][1])
    second = backend.to_numpy(mixture.components[1])
    if record.name != "tied":
        np.testing.assert_array_equal(second[1], list(far.params.values())[1][1])
        second = second[LEFT]
    one = em_oracle.Estimate(backend.to_numpy(mixture.weights)[LEFT], means[LEFT], second)
    if "precision_cholesky" in far.params:
        second = second.astype(float)
        one = one._replace(covariances=np.linalg.inv(second @ np.swapaxes(second, -1, -2)))
    assert_estimate(one, em_oracle.m_step(without, floor=FLOOR), dtype)


@pytest.mark.backends("numpy", "jax_jit")
@families
def test_a_lost_component_stays_lost(backend, record):
    far, _ = with_a_far_component(record)
    mixture = step(backend, far)
    again = backend.call(em_step, backend.data(far.x), mixture, None)
    assert backend.to_numpy(again.weights)[1] == 0.0
    for array in (again.weights, *again.components):
        assert np.all(np.isfinite(backend.to_numpy(array)))


# Refusals


@pytest.mark.backends("numpy", "jax", "torch", "array_api_strict")
@pytest.mark.parametrize("case", bad_fits.M_STEP, ids=lambda case: case.name)
def test_bad_input_is_refused_with_the_place(backend, case):
    bad_fits.assert_refused(backend, case)


@pytest.mark.backends("jax_jit", "dask")
@families
def test_lazy_statistics_of_no_rows_show(backend, record):
    case = problem(record, n=N)
    mixture = step(backend, case._replace(x=case.x[:0]))
    assert np.all(np.isnan(backend.to_numpy(mixture.weights)))


@concrete
@pytest.mark.parametrize("name", ["tied", "full"])
def test_a_constant_feature_needs_a_floor(backend, name):
    """No covariance matrix is positive definite then; with a floor it is the floor."""
    (record,) = (record for record in RECORDS if record.name == name)
    case = problem(record, n=N)
    params = case.params | {"means": case.params["means"] * [1.0, 0.0]}
    case = case._replace(x=case.x * [1.0, 0.0], params=params)
    statistics = ex.expected_statistics(backend.data(case.x), case.mixture(backend))
    words = r"covariances\[0\] is" if name == "full" else r"covariances is"
    with pytest.raises(ValueError, match=rf"{words} not positive definite; raise variance_floor"):
        ex.m_step(statistics, variance_floor=0.0)
    components = ex.m_step(statistics, variance_floor=0.25).components
    covariances = backend.to_numpy(components.covariances)
    np.testing.assert_allclose(covariances[..., 1, 1], 0.25, rtol=1e-12)
    np.testing.assert_allclose(covariances[..., 0, 1], 0.0, atol=1e-12)


@concrete
@pytest.mark.parametrize("record", RECORDS[:3], ids=lambda record: record.name)
def test_equal_rows_need_a_floor(backend, record):
    """A variance of 0 is refused here, before the next E-step refuses it."""
    case = problem(record, n=N)
    case = case._replace(x=case.x * 0.0, params=case.params | {"means": case.params["means"] * 0})
    statistics = ex.expected_statistics(backend.data(case.x), case.mixture(backend))
    with pytest.raises(ValueError, match=r"variances\[0.*raise variance_floor"):
        ex.m_step(statistics, variance_floor=0.0)
    variances = backend.to_numpy(ex.m_step(statistics, variance_floor=0.25).components.variances)
    np.testing.assert_array_equal(variances, 0.25)


# Derivatives of unrolled EM

STEPS, WIDE = 2, 0.2  # a floor that keeps second derivatives small
ROWS = 8
SAMPLE_WEIGHT = np.array([0.5, 2.0, 1.0, 0.25, 1.5, 3.0, 0.75, 1.0])


@functools.cache
def unrolled(family):
    """A linear function of the mixture after some steps, by plain arrays."""

    def function(x, weights, first, second, sample_weight, *pulls):
        mixture = ex.Mixture(weights, family(first, second))
        for _ in range(STEPS):
            statistics = ex.expected_statistics(x, mixture, sample_weight=sample_weight)
            mixture = ex.m_step(statistics, variance_floor=WIDE)
        return pulled(pulls, (mixture.weights, *mixture.components))

    return function


def pulled(pulls, arrays):
    return sum((pull * array).sum() for pull, array in zip(pulls, arrays, strict=True))


def pulls_of(case):
    rng = np.random.default_rng(5)
    return [rng.standard_normal(a.shape) for a in (case.weights, *case.params.values())]


@functools.cache
def jax_gradient(family):
    import jax

    return jax.grad(unrolled(family), argnums=tuple(range(5)))


def differentiate(backend, case, sample_weight):
    """Derivatives by x, weights, both fields and the sample weights."""
    arrays = [*case.arrays(backend), backend.asarray(sample_weight)]
    pulls = [backend.asarray(pull) for pull in pulls_of(case)]
    if backend.name == "torch":
        for array in arrays:
            array.requires_grad_(True)
        unrolled(case.record.family)(*arrays, *pulls).backward()
        return [array.grad.numpy() for array in arrays]
    gradient = backend.call(jax_gradient(case.record.family), *arrays, *pulls)
    return [backend.to_numpy(g) for g in gradient]


def differences(case, pulls, sample_weight):
    """The same by differences of the oracle, of fourth order: good to nine digits."""

    def value(x, weights, first, second, sample_weight):
        params = dict(zip(case.params, (first, second), strict=True))
        start = case._replace(x=x, weights=weights, params=params)
        end, _ = em_oracle.em(start, STEPS, sample_weight, WIDE)
        return pulled(pulls, (end.weights, *end.params.values()))

    arrays = [case.x, case.weights, *case.params.values(), sample_weight]
    triangular = [name == "precision_cholesky" for name in ("", "", *case.params, "")]
    return [difference(value, arrays, i, triangular[i]) for i in range(5)]


def difference(value, arrays, i, triangular, h=1e-3):
    """Differentiate by every entry of one array, but none below the diagonal of a factor."""
    out = np.zeros(arrays[i].shape)
    for index in np.ndindex(out.shape):
        if triangular and index[-2] > index[-1]:
            continue

        def moved(by, index=index):
            others = [array.copy() for array in arrays]
            others[i][index] += by
            return value(*others)

        out[index] = (8 * (moved(h) - moved(-h)) - moved(2 * h) + moved(-2 * h)) / (12 * h)
    return out


def assert_derivatives(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-8)


@derivatives
@families
def test_derivatives_of_unrolled_em(backend, record):
    """By x, the mixture and the sample weights, through both steps, twice."""
    case = problem(record, n=ROWS)
    actual = differentiate(backend, case, SAMPLE_WEIGHT)
    assert_derivatives(actual, differences(case, pulls_of(case), SAMPLE_WEIGHT))


@derivatives
@families
def test_derivatives_with_masked_rows(backend, record):
    """Rows of weight 0 hold NaN and infinity; the others' derivatives are as without them."""
    case = problem(record, n=ROWS)
    kept = np.array([True, False, True, True, True, True, False, True])
    x = case.x.copy()
    x[~kept] = [np.nan, np.inf] if record.univariate else [[np.nan, 0], [1, -np.inf]]
    sample_weight = np.where(kept, SAMPLE_WEIGHT, 0.0)
    by_x, *others = differentiate(backend, case._replace(x=x), sample_weight)
    assert np.all(by_x[~kept] == 0.0)
    assert all(np.all(np.isfinite(g)) for g in others)
    others[-1] = others[-1][kept]
    expected = differences(case._replace(x=x[kept]), pulls_of(case), SAMPLE_WEIGHT[kept])
    assert_derivatives([by_x[kept], *others], expected)


@derivatives
@families
@pytest.mark.parametrize("weight", [1.0, 0.0], ids=["", "of weight zero"])
def test_derivatives_beside_a_lost_component(backend, record, weight):
    """It poisons nobody else's derivative: they are those of the problem without it."""
    far, without = (one._replace(x=one.x[:ROWS]) for one in with_a_far_component(record))
    far = far._replace(weights=far.weights * [1.0, weight, 1.0])
    actual = differentiate(backend, far, SAMPLE_WEIGHT)
    assert all(np.all(np.isfinite(g)) for g in actual)
    pulls = pulls_of(far)
    shared = {0, 4} | ({3} if record.name == "tied" else set())
    actual = [g if i in shared else g[LEFT] for i, g in enumerate(actual)]
    pulls = [pull if i + 1 in shared else pull[LEFT] for i, pull in enumerate(pulls)]
    assert_derivatives(actual, differences(without, pulls, SAMPLE_WEIGHT))


# Transformations


@jax_only
@pytest.mark.parametrize("record", [RECORDS[0], RECORDS[-1]], ids=lambda record: record.name)
def test_vmap_over_statistics(backend, record):
    import jax
    import jax.numpy as jnp

    cases = [problem(record, seed=seed, n=N) for seed in (1, 2)]
    xs = jnp.stack([backend.data(case.x) for case in cases])
    mixtures = jax.tree.map(lambda *a: jnp.stack(a), *(case.mixture(backend) for case in cases))
    both = jax.jit(jax.vmap(em_step))(xs, mixtures)
    for i, case in enumerate(cases):
        one = jax.tree.map(lambda a, i=i: a[i], both)
        assert_estimate(estimate_of(backend, one), em_oracle.m_step(case, floor=FLOOR))


@jax_only
def test_derivative_by_the_floor(backend):
    """A floor may be traced: the variances grow with it one to one."""
    import jax

    case = problem(RECORDS[2], n=N)
    statistics = ex.expected_statistics(backend.data(case.x), case.mixture(backend))

    def variances(floor):
        return ex.m_step(statistics, variance_floor=floor).components.variances

    np.testing.assert_allclose(jax.jit(jax.jacfwd(variances))(0.1), np.ones((K, D)), rtol=1e-14)


# What rounding leaves


def test_a_far_start_biases_no_variance():
    """A thousand deviations away in float32, the digits that are left are the answer."""
    x = np.random.default_rng(0).normal(size=500).astype("float32") + np.float32(1000.0)
    far = ex.Mixture([1.0], ex.UnivariateGaussian(np.float32([0.0]), np.float32([1.0])))
    (variance,) = ex.m_step(ex.expected_statistics(x, far), variance_floor=0).components.variances
    unavoidable = 4 * np.finfo("float32").eps * 1e6
    assert abs(variance - x.astype(float).var()) < unavoidable


def test_a_variance_that_rounding_took_is_no_spike():
    """With a floor, the rounding error is the best guess; and the next step finds the variance."""
    x = np.random.default_rng(0).normal(size=(500, 2)).astype("float32") + np.float32(1e5)
    for family, second in ((ex.DiagonalGaussian, np.ones((1, 2))), (ex.FullGaussian, [np.eye(2)])):
        start = ex.Mixture(np.float32([1.0]), family(np.zeros((1, 2)), np.asarray(second)))
        twice = ex.fit(x, start, max_iter=2).mixture.components.covariances[0]
        variances = np.diagonal(twice) if family is ex.FullGaussian else twice
        np.testing.assert_allclose(variances, x.astype(float).var(axis=0), rtol=1e-3)


@pytest.mark.parametrize("floor", [0.0, 1e-300])
def test_features_that_determine_each_other_are_refused(floor):
    """Rounding may make their covariance matrix look definite, but not by how much."""
    y = np.random.default_rng(0).normal(size=(200, 2))
    for extra in (y[:, 0], y[:, 0] - 3 * y[:, 1]):
        x = np.column_stack([y, extra])
        start = ex.initialize(x, 2, ex.FullGaussian, seed=0)
        with pytest.raises(ValueError, match=r"covariances\[\d\] is not positive definite; raise"):
            ex.fit(x, start, variance_floor=floor)


# Derivatives of edge cases


def test_a_zero_weight_has_its_derivative_through_the_m_step():
    jax = pytest.importorskip("jax")
    x = jax.numpy.asarray(np.random.default_rng(0).normal(size=40))
    components = ex.UnivariateGaussian([-1.0, 1.0, 0.3], [1.0, 0.5, 2.0])

    def third(weights):
        return ex.m_step(ex.expected_statistics(x, ex.Mixture(weights, components))).weights[2]

    weights = jax.numpy.asarray([0.6, 0.4, 0.0])
    slope = jax.grad(third)(weights)[2]
    step = 1e-7
    difference = (third(weights.at[2].add(step)) - third(weights)) / step
    np.testing.assert_allclose(slope, difference, rtol=1e-5)


def test_masked_rows_of_nan_have_no_derivative_by_their_weight():
    """What stands in for them in the computation must not show."""
    jax = pytest.importorskip("jax")
    x = jax.numpy.asarray([1.5, 2.0, np.nan, 4.5])
    mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([1.0, 4.0], [1.0, 1.0]))

    def sums(sample_weight):
        statistics = ex.expected_statistics(x, mixture, sample_weight=sample_weight)
        return [statistics.log_likelihood, statistics.counts, *statistics.moments]

    for slopes in jax.jacobian(sums)(jax.numpy.asarray([1.0, 1.0, 0.0, 1.0])):
        assert np.all(np.isfinite(slopes))
        assert np.all(slopes[..., 2] == 0)
        assert np.all(slopes[..., 0] != 0)


# Records that are none


BROKEN = {
    "moments": ({"moments": None}, r"statistics\.moments is a NoneType"),
    "mixture": ({"mixture": None}, r"statistics\.mixture is a NoneType"),
    "n_rows": ({"n_rows": None}, r"statistics\.n_rows is None; expected an array"),
    "counts": ({"counts": np.ones(1)}, r"statistics\.counts has shape \(1,\); expected \(2,\)"),
    "negative": ({"counts": np.array([-1.0, 4.0])}, r"statistics\.counts\[0\] is -1\.0"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_records_that_are_none_are_refused(name):
    mixture = ex.Mixture(np.ones(2), ex.UnivariateGaussian(np.array([0.0, 1.0]), np.ones(2)))
    good = ex.expected_statistics(np.array([0.0, 1.0, 2.0]), mixture)
    changes, words = BROKEN[name]
    with pytest.raises((ValueError, TypeError), match=words):
        ex.m_step(good._replace(**changes))
    if name != "negative":
        with pytest.raises((ValueError, TypeError), match=words.replace("statistics", "b", 1)):
            ex.merge(good, good._replace(**changes))
    wrong = good._replace(moments=good.moments._replace(first=np.ones(3)))
    with pytest.raises(ValueError, match=r"statistics\.moments\.first has shape \(3,\)"):
        ex.m_step(wrong)
