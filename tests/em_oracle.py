"""Expected statistics, M-step and EM in plain float64 NumPy: what the library is compared with.

Everything is computed from the rows and the responsibilities of the reference densities of
``families.py``, the way a textbook writes it (Bishop 2006, eqs. 9.24 to 9.26): the covariances are
scatters about the new means. Nothing here is centred, cut into blocks or factorised cleverly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tests.families import Params, Problem, Record, normalised


class Sums(NamedTuple):
    """The fields of ``Statistics`` but the mixture; and the sums of the same terms' sizes."""

    log_likelihood: np.ndarray
    n_rows: np.ndarray
    counts: np.ndarray
    first: np.ndarray
    second: np.ndarray


def statistics(case: Problem, sample_weight: np.ndarray | None = None) -> tuple[Sums, Sums]:
    """Add up what the rows contribute; and how large the contributions are."""
    record, x, weights, params = case
    s = np.ones(len(x)) if sample_weight is None else sample_weight
    joint = record.log_joint(x, weights, params)
    responsibilities, log_likelihood = normalised(joint)
    r = s[:, None] * responsibilities
    z = np.reshape(x, (len(x), 1, -1)) - np.reshape(params["means"], (len(weights), -1))
    return (
        _sums(record, s, log_likelihood, r, z),
        _sums(record, s, np.abs(log_likelihood), r, np.abs(z)),
    )


def _sums(
    record: Record, s: np.ndarray, log_likelihood: np.ndarray, r: np.ndarray, z: np.ndarray
) -> Sums:
    first = np.einsum("nk,nkd->kd", r, z)
    products = np.einsum("nk,nkd,nke->kde", r, z, z)
    second = {
        "univariate": lambda: products[:, 0, 0],
        "spherical": lambda: np.trace(products, axis1=1, axis2=2),
        "diagonal": lambda: np.diagonal(products, axis1=1, axis2=2),
        "tied": lambda: products.sum(axis=0),
        "full": lambda: products,
    }[record.name]()
    first = first[:, 0] if record.univariate else first
    return Sums(s @ log_likelihood, s.sum(), r.sum(axis=0), first, second)


class Estimate(NamedTuple):
    """What an M-step gives, the covariances in the shape of the family's property."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


def maximized(
    record: Record, x: np.ndarray, responsibilities: np.ndarray, floor: float | None
) -> Estimate:
    """Estimate from responsibilities (n, k), already multiplied by sample weights."""
    rows = np.reshape(x, (len(x), -1))
    counts = responsibilities.sum(axis=0)
    means = responsibilities.T @ rows / counts[:, None]
    z = rows[:, None, :] - means
    scatter = np.einsum("nk,nkd,nke->kde", responsibilities, z, z)
    covariances = scatter / counts[:, None, None]
    d = rows.shape[1]
    floors = np.full(d, floor) if floor is not None else _default_floors(rows, responsibilities)
    mean_floor = floors.mean()
    covariances = {
        "univariate": lambda: covariances[:, 0, 0] + mean_floor,
        "spherical": lambda: np.trace(covariances, axis1=1, axis2=2) / d + mean_floor,
        "diagonal": lambda: np.diagonal(covariances, axis1=1, axis2=2) + floors,
        "tied": lambda: scatter.sum(axis=0) / counts.sum() + np.diag(floors),
        "full": lambda: covariances + np.diag(floors),
    }[record.name]()
    means = means[:, 0] if record.univariate else means
    return Estimate(counts / counts.sum(), means, covariances)


def _default_floors(rows: np.ndarray, responsibilities: np.ndarray) -> np.ndarray:
    """A millionth of the variance of each feature over all rows."""
    weights = responsibilities.sum(axis=1)
    mean = np.average(rows, axis=0, weights=weights)
    return 1e-6 * np.average((rows - mean) ** 2, axis=0, weights=weights)


def fields(estimate: Estimate, record: Record) -> Params:
    """Turn an estimate into the two fields of its family."""
    _, means, covariances = estimate
    if record.name not in ("tied", "full"):
        return {"means": means, "variances": covariances}
    inverse = np.linalg.inv(np.linalg.cholesky(covariances))
    return {"means": means, "precision_cholesky": np.swapaxes(inverse, -1, -2)}


def m_step(
    case: Problem, sample_weight: np.ndarray | None = None, floor: float | None = 1e-6
) -> Estimate:
    """Run one E-step and one M-step."""
    record, x, weights, params = case
    responsibilities, _ = normalised(record.log_joint(x, weights, params))
    if sample_weight is not None:
        responsibilities = sample_weight[:, None] * responsibilities
    return maximized(record, x, responsibilities, floor)


def em(
    case: Problem, n_iter: int, sample_weight: np.ndarray | None = None, floor: float | None = 1e-6
) -> tuple[Problem, np.ndarray]:
    """Iterate: the problem at the last mixture, and the log-likelihood after each M-step."""
    s = np.ones(len(case.x)) if sample_weight is None else sample_weight
    heights = []
    for _ in range(n_iter):
        estimate = m_step(case, s, floor)
        case = case._replace(weights=estimate.weights, params=fields(estimate, case.record))
        rows = normalised(case.record.log_joint(case.x, case.weights, case.params))[1]
        heights.append(s @ rows)
    return case, np.array(heights)
