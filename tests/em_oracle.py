"""Expected statistics, M-step and EM in plain float64 NumPy: what the library is compared with.

Everything is computed from the rows and the responsibilities of the reference densities of
``records``, whose M-steps are a textbook's. Nothing here is cut into blocks or factorised cleverly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tests.records import Params, Problem, normalised


def statistics(case: Problem, sample_weight: np.ndarray | None = None) -> tuple[Params, Params]:
    """Add up what the rows contribute, under the names of its sums; and the terms' sizes."""
    s = np.ones(len(case.x)) if sample_weight is None else sample_weight
    responsibilities, log_likelihood = normalised(case.log_joint())
    r = s[:, None] * responsibilities
    moments = case.record.moments(case.x, case.params)
    sizes = {name: np.abs(a) for name, a in moments.items()}
    return (
        _sums(case, s, log_likelihood, r, moments),
        _sums(case, s, np.abs(log_likelihood), r, sizes),
    )


def _sums(
    case: Problem, s: np.ndarray, log_likelihood: np.ndarray, r: np.ndarray, moments: Params
) -> Params:
    sums = {"log_likelihood": s @ log_likelihood, "n_rows": s.sum(), "counts": r.sum(axis=0)}
    for name, a in moments.items():
        summed = np.einsum("nk,nk...->k...", r, a)
        sums[name] = summed.sum(axis=0) if name in case.record.shared else summed
    return sums


class Estimate(NamedTuple):
    """What an M-step gives, parameters as ``Record.estimate`` has them."""

    weights: np.ndarray
    values: Params


def m_step(
    case: Problem, sample_weight: np.ndarray | None = None, floor: float | None = 1e-6
) -> Problem:
    """Run one E-step and one M-step: the problem at the new mixture."""
    r, _ = normalised(case.log_joint())
    if sample_weight is not None:
        r = sample_weight[:, None] * r
    counts = r.sum(axis=0)
    params = case.record.maximize(case.x, r, floor, case.params)
    return case._replace(weights=counts / counts.sum(), params=params)


def estimate(
    case: Problem, sample_weight: np.ndarray | None = None, floor: float | None = 1e-6
) -> Estimate:
    """Give what an M-step estimates."""
    new = m_step(case, sample_weight, floor)
    return Estimate(new.weights, case.record.estimate(new.params))


def em(
    case: Problem, n_iter: int, sample_weight: np.ndarray | None = None, floor: float | None = 1e-6
) -> tuple[Problem, np.ndarray]:
    """Iterate: the problem at the last mixture, and the log-likelihood after each M-step."""
    s = np.ones(len(case.x)) if sample_weight is None else sample_weight
    heights = []
    for _ in range(n_iter):
        case = m_step(case, s, floor)
        heights.append(s @ normalised(case.log_joint())[1])
    return case, np.array(heights)
