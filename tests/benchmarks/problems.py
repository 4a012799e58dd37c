"""What is measured: shapes, goals, and rows drawn from the very mixture they are scored under."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import estep_xp as ex

FAMILIES = {
    "univariate": ex.UnivariateGaussian,
    "spherical": ex.SphericalGaussian,
    "diagonal": ex.DiagonalGaussian,
    "tied": ex.TiedGaussian,
    "full": ex.FullGaussian,
}


class Problem(NamedTuple):
    """One line of a table."""

    name: str
    family: str
    n: int
    d: int
    k: int
    dtype: str = "float64"
    goal: float | None = None  # the peer's time over ours
    spread: float = 3.0  # standard deviation of the means; clusters have about 1

    def resized(self, **sizes: int) -> Problem:
        """The same line with other numbers of rows, features or components."""
        new = self._replace(**sizes)
        return new if new.family != "univariate" else new._replace(d=1)

    def tiny(self) -> Problem:
        """What a smoke test runs in place of it."""
        return self.resized(n=min(self.n, 50), d=min(self.d, 2), k=min(self.k, 3))


class Case(NamedTuple):
    """The numbers of a problem, NumPy arrays of its dtype."""

    problem: Problem
    x: np.ndarray  # (n, d), or (n,) for univariate components
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray  # variances or matrices, in the shape that the family has
    precision_cholesky: np.ndarray  # of the same shape; scikit-learn's convention

    def mixture(self) -> ex.Mixture:
        """Our own form of it."""
        by_factors = self.problem.family in ("tied", "full")
        second = self.precision_cholesky if by_factors else self.covariances
        return ex.Mixture(self.weights, FAMILIES[self.problem.family](self.means, second))

    @property
    def table(self) -> np.ndarray:
        """The rows as (n, d), also where d is 1."""
        return self.x.reshape(len(self.x), -1)


def problem(
    family: str,
    n: int,
    d: int,
    k: int,
    goal: float | None = None,
    dtype: str = "float64",
    spread: float = 3.0,
) -> Problem:
    """A problem with a name that tells what it is."""
    shape = f"d={d}, k={k}" if family != "univariate" else f"k={k}"
    apart = "" if spread == 3.0 else f", means {spread:g} σ apart"
    return Problem(f"{family} {_short(n)}, {shape}{apart}", family, n, d, k, dtype, goal, spread)


def _short(n: int) -> str:
    for unit, letter in ((10**6, "M"), (10**3, "k")):
        if n >= unit and n % unit == 0:
            return f"{n // unit}{letter}"
    return str(n)


def draw(problem: Problem, seed: int = 0) -> Case:
    """Parameters and rows, the same ones at each call."""
    rng = np.random.default_rng([seed, problem.n, problem.d, problem.k])
    k, d = problem.k, problem.d
    weights = rng.uniform(0.5, 1.5, k)
    weights /= weights.sum()
    means = problem.spread * rng.standard_normal((k, d))
    covariances, lower = _covariances(rng, problem.family, k, d)
    x = _rows(rng, problem.n, weights, means, lower)
    precision_cholesky = _inverted(covariances, problem.family)
    if problem.family == "univariate":
        x, means = x[:, 0], means[:, 0]
    arrays = (x, weights, means, covariances, precision_cholesky)
    return Case(problem, *(np.asarray(a, dtype=problem.dtype) for a in arrays))


def _covariances(rng, family, k, d):
    """Covariances in the family's shape, and a square root of each as (k, d, d)."""
    shapes = {"univariate": (k,), "spherical": (k,), "diagonal": (k, d)}
    if family in shapes:
        variances = rng.uniform(0.5, 2.0, shapes[family])
        deviations = np.broadcast_to(np.sqrt(variances).reshape(k, -1), (k, d))
        return variances, deviations[:, :, None] * np.eye(d)
    factors = rng.standard_normal((1 if family == "tied" else k, d, d)) / np.sqrt(d)
    matrices = factors @ factors.mT + 0.3 * np.eye(d)
    lower = np.broadcast_to(np.linalg.cholesky(matrices), (k, d, d))
    return matrices[0] if family == "tied" else matrices, lower


def _rows(rng, n, weights, means, lower):
    """Draw from the mixture, (n, d); one component at a time, in place."""
    label = rng.choice(len(weights), n, p=weights)
    x = rng.standard_normal((n, means.shape[1]))
    for j, (mean, factor) in enumerate(zip(means, lower, strict=True)):
        mine = label == j
        x[mine] = mean + x[mine] @ factor.T
    return x


