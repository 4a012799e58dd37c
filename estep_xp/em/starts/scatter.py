"""Sums of rows by their shares: counts, means and scatter, and what components make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp.arrays.quiet import quietly

if TYPE_CHECKING:
    from estep_xp.em.starts.rows import Floats

_MOST_PRODUCTS = 16  # features whose products are kept for all rows


class Scatter(NamedTuple):
    """Counts (k,), means (k, d), and sums (k, d, d) of products of residuals about the means."""

    counts: Floats
    means: Floats
    products: Floats

    def merged(self, a: Any, b: Any) -> Scatter:
        """The scatter of components `a` and `b` taken together, pair by pair."""
        counts = self.counts[a] + self.counts[b]
        shift = self.means[b] - self.means[a]
        share = self.counts[b] / counts
        between = (self.counts[a] * share)[:, None, None] * (shift[:, :, None] * shift[:, None, :])
        means = self.means[a] + share[:, None] * shift
        return Scatter(counts, means, self.products[a] + self.products[b] + between)

    def take(self, indices: Any) -> Scatter:
        """Some of the components."""
        return Scatter(*(array[indices] for array in self))


class Summed(NamedTuple):
    """Rows z (n, d), and their products (n, d * d) where that pays."""

    z: Floats
    products: Floats | None

    @classmethod
    def of(cls, z: Floats) -> Summed:
        """Prepare rows for sums by shares."""
        d = z.shape[1]
        if d > _MOST_PRODUCTS:
            return cls(z, None)
        return cls(z, (z[:, :, None] * z[:, None, :]).reshape(len(z), d * d))

    def by(self, shares: Floats) -> Scatter:
        """Scatter of components by the shares (n, k) that they have in the rows."""
        z, d = self.z, self.z.shape[1]
        counts = shares.sum(axis=0)
        means = (shares.T @ z) / counts[:, None]
        if self.products is None:
            second = np.stack([(z * share[:, None]).T @ z for share in shares.T])
        else:
            second = (shares.T @ self.products).reshape(-1, d, d)
        between = counts[:, None, None] * (means[:, :, None] * means[:, None, :])
        return Scatter(counts, means, _with_diagonal(second - between))


def _with_diagonal(products: Floats) -> Floats:
    """The products, those of a feature with itself not negative."""
    d = products.shape[-1]
    places = np.arange(d)
    products[:, places, places] = np.maximum(products[:, places, places], 0.0)
    return products


class Judge(NamedTuple):
    """What components of a family say of scatters: a bit nearer to all than to their few rows."""

    family: Any
    mass: float  # the weighted number of rows
    pooled: Floats  # (d, d): covariance within components

    @classmethod
    def of(cls, family: Any, scatter: Scatter) -> Judge:
        """The judge of components whose scatter this is."""
        mass = float(scatter.counts.sum())
        pooled = scatter.products.sum(axis=0) / mass
        d = len(pooled)
        # Never so narrow that a component could not see its neighbours.
        return cls(family, mass, pooled + np.eye(d) * (1e-6 + 1e-9 * np.trace(pooled) / d))

    def components(self, scatter: Scatter) -> Any:
        """Components with the means, and covariances drawn to the pooled one by a few rows."""
        extra = self.family._extra_rows(len(self.pooled))
        total = (scatter.counts + extra)[:, None, None]
        covariances = (scatter.products + extra * self.pooled) / total
        return quietly(self.family._with_covariances, scatter.means, covariances, self.pooled)

    def line_values(self, counts: Any, scatter: Any, overall: Any) -> Any:
        """Expected log-densities of rows along lines, in units of the components' deviations."""
        return self.family._line_values(counts, scatter, overall, len(self.pooled))

    def values(self, scatter: Scatter) -> Floats:
        """Expected log-density of each component's rows, with log-weights, less what all share."""
        log_determinants, traces = self.components(scatter)._log_determinants_and_traces(
            scatter.products
        )
        counts = scatter.counts
        logs = np.log(counts / self.mass)
        values: Floats = counts * logs - 0.5 * counts * log_determinants - 0.5 * traces
        return values


def x_log_x(values: Floats) -> Floats:
    """Numbers times their logarithms; 0 for 0."""
    return values * np.log(np.where(values > 0, values, 1.0))
