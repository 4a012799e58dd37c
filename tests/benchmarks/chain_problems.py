"""What is measured of hidden Markov models: log-densities, a chain, and sequences, at random."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import estep_xp as ex


class ChainProblem(NamedTuple):
    """One line of a table; goals are the peers' times over ours, or ours over theirs."""

    name: str
    n: int
    k: int
    sequences: int = 1
    kind: str = "ergodic"  # all transitions are positive; "left-right" has zeros
    ragged: bool = False
    d: int = 2  # of Gaussian emissions, where there are some
    goals: tuple[float | None, ...] = ()
    dtype: str = "float64"

    @property
    def family(self) -> str:
        """What smoke tests run one of."""
        return self.kind

    def tiny(self) -> ChainProblem:
        """What a smoke test runs in place of it."""
        return self._replace(n=60, k=min(self.k, 3), sequences=min(self.sequences, 3))


class ChainCase(NamedTuple):
    """The numbers of a problem."""

    problem: ChainProblem
    log_prob: np.ndarray  # (n, k)
    initial: np.ndarray
    transitions: np.ndarray
    lengths: np.ndarray

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """First rows of sequences, and the rows after their last ones."""
        ends = np.cumsum(self.lengths)
        return list(zip((ends - self.lengths).tolist(), ends.tolist(), strict=True))


class EmissionCase(NamedTuple):
    """Rows of Gaussian states and a start of EM."""

    problem: ChainProblem
    x: np.ndarray  # (n, d)
    hmm: ex.HMM


def draw(problem: ChainProblem) -> ChainCase:
    """Log-densities of rows that say something of states, but not all."""
    rng = np.random.default_rng(0)
    n, k = problem.n, problem.k
    log_prob = 2.0 * rng.normal(size=(n, k))
    initial, transitions = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), size=k)
    if problem.kind == "left-right":  # from the first state to the last in about n rows
        ahead = k / n
        transitions = (1 - ahead) * np.eye(k) + ahead * np.eye(k, k=1)
        transitions[-1, -1] = 1.0
        initial = np.eye(k)[0]
    lengths = np.full(problem.sequences, n // problem.sequences)
    if problem.ragged:
        lengths = 1 + rng.multinomial(n - problem.sequences, rng.dirichlet(np.ones(len(lengths))))
    return ChainCase(problem, log_prob, initial, transitions, lengths)


def draw_emissions(problem: ChainProblem) -> EmissionCase:
    """Rows drawn from a chain, and that chain."""
    rng = np.random.default_rng(0)
    k, d = problem.k, problem.d
    factors = rng.normal(size=(k, d, d)) / np.sqrt(d)
    covariances = factors @ np.swapaxes(factors, 1, 2) + 0.5 * np.eye(d)
    components = ex.FullGaussian.from_covariances(2.0 * rng.normal(size=(k, d)), covariances)
    transitions = 0.8 * np.eye(k) + 0.2 / k
    hmm = ex.HMM(np.full(k, 1 / k), transitions, components)
    return EmissionCase(problem, ex.sample(hmm, problem.n, seed=1).x, hmm)


# Goals: over hmmlearn in log space, over hmmlearn "scaling", and JAX over dynamax.
POSTERIORS = (
    ChainProblem("ergodic, n=1e5, k=5", 10**5, 5, goals=(2.5, 0.8, 2.3)),
    ChainProblem("ergodic, n=1e6, k=3", 10**6, 3, goals=(2.5, 0.9, 0.7)),
    ChainProblem("ergodic, 1000 sequences of 200, k=10", 200_000, 10, 1000, goals=(5.0, 0.85, 0.7)),
    ChainProblem("ergodic, n=1e4, k=100", 10**4, 100, goals=(50.0, 5.0, 1.2)),
    ChainProblem(
        "ergodic, 4000 ragged sequences, k=5", 200_000, 5, 4000, ragged=True, goals=(2.5, 0.9, None)
    ),
    ChainProblem("left-right, n=1e5, k=5", 10**5, 5, kind="left-right", goals=(1 / 2.3,)),
)
PATHS = (  # goals: hmmlearn's time over ours
    ChainProblem("ergodic, n=1e5, k=5", 10**5, 5, goals=(1 / 7,)),
    ChainProblem("ergodic, n=1e6, k=3", 10**6, 3, goals=(1 / 7,)),
    ChainProblem("ergodic, n=1e4, k=100", 10**4, 100, goals=(1 / 4,)),
)
GRADIENTS = (  # goals: time of value and gradient over the value's
    ChainProblem("ergodic, n=1e5, k=5", 10**5, 5, goals=(3.0,)),
    ChainProblem("ergodic, n=1e4, k=100", 10**4, 100, goals=(6.5,)),
)
ITERATIONS = (  # goals: over hmmlearn in log space, and "scaling"
    ChainProblem("ergodic, n=1e5, d=2, k=5", 10**5, 5, d=2, goals=(1.8, 0.6)),
    ChainProblem("ergodic, n=1e5, d=8, k=5", 10**5, 5, d=8, goals=(1.8, 1.0)),
)
