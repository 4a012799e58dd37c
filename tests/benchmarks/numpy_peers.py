"""Peers of the E-step on NumPy arrays: scikit-learn, the textbook, SciPy's logsumexp."""

from __future__ import annotations

import numpy as np

from tests.benchmarks.peers import Peer
from tests.benchmarks.problems import Case
from tests.benchmarks.timing import Call

COVARIANCE_TYPES = {
    "univariate": "diag",
    "spherical": "spherical",
    "diagonal": "diag",
    "tied": "tied",
    "full": "full",
}


def scikit_learn(case: Case) -> Call:
    """GaussianMixture with its parameters set: what its `fit` calls, and the exponential."""
    from sklearn.mixture import GaussianMixture

    problem = case.problem
    model = GaussianMixture(problem.k, covariance_type=COVARIANCE_TYPES[problem.family])
    model.weights_ = case.weights
    model.means_ = case.means.reshape(problem.k, -1)
    factors = case.precision_cholesky
    model.precisions_cholesky_ = factors if problem.family != "univariate" else factors[:, None]
    table = case.table

    def call():
        log_likelihood, log_responsibilities = model._estimate_log_prob_resp(table)
        return np.exp(log_responsibilities), log_likelihood

    return call


def textbook(case: Case) -> Call:
    """Weighted densities over their sum."""

    def call():
        joint = case.weights * np.exp(log_densities(case))
        density = joint.sum(axis=1)
        return joint / density[:, None], np.log(density)

    return call


def scipy_logsumexp(case: Case) -> Call:
    """Log densities, normalised by SciPy's logsumexp."""
    from scipy.special import logsumexp

    def call():
        log_joint = np.log(case.weights) + log_densities(case)
        log_likelihood = logsumexp(log_joint, axis=1)
        return np.exp(log_joint - log_likelihood[:, None]), log_likelihood

    return call


def log_densities(case: Case) -> np.ndarray:
    """Log densities (n, k) by the formula, broadcast in one dimension, else by component."""
    if case.problem.family == "univariate":
        distances = (case.x[:, None] - case.means) ** 2 / case.covariances
        return -0.5 * (distances + np.log(2.0 * np.pi * case.covariances))
    n, d, k = case.problem.n, case.problem.d, case.problem.k
    out = np.empty((n, k), case.x.dtype)
    for j in range(k):
        standardised, log_determinant = _standardised(case, j)
        out[:, j] = log_determinant - 0.5 * (d * np.log(2.0 * np.pi) + (standardised**2).sum(1))
    return out


def _standardised(case: Case, j: int):
    """(x - μ) P of one component, and the log-determinant of P."""
    factor = (
        case.precision_cholesky if case.problem.family == "tied" else case.precision_cholesky[j]
    )
    residuals = case.x - case.means[j]
    if factor.ndim == 2:
        return residuals @ factor, np.log(np.diagonal(factor)).sum()
    scales = np.broadcast_to(factor, case.problem.d)
    return residuals * factor, np.log(scales).sum()


PEERS = (
    Peer("scikit-learn", "sklearn", scikit_learn),
    Peer("NumPy, textbook", "numpy", textbook),
    Peer("SciPy logsumexp", "scipy", scipy_logsumexp),
)
