"""`filtered` is exact, knows nothing of later rows, and goes on where it stopped."""

import functools

import numpy as np
import pytest
from mpmath import mp

import estep_xp as ex
from tests.chain_oracle import chain, forward, split
from tests.chain_rows import NEVER, draw, model

LENGTHS = (4, 1, 9, 26)
N = sum(LENGTHS)


def filtered(log_prob, initial, transitions, lengths=None, start=None):
    return ex.filtered(log_prob, model(initial, transitions), lengths=lengths, start=start)


@functools.cache
def reference(zeros, dtype, matrices=()):
    """Arguments in a dtype, and filtered and predicted probabilities and norms to 50 digits."""
    arrays = [np.asarray(a, dtype) for a in draw(4, N, 3, zeros=zeros, matrices=matrices)]
    log_prob, initial, a = arrays
    each = np.broadcast_to(a, (N, 3, 3))
    rows = [
        row
        for densities, own in split(LENGTHS, log_prob, each)
        for row in by_hand(chain(densities, initial, own))
    ]
    return arrays, *(np.array(part) for part in zip(*rows, strict=True))


def by_hand(one):
    """Rows of filtered and predicted probabilities, and of norms, rounded once."""
    with mp.workdps(50):
        before, now = mp.mpf(1), []
        entering = list(one.initial)
        for t, message in enumerate(forward(one)):
            if t:
                entering = [
                    mp.fsum(now[i] * one.matrices[t][i][j] for i in range(one.k))
                    for j in range(one.k)
                ]
            total = mp.fsum(message)
            now = [value / total for value in message]
            yield [*map(float, now)], [*map(float, entering)], float(mp.log(total / before))
            before = total


@pytest.mark.one_program("zeros", "dtype")  # see conftest.py
@pytest.mark.backends("numpy", "array_api_strict", "jax", "jax_jit", "torch", "dask")
@pytest.mark.parametrize(
    ("zeros", "dtype", "matrices"),
    [(0.0, "float64", ()), (0.5, "float64", ()), (0.0, "float32", ()), (0.3, "float64", (N,))],
)
def test_exact_with_zeros_and_without(backend, zeros, dtype, matrices):
    (log_prob, initial, a), responsibilities, predicted, norms = reference(zeros, dtype, matrices)
    arguments = (backend.data(log_prob), *map(backend.asarray, (initial, a)), np.array(LENGTHS))
    got = backend.call(filtered, *arguments)
    eps = np.finfo(dtype).eps
    for one, expected in zip(
        (got.responsibilities, got.predicted), (responsibilities, predicted), strict=True
    ):
        backend.assert_like(one, dtype)
        one = backend.to_numpy(one)
        np.testing.assert_allclose(one, expected, rtol=16 * 40 * eps, atol=0)
        np.testing.assert_allclose(one, expected, rtol=0, atol=32 * eps)
    backend.assert_like(got.log_likelihood, dtype)
    bound = 16 * eps * (1 + abs(log_prob).max())
    np.testing.assert_allclose(backend.to_numpy(got.log_likelihood), norms, rtol=0, atol=bound)
    ends = np.cumsum(LENGTHS) - 1
    last = backend.to_numpy(got.responsibilities)[ends]
    np.testing.assert_array_equal(backend.to_numpy(got.last), last)


