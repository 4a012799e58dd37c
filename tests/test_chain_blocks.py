"""Blocks side by side, NumPy's way, give what one row after the other gives."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.execution.numpy import chains
from tests.test_block_size import peak_of

N = 3000


def ragged(seed, n):
    """Lengths from 1 to several blocks that sum to n."""
    rng = np.random.default_rng(seed)
    lengths = []
    while sum(lengths) < n:
        lengths.append(int(min(rng.choice([1, 2, 40, 700]), n - sum(lengths))))
    return lengths


def case(name, n=N, k=3):
    rng = np.random.default_rng(1)
    log_prob, initial, transitions = rng.normal(size=(n, k)) * 3, rng.random(k), rng.random((k, k))
    if name == "sticky":  # blocks do not forget: guesses fail
        log_prob, transitions = log_prob * 1e-4, np.eye(k) + 1e-12
    elif name == "left-right":
        log_prob, initial = log_prob / 3, np.eye(k)[0]
        transitions = np.eye(k) * 0.999 + np.eye(k, k=1) * 0.001
    elif name == "identity":
        transitions = np.eye(k)
    elif name == "periodic":
        transitions = np.roll(np.eye(k), 1, axis=1)
    elif name == "varying":
        transitions = rng.random((n, k, k))
    elif name == "varying with zeros":
        transitions = rng.random((n, k, k)) * (rng.random((n, k, k)) > 0.2) + np.eye(k) * 0.1
    return log_prob, initial, transitions


CASES = ["random", "sticky", "left-right", "identity", "periodic", "varying", "varying with zeros"]


@pytest.mark.parametrize("lengths", [None, ragged(2, N)], ids=["one", "ragged"])
@pytest.mark.parametrize("name", CASES)
def test_blocks_are_the_whole(name, lengths):
    arguments = case(name)
    step = ex.chain_posterior(*arguments, lengths=lengths)
    with mock.patch.object(chains, "_FEW_ROWS", N):
        whole = ex.chain_posterior(*arguments, lengths=lengths)
    seen = whole.responsibilities > 1e-250
    np.testing.assert_allclose(
        step.responsibilities[seen], whole.responsibilities[seen], rtol=1e-9, atol=0
    )
    np.testing.assert_allclose(step.responsibilities, whole.responsibilities, rtol=0, atol=1e-12)
    np.testing.assert_allclose(step.log_likelihood, whole.log_likelihood, rtol=1e-13, atol=1e-12)
    np.testing.assert_allclose(step.transitions, whole.transitions, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(step.initial, whole.initial, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["sticky", "left-right", "identity"])
def test_matrices_find_the_starts_that_guesses_do_not(name):
    """These chains remember: the guesses are wrong, and that is noticed."""
    with mock.patch.object(chains._Run, "find_starts", autospec=True) as find_starts:
        find_starts.side_effect = RuntimeError("asked for matrices")
        with pytest.raises(RuntimeError, match="asked for matrices"):
            ex.chain_posterior(*case(name))
        ex.chain_posterior(*case("random"))


@pytest.mark.parametrize("lengths", [None, ragged(2, N)], ids=["one", "ragged"])
@pytest.mark.parametrize("name", ["sticky", "left-right", "varying with zeros"])
def test_blocks_one_after_the_other_are_the_whole(name, lengths):
    with mock.patch.object(chains, "_MOST_COLUMNS", 0):
        test_blocks_are_the_whole(name, lengths)


def test_many_states_take_no_cubes():
    """One array (k, k, k) has 27 MB, and k messages from each block take k times as long.

    Blocks must not be sent through matrices.
    """
    k, n = 150, 300
    log_prob, initial, transitions = case("left-right", n, k)
    with mock.patch.object(chains._Run, "find_starts", side_effect=RuntimeError("matrices")):
        assert peak_of(ex.chain_posterior, log_prob, initial, transitions) < 24e6


@pytest.mark.parametrize("name", ["random", "left-right"])
def test_an_impossible_sequence_spoils_no_block_beside_it(name):
    log_prob, initial, transitions = case(name)
    lengths = [700, 1000, 1300]
    wanted = ex.chain_posterior(log_prob, initial, transitions, lengths=lengths)
    log_prob[1111] = -np.inf
    with pytest.warns(RuntimeWarning, match="the first is sequence 1, at row 1111 of log_prob"):
        step = ex.chain_posterior(log_prob, initial, transitions, lengths=lengths)
    r = step.responsibilities
    assert np.isnan(r[700:1700]).all()
    np.testing.assert_allclose(r[:700], wanted.responsibilities[:700], rtol=0, atol=1e-13)
    np.testing.assert_allclose(r[1700:], wanted.responsibilities[1700:], rtol=0, atol=1e-13)


@pytest.mark.parametrize("n", [0, 1, 256, 257, 511, 512, 513, 1024])
def test_numbers_of_rows_about_those_of_blocks(n):
    log_prob, initial, transitions = case("random", n=n)
    step = ex.chain_posterior(log_prob, initial, transitions)
    assert step.responsibilities.shape == (n, 3)
    if n:
        np.testing.assert_allclose(step.transitions.sum(), n - 1, rtol=1e-12, atol=1e-12)
        backward = ex.chain_posterior(log_prob[:, ::-1], initial[::-1], transitions[::-1, ::-1])
        np.testing.assert_allclose(
            step.responsibilities, backward.responsibilities[:, ::-1], rtol=0, atol=1e-13
        )


def test_sums_of_sequences_lose_no_digits():
    rng = np.random.default_rng(0)
    log_prob = np.full((200_000, 1), -1e4) + rng.normal(size=(200_000, 1))
    lengths = [100_000, 99_999, 1]
    step = ex.chain_posterior(log_prob, [1.0], [[1.0]], lengths=lengths)
    exact = [
        float(part.astype(np.longdouble).sum()) for part in np.split(log_prob, [100_000, 199_999])
    ]
    np.testing.assert_allclose(step.log_likelihood, exact, rtol=4e-16)


@pytest.mark.parametrize("n", [257, 1000])
def test_a_guess_is_not_right_where_the_truth_is_that_a_state_is_impossible(n):
    """All rows are in state 0 for good; no block begins in state 1."""
    for seed in range(5):
        log_prob = 30.0 * np.random.default_rng(seed).normal(size=(n, 2))
        step = ex.chain_posterior(log_prob, [1.0, 0.0], [[1.0, 0.0], [0.5, 0.5]])
        np.testing.assert_allclose(step.log_likelihood, [log_prob[:, 0].sum()], rtol=1e-11)
        np.testing.assert_array_equal(step.responsibilities[:, 0], 1.0)
        x = np.arange(float(n))
        hmm = ex.HMM([1.0, 0.0], [[1.0, 0.0], [0.5, 0.5]], Known(log_prob))
        norms = ex.filtered(x, hmm).log_likelihood
        np.testing.assert_allclose(norms, log_prob[:, 0], rtol=1e-11, atol=1e-9)
        np.testing.assert_array_equal(ex.decode(x, hmm).labels, 0)


class Known:
    """Components whose log-densities of rows are known."""

    def __init__(self, log_prob):
        self.values = log_prob

    def log_prob(self, x):
        return self.values[x.astype(int)]
