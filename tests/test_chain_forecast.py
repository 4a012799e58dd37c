"""`forecast` raises the transitions to powers."""

import numpy as np
import pytest

import estep_xp as ex
from tests.chain_rows import draw, model


@pytest.mark.backends("numpy", "array_api_strict", "jax", "jax_jit", "torch")
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 1, 3)])
def test_powers_of_the_transitions(backend, shape):
    _, initial, matrix = draw(0, 1, 3, zeros=0.3)
    now = np.random.default_rng(1).dirichlet(np.ones(3), size=shape[:-1])
    arrays = map(backend.asarray, (initial, matrix, now))
    got = backend.call(lambda pi, a, p: ex.forecast(model(pi, a), p, 4), *arrays)
    backend.assert_like(got, "float64")
    expected = [now @ np.linalg.matrix_power(matrix, i + 1) for i in range(4)]
    np.testing.assert_allclose(backend.to_numpy(got), expected, rtol=1e-14)


def test_far_ahead_it_is_the_stationary_law():
    hmm = model([1, 1], [[9, 1], [2, 8]])  # rows are normalised
    got = ex.forecast(hmm, [0.0, 1.0], 100_000)
    np.testing.assert_allclose(got[-1], [2 / 3, 1 / 3], rtol=1e-14)
    assert ex.forecast(hmm, [0.0, 1.0], 0).shape == (0, 2)


def test_what_is_not_known_is_not_known_later():
    hmm = model([1, 1], [[9, 1], [2, 8]])
    got = ex.forecast(hmm, [[np.nan, np.nan], [1.0, 0.0]], 2)
    assert np.isnan(got[:, 0]).all()
    np.testing.assert_allclose(got[:, 1], [[0.9, 0.1], [0.83, 0.17]])


BAD = [
    ((np.ones(2), np.ones((2, 2))), [1.0, 0.0, 0.0], 1, r"probabilities has shape \(3,\)"),
    ((np.ones(2), np.ones((2, 2))), [1.0, -1.0], 1, r"probabilities\[1\] is -1.0"),
    ((np.ones(2), np.ones((2, 2))), [0.0, 0.0], 1, r"probabilities sums to 0"),
    ((np.ones(2), np.ones((2, 2))), [1.0, 0.0], -1, r"steps is -1"),
    ((np.ones(2), np.ones((3, 2, 2))), [1.0, 0.0], 1, r"a matrix for each row of x"),
]


@pytest.mark.parametrize(("chain", "probabilities", "steps", "words"), BAD)
def test_bad_input(chain, probabilities, steps, words):
    with pytest.raises(ValueError, match=words):
        ex.forecast(model(*chain), probabilities, steps)


def test_a_mixture_has_no_forecast():
    mixture = ex.Mixture([1.0], ex.UnivariateGaussian([0.0], [1.0]))
    with pytest.raises(TypeError, match=r"hmm is a Mixture; expected an estep_xp\.HMM"):
        ex.forecast(mixture, [1.0], 1)
