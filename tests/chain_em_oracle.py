"""EM of a hidden Markov model with Gaussian states, as a textbook writes it (Rabiner 1989)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm


class Model(NamedTuple):
    """A chain of univariate Gaussians."""

    initial: np.ndarray
    transitions: np.ndarray
    means: np.ndarray
    variances: np.ndarray


def iterate(x, model, lengths, weights, floor, prior=0.0):
    """One iteration in log space, path messages row by row; the log-likelihood before it, too."""
    k = len(model.initial)
    with np.errstate(divide="ignore"):
        log_pi, log_a = np.log(model.initial), np.log(model.transitions)
    ends = np.cumsum(lengths)
    total, start, moves = 0.0, np.zeros(k), np.zeros((k, k))
    gamma = np.zeros((len(x), k))
    for end, length, weight in zip(ends, lengths, weights, strict=True):
        rows = slice(end - length, end)
        b = norm.logpdf(x[rows, None], model.means, np.sqrt(model.variances))
        alpha, beta = np.zeros((length, k)), np.zeros((length, k))
        alpha[0] = log_pi + b[0]
        for t in range(1, length):
            alpha[t] = logsumexp(alpha[t - 1][:, None] + log_a, axis=0) + b[t]
        for t in range(length - 2, -1, -1):
            beta[t] = logsumexp(log_a + (b[t + 1] + beta[t + 1])[None, :], axis=1)
        whole = logsumexp(alpha[-1])
        total += weight * whole
        gamma[rows] = weight * np.exp(alpha + beta - whole)
        start += gamma[end - length]
        for t in range(1, length):
            joint = alpha[t - 1][:, None] + log_a + (b[t] + beta[t])[None, :]
            moves += weight * np.exp(joint - whole)
    counts = gamma.sum(axis=0)
    means = (gamma * x[:, None]).sum(axis=0) / counts
    variances = (gamma * (x[:, None] - means) ** 2).sum(axis=0) / counts + floor
    start = np.where(model.initial > 0, start + prior, 0.0)
    moves = np.where(model.transitions > 0, moves + prior, 0.0)
    new = Model(start / start.sum(), moves / moves.sum(axis=1, keepdims=True), means, variances)
    return total, new
