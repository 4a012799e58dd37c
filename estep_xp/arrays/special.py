"""Special functions that the Array API standard lacks."""

from __future__ import annotations

from collections.abc import Sequence

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
    inverse = 1.0 / x
    series = _polynomial(_STIRLING, inverse * inverse) * inverse
    return (x - 0.5) * xp.log(x) - x + (_HALF_LOG_2PI + series)


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
    rest = z * _polynomial(_NUMERATOR, z) / _polynomial(_DENOMINATOR, z)
    return xp.log(product) - xp.log(quotient) + rest


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """Horner's rule, the coefficient of the highest power first."""
    value = 0.0 * x + coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


def x_log_y(xp: Namespace, x: Array, y: Array) -> Array:
    """X log y, and 0 where x is 0 whatever y; −inf where y is 0 and x is not. Gradients are finite.

    Examples
    --------
    >>> import numpy as np
    >>> x_log_y(np, np.asarray([0.0, 1.0, 2.0]), np.asarray([0.0, 0.0, 1.0]))
    array([  0., -inf,   0.])
    """
    logarithm = xp.log(xp.where(y == 0, 1.0, y))
    return xp.where(x == 0, 0.0, xp.where(y == 0, -xp.inf, x * logarithm))
