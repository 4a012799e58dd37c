"""The curves of a univariate mixture that a picture shows."""

from __future__ import annotations

import math

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.cli.compute.curves import density_curves


@pytest.mark.parametrize("k", [2, 500])
def test_curves_show_every_component_and_observation(k):
    means = np.linspace(-1e6, 1e6, k)
    mixture = ex.Mixture(np.arange(k) + 1.0, ex.UnivariateGaussian(means, np.full(k, 1e-4)))
    curves = density_curves(mixture, np.array([-3e6, 5.0]))
    assert (np.diff(curves.x) > 0).all()
    assert curves.x[0] == -3e6
    assert np.isin(means, curves.x).all()
    peaks = (np.arange(k) + 1) / (k * (k + 1) / 2) / math.sqrt(2 * math.pi * 1e-4)
    np.testing.assert_allclose(curves.weighted.max(axis=1), peaks, rtol=1e-12)
    np.testing.assert_allclose(curves.total, curves.weighted.sum(axis=0), rtol=1e-12)
    shares = curves.responsibilities[np.searchsorted(curves.x, means)]
    np.testing.assert_allclose(shares, np.eye(k), atol=1e-12)


def test_curves_of_the_widest_mixture():
    means = np.array([-1.7e308, 1.7e308])
    mixture = ex.Mixture([1.0, 0.0], ex.UnivariateGaussian(means, np.ones(2)))
    curves = density_curves(mixture, np.zeros(1))
    assert np.isfinite(curves.x).all()
    assert np.isfinite(curves.weighted).all()
    assert not curves.weighted[1].any()
