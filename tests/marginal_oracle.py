"""Rows that lack values, or have errors, to 50 digits: Gaussians by their covariances.

Every pattern is marginalised by brute force: the covariance of what was observed is cut out of the
whole one, and solved with.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import estep_xp as ex
from tests.oracle import exact, log_sum_exp, mp


class Known(NamedTuple):
    """What n rows say under each of k components, in mpmath numbers."""

    log_joint: np.ndarray  # (n, k)
    means: np.ndarray  # (n, k, d): E[v | x]
    covariances: np.ndarray  # (n, k, d, d): Cov[v | x]

    @property
    def log_density(self):
        return np.array([log_sum_exp(row) for row in self.log_joint], dtype=object)

    @property
    def responsibilities(self):
        shares = self.log_joint - self.log_density[:, None]
        return np.vectorize(mp.exp, otypes=[object])(shares)

    def sums(self, means):
        """Counts (k,), first (k, d) and second moments (k, d, d) about these means (k, d)."""
        r, residuals = self.responsibilities, self.means - exact(means)
        first = (r[:, :, None] * residuals).sum(axis=0)
        products = residuals[..., :, None] * residuals[..., None, :] + self.covariances
        return r.sum(axis=0), first, (r[:, :, None, None] * products).sum(axis=0)

    def imputed(self):
        """Mean (n, d) and covariance (n, d, d) of v given each row."""
        r = self.responsibilities[:, :, None]
        mean = (r * self.means).sum(axis=1)
        gap = self.means - mean[:, None, :]
        spread = self.covariances + gap[..., :, None] * gap[..., None, :]
        return mean, (r[..., None] * spread).sum(axis=1)


def known(x, weights, means, covariances, noise=None):
    """Condition Gaussians on rows x (n, d) with NaN in their holes, all arguments exact floats.

    `covariances` (k, d, d) may hold mpmath numbers; `noise` (n, d, d).
    """
    n, d = x.shape
    k = len(means)
    log_joint, mean, covariance = (
        np.empty(shape, dtype=object) for shape in ((n, k), (n, k, d), (n, k, d, d))
    )
    log_weights = [mp.log(mp.mpf(float(w))) for w in weights]
    total = log_sum_exp(log_weights)
    for i, row in enumerate(x):
        seen = np.flatnonzero(~np.isnan(row))
        for c in range(k):
            v = covariances[c]
            s = mp.zeros(d) if noise is None else mp.matrix(exact(noise[i]).tolist())
            log_joint[i, c] = log_weights[c] - total
            mean[i, c], covariance[i, c] = exact(means[c]), np.array(v, dtype=object)
            if not len(seen):
                continue
            t = mp.matrix([[v[a, b] + s[int(a), int(b)] for b in seen] for a in seen])
            z = mp.matrix([mp.mpf(float(row[a])) - mp.mpf(float(means[c, a])) for a in seen])
            inverse = mp.inverse(t)
            quadratic = (z.T * inverse * z)[0]
            log_joint[i, c] -= (mp.log(mp.det(t)) + quadratic + len(seen) * mp.log(2 * mp.pi)) / 2
            gain = mp.matrix([[v[a, b] for b in seen] for a in range(d)]) * inverse
            mean[i, c] = mean[i, c] + np.array((gain * z).tolist(), dtype=object)[:, 0]
            known_part = gain * mp.matrix([[v[a, b] for b in range(d)] for a in seen])
            covariance[i, c] = covariance[i, c] - np.array(known_part.tolist(), dtype=object)
    return Known(log_joint, mean, covariance)


def covariances_of(factors):
    """Return exact covariances (k, d, d) of factors, of which upper triangles count."""
    out = np.empty(factors.shape, dtype=object)
    for c, factor in enumerate(factors):
        p = mp.matrix(exact(np.triu(factor)).tolist())
        out[c] = np.array(mp.inverse(p * p.T).tolist(), dtype=object)
    return out


def covariances_of_components(components):
    """Exact covariances (k, d, d) of Gaussian components of a family of several features."""
    k, d = components.means.shape
    if hasattr(components, "precision_cholesky"):
        factors = np.asarray(components.precision_cholesky, dtype=np.float64)
        return covariances_of(np.broadcast_to(factors, (k, d, d)))
    variances = np.asarray(components.variances, dtype=np.float64)
    variances = np.broadcast_to(variances.reshape(k, -1), (k, d))
    return exact(variances[:, :, None] * np.eye(d))


def reduced(components, second):
    """Reduce second moments (k, d, d) to what the statistics of a family hold."""
    if isinstance(components, ex.TiedGaussian):
        return second.sum(axis=0)
    if isinstance(components, ex.FullGaussian):
        return second
    diagonals = np.array([np.diag(matrix) for matrix in second], dtype=object)
    return diagonals.sum(axis=1) if isinstance(components, ex.SphericalGaussian) else diagonals