CHAINS = {
    "dense": lambda: draw(0, 1, 3)[2],
    "sticky": lambda: np.eye(3) + 1e-12,
    "left to right": lambda: np.eye(3) * 0.99 + np.eye(3, 3, 1) * 0.01,
    "identity": lambda: np.eye(3),
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("family", ["given", "full"])
def test_no_bit_depends_on_later_rows(name, family):
    """Nor on how many there are: blocks are cut from the first row on."""
    random = np.random.default_rng(0)
    x, transitions = random.normal(size=(1500, 3)), CHAINS[name]()
    components = ex.FullGaussian.from_covariances(np.eye(3), np.stack([np.eye(3)] * 3))
    hmm = ex.HMM(np.ones(3), transitions, components)
    hmm = hmm if family == "full" else model(np.ones(3), transitions)
    whole = ex.filtered(x, hmm)
    np.testing.assert_allclose(whole.log_likelihood.sum(), ex.log_likelihood(x, hmm), rtol=1e-13)
    for t in (300, 700, 1290):
        changed = x.copy()
        changed[t:] *= 1e3
        for other in (ex.filtered(changed, hmm), ex.filtered(x[:t], hmm)):
            if family == "full" and len(other.predicted) == t:
                continue  # densities are a product of matrices, which may round by their sizes
            for one, same in zip(other[:3], whole[:3], strict=True):
                np.testing.assert_array_equal(one[:t], same[:t])


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("k", [3, 20])
def test_blocks_are_as_a_whole(name, k):
    log_prob, initial, matrix = draw(6, 1700, k)
    if k == 3:
        matrix = CHAINS[name]()
    elif name == "left to right":
        matrix = np.eye(k) * 0.99 + np.eye(k, k, 1) * 0.01
    lengths = np.array([900, 1, 1, 300, 498])
    got = filtered(log_prob, initial, matrix, lengths)
    for now, rows in zip(
        split(lengths, got.responsibilities, got.log_likelihood),
        split(lengths, log_prob),
        strict=True,
    ):
        p, a = initial / initial.sum(), matrix / matrix.sum(1, keepdims=True)
        for t, row in enumerate(rows[0]):
            joint = (p @ a if t else p).astype(np.longdouble) * np.exp(row)
            p = joint / joint.sum()
            np.testing.assert_allclose(now[0][t], p, rtol=1e-11, atol=1e-290)
            np.testing.assert_allclose(now[1][t], float(np.log(joint.sum())), atol=1e-12)


@pytest.mark.one_program("zeros", "matrices")  # see conftest.py
@pytest.mark.backends("numpy", "array_api_strict", "jax")
@pytest.mark.parametrize(("zeros", "matrices"), [(0.0, ()), (0.5, ()), (0.5, (N,))])
def test_batches_go_on_where_the_last_one_stopped(backend, zeros, matrices):
    log_prob, initial, a = draw(4, N, 3, zeros=zeros, matrices=matrices)
    arrays = [backend.asarray(one) for one in (log_prob, initial, a)]
    whole = filtered(*arrays)
    parts, start = [], None
    for piece in (slice(0, 1), slice(1, 15), slice(15, N)):
        own = arrays[2][piece, ...] if matrices else arrays[2]
        now = filtered(arrays[0][piece, ...], arrays[1], own, start=start)
        parts.append(now)
        start = now.last
    for i, all_rows in enumerate(whole[:3]):
        joined = np.concatenate([backend.to_numpy(part[i]) for part in parts])
        np.testing.assert_allclose(joined, backend.to_numpy(all_rows), rtol=1e-12)
    np.testing.assert_allclose(backend.to_numpy(start), backend.to_numpy(whole.last), rtol=1e-12)


@pytest.mark.backends("numpy", "array_api_strict", "jax")
def test_a_state_is_recalled_through_a_density_of_e_minus_900(backend):
    log_prob = np.array([[0.0, 0.0], [-900.0, 0.0], [0.0, -900.0], [0.0, -900.0]])
    arrays = map(backend.asarray, (log_prob, np.ones(2), np.eye(2)))
    got = backend.to_numpy(filtered(*arrays).responsibilities)
    np.testing.assert_allclose(got[2:], [[0.5, 0.5], [1.0, 0.0]], rtol=1e-12)


@pytest.mark.backends("numpy", "array_api_strict", "jax", "jax_jit")
@pytest.mark.parametrize("leaves", [0.0, 0.3])
def test_exact_up_to_an_impossible_row(backend, leaves):
    log_prob = np.array([[0.0, -1.0], [0.0, -2.0], [NEVER, NEVER], [0.0, 0.0], [-1.0, 0.0]])
    transitions = np.array([[1 - leaves, leaves], [leaves, 1 - leaves]])
    arguments = [*map(backend.asarray, (log_prob, np.ones(2), transitions)), np.array([4, 1])]
    if backend.lazy:
        got = backend.call(filtered, *arguments)
    else:
        with pytest.warns(RuntimeWarning, match="1 sequence is impossible.*sequence 0, at row 2"):
            got = filtered(*arguments)
    good = filtered(log_prob[[0, 1, 4]], np.ones(2), transitions, [2, 1])
    responsibilities, predicted, norms, last = (backend.to_numpy(one) for one in got)
    np.testing.assert_allclose(responsibilities[[0, 1, 4]], good.responsibilities, rtol=1e-14)
    assert np.isnan(responsibilities[2:4]).all()
    np.testing.assert_allclose(predicted[2], good.responsibilities[1] @ transitions, rtol=1e-14)
    assert np.isnan(predicted[3]).all()
    np.testing.assert_allclose(norms[[0, 1, 4]], good.log_likelihood, rtol=1e-14)
    np.testing.assert_array_equal(norms[2:4], [-np.inf, -np.inf])
    assert np.isnan(last[0]).all()
    assert np.isfinite(last[1]).all()


BAD_STARTS = [
    ([[0.5, 0.5], [0.5, 0.5]], ValueError, r"start has shape \(2, 2\); expected \(1, 2\)"),
    ([[0.5, -0.5]], ValueError, r"start\[0, 1\] is -0.5; start must be non-negative"),
    ([[0.5, np.nan]], ValueError, r"start\[0, 1\] is nan"),
    ([[0.0, 0.0]], ValueError, r"start\[0\] sums to 0"),
    (0.5, ValueError, r"start has shape \(\)"),
    ("last", TypeError, r"start"),
]


@pytest.mark.parametrize(("start", "error", "words"), BAD_STARTS)
def test_bad_starts(start, error, words):
    with pytest.raises(error, match=words):
        filtered(np.zeros((3, 2)), np.ones(2), np.ones((2, 2)), start=start)


def test_no_rows():
    got = filtered(np.zeros((0, 2)), np.ones(2), np.ones((2, 2)))
    assert got.responsibilities.shape == got.predicted.shape == (0, 2)
    assert got.last.shape == (0, 2)


@pytest.mark.backends("numpy", "jax_jit")
def test_no_new_rows_leave_what_is_known(backend):
    arrays = [backend.asarray(a) for a in (np.zeros((0, 2)), np.ones(2), np.ones((2, 2)))]
    start = backend.asarray([[1.0, 3.0], [np.nan, np.nan]])
    got = backend.call(lambda *a: filtered(*a[:3], start=a[3]), *arrays, start)
    np.testing.assert_array_equal(backend.to_numpy(got.last), [[0.25, 0.75], [np.nan, np.nan]])
    assert got.log_likelihood.shape == (0,)


def test_a_record_in_place_of_probabilities_is_told():
    hmm = model(np.ones(2), np.ones((2, 2)))
    now, step = ex.filtered(np.zeros((2, 2)), hmm), ex.e_step(np.zeros((2, 2)), hmm)
    for record, words in (
        (now, r"a Filtered; .* mean \.last\?"),
        (step, "a ChainEStep; .* the .last"),
    ):
        with pytest.raises(TypeError, match=f"start is {words}"):
            ex.filtered(np.zeros((2, 2)), hmm, start=record)
        with pytest.raises(TypeError, match=f"probabilities is {words}"):
            ex.forecast(hmm, record, 2)


@pytest.mark.backends("jax_jit")
def test_bad_values_show_under_jit(backend):
    arrays = [*map(backend.asarray, draw(0, 6, 2))]
    got = backend.call(filtered, arrays[0], arrays[1], backend.asarray([[1.0, -1], [1, 1]]))
    assert np.isnan(backend.to_numpy(got.responsibilities)[1:]).all()
    assert np.isnan(backend.to_numpy(got.log_likelihood)[1:]).all()


def score_of_filtered(log_prob, initial, transitions, start=None):
    """A number that depends on all results."""
    got = filtered(log_prob, initial, transitions, LENGTHS, start=start)
    weights = np.random.default_rng(0).normal(size=(3, *log_prob.shape))
    parts = (got.responsibilities, got.predicted, got.log_likelihood[:, None])
    return sum((part * weight).sum() for part, weight in zip(parts, weights, strict=True))


def score_of_density(log_prob, initial, transitions):
    values = ex.log_density(log_prob, model(initial, transitions), lengths=LENGTHS)
    return (values * np.array([1.0, -2.0, 0.5, 1.5])).sum()


@pytest.mark.parametrize("name", ["filtered", "filtered from a start", "log_density"])
@pytest.mark.backends("jax")
def test_derivatives_are_one_sided_at_zeros(backend, name):
    """By all probabilities, against differences of NumPy's values to the inside."""
    import jax

    log_prob, _, transitions = draw(2, sum(LENGTHS), 3, zeros=0.4)
    arrays = [log_prob, np.array([0.7, 0.3, 0.0]), transitions]
    score = score_of_density if name == "log_density" else score_of_filtered
    if "start" in name:
        start = [[0.2, 0.8, 0.0], [0.0, 0.0, 1.0], [0.3, 0.3, 0.4], [1.0, 0.0, 0.0]]
        arrays.append(np.array(start))
    assert (transitions == 0).sum() > 1
    gradient = jax.jit(jax.grad(score, argnums=tuple(range(len(arrays)))))
    found = gradient(*map(backend.asarray, arrays))
    value, step = score(*arrays), 1e-7
    for place in range(1, len(arrays)):
        slopes = np.zeros_like(arrays[place])
        for index in np.ndindex(slopes.shape):
            moved = [array.copy() for array in arrays]
            moved[place][index] += step
            slopes[index] = (score(*moved) - value) / step
        np.testing.assert_allclose(found[place], slopes, rtol=2e-5, atol=2e-5)


@pytest.mark.backends("jax")
def test_derivatives(backend):
    """The sum of norms is the log-likelihood, and so are its derivatives."""
    import jax

    arrays = [*map(backend.asarray, draw(2, 12, 3, zeros=0.4))]
    total = jax.jit(jax.grad(lambda *a: filtered(*a).log_likelihood.sum(), argnums=(0, 1, 2)))
    other = jax.jit(
        jax.grad(lambda b, pi, a: ex.log_likelihood(b, model(pi, a)), argnums=(0, 1, 2))
    )
    for one, expected in zip(total(*arrays), other(*arrays), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-10, atol=1e-12)
