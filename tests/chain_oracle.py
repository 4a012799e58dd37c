"""Hidden Markov models to 50 digits, as a textbook writes them: sums of products, no scaling.

mpmath's exponents have no bounds, so that nothing under- or overflows. `brute_force` knows nothing
of recursions: it goes through all k^n paths.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from mpmath import mp, mpf


class Chain(NamedTuple):
    """One sequence: probabilities and log-densities to 50 digits, of exact float inputs."""

    initial: list[Any]  # (k,)
    matrices: list[list[list[Any]]]  # (n, k, k), by which each row is entered; the first unread
    densities: list[list[Any]]  # (n, k)

    @property
    def k(self) -> int:
        return len(self.initial)


class Smoothed(NamedTuple):
    """What forward-backward gives, rounded to float64 once."""

    responsibilities: np.ndarray  # (n, k)
    log_likelihood: float
    transitions: np.ndarray  # (k, k) expected counts
    initial: np.ndarray  # (k,)
    slopes: np.ndarray  # (k, k) derivatives of the log-likelihood by the normalised transitions


def chain(log_prob: Any, initial: Any, transitions: Any) -> Chain:
    """Normalise and exponentiate to 50 digits."""
    with mp.workdps(50):
        b = np.asarray(log_prob, dtype=float)
        a = np.asarray(transitions, dtype=float)
        a = np.broadcast_to(a, (len(b), *a.shape[-2:]))
        seen: dict[bytes, Any] = {}
        matrices = []
        for matrix in a:
            if matrix.tobytes() not in seen:
                seen[matrix.tobytes()] = [_normalized(row) for row in matrix]
            matrices.append(seen[matrix.tobytes()])
        densities = [[mp.exp(mpf(float(v))) for v in row] for row in b]
        return Chain(_normalized(np.asarray(initial, dtype=float)), matrices, densities)


def _normalized(row: np.ndarray) -> list[Any]:
    numbers = [mpf(float(p)) for p in row]
    total = mp.fsum(numbers)
    return [p / total if total else mp.nan for p in numbers]


def forward(one: Chain) -> list[list[Any]]:
    """p(x_1 .. x_t, z_t = j), not normalised."""
    k, messages = one.k, [[p * d for p, d in zip(one.initial, one.densities[0], strict=True)]]
    for matrix, density in zip(one.matrices[1:], one.densities[1:], strict=True):
        before = messages[-1]
        messages.append(
            [mp.fsum(before[i] * matrix[i][j] for i in range(k)) * density[j] for j in range(k)]
        )
    return messages


def backward(one: Chain) -> list[list[Any]]:
    """p(x_t+1 .. x_n | z_t = i)."""
    k, messages = one.k, [[mpf(1)] * one.k]
    for matrix, density in zip(one.matrices[:0:-1], one.densities[:0:-1], strict=True):
        after = messages[-1]
        messages.append(
            [mp.fsum(matrix[i][j] * density[j] * after[j] for j in range(k)) for i in range(k)]
        )
    return messages[::-1]


def smooth(log_prob: Any, initial: Any, transitions: Any) -> Smoothed:
    """Forward-backward over one sequence."""
    with mp.workdps(50):
        one = chain(log_prob, initial, transitions)
        k, n = one.k, len(one.densities)
        alpha, beta = forward(one), backward(one)
        total = mp.fsum(alpha[-1])
        gamma = [
            [a * b / total for a, b in zip(*rows, strict=True)]
            for rows in zip(alpha, beta, strict=True)
        ]
        slopes = np.zeros((k, k))
        counts = np.zeros((k, k))
        for i, j in itertools.product(range(k), range(k)):
            terms = [
                alpha[t - 1][i] * one.densities[t][j] * beta[t][j] / total for t in range(1, n)
            ]
            slopes[i, j] = float(mp.fsum(terms))
            counts[i, j] = float(
                mp.fsum(term * one.matrices[t + 1][i][j] for t, term in enumerate(terms))
            )
        responsibilities = np.array([[float(g) for g in row] for row in gamma])
        return Smoothed(
            responsibilities, float(mp.log(total)), counts, responsibilities[0].copy(), slopes
        )


def split(lengths: Any, *arrays: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Arrays of rows, cut into their sequences."""
    ends = np.cumsum(lengths)[:-1]
    return list(zip(*(np.split(np.asarray(array), ends) for array in arrays), strict=True))


def brute_force(log_prob: Any, initial: Any, transitions: Any) -> Smoothed:
    """The same by the sum over all paths."""
    with mp.workdps(50):
        one = chain(log_prob, initial, transitions)
        k, n = one.k, len(one.densities)
        gamma = [[mpf(0)] * k for _ in range(n)]
        counts = [[mpf(0)] * k for _ in range(k)]
        total = mpf(0)
        for path in itertools.product(range(k), repeat=n):
            weight = joint(one, path)
            total += weight
            for t, z in enumerate(path):
                gamma[t][z] += weight
                if t:
                    counts[path[t - 1]][z] += weight
        return Smoothed(
            np.array([[float(g / total) for g in row] for row in gamma]),
            float(mp.log(total)),
            np.array([[float(c / total) for c in row] for row in counts]),
            np.array([float(g / total) for g in gamma[0]]),
            np.zeros((k, k)),
        )


def joint(one: Chain, path: tuple[int, ...]) -> Any:
    """p(x, z) of one path z."""
    weight = one.initial[path[0]] * one.densities[0][path[0]]
    for t in range(1, len(path)):
        weight *= one.matrices[t][path[t - 1]][path[t]] * one.densities[t][path[t]]
    return weight


def best_path(log_prob: Any, initial: Any, transitions: Any) -> tuple[tuple[int, ...], float]:
    """The most probable path by trying all, and its log-joint.

    At ties the last row's lowest state, then backwards: the first in the order of reversed paths.
    """
    with mp.workdps(50):
        one = chain(log_prob, initial, transitions)
        paths = itertools.product(range(one.k), repeat=len(one.densities))
        best = max(
            ((joint(one, path), tuple(-z for z in reversed(path))) for path in paths),
        )
        return tuple(-z for z in reversed(best[1])), float(mp.log(best[0])) if best[0] else -np.inf
