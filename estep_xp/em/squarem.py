"""SQUAREM: a longer step in the direction in which two steps of EM have gone.

Varadhan and Roland 2008, "Simple and globally convergent methods for accelerating the convergence
of any EM algorithm", scheme S3. It extrapolates numbers that may take any value (logits of weights,
means, logarithms of variances, Cholesky entries), so what comes out is a mixture again.
"""

from __future__ import annotations

import math
from typing import Any

from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.nested import leaves_of
from estep_xp.families.contract import family_of


def squarem_step(xp: Namespace, start: Any, once: Any, twice: Any, floor: Any) -> tuple[Any, Array]:
    """The mixture beyond `twice`, where `once` and `twice` are one and two steps from `start`.

    And whether it may be used at all: it must be finite, and no variance below the floor, where a
    spike on a single row would look like progress.
    """
    allowed = [array > 0 for array in twice[:-1]]  # probabilities that are not 0
    a, b, last = (_free(xp, mixture, allowed) for mixture in (start, once, twice))
    # A parameter at a bound, as a rate of 0, is infinite here: it stays where EM has brought it.
    inside = [xp.isfinite(x + y + z) for x, y, z in zip(a, b, last, strict=True)]
    a, b, c = (
        [xp.where(*pair, 0.0) for pair in zip(inside, free, strict=True)] for free in (a, b, last)
    )
    steps = [y - x for x, y in zip(a, b, strict=True)]
    turns = [z - 2.0 * y + x for x, y, z in zip(a, b, c, strict=True)]
    # Means are measured in deviations: a change of units changes nothing.
    scales = [*(1.0,) * len(allowed), *family_of(start.components)._step_scales(xp)]
    length, turn = (_squared_norm(xp, vectors, scales) for vectors in (steps, turns))
    # Where there is nothing to go by, the ratio is 1; and so that its derivative is finite, too.
    bent = (length > 0) & (turn > 0)
    ratio = xp.sqrt(xp.where(bent, length, 1.0) / xp.where(bent, turn, 1.0))
    factor = xp.where(ratio > 1, ratio, 1.0)  # 1 gives `twice`
    moved = [
        x + 2.0 * factor * step + factor * factor * turn
        for x, step, turn in zip(a, steps, turns, strict=True)
    ]
    moved = [xp.where(*three) for three in zip(inside, moved, last, strict=True)]
    mixture = _model(xp, moved, start, allowed)
    return mixture, _is_usable(xp, mixture, floor)


def _free(xp: Namespace, mixture: Any, allowed: list[Array]) -> list[Array]:
    pairs = zip(allowed, mixture[:-1], strict=True)
    logits = [xp.log(xp.where(flags, array, 1.0)) for flags, array in pairs]
    return [*logits, *family_of(mixture.components)._to_unconstrained(xp)]


def _model(xp: Namespace, free: list[Array], like: Any, allowed: list[Array]) -> Any:
    """The model of these numbers; components that are lost stay lost, and zeros of a chain."""
    pairs = zip(free, allowed, strict=False)
    probabilities = [_normalize(xp, xp.where(flags, one, -math.inf)) for one, flags in pairs]
    others = free[len(allowed) :]
    return type(like)(*probabilities, family_of(like.components)._from_unconstrained(xp, *others))


def _normalize(xp: Namespace, logits: Array) -> Array:
    """Probabilities along the last axis."""
    shares = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
    return shares / xp.sum(shares, axis=-1, keepdims=True)


def _squared_norm(xp: Namespace, vectors: list[Array], scales: list[Any]) -> Array:
    scaled = [vector * scale for vector, scale in zip(vectors, scales, strict=True)]
    return sum((xp.sum(one * one) for one in scaled[1:]), start=xp.sum(scaled[0] * scaled[0]))


def _is_usable(xp: Namespace, mixture: Any, floor: Any) -> Array:
    components: Any = mixture.components
    usable = xp.asarray(True)
    for array in mixture[:-1]:
        usable = usable & xp.all(xp.isfinite(array))
    usable = usable & family_of(components)._stays_above(xp, floor)
    for array in leaves_of(components):
        usable = usable & xp.all(xp.isfinite(array))
    return usable
