"""The default start: up to eight starts, each improved until no move gains; the best is kept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp.em.starts.kmeans import choose_seeds, find_clusters, share_rows, squared_distances
from estep_xp.em.starts.moves import improve
from estep_xp.em.starts.scatter import Judge, Summed
from estep_xp.em.starts.short_em import Fitted, ShortEM
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.em.starts.rows import Floats, Rows

# Few clusters repeat themselves from seed to seed; wide components differ most.
_STARTS = ("clusters", "wide", "whitened", "wide", "clusters", "wide", "clusters", "wide")
_AGREEING = 3  # starts that lead to the same log-likelihood, after which no more are made
_STEPS = 10  # of EM before and after moves
_MOST_STEPS = 100  # of EM when no move is left
_ROUNDS = 8  # of moves
_LEAST_RISE = 0.5  # nats, that a round must bring
_SMALL_RISE = 2e-6  # nats a row, in a step of EM that is as good as the last
_ROUNDING = 1e-8  # nats a row
_MOST_FEATURES = 64  # from which on moves take too long


def settle(family: Any, rows: Rows, em: ShortEM, k: int, random: np.random.Generator) -> Fitted:
    """The best of up to eight starts of components that have covariances."""
    search = _Search(family, rows, Summed.of(rows.z), em, k)
    found: list[Fitted] = []
    begun: list[Floats] = []
    for kind in _STARTS[: None if k > 1 else 1]:
        shares = _begin(kind, rows, search.summed, k, random)
        if any(_are_alike(shares, other) for other in begun):
            shares = _begin("wide", rows, search.summed, k, random)
        begun.append(shares)
        new = search.climb(shares)
        found.append(search.polish(new, found))
        if search.agree(found):
            break
    return search.best(found)


class _Search(NamedTuple):
    """EM and moves on some rows."""

    family: Any
    rows: Rows
    summed: Summed
    em: ShortEM
    k: int

    @property
    def least_rise(self) -> float:
        """The rise of the total, in nats, below which EM stands still."""
        return _SMALL_RISE * self.rows.mass

    def climb(self, shares: Floats) -> Fitted:
        """EM from shares, and rounds of moves as long as they gain."""
        fitted = self.run(shares)
        if self.k == 1 or self.rows.z.shape[1] > _MOST_FEATURES:
            return fitted
        shares = self.shares(fitted)
        for _ in range(_ROUNDS):
            judge = Judge.of(self.family, self.summed.by(shares))
            moved = improve(self.em, judge, self.summed, shares)
            if moved is None:
                break
            new = self.run(moved)
            if self.is_collapsing(new) and not self.is_collapsing(fitted):
                break
            rise = new.log_likelihood - fitted.log_likelihood
            if rise > 0:
                fitted = new
                shares = self.shares(fitted)
            if not rise > _LEAST_RISE:
                break
        return fitted

    def run(self, shares: Floats) -> Fitted:
        """A few steps of EM from shares."""
        mixture = _mixture(self.family, self.summed, shares)
        return self.em.run(mixture, _STEPS, least_rise=self.least_rise)

    def polish(self, fitted: Fitted, found: list[Fitted]) -> Fitted:
        """EM until it stands still, or falls behind the best that has been found."""
        best = self.best(found).log_likelihood if found else -math.inf
        options: Any = {"least_rise": self.least_rise, "best": best, "accelerate": True}
        return self.em.run(fitted.mixture, _MOST_STEPS, **options)

    def shares(self, fitted: Fitted) -> Floats:
        """Weights (n, k) of rows by their responsibilities."""
        shares: Floats = np.asarray(self.em.responsibilities(fitted.mixture))
        return shares * self.rows.weight[:, None]

    def best(self, found: list[Fitted]) -> Fitted:
        """The best one: of those that differ by rounding alone, the first."""
        sound = self.sound(found)
        least = max(one.log_likelihood for one in sound) - _ROUNDING * self.rows.mass
        return next(one for one in sound if one.log_likelihood >= least)

    def agree(self, found: list[Fitted]) -> bool:
        """Whether enough starts have led to the best one."""
        least = self.best(found).log_likelihood - self.tolerance
        return sum(one.log_likelihood >= least for one in self.sound(found)) >= _AGREEING

    @property
    def tolerance(self) -> float:
        """Nats, by which the same optimum may differ from start to start."""
        return max(0.1, 2e-5 * self.rows.mass)

    def sound(self, found: list[Fitted]) -> list[Fitted]:
        """Those without a collapsing component, as long as there is one."""
        return [one for one in found if not self.is_collapsing(one)] or found

    def is_collapsing(self, fitted: Fitted) -> bool:
        """Whether a component has too few rows for its covariance: no maximum then."""
        least = np.asarray(fitted.mixture.weights).min() * self.rows.mass
        return bool(least < self.family._extra_rows(self.rows.z.shape[1]) + 1.0)


def _begin(kind: str, rows: Rows, summed: Summed, k: int, random: np.random.Generator) -> Floats:
    """Shares (n, k) of the rows to begin with."""
    if kind == "wide":
        seeds = choose_seeds(rows, k, random)
        distances = squared_distances(rows.z, seeds)
        width = max(float(rows.weight @ distances.min(axis=0)) / rows.mass / rows.z.shape[1], 1e-6)
        shares: Floats = np.exp(-0.5 * (distances - distances.min(axis=0)) / width).T
        shares *= (rows.weight / shares.sum(axis=1))[:, None]
        return shares
    if kind == "whitened":
        rows = rows._replace(z=_whiten(rows, summed))
    return share_rows(find_clusters(rows, k, random), k, rows.weight)


def _are_alike(one: Floats, other: Floats) -> bool:
    """Whether shares are the same but for the order of components."""
    common = one.T @ other
    own, others = ((shares * shares).sum(axis=0) for shares in (one, other))
    return np.allclose(common.max(axis=1), own) and np.allclose(common.max(axis=0), others)


def _whiten(rows: Rows, summed: Summed) -> Floats:
    overall = summed.by(rows.weight[:, None])
    variances, axes = np.linalg.eigh(overall.products[0] / rows.mass)
    good = variances > 1e-9 * variances[-1]
    scales = np.where(good, 1.0 / np.sqrt(np.where(good, variances, 1.0)), 0.0)
    white: Floats = rows.z @ (axes * scales)
    return white


def start_from_shares(family: Any, rows: Rows, shares: Floats) -> Mixture:
    """The M-step from shares (n, k) of standardised rows."""
    return _mixture(family, Summed.of(rows.z), shares)


def _mixture(family: Any, summed: Summed, shares: Floats) -> Mixture:
    """The M-step from shares, its covariances drawn to the pooled one."""
    scatter = summed.by(shares)
    components = Judge.of(family, scatter).components(scatter)
    return Mixture(scatter.counts / scatter.counts.sum(), components)
