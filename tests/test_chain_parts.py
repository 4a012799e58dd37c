"""Many rows of sequences on NumPy, in parts: the sums of all at once, in memory that is bounded."""

from __future__ import annotations

import contextlib
from unittest import mock

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.chain import parts
from estep_xp.execution.numpy import driver
from tests.test_block_size import peak_of

N, K = 1500, 3
LENGTHS = [1, 499, 500, 3, 1, 496]
WEIGHTS = np.array([1.0, 2.0, 0.0, 0.5, 1.0, 3.0])
LEFT_RIGHT = np.array([[0.99, 0.01, 0.0], [0.0, 0.99, 0.01], [0.0, 0.0, 1.0]])


@contextlib.contextmanager
def in_parts():
    """Treat few rows at a time."""
    few = mock.patch.multiple(driver, _PART_ELEMENTS=K * 400, _LEAST_ROWS=1)
    with few, mock.patch.object(parts, "_WARM_UP", 60):
        yield


def case(name, dtype="float64"):
    rng = np.random.default_rng(0)
    x, initial, transitions = rng.normal(size=N), np.ones(K), rng.random((K, K))
    if name == "left-right":
        initial, transitions = np.array([1.0, 0.0, 0.0]), LEFT_RIGHT
        x = np.arange(N) / 500 + 0.3 * x
    elif name == "sticky":  # no guess from a few rows is right
        x, transitions = 1e-3 * x, np.eye(K) + 1e-9
    elif name == "identity":
        transitions = np.eye(K)
    elif name == "varying":
        transitions = rng.random((N, K, K))
    means = np.arange(K) * (1e-3 if name == "sticky" else 1.0)
    arrays = (initial, transitions, means, np.full(K, 0.5), x)
    initial, transitions, means, variances, x = (a.astype(dtype) for a in arrays)
    return x, ex.HMM(initial, transitions, ex.UnivariateGaussian(means, variances))


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["one", "ragged"])
@pytest.mark.parametrize(
    "name", ["random", "random float32", "left-right", "sticky", "identity", "varying"]
)
def test_parts_add_up_to_the_whole(name, lengths):
    name, *dtype = name.split()
    dtype = dtype[0] if dtype else "float64"
    x, hmm = case(name, dtype)
    weights = None if lengths is None else WEIGHTS.astype(dtype)
    if lengths is not None:
        x[500:1000] = np.nan  # of weight 0
    kwargs = {"lengths": lengths, "sample_weight": weights}
    whole = ex.expected_statistics(x, hmm, **kwargs)
    with in_parts():
        sums = ex.expected_statistics(x, hmm, **kwargs)
        total = ex.log_likelihood(x, hmm, **kwargs)
    eps = float(np.finfo(dtype).eps)
    for one, other in (
        *((getattr(sums, f), getattr(whole, f)) for f in ("log_likelihood", "n_rows", "counts")),
        (sums.initial, whole.initial),
        (sums.transitions, whole.transitions),
        *zip(sums.moments, whole.moments, strict=True),
        (total, whole.log_likelihood),
    ):
        np.testing.assert_allclose(one, other, rtol=300 * eps, atol=300 * eps * N)
        assert one.dtype == other.dtype


def test_log_densities_of_sequences_in_parts():
    x, hmm = case("random")
    whole = ex.log_density(x, hmm, lengths=LENGTHS)
    with in_parts():
        np.testing.assert_allclose(ex.log_density(x, hmm, lengths=LENGTHS), whole, rtol=1e-14)


@pytest.mark.parametrize(("name", "turns"), [("random", 1), ("sticky", 2)])
def test_a_second_turn_only_where_guesses_fail(name, turns):
    x, hmm = case(name)
    own = parts.Parts._add_up_backward
    with in_parts(), mock.patch.object(parts.Parts, "_add_up_backward", autospec=True) as backward:
        backward.side_effect = own
        ex.expected_statistics(x, hmm)
    assert backward.call_count == turns - 1


def test_bad_rows_are_named_by_their_numbers_among_all():
    x, hmm = case("left-right")
    x[1234] = np.inf
    with in_parts(), pytest.raises(ValueError, match=r"x\[1234\] is inf"):
        ex.expected_statistics(x, hmm)
    x[300] = np.nan  # rows after a part are looked at early, for a guess
    x[390] = np.inf
    with in_parts(), pytest.raises(ValueError, match=r"x\[300\] is nan"):
        ex.expected_statistics(x, hmm)
    x[[300, 390]] = 0.0
    x[1234] = 0.0
    impossible = hmm._replace(components=ex.Poisson([1.0, 2.0, 0.0]), transitions=np.eye(3))
    counts = np.zeros(N)
    counts[[750, 1250]] = 3.0
    impossible = impossible._replace(initial=np.array([0.0, 0.0, 1.0]))
    lengths = [500, 500, 500]
    with in_parts(), pytest.raises(ValueError, match="the first is sequence 1, at row 750 of x"):
        ex.expected_statistics(counts, impossible, lengths=lengths)
    with in_parts(), pytest.warns(RuntimeWarning, match="2 sequences are impossible"):
        values = ex.log_density(counts, impossible, lengths=lengths)
    np.testing.assert_array_equal(values, [0.0, -np.inf, -np.inf])


def test_memory_does_not_grow_with_rows():
    components = ex.UnivariateGaussian(np.arange(4.0), np.ones(4))
    hmm = ex.HMM(np.ones(4), np.ones((4, 4)) + 4 * np.eye(4), components)
    x = np.random.default_rng(0).normal(size=600_000)
    for function in (ex.expected_statistics, ex.log_likelihood):
        few, many = (peak_of(function, x[:n], hmm) for n in (200_000, 600_000))
        assert many < min(few + 1e6, 40e6)
