"""Components whose responsibility is zero are told by estimates; all others are exact."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.families.gaussian import full, negligible
from tests import oracle

N, D, K = 1200, 48, 6
CHECKED = slice(1, N, 160)


def draw(apart, scale=1.0, seed=0):
    """Rows of clusters `apart` deviations from each other, or between two of them."""
    rng = np.random.default_rng(seed)
    factors = np.triu(rng.normal(size=(K, D, D))) / D + np.eye(D)
    means = apart * rng.normal(size=(K, D)) / np.sqrt(2 * D)
    x = means[rng.integers(K, size=N)] + rng.normal(size=(N, D))
    x[::3] = 0.5 * (means[0] + means[1]) + 0.1 * rng.normal(size=x[::3].shape)
    return x * scale, (means * scale, factors / scale)


@pytest.mark.parametrize("scale", [1e-60, 1.0, 1e60])
@pytest.mark.parametrize("apart", [30.0, 60.0, 1e4])
def test_what_is_not_negligible_is_exact(apart, scale):
    x, fields = draw(apart, scale)
    estimates = negligible.log_joint_of_shares
    with mock.patch.object(full, "log_joint_of_shares", wraps=estimates) as spy:
        result = ex.e_step(x, ex.Mixture(np.ones(K), ex.FullGaussian(*fields)))
    assert spy.called
    truth = oracle.mixture("FullGaussian", fields, np.ones(K), x[CHECKED])
    oracle.assert_responsibilities(result.responsibilities[CHECKED], truth, "float64")
    error = np.abs(oracle.exact(result.log_likelihood[CHECKED]) - truth.log_likelihood)
    assert (error <= truth.log_likelihood_bound("float64")).all()


@pytest.mark.parametrize("apart", [0.1, 1e4])
def test_estimates_pay_where_components_are_apart(apart):
    """They are not made where all components count."""
    x, fields = draw(apart)
    sizes = []

    def spy(ops, prepared, x, exactly):
        def counted(prepared, x):
            sizes.append(x.shape[1] * len(prepared.means))
            return exactly(prepared, x)

        return negligible.log_joint_of_shares(ops, prepared, x, counted)

    with mock.patch.object(full, "log_joint_of_shares", spy):
        ex.e_step(x, ex.Mixture(np.ones(K), ex.FullGaussian(*fields)))
    assert sum(sizes) < (1 if apart < 1 else N * K / 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e60, -1e150])
def test_rows_out_of_reach_of_single_precision(value):
    x, fields = draw(1e4)
    mixture = ex.Mixture(np.ones(K), ex.FullGaussian(*fields))
    before = ex.e_step(x, mixture).responsibilities
    x[5, 3] = value
    if not np.isfinite(value):
        with pytest.raises(ValueError, match="x"):
            ex.e_step(x, mixture)
        return
    result = ex.e_step(x, mixture)
    others = np.delete(np.arange(N), 5)
    np.testing.assert_allclose(result.responsibilities[others], before[others], rtol=1e-9)
    joint = ex.log_joint(x, mixture)[5]
    assert result.log_likelihood[5] == np.logaddexp.reduce(joint)
