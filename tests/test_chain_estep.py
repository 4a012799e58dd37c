"""Forward-backward against 50 digits, on every array library, and its laws."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import estep_xp as ex
from tests import chain_oracle

LENGTHS = (7, 1, 12)


def random_case(seed, n=20, k=3, scale=3.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, k)) * scale, rng.random(k), rng.random((k, k))


def left_right(seed=1, n=20, k=3):
    log_prob, _, _ = random_case(seed, n, k)
    transitions = np.eye(k) * 0.9 + np.eye(k, k=1) * 0.1
    return log_prob, np.eye(k)[0], transitions


def recalled():
    """The only way leads through a density of e^-900, and later evidence asks for it."""
    log_prob = np.full((20, 3), -3000.0)
    log_prob[:10, :2], log_prob[10:, :2] = [0.0, -90.0], [-2000.0, 0.0]
    return log_prob, np.array([0.5, 0.5, 0.0]), np.eye(3)  # log-range: 900 against 20000


def unreachable():
    """A state that nothing leads to explains every row better by far."""
    log_prob, _, _ = random_case(4, 20, 3)
    log_prob[:, 2] += 500.0
    transitions = np.array([[0.7, 0.3, 0.0], [0.4, 0.6, 0.0], [0.2, 0.2, 0.6]])
    return log_prob, np.array([0.3, 0.7, 0.0]), transitions


def varying():
    log_prob, initial, _ = random_case(5)
    return log_prob, initial, np.random.default_rng(6).random((len(log_prob), 3, 3))


def varying_with_zeros():
    log_prob, initial, transitions = varying()
    transitions[:, 0, 1] = 0.0
    transitions[3, 1, :] = [0.0, 1.0, 0.0]
    return log_prob, initial, transitions


def extreme():
    log_prob, initial, transitions = random_case(7, scale=1.0)
    return log_prob * 1e3 - 1e4, initial, transitions


def extreme_with_zeros():
    log_prob, initial, _ = extreme()
    return log_prob + 2e4, initial, np.array([[0.5, 0.5, 0.0], [0.0, 0.9, 0.1], [1.0, 0.0, 0.0]])


def sticky():
    log_prob, initial, _ = random_case(8)
    return log_prob, initial, np.eye(3) + 1e-10


def rare_start():
    """Densities allow one first state alone, in which hardly any sequence begins."""
    log_prob, _, transitions = random_case(11)
    log_prob[[0, *np.cumsum(LENGTHS)[:-1]]] = [-720.0, 0.0, 3.0]
    return log_prob, np.array([1.0, 1e-307, 0.0]), transitions


CASES = {
    "random": functools.partial(random_case, 0),
    "left-right": left_right,
    "recalled": recalled,
    "unreachable": unreachable,
    "varying": varying,
    "varying with zeros": varying_with_zeros,
    "extreme": extreme,
    "extreme with zeros": extreme_with_zeros,
    "sticky": sticky,
    "rare start": rare_start,
    "one row": functools.partial(random_case, 9, 1),
    "one state": functools.partial(random_case, 10, 20, 1),
}


def expected(case, lengths):
    """Results of all sequences together, by the oracle."""
    log_prob, initial, transitions = case
    matrices = np.broadcast_to(transitions, (len(log_prob), *transitions.shape[-2:]))
    pieces = chain_oracle.split(lengths, log_prob, matrices)
    one = [chain_oracle.smooth(b, initial, a) for b, a in pieces]
    return ex.ChainEStep(
        np.concatenate([o.responsibilities for o in one]),
        np.array([o.log_likelihood for o in one]),
        sum(o.transitions for o in one),
        sum(o.initial for o in one),
    )


def assert_exact(step, wanted, case, dtype=np.float64):
    log_prob, _, transitions = case
    eps = np.finfo(dtype).eps
    size = np.abs(log_prob).max(initial=0.0)
    positive = (transitions > 0).all()
    r, exact = step.responsibilities, wanted.responsibilities
    if positive:
        np.testing.assert_allclose(r, exact, rtol=0, atol=450 * eps)
    # The range of the evidence is at most twice the largest log-density for each row.
    relative = 16 * eps * (1 + 2 * size) * 4
    seen = exact > np.finfo(dtype).tiny * 1e8
    np.testing.assert_allclose(r[seen], exact[seen], rtol=relative, atol=0)
    tiny = 1e-300 if dtype == np.float64 else 1e-29
    np.testing.assert_allclose(r[~seen], exact[~seen], rtol=0, atol=tiny)
    np.testing.assert_allclose(r.sum(axis=1), 1.0, rtol=0, atol=(16 + r.shape[1]) * eps)
    tolerance = 16 * eps * (len(log_prob) * (1 + size))
    np.testing.assert_allclose(step.log_likelihood, wanted.log_likelihood, rtol=0, atol=tolerance)
    counts = {"rtol": relative, "atol": 450 * eps * len(log_prob)}
    np.testing.assert_allclose(step.transitions, wanted.transitions, **counts)
    np.testing.assert_allclose(step.initial, wanted.initial, **counts)


def run(backend, case, dtype, **kwargs):
    log_prob, initial, transitions = case
    step = backend.call(
        ex.chain_posterior,
        backend.data(log_prob, dtype),
        backend.asarray(initial, dtype),
        backend.asarray(transitions, dtype),
        **kwargs,
    )
    for array in step:
        backend.assert_like(array, dtype)
    return ex.ChainEStep(*map(backend.to_numpy, step))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.backends("numpy", "array_api_strict", "jax_jit", "torch", "dask")
def test_one_sequence_is_exact(backend, name):
    case = CASES[name]()
    if backend.name == "jax_jit" and len(case[0]) == 1:
        pytest.skip("a program of its own, which ragged sequences have, too")
    assert_exact(run(backend, case, "float64"), expected(case, [len(case[0])]), case)


@pytest.mark.parametrize(
    "name", ["random", "left-right", "varying", "extreme with zeros", "rare start"]
)
@pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "jax", "torch", "dask")
def test_ragged_sequences_are_exact(backend, name):
    case = CASES[name]()
    step = run(backend, case, "float64", lengths=list(LENGTHS))
    assert step.log_likelihood.shape == (len(LENGTHS),)
    assert_exact(step, expected(case, LENGTHS), case)


@pytest.mark.parametrize("name", ["random", "left-right", "extreme"])
@pytest.mark.backends("numpy", "torch", "jax_jit")
def test_single_precision(backend, name):
    case = [np.asarray(a, dtype=np.float32) for a in CASES[name]()]
    wanted = expected(case, [len(case[0])])
    assert_exact(run(backend, case, "float32"), wanted, case, np.float32)


def test_an_impossible_sequence_is_alone(backend):
    log_prob, initial, transitions = random_case(0)
    wanted = expected((log_prob, initial, transitions), LENGTHS)
    log_prob[9] = -np.inf
    case = (log_prob, initial, transitions)
    lengths = list(LENGTHS)
    if backend.lazy:
        step = run(backend, case, "float64", lengths=np.asarray(lengths))
    else:
        with pytest.warns(RuntimeWarning, match="the first is sequence 2, at row 9 of log_prob"):
            step = run(backend, case, "float64", lengths=lengths)
    assert step.log_likelihood[2] == -np.inf
    assert np.isnan(step.responsibilities[8:]).all()
    assert step.labels.tolist()[8:] == [-1] * 12
    np.testing.assert_allclose(
        step.responsibilities[:8], wanted.responsibilities[:8], rtol=0, atol=1e-13
    )
    np.testing.assert_allclose(step.log_likelihood[:2], wanted.log_likelihood[:2], rtol=1e-14)
    first, second = (expected((log_prob[a:b], *case[1:]), [b - a]) for a, b in ((0, 7), (7, 8)))
    np.testing.assert_allclose(step.transitions, first.transitions + second.transitions, atol=1e-13)
    np.testing.assert_allclose(step.initial, first.initial + second.initial, atol=1e-13)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.backends("numpy", "jax")
def test_a_long_chain_near_e_10000(backend, zeros):
    """Log space throughout is off by 1e-7 here: its messages grow to 1e7."""
    rng = np.random.default_rng(3)
    n, k = 2000, 3
    log_prob = rng.normal(size=(n, k)) * 3 - 1e4
    initial, transitions = rng.random(k), rng.random((k, k))
    if zeros:
        transitions[0, 1] = 0.0
    case = (log_prob, initial, transitions)
    step, wanted = run(backend, case, "float64"), expected(case, [n])
    np.testing.assert_allclose(step.responsibilities, wanted.responsibilities, rtol=0, atol=1e-13)
    np.testing.assert_allclose(step.log_likelihood, wanted.log_likelihood, rtol=1e-14)
    np.testing.assert_allclose(step.transitions, wanted.transitions, rtol=1e-12)


@pytest.mark.backends("numpy", "jax", "dask")
def test_a_mixture_is_a_chain_whose_rows_are_all_its_weights(backend):
    rng = np.random.default_rng(2)
    x, weights = rng.normal(size=(30, 2)) * 3, np.array([0.2, 0.5, 0.3])
    means, variances = rng.normal(size=(3, 2)), rng.random((3, 2)) + 0.5
    components = ex.DiagonalGaussian(backend.asarray(means), backend.asarray(variances))
    x, w = backend.data(x), backend.asarray(weights)
    hmm = ex.HMM(w, backend.asarray(np.tile(weights, (3, 1))), components)
    chain = backend.call(ex.e_step, x, hmm)
    mixture = backend.call(ex.e_step, x, ex.Mixture(w, components))
    np.testing.assert_allclose(
        backend.to_numpy(chain.responsibilities),
        backend.to_numpy(mixture.responsibilities),
        rtol=0,
        atol=1e-14,
    )
    total = backend.to_numpy(mixture.log_likelihood).sum()
    np.testing.assert_allclose(backend.to_numpy(chain.log_likelihood), [total], rtol=1e-14)
    for function in (ex.log_likelihood, ex.log_density):
        value = backend.to_numpy(backend.call(function, x, hmm))
        np.testing.assert_allclose(np.sum(value), total, rtol=1e-14)


@pytest.mark.backends("numpy", "jax", "torch")
def test_matrices_at_first_rows_are_not_read(backend):
    log_prob, initial, transitions = varying()
    wanted = run(backend, (log_prob, initial, transitions), "float64", lengths=list(LENGTHS))
    transitions[[0, 7, 8]] = np.nan
    step = run(backend, (log_prob, initial, transitions), "float64", lengths=list(LENGTHS))
    for one, other in zip(step, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_rows():
    step = ex.chain_posterior(np.zeros((0, 2)), [0.5, 0.5], np.eye(2))
    assert step.responsibilities.shape == (0, 2)
    assert step.log_likelihood.shape == (0,)
    assert (step.transitions == 0).all()


def test_records_say_what_they_are():
    step = ex.chain_posterior(np.zeros((5, 2)), [0.5, 0.5], np.eye(2), lengths=[2, 3])
    assert repr(step).startswith("ChainEStep(n=5, k=2, s=2, log_likelihood=")
    assert step.entropy.shape == (5,)
    assert float(step.total_log_likelihood) == pytest.approx(0.0, abs=1e-15)
