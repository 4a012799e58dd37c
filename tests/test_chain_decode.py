"""`decode` finds the path that is the most likely of all, and breaks ties as it says."""

import functools

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.chain import viterbi_blocks
from tests.chain_oracle import split
from tests.chain_paths import best_by_recursion, best_path
from tests.chain_rows import NEVER, draw, model

EPS = np.finfo(float).eps
LENGTHS = (4, 1, 5, 3, 2)


def decode(log_prob, initial, transitions, lengths=None):
    return ex.decode(log_prob, model(initial, transitions), lengths=lengths)


@functools.cache
def problem(zeros, dtype, matrices=()):
    """Arguments in a dtype, labels, log-joints and their bound."""
    n = sum(LENGTHS)
    arrays = [np.asarray(a, dtype) for a in draw(1, n, 3, zeros=zeros, matrices=matrices)]
    log_prob, initial, a = arrays
    each = np.broadcast_to(a, (n, 3, 3))
    best = [best_path(rows, initial, own) for rows, own in split(LENGTHS, log_prob, each)]
    bound = 16 * np.finfo(dtype).eps * (1 + np.sum(1 + abs(log_prob).max(1)))
    return arrays, np.concatenate([p for p, _ in best]), [float(j) for _, j in best], bound


@pytest.mark.one_program("zeros")  # see conftest.py
@pytest.mark.backends("numpy", "array_api_strict", "jax", "jax_jit", "torch")
@pytest.mark.parametrize(
    ("zeros", "dtype", "matrices"),
    [(0.5, "float64", ()), (0.0, "float32", ()), (0.3, "float64", (sum(LENGTHS),))],
)
def test_the_best_of_all_paths(backend, zeros, dtype, matrices):
    arrays, labels, log_joint, bound = problem(zeros, dtype, matrices)
    lengths = np.array(LENGTHS)
    got = backend.call(decode, *map(backend.asarray, arrays), lengths)
    backend.assert_like(got.labels, int)
    backend.assert_like(got.log_joint, dtype)
    np.testing.assert_array_equal(backend.to_numpy(got.labels), labels)
    np.testing.assert_allclose(backend.to_numpy(got.log_joint), log_joint, rtol=0, atol=bound)


@pytest.mark.backends("numpy", "array_api_strict", "jax")
@pytest.mark.parametrize(
    ("log_prob", "transitions", "expected"),
    [
        (np.zeros((5, 3)), np.ones((3, 3)), [0, 0, 0, 0, 0]),
        # Last state 0 rather than 1; before it, 1 and 2 lead there alike.
        ([[0, 0, 0], [-9, 0, 0], [0, 0, -9]], [[2, 1, 1], [1, 1, 1], [1, 1, 1]], [1, 1, 0]),
        ([[0.0, 0.0], [0.0, 0.0]], [[1, 3], [3, 1]], [1, 0]),
        ([[0.0, 0.0], [0.0, 0.0]], [[3, 1], [1, 3]], [0, 0]),
    ],
)
def test_ties_go_to_the_lowest_state_from_the_last_row_on(backend, log_prob, transitions, expected):
    k = len(transitions)
    arrays = (np.asarray(a, float) for a in (log_prob, np.ones(k), transitions))
    got = decode(*map(backend.asarray, arrays))
    assert best_path(log_prob, np.ones(k), transitions)[0] == expected
    np.testing.assert_array_equal(backend.to_numpy(got.labels), expected)


