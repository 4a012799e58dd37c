"""All paths through a chain, one by one, to 50 digits: what `decode` is compared with."""

from __future__ import annotations

import itertools
from typing import Any

import mpmath
import numpy as np

from tests.chain_oracle import chain

mp = mpmath.MPContext()
mp.dps = 50


def best_path(log_prob: Any, initial: Any, transitions: Any) -> tuple[list[int], Any]:
    """The most likely of all k^n paths, and its log-joint.

    Of paths that tie, the one whose last state is the lowest, then the one before, and so on.
    """
    one = chain(log_prob, initial, transitions)
    n, k = len(one.densities), one.k
    best, most = [-1] * n, mp.mpf(0)
    for backwards in itertools.product(range(k), repeat=n):
        path = backwards[::-1]
        joint = log_joint_of(path, one)
        if joint > most * (1 + mp.mpf("1e-40")):
            best, most = list(path), joint
    return best, mp.log(most) if most else mp.ninf


def log_joint_of(path: Any, one: Any) -> Any:
    """Probability of a path, and density of the rows on it, together."""
    joint = mp.mpf(one.initial[path[0]])
    for t, state in enumerate(path):
        joint *= one.densities[t][state]
        if t:
            joint *= one.matrices[t][path[t - 1]][state]
    return joint


def best_by_recursion(log_prob: Any, initial: Any, transitions: Any) -> tuple[list[int], float]:
    """The same by the textbook's recursion in extended precision, for sequences that are long."""
    with np.errstate(divide="ignore"):
        log_a = np.log(np.asarray(transitions, np.longdouble))
        values = [np.log(np.asarray(initial, np.longdouble)) + log_prob[0]]
    for row in log_prob[1:]:
        values.append((values[-1][:, None] + log_a).max(0) + row)
    path = [int(np.argmax(values[-1]))]
    for value in values[-2::-1]:
        path.append(int(np.argmax(value + log_a[:, path[-1]])))
    return path[::-1], float(values[-1].max())
