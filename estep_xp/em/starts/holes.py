"""Rows for a start in the place of rows that lack values: each hole takes a neighbour's value.

The neighbour is the row nearest in the features that both rows have, among those that have this
one. So clusters stay apart, and features vary as they do; means in holes would draw all to the
middle. EM, which knows of the holes, does the rest.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.arrays.namespace import to_host
from estep_xp.em.starts.rows import choose_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.namespace import Space

    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Flags = np.ndarray[Any, np.dtype[np.bool_]]

_BLOCK = 256  # rows whose distances from all others are at hand
_GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)  # whose multiples fill the circle evenly
_STEPS = (0.2, 0.8)  # others, which pass round it often, too
_QUIET = 0.25  # share of a feature's values, those of least noise, by which noise is judged


def complete_rows(
    space: Space,
    rows: tuple[Array, ...],
    errors: tuple[Array, ...],
    k: int,
    random: np.random.Generator,
    supports: Callable[[Any], Any],
) -> tuple[Array, ...]:
    """Rows (x,) or (x, sample_weight) without holes: some of the rows, where there are many.

    `errors` are those of the rows, or nothing. What is noise for the most part is a hole, too. A
    feature that was never observed gets variance 1 where the family's support allows it.
    """
    x, weight = rows if len(rows) == 2 else (rows[0], None)
    if space.lazy:
        return _fill_with_means(space, x, weight, random), *rows[1:]
    mass = None if weight is None else to_host(weight)
    chosen = choose_rows(x.shape[0], mass, k, random)
    host = to_host(x).astype(np.float64)
    table = host[chosen].reshape(len(chosen), -1)
    hidden = np.isnan(table)
    if np.isinf(table).any():  # which is reported for the rows as they were given
        return space.parameter("x", np.where(np.isnan(host), 0.0, host)), *rows[1:]
    if errors:
        hidden |= _find_noisy(table, to_host(errors[0])[chosen].astype(np.float64))
    if not hidden.any():
        return rows
    some = ~hidden.all(axis=1)
    if some.sum() >= k:
        table, hidden, chosen = table[some], hidden[some], chosen[some]
    filled = _fill_holes(table, hidden)
    unseen = hidden.all(axis=0)
    if unseen.any():
        filled = np.where(unseen, _invent(filled, supports, host.shape[1:], random), filled)
    filled = filled.reshape(-1, *host.shape[1:])
    own = () if mass is None else (space.parameter("sample_weight", mass[chosen]),)
    return space.parameter("x", filled), *own


def _fill_holes(x: Floats, hidden: Flags) -> Floats:
    """Rows (n, d) without holes; those with nothing at all take the value of any row."""
    seen = ~hidden
    n_seen = np.maximum(seen.sum(axis=0), 1)
    table = np.where(seen, x, 0.0)
    means = table.sum(axis=0) / n_seen
    centred = np.where(seen, table - means, 0.0)
    deviations = np.sqrt((centred**2).sum(axis=0) / n_seen)
    z = centred / np.where(deviations > 0, deviations, 1.0)
    filled = np.where(seen, x, means)
    flags = seen.astype(np.float64)
    holes = np.flatnonzero(hidden.any(axis=1))
    for start in range(0, len(holes), _BLOCK):
        rows = holes[start : start + _BLOCK]
        distances = (z[rows] ** 2) @ flags.T - 2.0 * z[rows] @ z.T + flags[rows] @ (z**2).T
        # Of two rows at random a feature differs by 2 squared deviations.
        distances -= 2.0 * (flags[rows] @ flags.T)
        for j in np.flatnonzero(hidden[rows].any(axis=0) & seen.any(axis=0)):
            nearest = np.where(seen[:, j], distances, np.inf).argmin(axis=1)
            filled[rows, j] = np.where(hidden[rows, j], x[nearest, j], filled[rows, j])
    return filled


def _find_noisy(x: Floats, noise: Floats) -> Flags:
    """Entries (n, d) whose error varies more than the quietest of their feature do."""
    variances = np.diagonal(noise, axis1=1, axis2=2) if noise.ndim == 3 else noise.reshape(x.shape)
    known = np.where(np.isnan(x), np.inf, variances)
    quiet = known <= np.quantile(known, _QUIET, axis=0)
    quiet &= np.isfinite(known)
    columns = zip(x.T, quiet.T, strict=True)
    total = np.array([values[some].var() if some.any() else 0.0 for values, some in columns])
    noisy: Flags = ~quiet & (variances > total)
    return noisy


def _fill_with_means(
    space: Space, x: Array, weight: Array | None, random: np.random.Generator
) -> Array:
    """Rows with means in their holes, where no value can be looked at yet."""
    xp = space.xp
    seen = ~xp.isnan(x)
    counted = seen
    if weight is not None:
        counted = seen & (weight > 0 if x.ndim == 1 else (weight > 0)[:, None])
    n_seen = xp.sum(xp.astype(counted, space.dtype), axis=0)
    means = xp.sum(xp.where(counted, x, 0.0), axis=0) / xp.where(n_seen > 0, n_seen, 1.0)
    filled = xp.where(seen, x, means)
    if x.ndim == 1:
        return xp.where(n_seen > 0, filled, _unit_values(xp, xp.ones_like(x), _GOLDEN))
    # Each feature in an order of its own: what is the same in all rows, EM would never part.
    steps = space.parameter("x", random.uniform(*_STEPS, x.shape[1]))
    return xp.where(n_seen > 0, filled, _unit_values(xp, xp.ones_like(x[:, :1]), steps))


def _invent(
    like: Floats,
    supports: Callable[[Any], Any],
    features: tuple[int, ...],
    random: np.random.Generator,
) -> Floats:
    """Values (n, d) for features of which nothing is known, that vary inside their support."""
    places = np.arange(1.0, len(like) + 1.0)
    share = places * _GOLDEN - np.floor(places * _GOLDEN)
    values = np.ones_like(like)
    # From the last resort to what is preferred: of positive numbers, of 0 and 1, of any numbers.
    for kind in (-np.log1p(-share), np.floor(2.0 * share), math.sqrt(12.0) * (share - 0.5)):
        column = np.where(np.ones_like(like), kind[:, None], 0.0)
        good = np.asarray(supports(column.reshape(-1, *features))).reshape(like.shape)
        values = np.where(good.all(axis=0), column, values)
    # Each feature in an order of its own: what is the same in all rows, EM would never part.
    mixed: Floats = random.permuted(values, axis=0)
    return mixed


def _unit_values(xp: Any, ones: Any, steps: Any) -> Any:
    """Values (n,) or (n, d) of mean 0 and variance 1, multiples of steps on a circle."""
    places = xp.cumulative_sum(ones, axis=0) * steps
    return math.sqrt(12.0) * (places - xp.floor(places) - 0.5)