CHAINS = {
    "dense": lambda k: draw(0, 1, k)[2],
    "sticky": lambda k: np.eye(k) + 1e-10,
    "left to right": lambda k: np.eye(k) * 0.9 + np.eye(k, k, 1) * 0.1,
    "identity": np.eye,
    "a cycle": lambda k: np.roll(np.eye(k), 1, axis=1),
    "ties": lambda k: np.kron(np.eye(k // 2) + 0.1, np.ones((2, 2))),
}


@pytest.mark.parametrize("most_states", [32, 0], ids=["matrices", "one by one"])
@pytest.mark.parametrize("k", [2, 6])
@pytest.mark.parametrize("name", CHAINS)
def test_blocks_are_as_a_whole(monkeypatch, name, k, most_states):
    """However states merge, or never do, and wherever sequences begin."""
    for constant, value in (("_WARM_UP", 3), ("_SWEEPS", 1), ("_MOST_STATES", most_states)):
        monkeypatch.setattr(viterbi_blocks, constant, value)
    random = np.random.default_rng(5)
    lengths = [400, 1, 1, 12, 11, 24, 151]
    matrix = CHAINS[name](k)
    matrix = matrix / matrix.sum(1, keepdims=True)
    values = random.normal(size=(sum(lengths), k // 2 if name == "ties" else k))
    log_prob = np.repeat(values, k // values.shape[1], axis=1)
    labels, log_joint = decode(log_prob, np.ones(k), matrix, lengths)
    best = [best_by_recursion(rows, np.ones(k) / k, matrix) for (rows,) in split(lengths, log_prob)]
    np.testing.assert_array_equal(labels, np.concatenate([path for path, _ in best]))
    np.testing.assert_allclose(log_joint, [joint for _, joint in best], rtol=1e-13)


def test_many_steps_at_once_and_few():
    """More states than one operation takes."""
    log_prob, initial, matrix = draw(3, 700, 40)
    labels, log_joint = decode(log_prob, initial, matrix)
    path, joint = best_by_recursion(log_prob, initial, matrix)
    np.testing.assert_array_equal(labels, path)
    np.testing.assert_allclose(log_joint, joint, rtol=1e-13)


@pytest.mark.backends("numpy", "jax")
@pytest.mark.parametrize("offset", [1e4, -1e4, 1e6])
def test_common_offsets_change_no_path(backend, offset):
    log_prob, initial, matrix = draw(7, 300, 4)
    near = np.round(log_prob * 2**20) / 2**20  # so that the offset is exact
    arrays = [backend.asarray(a) for a in (near + offset, initial, matrix)]
    labels, log_joint = decode(*arrays)
    path, joint = best_by_recursion(near, initial, matrix)
    np.testing.assert_array_equal(backend.to_numpy(labels), path)
    np.testing.assert_allclose(backend.to_numpy(log_joint), joint + 300 * offset, rtol=4 * EPS)


@pytest.mark.backends("numpy", "array_api_strict", "jax")
def test_the_way_leads_through_a_density_of_e_minus_900(backend):
    log_prob = np.array([[0.0, 0.0, 0.0], [-900.0, 0.0, 0.0], [0.0, NEVER, NEVER]])
    matrix = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    got = decode(*map(backend.asarray, (log_prob, np.ones(3), matrix)))
    np.testing.assert_array_equal(backend.to_numpy(got.labels), [0, 0, 0])
    np.testing.assert_allclose(backend.to_numpy(got.log_joint), [-900 - np.log(3)], rtol=EPS)


@pytest.mark.backends("numpy", "array_api_strict", "jax", "jax_jit", "torch")
def test_an_impossible_sequence_is_alone(backend):
    log_prob = np.array([[0.0, -1.0], [0.0, 0.0], [NEVER, 0.0], [0.0, 0.0], [-1.0, 0.0]])
    arguments = [backend.asarray(a) for a in (log_prob, np.ones(2), np.eye(2))]
    lengths, initial = np.array([1, 3, 1]), backend.asarray(np.array([1.0, 0.0]))
    arguments[1] = initial
    if backend.lazy:
        got = backend.call(decode, *arguments, lengths)
    else:
        with pytest.warns(RuntimeWarning, match=r"1 sequence is impossible.*sequence 1, at row 2"):
            got = decode(*arguments, lengths)
    np.testing.assert_array_equal(backend.to_numpy(got.labels), [0, -1, -1, -1, 0])
    np.testing.assert_array_equal(backend.to_numpy(got.log_joint), [0.0, -np.inf, -1.0])


@pytest.mark.backends("jax_jit")
@pytest.mark.parametrize("place", ["log_prob", "initial", "transitions"])
def test_bad_values_show_under_jit(backend, place):
    arrays = dict(zip(("log_prob", "initial", "transitions"), draw(0, 6, 2), strict=True))
    arrays[place] = arrays[place].copy()
    arrays[place][(1,) * arrays[place].ndim] = np.nan if place == "log_prob" else -1.0
    got = backend.call(decode, *map(backend.asarray, arrays.values()), np.array([3, 3]))
    log_joint = backend.to_numpy(got.log_joint)
    assert np.isnan(log_joint[0])
    assert np.isfinite(log_joint[1]) == (place == "log_prob")
    np.testing.assert_array_equal(backend.to_numpy(got.labels)[:3], [-1, -1, -1])
    got = backend.call(decode, *map(backend.asarray, draw(0, 6, 2)), np.array([3, 2]))
    assert np.isnan(backend.to_numpy(got.log_joint)).all()


@pytest.mark.backends("jax")
def test_derivatives_and_maps(backend):
    """The log-joint's derivative counts the transitions of the path; models may be mapped."""
    import jax

    log_prob, initial, matrix = draw(2, 12, 3, zeros=0.4)
    both = np.stack([log_prob, log_prob[:, ::-1]])

    @jax.jit
    def run(log_prob, initial, matrix, both):
        by = jax.grad(lambda b, a: decode(b, initial, a).log_joint.sum(), argnums=(0, 1))
        return by(log_prob, matrix), jax.vmap(lambda b: decode(b, initial, matrix).labels)(both)

    (slopes, by_matrix), mapped = run(*map(backend.asarray, (log_prob, initial, matrix, both)))
    paths = [best_by_recursion(rows, initial, matrix)[0] for rows in both]
    np.testing.assert_array_equal(mapped, paths)
    np.testing.assert_array_equal(slopes, np.eye(3)[paths[0]])
    steps = np.zeros((3, 3))
    np.add.at(steps, (paths[0][:-1], paths[0][1:]), 1)
    with np.errstate(invalid="ignore"):  # d log A_ij of rows that are normalised
        expected = np.where(matrix > 0, steps / matrix, 0) - steps.sum(1, keepdims=True)
    np.testing.assert_allclose(
        np.where(matrix > 0, by_matrix, 0), np.where(matrix > 0, expected, 0)
    )
    assert np.isfinite(by_matrix).all()


def test_nothing_to_decode():
    labels, log_joint = decode(np.zeros((0, 2)), np.ones(2), np.ones((2, 2)))
    assert labels.shape == log_joint.shape == (0,)
    assert np.issubdtype(labels.dtype, np.integer)


def test_hmmlearn_finds_the_same_path():
    hmmlearn = pytest.importorskip("hmmlearn.hmm", reason="hmmlearn is not installed")
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 2)) + np.repeat([[0.0, 0.0], [2.0, 1.0]], 250, axis=0)
    peer = hmmlearn.GaussianHMM(2, "full")
    peer.startprob_, peer.transmat_ = np.array([0.4, 0.6]), np.array([[0.8, 0.2], [0.3, 0.7]])
    peer.means_, peer.covars_ = np.array([[0.0, 0.0], [2.0, 1.0]]), np.stack([np.eye(2)] * 2)
    joint, path = peer.decode(x, [200, 300])
    components = ex.FullGaussian.from_covariances(peer.means_, peer.covars_)
    hmm = ex.HMM(peer.startprob_, peer.transmat_, components)
    got = ex.decode(x, hmm, lengths=[200, 300])
    np.testing.assert_array_equal(got.labels, path)
    np.testing.assert_allclose(got.log_joint.sum(), joint)
