"""Chains at random, and components whose log-densities are the rows: for tests of chains."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import estep_xp as ex
from estep_xp.arrays.namespace import namespace_of

NEVER = -1e30  # stands for -inf, which no row may hold


class Given(tuple):
    """Components whose log-densities are the rows themselves."""

    def log_prob(self, x: Any) -> Any:
        return namespace_of(x).where(x == NEVER, -math.inf, x)


def model(initial: Any, transitions: Any) -> Any:
    """A chain over log-densities."""
    return ex.HMM(initial, transitions, Given())


def draw(seed: int, n: int, k: int, *, zeros: float = 0.0, matrices: Any = ()) -> Any:
    """Log-densities (n, k), initial probabilities, and transitions with structural zeros."""
    random = np.random.default_rng(seed)
    log_prob = random.normal(size=(n, k)) * 2
    matrix = random.dirichlet(np.ones(k), size=(*matrices, k))
    matrix = np.where(random.random(matrix.shape) < zeros, 0.0, matrix) + 1e-3 * np.eye(k)
    return log_prob, random.dirichlet(np.ones(k)), matrix / matrix.sum(-1, keepdims=True)
