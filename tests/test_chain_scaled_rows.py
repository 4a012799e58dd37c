"""Several rows of scaled sums at once are the same rows one by one, in both ways to write them."""

from __future__ import annotations

import numpy as np
import pytest

from estep_xp.chain.recursion import Scaled

K, BLOCKS, N = 3, 5, 40


def one_by_one(joint, matrix, evidence, resets):
    entered = []
    axes = tuple(range(joint.ndim - 1))
    for own, reset in zip(evidence, resets, strict=True):
        joint, message = Scaled().step(np, joint, matrix, own, reset, own, axes)
        entered.append(message)
    return np.asarray(entered), joint


def shares(messages):
    """Messages but for a factor that all states, and columns, of a block share."""
    axes = tuple(range(messages.ndim - 1)) if messages.ndim < 4 else (1, 2)
    return messages / messages.sum(axis=axes, keepdims=True)


@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("columns", [False, True])
def test_rows_at_once_are_row_by_row(contiguous, columns):
    rng = np.random.default_rng(0)
    matrix = rng.dirichlet(np.ones(K), size=K).T
    evidence = rng.random((N, K, BLOCKS)) ** 20
    evidence[7, :, 3] = 0.0  # impossible
    flags = rng.random((N, BLOCKS)) < 0.02
    flags[9, 3] = True  # what follows is possible again
    resets = [row if row.any() else None for row in flags]
    joint = rng.random((K, BLOCKS))
    if columns:
        joint, evidence = rng.random((K, K, BLOCKS)), evidence[:, :, None]
    shape = (N, *joint.shape)
    room = np.full((*shape, 2), np.nan)
    out = np.full(shape, np.nan) if contiguous else room[..., 0]
    before = joint.copy()
    several = Scaled().prepare_rows(matrix, evidence)
    left = several.go_on(joint, slice(0, N), evidence, evidence, iter(resets), out)
    np.testing.assert_array_equal(joint, before)
    with np.errstate(invalid="ignore"):  # a message of zeros
        wanted, after = one_by_one(joint, matrix, evidence, resets)
        for t in range(N):
            np.testing.assert_allclose(shares(out[t]), shares(wanted[t]), rtol=1e-13)
        np.testing.assert_allclose(left, after, rtol=1e-13)
    last = several.go_on(joint, slice(0, N), evidence, evidence, iter(resets), None)
    np.testing.assert_array_equal(last, left)


def test_all_rows_go_at_once():
    several = Scaled().prepare_rows(np.full((2, 2), 0.5), None)
    assert several.room(0, 1, [False, True, False]) == 3
    assert several.room(2, -1, [False] * 3) == 3
    assert several.room(1, 1, [False] * 3) == 2


@pytest.mark.parametrize("n", [256, 257, 1000])
def test_outer_products_by_stretches_are_their_sum_in_jax(n):
    jnp = pytest.importorskip("jax.numpy")
    from estep_xp.execution.jax.chains import OPS

    rng = np.random.default_rng(n)
    left, right = rng.normal(size=(2, n, 3)).astype(np.float32)
    sums = OPS.sum_pairs(jnp.asarray(left), jnp.asarray(right))
    np.testing.assert_allclose(sums, left[:-1].T @ right[1:], rtol=1e-3, atol=1e-3)
