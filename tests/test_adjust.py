"""Statistics about other means, and times a factor: laws, and the recipes made of them."""

import numpy as np
import pytest

import estep_xp as ex
from tests.tool_mixtures import GAUSSIANS, every_mixture, gaussian_mixtures, on_backend

OTHERS = gaussian_mixtures(seed=9)


def _shifted(mixture):
    """Another mixture of the same family and shapes."""
    fields = (np.asarray(a) * 0.9 + (0.01 if i == 0 else 0.0) for i, a in enumerate(mixture[1]))
    return ex.Mixture(mixture.weights[::-1], type(mixture.components)(*fields))


def _assert_same(found, expected, rtol):
    for one, other in zip(found.moments, expected.moments, strict=True):
        scale = np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("name", GAUSSIANS)
def test_the_sums_are_those_about_the_other_means(name):
    x = ex.sample(GAUSSIANS[name], 200, seed=0).x
    statistics = ex.expected_statistics(x, GAUSSIANS[name])
    moved = ex.recenter(statistics, OTHERS[name])
    r = ex.e_step(x, GAUSSIANS[name]).responsibilities
    residuals = x[:, None, :] - OTHERS[name].components.means
    first = np.einsum("nk,nkd->kd", r, residuals)
    second = {
        "SphericalGaussian": lambda: np.einsum("nk,nkd,nkd->k", r, residuals, residuals),
        "DiagonalGaussian": lambda: np.einsum("nk,nkd,nkd->kd", r, residuals, residuals),
        "TiedGaussian": lambda: np.einsum("nk,nkd,nke->de", r, residuals, residuals),
        "FullGaussian": lambda: np.einsum("nk,nkd,nke->kde", r, residuals, residuals),
    }[name]()
    np.testing.assert_allclose(moved.moments.first, first, atol=1e-9)
    np.testing.assert_allclose(moved.moments.second, second, rtol=1e-11, atol=1e-9)
    np.testing.assert_array_equal(moved.mixture.weights, OTHERS[name].weights)
    assert moved.log_likelihood == statistics.log_likelihood


@pytest.mark.parametrize("name", every_mixture())
def test_there_and_back_again_and_the_m_step_stays(name):
    mixture = every_mixture()[name]
    x = np.asarray(ex.sample(mixture, 100, seed=0).x)
    statistics = ex.expected_statistics(x, mixture)
    moved = ex.recenter(statistics, _shifted(mixture))
    _assert_same(ex.recenter(moved, mixture), statistics, 1e-12)
    for one, other in zip(ex.m_step(moved)[1], ex.m_step(statistics)[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)
    ex.merge(moved, ex.expected_statistics(x[:3], _shifted(mixture)))  # of one mixture now


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_on_every_library(dtype, backend):
    mixture, other = (
        on_backend(backend, one["FullGaussian"], dtype) for one in (GAUSSIANS, OTHERS)
    )
    x = backend.data(ex.sample(GAUSSIANS["FullGaussian"], 50, seed=0).x, dtype)

    def halved(x, mixture, other):
        return ex.scale(ex.recenter(ex.expected_statistics(x, mixture), other), 0.5)

    found = backend.call(halved, x, mixture, other)
    x, mixture = backend.to_numpy(x).astype("float64"), GAUSSIANS["FullGaussian"]
    expected = halved(x, mixture, OTHERS["FullGaussian"])
    backend.assert_like(found.moments.second, dtype)
    np.testing.assert_allclose(
        backend.to_numpy(found.moments.second),
        expected.moments.second,
        rtol=1e3 * np.finfo(dtype).eps,
        atol=1e3 * np.finfo(dtype).eps * np.abs(expected.moments.second).max(),
    )


def test_scaling_is_a_sample_weight():
    mixture = GAUSSIANS["FullGaussian"]
    x = ex.sample(mixture, 50, seed=0).x
    scaled = ex.scale(ex.expected_statistics(x, mixture), 0.25)
    weighted = ex.expected_statistics(x, mixture, sample_weight=np.full(50, 0.25))
    for one, other in zip(scaled[1:4], weighted[1:4], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)
    _assert_same(scaled, weighted, 1e-12)
    nothing = ex.scale(scaled, 0)
    assert nothing.n_rows == 0
    assert not nothing.moments.second.any()


def test_stepwise_em_in_five_lines():
    """One pass over a stream in batches, each step a little further (Cappé and Moulines 2009)."""
    truth = ex.Mixture([0.4, 0.6], ex.UnivariateGaussian([0.0, 6.0], [1.0, 2.0]))
    x = ex.sample(truth, 4000, seed=0).x
    mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([1.0, 4.0], [4.0, 4.0]))
    statistics = ex.scale(ex.expected_statistics(x[:100], mixture), 1 / 100)
    for t, batch in enumerate(np.split(x, 40), start=2):
        step = t**-0.6
        new = ex.scale(ex.expected_statistics(batch, mixture), step / len(batch))
        statistics = ex.merge(ex.scale(statistics, 1 - step), new)
        mixture = ex.m_step(statistics)
        statistics = ex.recenter(statistics, mixture)
    best = ex.fit(x, truth).log_likelihood
    assert ex.log_likelihood(x, mixture) > best - 0.01 * len(x)


def test_bad_input():
    statistics = ex.expected_statistics(np.zeros((2, 4)), GAUSSIANS["FullGaussian"])
    with pytest.raises(ValueError, match=r"factor is -1\.0; factor must be non-negative"):
        ex.scale(statistics, -1)
    with pytest.raises(ValueError, match="factor is nan"):
        ex.scale(statistics, np.nan)
    with pytest.raises(TypeError, match=r"expected an estep_xp\.Statistics"):
        ex.scale(GAUSSIANS["FullGaussian"], 1.0)
    with pytest.raises(TypeError, match="statistics are of FullGaussian but mixture of Tied"):
        ex.recenter(statistics, GAUSSIANS["TiedGaussian"])
    small = ex.Mixture([1.0], ex.FullGaussian([[0.0] * 4], [np.eye(4)]))
    with pytest.raises(ValueError, match=r"weights has shape \(1,\); expected \(3,\)"):
        ex.recenter(statistics, small)
    with pytest.raises(TypeError, match=r"did you mean \.mixture"):
        ex.recenter(statistics, ex.fit([[0.0] * 4], GAUSSIANS["FullGaussian"], max_iter=0))


@pytest.mark.backends("jax")
def test_a_bad_factor_under_jit_is_nan(backend):
    import jax

    mixture = on_backend(backend, every_mixture()["UnivariateGaussian 1"], "float32")
    statistics = ex.expected_statistics(backend.data([0.0, 1.0], "float32"), mixture)
    scaled = jax.jit(lambda factor: ex.scale(statistics, factor).counts)
    for factor in (-1.0, np.inf, np.nan):
        assert np.isnan(scaled(factor)).all()
    np.testing.assert_array_equal(scaled(2.0), 2.0 * statistics.counts)
