"""Rows with holes or errors, of which an EM step is timed beside one of complete rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tests.benchmarks.problems import Problem, problem

Keywords = Callable[[np.ndarray], tuple[np.ndarray, dict[str, Any]]]


class MissingProblem(NamedTuple):
    """Complete rows, what is done to them, and how many times as long that may take."""

    complete: Problem
    kind: str
    spoil: Keywords
    goal: float  # at most
    aim: float

    @property
    def name(self) -> str:
        return f"{self.complete.name}, {self.kind}"


def _share(share: float) -> Keywords:
    """Holes at random."""

    def spoil(x: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        hidden = np.random.default_rng(1).random(x.shape) < share
        return np.where(hidden, np.nan, x), {"missing": True}

    return spoil


def _patterns(count: int) -> Keywords:
    """So many patterns of holes, each of about as many rows."""

    def spoil(x: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        rng = np.random.default_rng(2)
        d = x.shape[1]
        patterns = rng.random((count, d)) < 0.3
        patterns[0] = False
        if count == 2:
            patterns[1] = np.arange(d) % 3 == 0
        return np.where(patterns[rng.integers(0, count, len(x))], np.nan, x), {"missing": True}

    return spoil


def _noise(kind: str) -> Keywords:
    """Errors of each row: variances, or covariances."""

    def spoil(x: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        rng, (n, d) = np.random.default_rng(3), x.shape
        variances = rng.uniform(0.1, 1.0, (n, d))
        if kind == "variances":
            return x, {"noise": variances}
        factors = rng.normal(size=(n, d, d)) * 0.3
        return x, {"noise": factors @ factors.transpose(0, 2, 1)}

    return spoil


PROBLEMS = (
    MissingProblem(problem("full", 100_000, 8, 8), "two patterns", _patterns(2), 1.6, 1.2),
    MissingProblem(problem("full", 100_000, 8, 8), "256 patterns", _patterns(256), 2.4, 1.5),
    MissingProblem(problem("full", 50_000, 16, 8), "1,800 patterns", _patterns(1800), 14.0, 10.0),
    MissingProblem(problem("diagonal", 100_000, 8, 8), "30 % missing", _share(0.3), 3.0, 2.0),
    MissingProblem(problem("full", 20_000, 8, 8), "variances", _noise("variances"), 34.0, 20.0),
    MissingProblem(problem("full", 20_000, 8, 8), "covariances", _noise("covariances"), 36.0, 20.0),
    MissingProblem(problem("full", 50_000, 2, 8), "variances", _noise("variances"), 10.0, 6.0),
    MissingProblem(problem("diagonal", 50_000, 8, 8), "variances", _noise("variances"), 6.5, 4.0),
)
