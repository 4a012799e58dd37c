"""The first two derivatives of log Γ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estep_xp.arrays.special.elementary import log1p_minus, polynomial

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace

# Asymptotic series (Abramowitz and Stegun 1964, 6.3.18 and 6.4.12), exact from 10 on: Bernoulli's
# numbers B_2i over 2i, and themselves.
_DIGAMMA = (-3617 / 8160, 1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12)
_TRIGAMMA = (
    43867 / 798,
    -3617 / 510,
    7 / 6,
    -691 / 2730,
    5 / 66,
    -1 / 30,
    1 / 42,
    -1 / 30,
    1 / 6,
)
_FROM = 10


def log_minus_digamma(xp: Namespace, x: Array) -> Array:
    """The difference log x − ψ(x) for x > 0, positive, to a few eps of itself, differentiable.

    Examples
    --------
    >>> import numpy as np
    >>> log_minus_digamma(np, np.asarray([1.0, 1e8]))
    array([5.77215665e-01, 5.00000001e-09])
    """
    steps, y, small = _moved(xp, x)
    inverse = 1.0 / y
    square = inverse * inverse
    series = 0.5 * inverse + square * polynomial(_DIGAMMA, square)
    # ψ(x + 1) = ψ(x) + 1 / x; all terms are positive.
    sums = -xp.sum(log1p_minus(xp, 1.0 / steps), axis=-1)
    return series + xp.where(small, sums, 0.0)


def solve_log_minus_digamma(xp: Namespace, gap: Array) -> Array:
    """The x > 0 with log x − ψ(x) = gap, for gap > 0, to a few eps, differentiable.

    Examples
    --------
    >>> import numpy as np
    >>> solve_log_minus_digamma(np, np.asarray([0.57721566490153287, 5e-9]))
    array([1.e+00, 1.e+08])
    """
    # Minka (2002) begins within 1.5 per cent. The gap is nearly linear in t = 1 / x, of which
    # Newton's steps double the digits.
    root = xp.sqrt((gap - 3.0) * (gap - 3.0) + 24.0 * gap)
    low, high = xp.where(gap < 3.0, gap, 3.0), xp.where(gap < 3.0, 3.0, gap)
    t = xp.where(gap < 3.0, 12.0 * low / (3.0 - low + root), 0.5 * (high - 3.0 + root))
    for _ in range(3):
        x = 1.0 / t
        slope = x * x * _trigamma_excess(xp, x)
        t = t - (log_minus_digamma(xp, x) - gap) / slope
    return 1.0 / t


def digamma(xp: Namespace, x: Array) -> Array:
    """ψ(x), the derivative of log Γ, for x > 0; a few eps of max(1, |ψ|), differentiable.

    Examples
    --------
    >>> import numpy as np
    >>> digamma(np, np.asarray([0.5, 1.0, 1e8])).round(8)
    array([-1.96351003, -0.57721566, 18.42068074])
    """
    return xp.log(x) - log_minus_digamma(xp, x)


def trigamma(xp: Namespace, x: Array) -> Array:
    """ψ′(x) for x > 0, to a few eps of itself, differentiable.

    Examples
    --------
    >>> import numpy as np
    >>> trigamma(np, np.asarray([0.5, 1.0, 1e8]))
    array([4.93480220e+00, 1.64493407e+00, 1.00000001e-08])
    """
    return 1.0 / x + _trigamma_excess(xp, x)


def _trigamma_excess(xp: Namespace, x: Array) -> Array:
    """The difference ψ′(x) − 1 / x, positive: minus the derivative of log x − ψ(x)."""
    steps, y, small = _moved(xp, x)
    inverse = 1.0 / y
    square = inverse * inverse
    series = square * (0.5 + inverse * polynomial(_TRIGAMMA, square))
    # Differences of 1 / t² and the fall of 1 / t to 1 / (t + 1).
    sums = xp.sum(1.0 / (steps * steps * (steps + 1.0)), axis=-1)
    return series + xp.where(small, sums, 0.0)


def _moved(xp: Namespace, x: Array) -> tuple[Array, Array, Array]:
    """Return x, x + 1, ... (..., 10) where x is small, the argument of the series, and flags."""
    small = x < _FROM
    low = xp.where(small, x, 1.0)
    steps = xp.stack([low + float(i) for i in range(_FROM)], axis=-1)
    return steps, xp.where(small, x + float(_FROM), x), small
