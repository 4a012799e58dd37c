"""Rows of sample weight zero add nothing to a total or a derivative, whatever they hold."""

from __future__ import annotations

import numpy as np
import pytest
from array_api_compat import array_namespace

import estep_xp as ex
from tests import fisher
from tests.backends import BACKENDS
from tests.derivatives import (
    SAMPLE_WEIGHT,
    derivatives,
    differentiate,
    jax_only,
    total_of,
)
from tests.fisher import assert_gradient
from tests.records import (
    FULL,
    UNIVARIATE,
    Problem,
    every_family,
    few_on_jax,
    normalised,
    problem,
    with_slopes,
)


class LogNormal:
    """A user's family whose density is a number for positive rows only."""

    def log_prob(self, x):
        xp = array_namespace(x)
        return (-0.5 * xp.log(x) ** 2 - xp.log(x))[:, None]


@pytest.mark.parametrize("name", ["numpy", "jax"])
def test_masked_rows_outside_the_support_of_a_users_family(name):
    """Zeros are the usual padding, and no family has to answer for them."""
    backend = BACKENDS[name]
    backend.require()
    x, sample_weight = (backend.asarray(a) for a in ([1.0, 0.0, -3.0], [2.0, 0.0, 0.0]))
    mixture = ex.Mixture(backend.asarray([1.0]), LogNormal())
    assert float(ex.log_likelihood(x, mixture, sample_weight=sample_weight)) == 0.0
    if name == "jax":
        import jax

        by_x = jax.grad(lambda x: ex.log_likelihood(x, mixture, sample_weight=sample_weight))(x)
        np.testing.assert_array_equal(by_x, [-2.0, 0.0, 0.0])


def masked(case):
    """Two more rows of nonsense, and the sample weights that take them out."""
    univariate = case.x.ndim == 1
    rows = (
        [np.nan, np.inf, 1e300] if univariate else [[np.nan, 0], [-np.inf, np.nan], [1e300, -1.5]]
    )
    x = np.concatenate([case.x[:2], rows[:1], case.x[2:], rows[1:]])
    sample_weight = np.concatenate([SAMPLE_WEIGHT[:2], [0.0], SAMPLE_WEIGHT[2:], [0.0, 0.0]])
    return x, sample_weight, sample_weight > 0


@few_on_jax
@every_family
def test_masked_rows_add_nothing_to_the_total(backend, record):
    """NaN, infinity and 1e300 in rows of sample_weight 0, which raise no error either."""
    case = problem(record)
    x, sample_weight, _ = masked(case)
    total = backend.call(
        ex.log_likelihood,
        backend.data(x),
        case.mixture(backend),
        sample_weight=backend.data(sample_weight),
    )
    rows = normalised(record.log_joint(case.x, case.weights, case.params))[1]
    np.testing.assert_allclose(backend.to_numpy(total), SAMPLE_WEIGHT @ rows, rtol=1e-13)


@few_on_jax
@derivatives
@with_slopes
def test_masked_rows_have_no_gradient(backend, record):
    case = problem(record)
    x, sample_weight, kept = masked(case)
    arrays = [backend.asarray(x), *case.arrays(backend)[1:]]
    by_x, *by_mixture = differentiate(
        backend, total_of(record.family), arrays, backend.asarray(sample_weight)
    )
    assert np.all(by_x[~kept] == 0.0)
    assert_gradient([by_x[kept], *by_mixture], case, sample_weight=SAMPLE_WEIGHT)


@derivatives
def test_masked_row_of_no_density(backend):
    """Finite, but its square over the variance is not: -inf times 0 must not show."""
    params = {"means": np.array([0.0, 3e-10]), "variances": np.array([1e-20, 2e-20])}
    x = np.array([1e-10, 1e150, 4e-10, 0.0])
    sample_weight = np.array([1.0, 0.0, 2.0, 0.5])
    case = Problem(UNIVARIATE, x, np.array([0.5, 1.0]), params)
    by_x, *by_mixture = differentiate(
        backend,
        total_of(case.record.family),
        case.arrays(backend),
        backend.asarray(sample_weight),
    )
    assert by_x[1] == 0.0
    kept = sample_weight > 0
    others = case._replace(x=x[kept])
    assert_gradient([by_x[kept], *by_mixture], others, sample_weight=sample_weight[kept])


@jax_only
def test_masked_rows_in_hessians_and_eager_jvp(backend):
    import jax

    case = problem(UNIVARIATE)
    x, sample_weight, _ = masked(case)
    arrays = [backend.asarray(a) for a in (x, case.weights, *case.params.values(), sample_weight)]
    plain = [
        backend.asarray(a) for a in (case.x, case.weights, *case.params.values(), SAMPLE_WEIGHT)
    ]
    total = total_of(case.record.family)
    hessian = jax.jit(jax.hessian(total, argnums=2))
    np.testing.assert_allclose(hessian(*arrays), hessian(*plain), rtol=1e-12)

    def along_the_data(x, *others):
        return jax.jvp(lambda x: total(x, *others), (x,), (x * 0 + 1,))[1]

    finite = np.where(np.isfinite(x), x, 7.0)
    expected = fisher.gradient(case, SAMPLE_WEIGHT).value["x"].sum()
    np.testing.assert_allclose(
        along_the_data(backend.asarray(finite), *arrays[1:]), expected, rtol=1e-12
    )


@derivatives
def test_no_rows_no_gradient(backend):
    """The total over no rows is 0 for every mixture."""
    case = problem(FULL, n=0)
    none = backend.asarray(np.ones(0))
    actual = differentiate(backend, total_of(case.record.family), case.arrays(backend), none)
    for result, array in zip(actual, (case.x, case.weights, *case.params.values()), strict=True):
        np.testing.assert_array_equal(result, np.zeros(array.shape))
