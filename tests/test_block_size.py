"""The memory of a NumPy block: bounded by numbers, not by rows."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import estep_xp as ex


def peak_of(function, *arguments):
    """Return the largest memory in bytes that a call held beyond its arguments."""
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("k", [10, 10_000, 50_000])
def test_many_components(k):
    rng = np.random.default_rng(0)
    components = ex.UnivariateGaussian(rng.normal(size=k), np.ones(k))
    mixture = ex.Mixture(np.ones(k), components)
    x = rng.normal(size=600)
    # Blocks of two threads, and a few temporaries of 3 MB each; parameters beside them.
    assert peak_of(ex.log_likelihood, x, mixture) < 40e6 + 200 * k


def test_many_features():
    d = 20_000
    x = np.random.default_rng(0).normal(size=(600, d))
    mixture = ex.Mixture([1.0], ex.SphericalGaussian(np.zeros((1, d)), [1.0]))
    assert peak_of(ex.log_likelihood, x, mixture) < 40e6
