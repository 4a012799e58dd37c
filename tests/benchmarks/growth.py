"""How time grows: with rows, components and features, and how it shrinks with workers."""

from __future__ import annotations

import math
from typing import NamedTuple

from tests.benchmarks.problems import Problem, problem


class Growth(NamedTuple):
    """A problem, and one of its sizes at several values."""

    problem: Problem
    axis: str  # n, d or k
    sizes: tuple[int, ...]
    expected: float  # time grows with this power of the size, or a lower one

    @property
    def name(self) -> str:
        p = self.problem
        fixed = {"n": p.n, "d": p.d, "k": p.k} | {self.axis: None}
        if p.family == "univariate":
            del fixed["d"]
        shape = ", ".join(f"{axis}={size}" for axis, size in fixed.items() if size is not None)
        return f"{p.family}, {shape}, growing {self.axis}"

    def members(self, quick: bool) -> dict[int, Problem]:
        """The problems by size, the largest last."""
        if quick:
            return {s: self.problem.tiny().resized(**{self.axis: s}) for s in (2, 4)}
        return {s: self.problem.resized(**{self.axis: s}) for s in self.sizes}


def exponent(times: dict[int, float]) -> float:
    """The power of the size that time grows with, between the smallest and the largest."""
    small, large = min(times), max(times)
    return math.log(times[large] / times[small]) / math.log(large / small)


GROWTHS = (
    Growth(problem("univariate", 10**5, 1, 10), "n", (10**5, 10**6, 10**7), 1.0),
    Growth(problem("diagonal", 10**5, 4, 8), "n", (10**5, 10**6, 10**7), 1.0),
    Growth(problem("full", 50_000, 8, 8), "k", (8, 16, 32), 1.0),
    Growth(problem("full", 50_000, 8, 16), "d", (8, 16, 32), 2.0),
    Growth(problem("full", 20_000, 32, 16), "d", (32, 64, 128), 2.0),
)

# Two workers should be so many times as quick as one.
WORKERS_GOAL = 1.45
WORKERS = (
    problem("univariate", 10**6, 1, 10, WORKERS_GOAL),
    problem("full", 100_000, 8, 16, WORKERS_GOAL),
    problem("full", 100_000, 16, 32, WORKERS_GOAL),
)

# Time of a row may differ by so much between 1e5 and 1e7 rows.
PER_ROW_GOAL = 1.3
