"""The step of SQUAREM by itself: a formula in numbers that may take any value, and its limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.em.squarem import squarem_step

START = (np.asarray([0.3, -0.2]), np.asarray([-1.0, 4.0]), np.asarray([0.5, -0.4]))
STEP = (np.zeros(2), np.asarray([0.3, -0.1]), np.asarray([-0.05, 0.02]))


def mixture_at(steps):
    """The mixture so many steps from the start: logits, means and log-variances."""
    logits, means, logs = (a + steps * s for a, s in zip(START, STEP, strict=True))
    weights = np.exp(logits) / np.exp(logits).sum()
    return ex.Mixture(weights, ex.UnivariateGaussian(means, np.exp(logs)))


@pytest.mark.parametrize("ratio", [0.5, 0.9, 0.99])
def test_steps_that_shrink_by_a_factor_are_gone_to_their_end(ratio):
    """Where each step is the one before times a number, the end is known; S3 finds it."""
    mixtures = (mixture_at(steps) for steps in (0.0, 1.0, 1.0 + ratio))
    found, usable = squarem_step(np, *mixtures, floor=1e-9)
    assert usable
    end = mixture_at(1.0 / (1.0 - ratio))
    pairs = zip((found.weights, *found.components), (end.weights, *end.components), strict=True)
    for one, expected in pairs:
        np.testing.assert_allclose(one, expected, rtol=1e-9)


def test_means_count_in_deviations_of_the_first_mixture():
    """The ratio of lengths is one number for all parameters, whatever units rows have."""
    first = mixture_at(0.0)
    moves = [
        (np.asarray([0.01, -0.03]), np.asarray([0.2, 0.4]), np.asarray([0.05, -0.06])),
        (np.asarray([0.0, -0.01]), np.asarray([0.1, 0.1]), np.asarray([-0.03, 0.01])),
    ]
    points = [START]
    for move in moves:
        points.append(tuple(a + b for a, b in zip(points[-1], move, strict=True)))

    def mixture(logits, means, logs):
        shares = np.exp(logits)
        return ex.Mixture(shares / shares.sum(), ex.UnivariateGaussian(means, np.exp(logs)))

    found, _ = squarem_step(np, *(mixture(*point) for point in points), floor=1e-9)
    deviations = np.sqrt(first.components.variances)
    # Weights sum to 1, so logits are those of normalised weights.
    free = [(logits - np.log(np.exp(logits).sum()), *others) for logits, *others in points]
    step = [b - a for a, b in zip(free[0], free[1], strict=True)]
    turn = [c - 2 * b + a for a, b, c in zip(*free, strict=True)]

    def length(logits, means, logs):
        return math.sqrt((logits**2).sum() + ((means / deviations) ** 2).sum() + (logs**2).sum())

    alpha = max(1.0, length(*step) / length(*turn))
    assert alpha > 1.0
    triples = zip(free[0], step, turn, strict=True)
    expected = [a + 2 * alpha * s + alpha**2 * t for a, s, t in triples]
    shares = np.exp(expected[0])
    np.testing.assert_allclose(found.weights, shares / shares.sum(), rtol=1e-12)
    np.testing.assert_allclose(found.components.means, expected[1], rtol=1e-12)
    np.testing.assert_allclose(found.components.variances, np.exp(expected[2]), rtol=1e-12)


def test_a_variance_below_the_floor_is_not_used():
    mixtures = [mixture_at(steps) for steps in (0.0, 1.0, 1.9)]
    end, usable = squarem_step(np, *mixtures, floor=1e-9)
    least = end.components.variances.min()
    assert usable
    assert not squarem_step(np, *mixtures, floor=1.01 * least)[1]
    assert squarem_step(np, *mixtures, floor=0.99 * least)[1]


def test_no_step_is_the_second_step_itself():
    mixtures = [mixture_at(0.0)] * 3
    found, usable = squarem_step(np, *mixtures, floor=0.0)
    assert usable
    np.testing.assert_allclose(found.components.means, START[1], rtol=1e-15)
