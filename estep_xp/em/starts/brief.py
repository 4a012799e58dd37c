"""A short start for families without covariances: k-means, a few steps of EM, the best of a few."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from estep_xp import execution
from estep_xp.em.starts.kmeans import choose_seeds, lloyd, share_rows
from estep_xp.em.starts.shared import mixture_from_shares
from estep_xp.em.starts.short_em import Fitted, ShortEM, can_iterate

if TYPE_CHECKING:
    import numpy as np

    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.namespace import Space
    from estep_xp.em.starts.rows import Rows
    from estep_xp.mixture.mixture import Mixture

_STARTS, _STEPS, _LLOYD_STEPS = 4, 10, 30


def start_briefly(
    family: Any,
    space: Space,
    x: Array,
    rows: Rows,
    k: int,
    random: np.random.Generator,
    options: execution.Options,
) -> Mixture:
    """The best of a few starts after a few steps of EM; `x` are the rows in their own library."""
    given = (x,) if rows.equal else (x, space.parameter("sample_weight", rows.weight))
    em = ShortEM(space, given, options)
    found: list[Fitted] = []
    for i in range(_STARTS if k > 1 else 1):
        seeds = choose_seeds(rows, k, random, candidates=1 if i % 2 else 2 + int(math.log(k)))
        labels = lloyd(rows, seeds, 1 if i % 2 else _LLOYD_STEPS)
        shares = space.parameter("responsibilities", share_rows(labels, k, rows.weight))
        mixture = mixture_from_shares(space, family, x, shares, options)
        if not can_iterate(mixture.components):
            return mixture
        new = em.run(mixture, _STEPS)
        agree = any(
            abs(new.log_likelihood - one.log_likelihood) < _tolerance(rows) for one in found
        )
        found.append(new)
        if agree:
            break
    return max(found, key=lambda one: one.log_likelihood).mixture


def _tolerance(rows: Rows) -> float:
    return max(0.5, 1e-4 * rows.mass)
