"""Prior counts of mixtures: imagined rows that keep probabilities of values off 0 and 1."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex

WEIGHTS = np.asarray([0.25, 0.75])


@pytest.mark.backends("numpy", "jax", "jax_jit", "array_api_strict", "dask", "torch")
def test_bernoulli(backend):
    """Each feature was 1 once more, and 0 once more, in each component."""
    x = np.asarray([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    components = ex.Bernoulli(backend.asarray([[0.5, 0.5], [0.5, 0.5]]))
    mixture = ex.Mixture(backend.asarray(WEIGHTS), components)

    def step(x, mixture):
        statistics = ex.expected_statistics(x, mixture)
        return ex.m_step(statistics, prior_counts=2.0)

    new = backend.call(step, backend.data(x), mixture)
    counts = 3 * WEIGHTS[:, None]
    ones = np.asarray([3.0, 1.0]) * WEIGHTS[:, None]
    found = backend.to_numpy(new.components.probabilities)
    np.testing.assert_allclose(found, (ones + 2) / (counts + 4), rtol=1e-14)
    np.testing.assert_allclose(backend.to_numpy(new.weights), WEIGHTS, rtol=1e-14)


def test_categorical():
    mixture = ex.Mixture(WEIGHTS, ex.Categorical(np.ones((2, 3))))
    new = ex.m_step(ex.expected_statistics([0, 0, 1], mixture), prior_counts=0.5)
    kinds = np.asarray([2.0, 1.0, 0.0]) * WEIGHTS[:, None] + 0.5
    expected = kinds / kinds.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(new.components.probabilities, expected, rtol=1e-14)


def test_parts_of_a_product():
    """Those that have probabilities take them, the others are as without."""
    x = np.asarray([[1.0, 0.3], [1.0, -0.5], [1.0, 0.9]])
    normal = ex.UnivariateGaussian([0.0, 1.0], [1.0, 1.0])
    product = ex.Product((ex.Bernoulli([[0.5], [0.5]]), normal))
    statistics = ex.expected_statistics(x, ex.Mixture(WEIGHTS, product))
    plain, new = ex.m_step(statistics), ex.m_step(statistics, prior_counts=1.0)
    counts = statistics.counts
    probabilities = new.components.parts[0].probabilities[:, 0]
    np.testing.assert_allclose(probabilities, (counts + 1) / (counts + 2), rtol=1e-14)
    for one, other in zip(plain.components.parts[1], new.components.parts[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_fit_ends_off_the_bounds():
    x = np.ones((20, 3))
    start = ex.Mixture(WEIGHTS, ex.Bernoulli([[0.4, 0.5, 0.6], [0.6, 0.5, 0.4]]))
    certain = ex.fit(x, start, max_iter=5).mixture.components.probabilities
    assert np.all(certain == 1.0)
    probabilities = ex.fit(x, start, prior_counts=1.0).mixture.components.probabilities
    assert np.all((probabilities > 0.0) & (probabilities < 0.96))


def test_components_without_probabilities_refuse_them():
    mixture = ex.Mixture(WEIGHTS, ex.Poisson([1.0, 2.0]))
    statistics = ex.expected_statistics([1, 2, 3], mixture)
    with pytest.raises(TypeError, match="Bernoulli and Categorical, not Poisson; leave them out"):
        ex.m_step(statistics, prior_counts=1.0)
    assert ex.m_step(statistics, prior_counts=0).weights.shape == (2,)
