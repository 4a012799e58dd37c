"""k-means: greedy k-means++ seeds, and Lloyd's iterations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from estep_xp.em.starts.rows import Floats, Rows

    Labels = np.ndarray[Any, np.dtype[np.intp]]

_MOST_ITERATIONS = 30
_CACHED_NUMBERS = 1 << 20


def find_clusters(rows: Rows, k: int, random: np.random.Generator) -> Labels:
    """Labels (n,) of the rows, by Lloyd's iterations from greedy seeds."""
    return lloyd(rows, choose_seeds(rows, k, random, candidates=2 + int(math.log(k))))


def choose_seeds(rows: Rows, k: int, random: np.random.Generator, *, candidates: int = 1) -> Floats:
    """Rows (k, d) far from each other: k-means++.

    Each is drawn by its squared distance from the nearest so far (Arthur and Vassilvitskii 2007);
    of several candidates, the one that leaves the least of these distances.
    """
    z, weight = rows.z, rows.weight
    distances = np.full(len(z), np.inf)
    seeds: list[Floats] = []
    mass = weight
    for _ in range(k):
        drawn = _draw(mass, random.random(candidates if seeds else 1))
        nearer = np.minimum(distances, squared_distances(z, z[drawn]))
        best = int(np.argmin(nearer @ weight))
        distances = nearer[best]
        seeds.append(z[drawn[best]])
        mass = weight * distances
        if not mass.any():  # every row is a seed already: any will do
            mass = weight
    return np.stack(seeds)


def _draw(mass: Floats, draws: Floats) -> Labels:
    """Indices at which the cumulated mass passes shares of the whole."""
    cumulated = np.cumsum(mass)
    indices = np.searchsorted(cumulated, draws * cumulated[-1], side="right")
    places: Labels = np.minimum(indices, len(mass) - 1)
    return places


def squared_distances(z: Floats, centres: Floats) -> Floats:
    """Squared distances (m, n) of rows from centres (m, d), 0 for rows that are equal to them."""
    if centres.size * len(z) <= _CACHED_NUMBERS:
        residuals = z[None, :, :] - centres[:, None, :]
        squares: Floats = np.einsum("mnd,mnd->mn", residuals, residuals)
        return squares
    return np.stack([np.einsum("nd,nd->n", z - one, z - one) for one in centres])


def lloyd(rows: Rows, centres: Floats, most: int = _MOST_ITERATIONS) -> Labels:
    """Labels of rows after Lloyd's iterations, which end when no row changes its centre."""
    z, weight = rows.z, rows.weight
    n, k = len(z), len(centres)
    labels = np.full(n, -1)
    places = np.arange(n)
    for _ in range(most):
        # Of |z − c|² what depends on c: rows are about 0 in units of 1, so little cancels.
        scores = z @ centres.T - 0.5 * np.einsum("kd,kd->k", centres, centres)
        nearest = np.argmax(scores, axis=1)
        if (nearest == labels).all():
            break
        labels = nearest
        own = np.zeros((k, n))
        own[labels, places] = weight
        counts = own.sum(axis=1)
        empty = counts == 0
        means = own @ z / np.where(empty, 1.0, counts)[:, None]
        centres = np.where(empty[:, None], centres, means)
        if empty.any():
            centres = _refill(z, centres, labels, empty)
    return labels


def _refill(z: Floats, centres: Floats, labels: Labels, empty: Any) -> Floats:
    """The centres, but those without rows at the rows that are farthest from theirs."""
    residuals = z - centres[labels]
    distances = np.einsum("nd,nd->n", residuals, residuals)
    farthest = np.argsort(-distances, kind="stable")[: int(empty.sum())]
    centres = centres.copy()
    places = np.flatnonzero(empty)[: len(farthest)]
    apart = distances[farthest] > 0
    centres[places[apart]] = z[farthest[apart]]
    return centres


def share_rows(labels: Labels, k: int, weight: Floats) -> Floats:
    """Weights (n, k) of rows by their labels; a label that no row has shares all of them."""
    n = len(labels)
    shares = np.zeros((n, k))
    shares[np.arange(n), labels] = 1.0
    empty = ~shares.any(axis=0)
    shares[:, empty] = 1.0 / k
    shares *= (weight / shares.sum(axis=1))[:, None]
    return shares
