"""Sums over the rows of sequences in a compiled loop: those of all rows, in bounded memory."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import estep_xp as ex
from tests.chunks import arrays_of
from tests.test_chain_parts import LENGTHS, WEIGHTS, case

jax = pytest.importorskip("jax", reason="JAX is not installed")
jnp = jax.numpy

BLOCK = 400  # rows, of 1500: cuts inside sequences, and a last block that is not full


def in_jax(model):
    return jax.tree.map(jnp.asarray, model)


def assert_sums(got, wanted, rtol):
    for one, other in zip(arrays_of(got), arrays_of(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    ("name", "lengths"),
    [("random", None), ("random float32", LENGTHS), ("left-right", LENGTHS), ("varying", None)],
)
def test_blocks_add_up_to_the_whole(name, lengths):
    """Against NumPy, which takes all rows at once; a sequence of weight 0 holds NaN."""
    name, *dtype = name.split()
    x, hmm = case(name, *dtype)
    weights = None if lengths is None else WEIGHTS.astype(x.dtype)
    if lengths is not None:
        x[500:1000] = np.nan
    whole = ex.expected_statistics(x, hmm, lengths=lengths, sample_weight=weights)
    got = ex.expected_statistics(
        jnp.asarray(x),
        in_jax(hmm),
        lengths=lengths,
        sample_weight=None if weights is None else jnp.asarray(weights),
        block_size=BLOCK,
    )
    assert got.counts.dtype == x.dtype
    assert_sums(got[1:], whole[1:], rtol=1e-4 if dtype else 1e-10)


def test_traced_lengths_and_an_impossible_sequence():
    """Lengths need not be known; counts are those of the sequences that are possible."""
    x = np.stack([np.ones(900), np.random.default_rng(0).random(900) < 0.5], axis=1)
    x[700, 0] = 0.0  # which has no density
    transitions, components = np.array([[0.9, 0.1], [0.0, 1.0]]), np.array([[1.0, 0.3], [1.0, 0.6]])
    hmm = ex.HMM(np.array([0.6, 0.4]), transitions, ex.Bernoulli(components))
    lengths = np.array([300, 350, 250])

    @functools.partial(jax.jit, static_argnames="block_size")
    def sums(x, hmm, lengths, block_size):
        return ex.expected_statistics(x, hmm, lengths=lengths, block_size=block_size)[1:]

    arrays = (jnp.asarray(x), in_jax(hmm))
    wanted = ex.expected_statistics(x[:650], hmm, lengths=lengths[:2])[3:]
    for size in (200, None):
        total, _, *found = sums(*arrays, jnp.asarray(lengths), block_size=size)
        assert total == -np.inf
        assert_sums(tuple(found), wanted, 1e-12)
    for bad in ([300, 350, 251], [900, 1, -1]):
        _, n_rows, *others = sums(*arrays, jnp.asarray(bad), block_size=200)
        assert n_rows == 900
        assert all(np.isnan(one).all() for one in arrays_of(tuple(others)))


def test_derivatives():
    """By all arguments in one direction, against differences of NumPy's values."""
    x, hmm = case("random")
    x = x[:900]
    leaves, tree = jax.tree.flatten((x, hmm))
    rng = np.random.default_rng(1)
    direction = [rng.normal(size=leaf.shape) for leaf in leaves]

    def score(leaves, block_size=None):
        x, hmm = jax.tree.unflatten(tree, leaves)
        sums = ex.expected_statistics(x, hmm, block_size=block_size)
        return (sums.transitions**2).sum() + sums.moments.first.sum()

    def along(step):
        return score([leaf + step * way for leaf, way in zip(leaves, direction, strict=True)])

    gradient = jax.jit(jax.grad(functools.partial(score, block_size=BLOCK)))(in_jax(leaves))
    slope = sum((one * way).sum() for one, way in zip(gradient, direction, strict=True))
    np.testing.assert_allclose(slope, (along(1e-6) - along(-1e-6)) / 2e-6, rtol=1e-6)


def test_bad_rows_are_named():
    """By a second pass, which knows the rows."""
    x, hmm = case("random")
    x[1234] = np.nan
    with pytest.raises(ValueError, match=r"x\[1234\] is nan"):
        ex.expected_statistics(jnp.asarray(x), in_jax(hmm), block_size=BLOCK)


def test_memory_does_not_grow_with_the_rows():
    """Of the compiled program, beside the rows themselves."""
    _, hmm = case("random")
    hmm = in_jax(hmm)
    function = jax.jit(lambda x: ex.expected_statistics(x, hmm, block_size=2000)[1:])

    def temporary(n):
        rows = jax.ShapeDtypeStruct((n,), "float64")
        return function.lower(rows).compile().memory_analysis().temp_size_in_bytes

    assert temporary(1_000_000) < 1.1 * temporary(100_000)
