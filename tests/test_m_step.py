"""The M-step: closed forms, scikit-learn's own, lost components, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.mixture._gaussian_mixture import _estimate_gaussian_parameters

import estep_xp as ex
from tests import bad_fits, em_oracle
from tests.backends import BACKENDS
from tests.m_steps import (
    FLOOR,
    LEFT,
    N,
    assert_estimate,
    concrete,
    dtypes,
    em_step,
    estimate_of,
    libraries,
    step,
    with_a_far_component,
)
from tests.records import (
    FULL,
    GAUSSIANS,
    TIED,
    UNIVARIATE,
    every_family,
    few_on_jax,
    gaussians_only,
    parametrize,
    problem,
    with_m_step,
)

# Values


@few_on_jax  # all families in test_em.py
@pytest.mark.one_program("record", "dtype")  # see conftest.py
@with_m_step
@dtypes
def test_closed_form(backend, record, dtype):
    case = problem(record, dtype=dtype, n=N)
    mixture = step(backend, case, dtype)
    assert type(mixture) is ex.Mixture
    assert type(mixture.components) is record.family
    for array in (mixture.weights, *mixture.components):
        backend.assert_like(array, dtype)
    expected = em_oracle.estimate(case, floor=FLOOR)
    assert_estimate(estimate_of(backend, record, mixture), expected, dtype)


@few_on_jax
@libraries
@with_m_step
def test_closed_form_with_sample_weights(backend, record):
    case = problem(record, n=N)
    sample_weight = np.arange(N) % 4 / 2
    expected = em_oracle.estimate(case, sample_weight, FLOOR)
    mixture = step(backend, case, sample_weight=sample_weight)
    assert_estimate(estimate_of(backend, record, mixture), expected)
    # Only their proportions count.
    mixture = step(backend, case, sample_weight=1000 * sample_weight)
    assert_estimate(estimate_of(backend, record, mixture), expected)


def test_a_floor_is_added():
    """As it is, whatever the units; of the default there is more in test_units.py."""
    case = problem(UNIVARIATE, n=N)
    backend = BACKENDS["numpy"]
    statistics = ex.expected_statistics(case.x, case.mixture(backend))
    variances = [
        ex.m_step(statistics, variance_floor=floor).components.variances for floor in (1e-6, 0.0)
    ]
    np.testing.assert_allclose(variances[0] - variances[1], 1e-6, rtol=1e-9)


@concrete
@parametrize(TIED, FULL)
@dtypes
def test_matrices_are_exactly_symmetric_and_factors_triangular(backend, record, dtype):
    components = step(backend, problem(record, dtype=dtype, n=N), dtype).components
    covariances = backend.to_numpy(components.covariances)
    np.testing.assert_array_equal(covariances, np.swapaxes(covariances, -1, -2))
    factors = backend.to_numpy(components.precision_cholesky)
    np.testing.assert_array_equal(np.tril(factors, -1), np.zeros(factors.shape))


KINDS = {"spherical": "spherical", "diagonal": "diag", "tied": "tied", "full": "full"}


@parametrize(*GAUSSIANS[1:])
@pytest.mark.parametrize("floor", [0.0, 1e-6, 0.1])
def test_parity_with_scikit_learn(record, floor):
    """From the same responsibilities, with ``reg_covar`` in the place of ``variance_floor``."""
    x = load_iris().data
    start = ex.initialize(x, 3, record.start_of(3), seed=0)
    responsibilities = ex.e_step(x, start).responsibilities
    counts, means, covariances = _estimate_gaussian_parameters(
        x, responsibilities, floor, KINDS[record.name]
    )
    mixture = ex.m_step(ex.expected_statistics(x, start), variance_floor=floor)
    np.testing.assert_allclose(mixture.weights, counts / len(x), rtol=1e-13)
    np.testing.assert_allclose(mixture.components.means, means, rtol=1e-13)
    np.testing.assert_allclose(mixture.components.covariances, covariances, rtol=1e-12, atol=1e-14)


@few_on_jax
@pytest.mark.backends("numpy", "jax", "torch")
@gaussians_only
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


@few_on_jax
@libraries
@with_m_step
def test_permuting_components(backend, record):
    case = problem(record, n=N)
    order = np.array([2, 0, 1])
    permuted = step(backend, case.at(order))
    weights, values = em_oracle.estimate(case, floor=FLOOR)
    expected = em_oracle.Estimate(weights[order], record.at(values, order))
    assert_estimate(estimate_of(backend, record, permuted), expected)


@few_on_jax
@libraries
@with_m_step
def test_a_component_of_weight_zero_keeps_its_parameters(backend, record):
    """To the last digit, and its weight; what all components share is estimated from the others."""
    case = problem(record, n=N)
    mixture = step(backend, case._replace(weights=case.weights * [1.0, 0.0, 1.0]))
    assert backend.to_numpy(mixture.weights)[1] == 0.0
    for name, field in mixture.components._asdict().items():
        if name not in record.shared:
            np.testing.assert_array_equal(backend.to_numpy(field)[1], case.params[name][1])
    weights, values = estimate_of(backend, record, mixture)
    others = em_oracle.Estimate(weights[LEFT], record.at(values, LEFT))
    assert_estimate(others, em_oracle.estimate(case.at(LEFT), floor=FLOOR))


@few_on_jax
@libraries
@gaussians_only
@dtypes
def test_a_component_that_lost_its_rows(backend, record, dtype):
    """It keeps its parameters, with weight zero; the others are as if it had never been."""
    far, without = with_a_far_component(record, dtype)
    mixture = step(backend, far, dtype)
    assert backend.to_numpy(mixture.weights)[1] == 0.0
    for name, field in mixture.components._asdict().items():
        if name not in record.shared:
            kept = backend.to_numpy(field)[1]
            np.testing.assert_array_equal(kept, far.params[name][1])
    weights, values = estimate_of(backend, record, mixture)
    others = em_oracle.Estimate(weights[LEFT], record.at(values, LEFT))
    assert_estimate(others, em_oracle.estimate(without, floor=FLOOR), dtype)


@few_on_jax
@pytest.mark.backends("numpy", "jax_jit")
@gaussians_only
def test_a_lost_component_stays_lost(backend, record):
    far, _ = with_a_far_component(record)
    mixture = step(backend, far)
    again = backend.call(em_step, backend.data(far.x), mixture, None)
    assert backend.to_numpy(again.weights)[1] == 0.0
    for array in (again.weights, *again.components):
        assert np.all(np.isfinite(backend.to_numpy(array)))


@pytest.mark.parametrize(("count", "is_empty"), [(1e-25, False), (1e-33, True)])
def test_a_component_is_empty_below_the_rounding_of_a_rounding_error_alone(count, is_empty):
    mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([0.0, 1.0], [1.0, 1.0]))
    statistics = ex.expected_statistics([0.5], mixture)
    moments = type(statistics.moments)(*np.asarray([[0.5, 2.0 * count], [1.0, 5.0 * count]]))
    few = statistics._replace(counts=np.asarray([1.0, count]), moments=moments)
    new = ex.m_step(few, variance_floor=0.0)
    expected = (0.0, 1.0, 1.0) if is_empty else (count, 3.0, 1.0)
    found = new.weights[1], new.components.means[1], new.components.variances[1]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# Refusals


@pytest.mark.backends("numpy", "jax", "torch", "array_api_strict")
@pytest.mark.parametrize("case", bad_fits.M_STEP, ids=lambda case: case.name)
def test_bad_input_is_refused_with_the_place(backend, case):
    bad_fits.assert_refused(backend, case)


@few_on_jax
@pytest.mark.backends("jax_jit", "dask")
@every_family
def test_lazy_statistics_of_no_rows_show(backend, record):
    case = problem(record, n=N)
    mixture = step(backend, case._replace(x=case.x[:0]))
    assert np.all(np.isnan(backend.to_numpy(mixture.weights)))


@concrete
@parametrize(TIED, FULL)
def test_a_constant_feature_needs_a_floor(backend, record):
    """No covariance matrix is positive definite then; with a floor it is the floor."""
    case = problem(record, n=N)
    params = case.params | {"means": case.params["means"] * [1.0, 0.0]}
    case = case._replace(x=case.x * [1.0, 0.0], params=params)
    statistics = ex.expected_statistics(backend.data(case.x), case.mixture(backend))
    words = r"covariances\[0\] is" if record is FULL else r"covariances is"
    with pytest.raises(ValueError, match=rf"{words} not positive definite; raise variance_floor"):
        ex.m_step(statistics, variance_floor=0.0)
    components = ex.m_step(statistics, variance_floor=0.25).components
    covariances = backend.to_numpy(components.covariances)
    np.testing.assert_allclose(covariances[..., 1, 1], 0.25, rtol=1e-12)
    np.testing.assert_allclose(covariances[..., 0, 1], 0.0, atol=1e-12)


@concrete
@parametrize(*GAUSSIANS[:3])
def test_equal_rows_need_a_floor(backend, record):
    """A variance of 0 is refused here, before the next E-step refuses it."""
    case = problem(record, n=N)
    case = case._replace(x=case.x * 0.0, params=case.params | {"means": case.params["means"] * 0})
    statistics = ex.expected_statistics(backend.data(case.x), case.mixture(backend))
    with pytest.raises(ValueError, match=r"variances\[0.*raise variance_floor"):
        ex.m_step(statistics, variance_floor=0.0)
    variances = backend.to_numpy(ex.m_step(statistics, variance_floor=0.25).components.variances)
    np.testing.assert_array_equal(variances, 0.25)


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