def _inverted(covariances, family):
    if family in ("tied", "full"):
        # What rounding leaves below the diagonal is not meant.
        return np.triu(np.linalg.inv(np.linalg.cholesky(covariances)).mT)
    return 1.0 / np.sqrt(covariances)


# Goals are those the project set itself, as times a peer's speed.
NUMPY = (
    problem("univariate", 10**6, 1, 2, 12),
    problem("univariate", 10**6, 1, 10, 11),
    problem("univariate", 200_000, 1, 64, 9),
    problem("univariate", 500_000, 1, 10, 10, spread=300.0),
    problem("spherical", 100_000, 16, 32, 7),
    problem("diagonal", 100_000, 16, 32, 5),
    problem("tied", 100_000, 16, 32, 15),
    problem("full", 200_000, 2, 8, 8),
    problem("full", 100_000, 8, 16, 7),
    problem("full", 100_000, 16, 32, 10),
    problem("full", 20_000, 64, 32, 2.6),
    problem("full", 10_000, 128, 20, 1.8),
)
NUMPY_FLOAT32 = problem("univariate", 10**6, 1, 10, 1.15, "float32")
# Of the textbook's time we may need 2.5 times as much, for a call with all its checks.
SMALL = (
    problem("univariate", 100, 1, 3, 0.4),
    problem("diagonal", 100, 2, 3, 0.4),
    problem("tied", 100, 2, 3, 0.4),
    problem("full", 100, 2, 3, 0.4),
)


def _both(family: str, n: int, d: int, k: int, *goals: float) -> tuple[Problem, Problem]:
    """A line in float64 and one in float32."""
    return (
        problem(family, n, d, k, goals[0], "float64"),
        problem(family, n, d, k, goals[-1], "float32"),
    )


JAX = (
    *_both("univariate", 10**6, 1, 10, 1.05, 1.3),
    *_both("spherical", 100_000, 16, 32, 1),
    *_both("diagonal", 100_000, 16, 32, 1),
    *_both("tied", 100_000, 16, 32, 1),
    *_both("full", 200_000, 2, 8, 2),
    *_both("full", 100_000, 8, 16, 2, 1.3),
    *_both("full", 100_000, 16, 32, 3, 1.6),
    *_both("full", 20_000, 64, 32, 2.2, 1.7),
)


class Gradient(NamedTuple):
    """A line of the table of gradients and what it set out for."""

    problem: Problem
    # Value and gradient over the value, at most; plain autodiff over ours, and plain value over
    # ours, at least.
    goals: tuple[float, float, float] | None = None

    @property
    def name(self) -> str:
        return self.problem.name


GRADIENTS = (
    Gradient(problem("full", 100_000, 2, 5), (2.3, 2, 1.2)),
    Gradient(problem("full", 100_000, 8, 16), (2.5, 6, 2)),
    Gradient(problem("full", 10_000, 32, 50), (2.7, 4, 2)),
    Gradient(problem("full", 10_000, 64, 25), (3.3, 3, 2)),
    Gradient(problem("tied", 100_000, 8, 16)),
    Gradient(problem("diagonal", 100_000, 8, 16)),
    Gradient(problem("spherical", 100_000, 8, 16)),
    Gradient(problem("univariate", 100_000, 1, 10)),
)

FIT_NUMPY = (problem("diagonal", 100_000, 8, 16, 5), problem("full", 100_000, 8, 16, 10))
FIT_JAX = (problem("full", 100_000, 8, 16, 4, "float32"),)

# Of scikit-learn's estimator: fits of 20 iterations, and predict_proba.
ESTIMATOR_FITS = (
    problem("full", 100_000, 8, 16, 6),
    problem("diagonal", 100_000, 8, 16, 4.5),
    problem("tied", 100_000, 8, 16, 10),
    problem("spherical", 100_000, 8, 16, 6),
)
ESTIMATOR_PROBABILITIES = tuple(p._replace(goal=5) for p in ESTIMATOR_FITS)
ESTIMATOR_SMALL_FITS = tuple(
    Problem(f"{family}, {name}", family, n, d, 3, goal=1)
    for name, n, d in (("iris", 150, 4), ("wine", 178, 13))
    for family in FAMILIES
    if family != "univariate"
)
