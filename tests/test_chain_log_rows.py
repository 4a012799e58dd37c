"""Several rows of log space at once give what a log-sum-exp a row gives, or say they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from estep_xp.chain.log_rows import LogRows
from estep_xp.chain.recursion import Logarithmic

K, BLOCKS, N = 4, 3, 12


def case(seed, pattern):
    rng = np.random.default_rng(seed)
    matrix = np.log(rng.dirichlet(np.ones(K), size=K).T)
    exists = {"left-right": np.eye(K) + np.eye(K, k=-1), "some": rng.random((K, K)) < 0.5}[pattern]
    evidence = -5.0 * rng.random((N, K, BLOCKS))
    evidence[5, 1, 0] = -math.inf
    evidence[7, :, 2] = -math.inf  # impossible
    return np.where(exists > 0, matrix, -math.inf), evidence, 50.0 * rng.normal(size=evidence.shape)


def row_by_row(joint, matrix, evidence, reference):
    entered = []
    axes = tuple(range(joint.ndim - 1))
    for own, other in zip(evidence, reference, strict=True):
        joint, message = Logarithmic().step(np, joint, matrix, own, None, other, axes)
        entered.append(message)
    return np.asarray(entered), joint


def from_largest(message):
    largest = message.max(axis=tuple(range(message.ndim - 1)))
    return message - np.where(largest == -math.inf, 0.0, largest)


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("pattern", ["left-right", "some"])
@pytest.mark.parametrize("far", [1.0, 800.0])
def test_rows_at_once_are_row_by_row(pattern, columns, far):
    for seed in range(5):
        matrix, evidence, reference = case(seed, pattern)
        joint = far * np.random.default_rng(seed).normal(size=(K, BLOCKS))
        joint[seed % K, 1] = -math.inf
        rows, shared = slice(0, N), LogRows.of(matrix, evidence)
        if columns:
            joint = joint[:, None] + np.where(np.eye(K) > 0, 0.0, -math.inf)[..., None]
            evidence, reference = evidence[:, :, None], reference[:, :, None]
        with np.errstate(all="ignore"):
            messages = np.empty((N, *joint.shape))
            joint_after = shared.go_on(joint, rows, evidence, reference, out=messages)
            if joint_after is None and far > 1.0:  # a longer path brings far more to a state
                continue
            last = shared.go_on(joint, rows, evidence, reference)
            wanted, after = row_by_row(joint, matrix, evidence, reference)
        for one, other in ((messages, wanted), (joint_after, after)):
            np.testing.assert_array_equal(one == -math.inf, other == -math.inf)
            np.testing.assert_allclose(one, other, rtol=1e-14, atol=1e-12)
        # The message that leaves may have another factor, the same for all states.
        np.testing.assert_allclose(from_largest(last), from_largest(after), rtol=1e-14, atol=1e-11)


def test_what_is_lost_is_noticed():
    """A state whose only row has a density of e^-900, and what is to be recalled of it."""
    matrix = np.where(np.eye(2) > 0, 0.0, -math.inf)
    evidence = np.zeros((6, 2, 1))
    evidence[2, 0] = -900.0
    shared = LogRows.of(matrix, evidence)
    joint = np.zeros((2, 1))
    assert shared.room(0, 1, [False] * 6) == 0  # two rows are taken one by one
    assert shared.room(2, 1, [False] * 6) == 0
    assert shared.room(3, 1, [False] * 6) == 3
    assert shared.room(5, -1, [False] * 4 + [True, False]) == 0
    with np.errstate(all="ignore"):
        assert shared.go_on(joint, slice(0, 6), evidence, 0.0 * evidence) is None
        assert shared.go_on(joint, slice(0, 2), evidence[:2], 0.0 * evidence[:2]) is not None
