"""Bad chains and lengths: messages that name argument, index and value; NaN under jit."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex

COMPONENTS = ex.UnivariateGaussian([0.0, 3.0], [1.0, 1.0])
X = np.arange(4.0)
A = [[0.9, 0.1], [0.2, 0.8]]


def changed(index, value):
    array = np.array(A)
    array[index] = value
    return array


def hmm(initial=(0.5, 0.5), transitions=A, components=COMPONENTS):
    return ex.HMM(np.asarray(initial, dtype=float), np.asarray(transitions), components)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            hmm(initial=[-0.5, 1.0]),
            r"initial\[0\] is -0.5; initial must be non-negative and finite",
        ),
        (hmm(initial=[0.0, 0.0]), "initial sums to 0"),
        (hmm(initial=[[0.5, 0.5]]), r"initial has shape \(1, 2\); expected \(k,\)"),
        (hmm(initial=[]), "initial is empty"),
        (hmm(initial=[0.5, np.nan]), r"initial\[1\] is nan"),
        (hmm(transitions=changed((1, 0), -1.0)), r"transitions\[1, 0\] is -1.0"),
        (hmm(transitions=changed((0, 1), np.inf)), r"transitions\[0, 1\] is inf"),
        (hmm(transitions=changed((1, 1), np.nan)), r"transitions\[1, 1\] is nan"),
        (hmm(transitions=A[0]), r"transitions has shape \(2,\); expected \(2, 2\)"),
        (hmm(transitions=changed(1, 0.0)), r"transitions\[1\] sums to 0"),
        (hmm(transitions=np.ones((2, 3))), r"transitions has shape \(2, 3\); expected \(2, 2\)"),
        (hmm(transitions=np.ones((3, 2, 2))), r"transitions has shape \(3, 2, 2\); expected \(4,"),
        (hmm(initial=[1.0], transitions=[[1.0]]), "means describe 2 components"),
    ],
)
def test_a_bad_chain_is_named(model, message):
    for function in (ex.e_step, ex.log_likelihood, ex.filtered, ex.decode, ex.fit):
        with pytest.raises(ValueError, match=message):
            function(X, model)


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([2, 1], ValueError, "lengths sum to 3 but x has 4 rows"),
        ([4, 0], ValueError, r"lengths\[1\] is 0; lengths must be at least 1"),
        ([5, -1], ValueError, r"lengths\[1\] is -1"),
        ([2**63 - 1, 10], ValueError, r"lengths\[0\] is 9223372036854775807; .* rows of x, 4"),
        (
            np.asarray([2**64 - 1, 5], np.uint64),
            ValueError,
            r"lengths\[0\] is 18446744073709551615",
        ),
        ([2.0, 2.0], TypeError, "lengths has dtype float64; lengths must be integers"),
        ([2, 1.5, 0.5], TypeError, r"and lengths\[1\] is 1.5; lengths must be integers"),
        ([2, None], TypeError, r"and lengths\[1\] is None; lengths must be integers"),
        (np.array([4.0, np.nan]), TypeError, r"and lengths\[1\] is .*nan"),
        ([[2, 2]], ValueError, r"lengths has shape \(1, 2\); expected \(s,\)"),
        (4, ValueError, r"lengths has shape \(\); expected \(s,\)"),
        (["a"], TypeError, "lengths has dtype .*; lengths must be integers"),
    ],
)
def test_bad_lengths_are_named(lengths, error, message):
    with pytest.raises(error, match=message):
        ex.e_step(X, hmm(), lengths=lengths)


def test_other_bad_arguments_are_named():
    for function in (ex.e_step, ex.log_likelihood, ex.log_density):
        with pytest.raises(TypeError, match="lengths are given with a Mixture"):
            function(X, ex.Mixture([0.5, 0.5], COMPONENTS), lengths=[4])
    with pytest.raises(ValueError, match=r"sample_weight has shape \(4,\); expected \(2,\)"):
        ex.log_likelihood(X, hmm(), lengths=[2, 2], sample_weight=np.ones(4))
    with pytest.raises(ValueError, match=r"log_prob\[1, 0\] is nan; log_prob must not be NaN"):
        ex.chain_posterior([[0.0, 0.0], [np.nan, 0.0]], [0.5, 0.5], A)
    with pytest.raises(ValueError, match=r"x\[2\] is nan; x must be finite"):
        ex.e_step([0.0, 1.0, np.nan], hmm())
    with pytest.raises(ValueError, match=r"log_prob has shape \(2, 3\); expected \(n, 2\)"):
        ex.chain_posterior(np.zeros((2, 3)), [0.5, 0.5], A)


@pytest.mark.parametrize("integers", [np.int8, np.uint16, np.int64])
def test_lengths_are_integers_of_any_kind(integers):
    step = ex.e_step(X, hmm(), lengths=np.array([1, 3], dtype=integers))
    assert step.log_likelihood.shape == (2,)


@pytest.mark.backends("jax_jit")
def test_bad_values_are_nan_under_jit(backend):
    def bad(x, initial, transitions, lengths):
        step = backend.call(ex.chain_posterior, x, initial, transitions, lengths=lengths)
        return all(np.isnan(backend.to_numpy(field)).all() for field in step)

    good = [backend.asarray(a) for a in (np.zeros((4, 2)), [0.5, 0.5], A)]
    lengths = np.array([1, 3])
    assert not bad(*good, lengths)
    for wrong in ([2, 1], [4, 0], [5, -1], [2, 3]):
        assert bad(*good, np.array(wrong))
    for wrong in ([-0.5, 1.0], [0.0, 0.0], [np.inf, 1.0]):
        assert bad(good[0], backend.asarray(wrong), good[2], lengths)
    for wrong in (-1.0, np.nan, np.inf):
        step = backend.call(
            ex.chain_posterior, *good[:2], backend.asarray(changed((1, 0), wrong)), lengths=lengths
        )
        assert np.isnan(backend.to_numpy(step.responsibilities)[1:]).all()
