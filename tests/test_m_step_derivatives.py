"""Derivatives through the M-step: of unrolled EM, by the floor, and at edge cases."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import estep_xp as ex
from tests import em_oracle
from tests.m_steps import (
    FLOOR,
    LEFT,
    STEPS,
    WIDE,
    D,
    K,
    N,
    assert_estimate,
    derivatives,
    em_step,
    estimate_of,
    jax_only,
    with_a_far_component,
)
from tests.records import (
    DIAGONAL,
    FULL,
    UNIVARIATE,
    few_on_jax,
    gaussians_only,
    parametrize,
    problem,
    with_m_step,
)

ROWS = 8
SAMPLE_WEIGHT = np.array([0.5, 2.0, 1.0, 0.25, 1.5, 3.0, 0.75, 1.0])


@functools.cache
def unrolled(family):
    """A linear function of the mixture after some steps, by plain arrays."""
    count = len(family._fields)

    def function(x, weights, *rest):
        fields, sample_weight, pulls = rest[:count], rest[count], rest[count + 1 :]
        mixture = ex.Mixture(weights, family(*fields))
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

    return jax.grad(unrolled(family), argnums=tuple(range(3 + len(family._fields))))


def differentiate(backend, case, sample_weight):
    """Derivatives by x, weights, fields and the sample weights."""
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

    def value(x, weights, *fields_and_sample_weight):
        *fields, sample_weight = fields_and_sample_weight
        params = dict(zip(case.params, fields, strict=True))
        start = case._replace(x=x, weights=weights, params=params)
        end, _ = em_oracle.em(start, STEPS, sample_weight, WIDE)
        return pulled(pulls, (end.weights, *end.params.values()))

    arrays = [case.x, case.weights, *case.params.values(), sample_weight]
    triangular = [name == "precision_cholesky" for name in ("", "", *case.params, "")]
    return [
        None if i == 0 and case.record.is_discrete else difference(value, arrays, i, triangular[i])
        for i in range(len(arrays))
    ]


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
        if other is not None:  # there is no derivative by counts
            np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-8)


@few_on_jax
@derivatives
@with_m_step
def test_derivatives_of_unrolled_em(backend, record):
    """By x, the mixture and the sample weights, through both steps, twice."""
    case = problem(record, n=ROWS)
    actual = differentiate(backend, case, SAMPLE_WEIGHT)
    assert_derivatives(actual, differences(case, pulls_of(case), SAMPLE_WEIGHT))


@few_on_jax
@derivatives
@gaussians_only
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


@pytest.mark.one_program("record", "weight")  # see conftest.py
@few_on_jax
@derivatives
@gaussians_only
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
@parametrize(UNIVARIATE, FULL)
def test_vmap_over_statistics(backend, record):
    import jax
    import jax.numpy as jnp

    cases = [problem(record, seed=seed, n=N) for seed in (1, 2)]
    xs = jnp.stack([backend.data(case.x) for case in cases])
    mixtures = jax.tree.map(lambda *a: jnp.stack(a), *(case.mixture(backend) for case in cases))
    both = jax.jit(jax.vmap(em_step))(xs, mixtures)
    for i, case in enumerate(cases):
        one = jax.tree.map(lambda a, i=i: a[i], both)
        assert_estimate(estimate_of(backend, record, one), em_oracle.estimate(case, floor=FLOOR))


@jax_only
def test_derivative_by_the_floor(backend):
    """A floor may be traced: the variances grow with it one to one."""
    import jax

    case = problem(DIAGONAL, n=N)
    statistics = ex.expected_statistics(backend.data(case.x), case.mixture(backend))

    def variances(floor):
        return ex.m_step(statistics, variance_floor=floor).components.variances

    np.testing.assert_allclose(jax.jit(jax.jacfwd(variances))(0.1), np.ones((K, D)), rtol=1e-14)


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
