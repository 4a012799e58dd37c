"""Two components in the place of one: where to cut its rows, and what that gains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp import execution
from estep_xp.em.starts.scatter import Judge, Scatter, Summed, x_log_x
from estep_xp.mixture.kernels import LogJoint
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.em.starts.rows import Floats
    from estep_xp.em.starts.short_em import ShortEM

_CUTS = 2  # of a component, that are tried
_STEPS = 3  # of EM on the better of them
_MOST_AXES = 6  # principal axes
_CRUDE_ERROR = 0.5  # nats a row, by which a cut may gain more than its best axis tells
_SMALL_ERROR = 0.1  # nats a row, by which it may gain more than after a single step
_LEAST_SHARE = 0.01  # of a row that counts for where to cut
_LEAST_ROWS = 2.0  # on either side of a cut


class Splits(NamedTuple):
    """Shares (n, m, 2) of rows in the halves of m components, and gains (m,) of the bound."""

    shares: Floats
    gains: Floats


def find_splits(
    em: ShortEM,
    judge: Judge,
    summed: Summed,
    shares: Floats,
    scatter: Scatter,
    least_gains: Floats,
) -> Splits:
    """Cut each of the components whose shares (n, m) and scatter are given.

    Of those that fall short of their least gain (m,) by far, the gain is not worked out: -inf.
    """
    values = judge.values(scatter) - x_log_x(shares).sum(axis=0)
    sides, crude = _cut(judge, summed.z, shares, scatter)
    promising = crude + _CRUDE_ERROR * scatter.counts > least_gains
    halves, gains = np.zeros((*shares.shape, 2)), np.full(len(values), -np.inf)
    columns = np.flatnonzero(promising)
    for side in sides:
        tried = _refine(em, judge, summed, shares[:, columns], side[:, columns], values[columns], 1)
        better = tried.gains > gains[columns]
        halves[:, columns[better]] = tried.shares[:, better]
        gains[columns] = np.maximum(gains[columns], tried.gains)
    columns = np.flatnonzero(gains + _SMALL_ERROR * scatter.counts + 5.0 > least_gains)
    best = _refine(
        em, judge, summed, shares[:, columns], halves[:, columns], values[columns], _STEPS
    )
    halves[:, columns], gains[columns] = best.shares, best.gains
    return Splits(halves, gains)


def _refine(
    em: ShortEM,
    judge: Judge,
    summed: Summed,
    shares: Floats,
    halves: Floats,
    values: Floats,
    steps: int,
) -> Splits:
    """Take steps of EM within each component, between its halves alone."""
    n, m = shares.shape
    if m == 0:
        return Splits(halves, values)
    for _ in range(steps):
        flat = halves.reshape(n, 2 * m)
        scatter = summed.by(np.maximum(flat, 1e-300))
        mixture = Mixture(scatter.counts, judge.components(scatter))
        joint = _log_joint(em, mixture).reshape(n, m, 2)
        difference = joint[:, :, 1] - joint[:, :, 0]
        second = shares / (1.0 + np.exp(np.clip(-difference, -700.0, 700.0)))
        halves = np.stack([shares - second, second], axis=2)
    flat = halves.reshape(n, 2 * m)
    scatter = summed.by(np.maximum(flat, 1e-300))
    gains = (judge.values(scatter) - x_log_x(flat).sum(axis=0)).reshape(m, 2).sum(axis=1) - values
    good = (scatter.counts.reshape(m, 2) >= _LEAST_ROWS).all(axis=1) & np.isfinite(gains)
    return Splits(halves, np.where(good, gains, -np.inf))


def _log_joint(em: ShortEM, mixture: Mixture) -> Floats:
    kernel = LogJoint(int(mixture.weights.shape[0]), False, lazy=False)
    driver = execution.driver_for(em.space)
    joint: Any = driver.map_rows(kernel, em.space, em.rows[:1], mixture, em.options)[0]
    return joint


def _cut(judge: Judge, z: Floats, shares: Floats, scatter: Scatter) -> tuple[list[Floats], Floats]:
    """For the best cuts, shares (n, m, 2) in halves of all components; and a crude gain (m,)."""
    n, m = shares.shape
    axes, scales = _principal_axes(judge, scatter)
    sides, crude = np.zeros((_CUTS, n, m), dtype=bool), np.full(m, -np.inf)
    for c in range(m):
        rows = np.flatnonzero(shares[:, c] > _LEAST_SHARE)
        share = shares[rows, c]
        y = (z[rows] - scatter.means[c]) @ (axes[c] / scales[c])
        coordinates = _coordinates(y, share)
        for i, (side, gain) in enumerate(_best_cuts(judge, coordinates, share)):
            sides[i, rows, c] = side
            crude[c] = max(crude[c], gain)
    halves = [
        np.stack([np.where(side, 0.0, shares), np.where(side, shares, 0.0)], axis=2)
        for side in sides
    ]
    return halves, crude


def _principal_axes(judge: Judge, scatter: Scatter) -> tuple[Floats, Floats]:
    """Axes (m, d, d), the longest last, and the deviations (m, 1, d) along them."""
    extra = 1e-3
    total = (scatter.counts + extra)[:, None, None]
    variances, axes = np.linalg.eigh((scatter.products + extra * judge.pooled) / total)
    along = judge.family._line_variances(variances, axes, judge.pooled)
    least = 1e-12 * along.max(axis=1, keepdims=True) + 1e-300
    return _orient_axes(axes), np.sqrt(np.maximum(along, least))[:, None, :]


def _orient_axes(axes: Floats) -> Floats:
    """Turn axes (..., d, d), which are columns, so that the largest entry of each is positive.

    Otherwise rounding would decide which half of a cut is the first.
    """
    largest = np.take_along_axis(axes, np.argmax(np.abs(axes), axis=-2)[..., None, :], axis=-2)
    return np.where(largest < 0, -axes, axes)


def _coordinates(y: Floats, share: Floats) -> Floats:
    """Where whitened rows (n, d) lie along axes that may tell two clusters apart (n, axes)."""
    d = y.shape[1]
    norms = np.einsum("nd,nd->n", y, y)
    found = [y[:, -_MOST_AXES:]]
    if d > 1:
        # Two clusters side by side have little kurtosis along the line between them, and a few
        # rows far away have much.
        fourth = (y * (share * norms)[:, None]).T @ y
        axes = _orient_axes(np.linalg.eigh(fourth)[1])
        ends = axes if d <= 3 else axes[:, [0, 1, -1]]
        found.append(y @ ends)
    found.append(norms[:, None])
    return np.concatenate(found, axis=1)


def _best_cuts(judge: Judge, coordinates: Floats, share: Floats) -> list[tuple[Any, float]]:
    """Flags (n,) of the rows beyond the best cuts along different axes, and what each gains."""
    n, _ = coordinates.shape
    if n < 2:
        return []
    order = np.argsort(coordinates, axis=0)
    sorted_ = np.take_along_axis(coordinates, order, axis=0)
    q = share[order]
    counts = np.cumsum(q, axis=0)[:-1]
    first = np.cumsum(q * sorted_, axis=0)
    second = np.cumsum(q * sorted_ * sorted_, axis=0)
    mass, total, squares = share.sum(), first[-1], second[-1]
    whole = squares - total * total / mass

    def values(counts: Any, first: Any, second: Any) -> Any:
        counts = np.maximum(counts, 1e-12)
        scatter = np.maximum(second - first * first / counts, 0.0)
        return counts * np.log(counts) + judge.line_values(counts, scatter, whole / mass)

    left = values(counts, first[:-1], second[:-1])
    right = values(mass - counts, total - first[:-1], squares - second[:-1])
    gains = left + right
    ends = (counts < _LEAST_ROWS) | (mass - counts < _LEAST_ROWS)
    gains = np.where(ends | (sorted_[1:] <= sorted_[:-1]), -np.inf, gains)
    places = np.argmax(gains, axis=0)
    along = np.arange(gains.shape[1])
    heights = gains[places, along] - values(mass, total, squares)
    best = np.argsort(-heights, kind="stable")[:_CUTS]
    return [(coordinates[:, j] > sorted_[places[j], j], float(heights[j])) for j in best]
