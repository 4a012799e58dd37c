"""The logarithm of the gamma function, and of ratios of two of its values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estep_xp.arrays.special.elementary import log1p_minus, polynomial

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace

# Rational approximation of (log Γ(u)) / (u − 2) on 2 <= u <= 3, and Stirling's series from 13 on:
# S. L. Moshier's Cephes library, lgam.
_NUMERATOR = (
    -1.37825152569120859100e3,
    -3.88016315134637840924e4,
    -3.31612992738871184744e5,
    -1.16237097492762307383e6,
    -1.72173700820839662146e6,
    -8.53555664245765465627e5,
)
_DENOMINATOR = (
    1.0,
    -3.51815701436523470549e2,
    -1.70642106651881159223e4,
    -2.20528590553854454839e5,
    -1.13933444367982507207e6,
    -2.53252307177582951285e6,
    -2.01889141433532773231e6,
)
_STIRLING = (
    8.11614167470508450300e-4,
    -5.95061904284301438324e-4,
    7.93650340457716943945e-4,
    -2.77777777730099687205e-3,
    8.33333333333331927722e-2,
)
_FROM = 13.0  # Stirling's series holds from here on
_HALF_LOG_2PI = 0.91893853320467274178
_NEGLIGIBLE = 1e-25  # beside 1, in any dtype


def log_gamma(xp: Namespace, x: Array) -> Array:
    """Logarithm of Γ(x) for x > 0, differentiable; the error is a few eps of max(1, |log Γ|).

    Examples
    --------
    >>> import numpy as np
    >>> log_gamma(np, np.asarray([1.0, 2.0, 5.0, 171.0])).round(4)
    array([  0.    ,   0.    ,   3.1781, 706.5731])
    """
    large = x >= _FROM
    return xp.where(large, _by_stirling(xp, x, large), _by_recurrence(xp, x, large))


def _by_stirling(xp: Namespace, x: Array, large: Array) -> Array:
    x = xp.where(large, x, _FROM)  # where the other branch holds, any good number
    return (x - 0.5) * xp.log(x) - x + (_HALF_LOG_2PI + _stirling_rest(x))


def _stirling_rest(x: Array) -> Array:
    """What log Γ(x) is beyond (x − ½) log x − x + ½ log 2π, for x >= 13."""
    inverse = 1.0 / x
    return polynomial(_STIRLING, inverse * inverse) * inverse


def _by_recurrence(xp: Namespace, x: Array, large: Array) -> Array:
    """Γ(x + 1) = x Γ(x) leads from any x < 13 to 2 <= u < 3."""
    u = xp.where(large, 2.5, x)
    product = xp.ones_like(u)
    for _ in range(int(_FROM) - 3):
        high = u >= 3.0
        product = xp.where(high, product * (u - 1.0), product)
        u = xp.where(high, u - 1.0, u)
    quotient = xp.ones_like(u)
    for _ in range(2):
        low = u < 2.0
        quotient = xp.where(low, quotient * u, quotient)
        u = xp.where(low, u + 1.0, u)
    z = u - 2.0
    rest = z * polynomial(_NUMERATOR, z) / polynomial(_DENOMINATOR, z)
    return xp.log(product) - xp.log(quotient) + rest


def log_gamma_ratio(xp: Namespace, x: Array, a: Array) -> Array:
    """The difference log Γ(x + a) − log Γ(x) − a log x for x > 0 and a >= 0, differentiable.

    The error is a few eps of 1 + a log(1 + 13 / x), of 1 + a at large x: no logarithm of Γ is
    formed, which would be off by eps of x log x. The value tends to 0 as x grows.

    Examples
    --------
    >>> import numpy as np
    >>> x, a = np.asarray([0.5, 4.0, 1e12]), np.asarray([0.5, 1.5, 300.0])
    >>> log_gamma_ratio(np, x, a)
    array([-2.25791353e-01,  8.66129567e-02,  4.48500000e-08])
    """
    large = x >= _FROM
    y = xp.where(large, x, x + _FROM)
    share = a / y
    # Stirling's series of both: (x + a − ½) log(1 + a / x) − a, whose largest terms cancel where
    # a / x is small.
    near = xp.where(share < 1.0, share, 0.0)
    value = xp.where(
        share < 1.0,
        (a - 0.5) * near + (y + a - 0.5) * log1p_minus(xp, near),
        (y + a - 0.5) * xp.log1p(share) - a,
    )
    value = value + (_stirling_rest(y + a) - _stirling_rest(y))
    # Γ(x + 1) = x Γ(x) leads from a small x to one where the series holds.
    low = xp.where(large, 1.0, x)
    steps = xp.stack([low + float(i) for i in range(int(_FROM))], axis=-1)
    factors = xp.sum(_log1p_ratio(xp, xp.expand_dims(a + 0.0 * low, axis=-1), steps), axis=-1)
    moved = a * _log1p_ratio(xp, _FROM + 0.0 * low, low) - factors
    return value + xp.where(large, 0.0, moved)


def _log1p_ratio(xp: Namespace, x: Array, y: Array) -> Array:
    """log(1 + x / y) for x >= 0 and y > 0, also where the quotient overflows."""
    far = y < _NEGLIGIBLE * x
    near = xp.log1p(xp.where(far, 0.0, x) / xp.where(far, 1.0, y))
    ratio = xp.log(xp.where(far, x, 1.0)) - xp.log(xp.where(far, y, 1.0))
    return xp.where(far, ratio, near)


def log_gamma_scaled(xp: Namespace, x: Array) -> Array:
    """The value log Γ(x) − x log x + x for x > 0, differentiable.

    It is about ½ log(2π / x) where x is large; the error is a few eps of max(1, |log x|).

    Examples
    --------
    >>> import numpy as np
    >>> log_gamma_scaled(np, np.asarray([1.0, 1e8])).round(8)
    array([ 1.        , -8.29140184])
    """
    large = x >= _FROM
    y = xp.where(large, x, x + _FROM)
    series = _HALF_LOG_2PI - 0.5 * xp.log(y) + _stirling_rest(y)
    # From x to x + 1 the value falls by (x + 1) log(1 + 1 / x) − 1, whose terms cancel from 1 on.
    low = xp.where(large, 1.0, x)
    steps = xp.stack([low + float(i) for i in range(int(_FROM))], axis=-1)
    inverse = 1.0 / steps
    falls = xp.where(
        steps < 1.0,
        (steps + 1.0) * xp.log1p(inverse) - 1.0,
        inverse + (steps + 1.0) * log1p_minus(xp, inverse),
    )
    return series + xp.where(large, 0.0, xp.sum(falls, axis=-1))
