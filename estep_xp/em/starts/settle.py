"""The default start: up to eight starts, each improved until no move gains; the best is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.em.starts.kmeans import choose_seeds, find_clusters, share_rows, squared_distances
from estep_xp.em.starts.moves import improve
from estep_xp.em.starts.scatter import Judge, Summed
from estep_xp.em.starts.short_em import Fitted, ShortEM
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.em.starts.rows import Floats, Rows

_STARTS = 8  # few data need more than three or four
_STEPS = 10  # of EM before and after moves
_ROUNDS = 8  # of moves
_LEAST_RISE = 0.5  # nats, that a round must bring
_ROUNDING = 1e-8  # nats a row
_MOST_FEATURES = 64  # from which on moves take too long
_AGREEING = 2  # starts that lead to the same log-likelihood, after which no more are made


def settle(family: Any, rows: Rows, em: ShortEM, k: int, random: np.random.Generator) -> Fitted:
    """The best of up to eight starts of components that have covariances."""
    summed = Summed.of(rows.z)
    found: list[Fitted] = []
    for i in range(_STARTS if k > 1 else 1):
        found.append(_settle_one(family, rows, summed, em, _begin(i, rows, summed, k, random)))
        sound = [one for one in found if not _is_collapsing(family, rows, one)] or found
        totals = [one.log_likelihood for one in sound]
        if sum(total >= max(totals) - _tolerance(rows) for total in totals) >= _AGREEING:
            break
    # Of those that differ by rounding alone the first, or rounding would tell which it is.
    least = max(totals) - _ROUNDING * rows.mass
    return next(one for one in sound if one.log_likelihood >= least)


def _is_collapsing(family: Any, rows: Rows, fitted: Fitted) -> bool:
    """Whether a component has too few rows for its covariance, whose likelihood has no maximum."""
    weights = np.asarray(fitted.mixture.weights)
    return bool(weights.min() * rows.mass < family._extra_rows(rows.z.shape[1]) + 1.0)


def _tolerance(rows: Rows) -> float:
    return max(0.5, 1e-4 * rows.mass)


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


def _settle_one(family: Any, rows: Rows, summed: Summed, em: ShortEM, shares: Floats) -> Fitted:
    """EM from shares, and rounds of moves as long as they gain."""
    fitted = em.run(_mixture(family, summed, shares), _STEPS)
    weight = rows.weight[:, None]
    shares = np.asarray(em.responsibilities(fitted.mixture)) * weight
    k = shares.shape[1]
    if k == 1 or rows.z.shape[1] > _MOST_FEATURES:
        return fitted
    for _ in range(_ROUNDS):
        judge = Judge.of(family, summed.by(shares))
        moved = improve(em, judge, summed, shares)
        if moved is None:
            break
        new = em.run(_mixture(family, summed, moved), _STEPS)
        if _is_collapsing(family, rows, new) and not _is_collapsing(family, rows, fitted):
            break
        rise = new.log_likelihood - fitted.log_likelihood
        if rise > 0:
            fitted = new
            shares = np.asarray(em.responsibilities(fitted.mixture)) * weight
        if not rise > _LEAST_RISE:
            break
    return fitted


def start_from_shares(family: Any, rows: Rows, shares: Floats) -> Mixture:
    """The M-step from shares (n, k) of standardised rows."""
    return _mixture(family, Summed.of(rows.z), shares)


def _mixture(family: Any, summed: Summed, shares: Floats) -> Mixture:
    """The M-step from shares, its covariances drawn to the pooled one."""
    scatter = summed.by(shares)
    components = Judge.of(family, scatter).components(scatter)
    return Mixture(scatter.counts / scatter.counts.sum(), components)
