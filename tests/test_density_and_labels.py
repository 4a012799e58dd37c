"""log_density and predict say what e_step says, without an array (n, k)."""

import numpy as np
import pytest

import estep_xp as ex
from tests.tool_mixtures import every_mixture, on_backend

MIXTURES = every_mixture()


@pytest.mark.parametrize("name", MIXTURES)
def test_they_agree_with_e_step_on_numpy(name):
    x = ex.sample(MIXTURES[name], 60, seed=3).x
    step = ex.e_step(x, MIXTURES[name])
    np.testing.assert_array_equal(ex.predict(x, MIXTURES[name]), step.labels)
    np.testing.assert_array_equal(ex.log_density(x, MIXTURES[name]), step.log_likelihood)


@pytest.mark.parametrize(("name", "dtype"), [("FullGaussian", "float32"), ("Poisson 2", "float64")])
def test_they_agree_with_e_step(name, dtype, backend):
    mixture = on_backend(backend, MIXTURES[name], dtype)
    x = backend.data(ex.sample(MIXTURES[name], 60, seed=3).x, dtype)
    step = backend.call(ex.e_step, x, mixture)
    density = backend.call(ex.log_density, x, mixture)
    labels = backend.call(ex.predict, x, mixture)
    backend.assert_like(density, dtype)
    backend.assert_like(labels, int)
    np.testing.assert_array_equal(backend.to_numpy(labels), backend.to_numpy(step.labels))
    np.testing.assert_allclose(
        backend.to_numpy(density),
        backend.to_numpy(step.log_likelihood),
        rtol=4 * np.finfo(dtype).eps,
    )


def test_ties_go_to_the_first_component(backend):
    components = ex.UnivariateGaussian(backend.asarray([0.0, 0.0]), backend.asarray([1.0, 1.0]))
    mixture = ex.Mixture(backend.asarray([1.0, 1.0]), components)
    labels = backend.call(ex.predict, backend.data([0.0, 5.0]), mixture)
    np.testing.assert_array_equal(backend.to_numpy(labels), [0, 0])


@pytest.mark.backends("numpy", "jax", "torch", "array_api_strict")
def test_an_impossible_row_has_no_label(backend):
    mixture = ex.Mixture(backend.asarray([0.5, 0.5]), ex.Poisson(backend.asarray([0.0, 0.0])))
    x = backend.data([0.0, 2.0])
    with pytest.warns(RuntimeWarning, match=r"1 row has zero density .* the first is row 1"):
        labels = ex.predict(x, mixture)
    np.testing.assert_array_equal(backend.to_numpy(labels), [0, -1])
    with pytest.warns(RuntimeWarning, match="row 1"):
        density = backend.to_numpy(ex.log_density(x, mixture))
    assert density[1] == -np.inf


def test_blocks_and_threads_change_no_label():
    mixture = MIXTURES["FullGaussian"]
    x = ex.sample(mixture, 5000, seed=1).x
    expected = ex.predict(x, mixture)
    np.testing.assert_array_equal(ex.predict(x, mixture, block_size=77, workers=2), expected)
    assert expected.dtype == np.int64
    assert expected.shape == (5000,)


@pytest.mark.parametrize("function", [ex.log_density, ex.predict])
def test_bad_rows_are_named(function):
    mixture = MIXTURES["UnivariateGaussian 1"]
    with pytest.raises(ValueError, match=r"x\[1\] is nan; x must be finite"):
        function([0.0, np.nan], mixture)
    with pytest.raises(ValueError, match=r"expected \(n,\)"):
        function(np.zeros((3, 2)), mixture)
    with pytest.raises(TypeError, match="did you swap"):
        function(mixture, [0.0])


@pytest.mark.parametrize("function", [ex.log_density, ex.predict])
def test_no_rows(function):
    assert function(np.zeros((0, 4)), MIXTURES["FullGaussian"]).shape == (0,)
