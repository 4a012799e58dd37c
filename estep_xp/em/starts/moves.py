"""Split-and-merge: two components for one where they are missing, one for two where not.

Each move is judged by the bound that EM raises, the expected log-density plus the entropy of
responsibilities, on the rows of the components that it touches (Ueda et al. 2000 judge theirs by
heuristics and run EM on each). Disjoint moves are made at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp.em.starts.cuts import Splits, find_splits
from estep_xp.em.starts.scatter import Judge, Scatter, Summed, x_log_x

if TYPE_CHECKING:
    from estep_xp.em.starts.rows import Floats
    from estep_xp.em.starts.short_em import ShortEM

_PAIRS = 8  # pairs that are cut anew
_MORE_PAIRS = 24  # pairs that are looked at
_LEAST_GAIN = 1.0  # nats


class _Pairs(NamedTuple):
    """Pairs of components, cheapest first, and what the bound loses if they become one."""

    a: Any
    b: Any
    losses: Floats


def improve(em: ShortEM, judge: Judge, summed: Summed, shares: Floats) -> Floats | None:
    """Shares (n, k) after all disjoint moves that gain; None if there are none."""
    k = shares.shape[1]
    scatter = summed.by(shares)
    pairs = _cheapest_pairs(judge, scatter, shares)
    again = slice(0, min(_PAIRS, len(pairs.a)))
    both = shares[:, pairs.a[again]] + shares[:, pairs.b[again]]
    merged = scatter.merged(pairs.a[again], pairs.b[again])
    candidates = Scatter(*map(np.concatenate, zip(scatter, merged, strict=True)))
    least = np.full(len(candidates.counts), pairs.losses[0])
    least[k:] = pairs.losses[again]
    together = np.concatenate([shares, both], axis=1)
    splits = find_splits(em, judge, summed, together, candidates, least)
    moves = _moves(pairs, splits.gains, k)
    return _make(moves, splits, shares) if moves else None


def _cheapest_pairs(judge: Judge, scatter: Scatter, shares: Floats) -> _Pairs:
    k = len(scatter.counts)
    a, b = np.triu_indices(k, 1)
    values = judge.values(scatter)
    losses = values[a] + values[b] - judge.values(scatter.merged(a, b))
    order = np.argsort(losses, kind="stable")[:_MORE_PAIRS]
    a, b = a[order], b[order]
    # What overlaps is known less well by either component than by both together.
    own = x_log_x(shares).sum(axis=0)
    overlaps = x_log_x(shares[:, a] + shares[:, b]).sum(axis=0) - own[a] - own[b]
    losses = losses[order] + overlaps
    order = np.argsort(losses, kind="stable")
    return _Pairs(a[order], b[order], losses[order])


class _Move(NamedTuple):
    """Two components become one, and a third becomes two; or the two are cut anew."""

    gain: float
    a: int
    b: int
    split: int  # column of the splits


def _moves(pairs: _Pairs, gains: Floats, k: int) -> list[_Move]:
    """Disjoint moves that gain, the best first."""
    losses = pairs.losses
    found = [
        _Move(gains[k + i] - losses[i], a, b, k + i)
        for i, (a, b) in enumerate(zip(pairs.a, pairs.b, strict=True))
        if k + i < len(gains)
    ]
    net = gains[None, :k] - losses[:, None]
    for i, c in np.argwhere(net > _LEAST_GAIN):
        if c not in (pairs.a[i], pairs.b[i]):
            found.append(_Move(net[i, c], pairs.a[i], pairs.b[i], c))
    found.sort(key=lambda move: -move.gain)
    chosen: list[_Move] = []
    used: set[int] = set()
    for move in found:
        touched = {int(move.a), int(move.b)} | ({int(move.split)} if move.split < k else set())
        if move.gain > _LEAST_GAIN and not touched & used:
            chosen.append(move)
            used |= touched
    return chosen


def _make(moves: list[_Move], splits: Splits, shares: Floats) -> Floats:
    """Shares after the moves."""
    k = shares.shape[1]
    new = shares.copy()
    for move in moves:
        first, second = splits.shares[:, move.split, 0], splits.shares[:, move.split, 1]
        if move.split >= k:
            new[:, move.a], new[:, move.b] = first, second
        else:
            new[:, move.a] = shares[:, move.a] + shares[:, move.b]
            new[:, move.b], new[:, move.split] = first, second
    return new
