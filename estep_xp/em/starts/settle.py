"""The default start: up to four starts, each improved until no move gains; the best is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp.em.starts.kmeans import choose_seeds, find_clusters, share_rows, squared_distances
from estep_xp.em.starts.moves import improve
from estep_xp.em.starts.scatter import Judge, Summed
from estep_xp.em.starts.short_em import ShortEM
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.em.starts.rows import Floats, Rows

_STARTS = 4
_STEPS = 10  # of EM before and after moves
_ROUNDS = 8  # of moves
_LEAST_RISE = 0.5  # nats, that a round must bring
_ROUNDING = 1e-8  # nats a row
_MOST_FEATURES = 64  # from which on moves take too long
_CERTAIN = 0.03  # nats: entropy of a row, below which clusters lie so far apart that none is missed


class Settled(NamedTuple):
    """A finished start, in standardised features."""

    log_likelihood: float
    mixture: Mixture
    shares: Floats  # (n, k)


def settle(family: Any, rows: Rows, em: ShortEM, k: int, random: np.random.Generator) -> Settled:
    """The best of up to four starts of components that have covariances."""
    summed = Summed.of(rows.z)
    best = _settle_one(family, rows, summed, em, _begin(0, rows, summed, k, random))
    if k == 1 or _entropy(best.shares, rows.weight) < _CERTAIN:
        return best
    for i in range(1, _STARTS):
        found = _settle_one(family, rows, summed, em, _begin(i, rows, summed, k, random))
        found_again = abs(found.log_likelihood - best.log_likelihood) <= _tolerance(rows)
        # By more than rounding, which would tell which of two equal starts it is.
        if found.log_likelihood > best.log_likelihood + _ROUNDING * rows.mass:
            best = found
        if found_again:
            break
    return best


def _tolerance(rows: Rows) -> float:
    return max(0.5, 1e-4 * rows.mass)


def _entropy(shares: Floats, weight: Floats) -> float:
    """Mean entropy of rows."""
    r = shares / weight[:, None]
    entropy = -(r * np.log(np.where(r > 0, r, 1.0))).sum(axis=1)
    return float(weight @ entropy / weight.sum())


def _begin(i: int, rows: Rows, summed: Summed, k: int, random: np.random.Generator) -> Floats:
    """Shares (n, k) of the rows to begin with."""
    if i == 1:
        seeds = choose_seeds(rows, k, random)
        distances = squared_distances(rows.z, seeds)
        width = max(float(rows.weight @ distances.min(axis=0)) / rows.mass / rows.z.shape[1], 1e-6)
        shares: Floats = np.exp(-0.5 * (distances - distances.min(axis=0)) / width).T
        shares *= (rows.weight / shares.sum(axis=1))[:, None]
        return shares
    if i == 2:
        rows = rows._replace(z=_whiten(rows, summed))
    return share_rows(find_clusters(rows, k, random), k, rows.weight)


def _whiten(rows: Rows, summed: Summed) -> Floats:
    overall = summed.by(rows.weight[:, None])
    variances, axes = np.linalg.eigh(overall.products[0] / rows.mass)
    good = variances > 1e-9 * variances[-1]
    scales = np.where(good, 1.0 / np.sqrt(np.where(good, variances, 1.0)), 0.0)
    white: Floats = rows.z @ (axes * scales)
    return white


def _settle_one(family: Any, rows: Rows, summed: Summed, em: ShortEM, shares: Floats) -> Settled:
    """EM from shares, and rounds of moves as long as they gain."""
    fitted = em.run(_mixture(family, summed, shares), _STEPS)
    weight = rows.weight[:, None]
    shares = em.responsibilities(fitted.mixture) * weight
    k = shares.shape[1]
    if k == 1 or rows.z.shape[1] > _MOST_FEATURES:
        return Settled(*fitted, shares)
    for _ in range(_ROUNDS):
        judge = Judge.of(family, summed.by(shares))
        moved = improve(em, judge, summed, shares)
        if moved is None:
            break
        new = em.run(_mixture(family, summed, moved), _STEPS)
        rise = new.log_likelihood - fitted.log_likelihood
        if rise > 0:
            fitted = new
            shares = em.responsibilities(fitted.mixture) * weight
        if not rise > _LEAST_RISE:
            break
    return Settled(*fitted, shares)


def start_from_shares(family: Any, rows: Rows, shares: Floats) -> Mixture:
    """The M-step from shares (n, k) of standardised rows."""
    return _mixture(family, Summed.of(rows.z), shares)


def _mixture(family: Any, summed: Summed, shares: Floats) -> Mixture:
    """The M-step from shares, its covariances drawn to the pooled one."""
    scatter = summed.by(shares)
    components = Judge.of(family, scatter).components(scatter)
    return Mixture(scatter.counts / scatter.counts.sum(), components)
