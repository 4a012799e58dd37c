"""Modified Bessel functions I0 and I1 at arguments x >= 0 of any size: what von Mises needs.

Below 7.75 their power series are sums of positive terms. From there on I0(x) is exp(x) / √(2πx)
times a function F of 1 / x which is nearly 1; I1 follows from the derivative of F.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from estep_xp.arrays.special.elementary import polynomial

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace

_FROM = 7.75
_LACK_FROM = 0.0669  # 1 − I1(x) / I0(x) at x of about 7.75
# Of the inverse A⁻¹ of A = I1 / I0, polynomials fitted with mpmath: A⁻¹(r) (1 − r²) / r by r² to
# 3e-5, and 1 / (2 q A⁻¹(1 − q)) by q to 1e-8. Newton's steps double the digits.
_FROM_RATIO = (
    -27.231565360823982,
    91.02840045678194,
    -125.44350156282609,
    93.13368560581179,
    -40.15240444738336,
    10.16282430255114,
    -1.4794820405472646,
    -0.06532005963350081,
    -1.0027275374656162,
    2.000011942323251,
)
_FROM_LACK = (
    -519.8123034821551,
    -1664.3183091806266,
    145.96335614932715,
    -12.86281040798598,
    -1.0827135811440964,
    -0.5015957957513338,
    -0.49999456395104197,
    0.9999999971187703,
)
_POWERS = range(22, -1, -1)
# I0(x) is the sum of (x² / 4)^i / i!², and I1(x) that of x / 2 times (x² / 4)^i / (i! (i + 1)!).
_I0 = tuple(1.0 / math.factorial(i) ** 2 for i in _POWERS)
_I1 = tuple(1.0 / (math.factorial(i) * math.factorial(i + 1)) for i in _POWERS)
_HALF_LOG_2PI = 0.91893853320467274178
# Chebyshev coefficients of F(t) = √(2π / t) exp(−1 / t) I0(1 / t) on 0 <= t <= 1 / 7.75, from its
# values to 40 digits at 48 nodes.
_CHEBYSHEV = (
    1.0085642038876044,
    0.00874231003825396,
    0.00018570511549388348,
    8.146397840809534e-06,
    6.090989254410826e-07,
    7.111425386245633e-08,
    1.0860318066818328e-08,
    1.4485133208814568e-09,
    -5.708897503954743e-11,
    -1.337413696269822e-10,
    -4.5575767128084696e-11,
    -3.110139116009648e-12,
    3.571649049708915e-12,
    1.2744362658424396e-12,
    -1.0582794640211072e-13,
    -1.7243545152147352e-13,
    -1.6310376602865213e-14,
    2.0165445327239213e-14,
    4.566308741035172e-15,
    -2.436051050742212e-15,
    -8.3174541200244925e-16,
    3.3302320073722444e-16,
    1.371208342776383e-16,
    -5.363711995503576e-17,
    -2.1590690853750223e-17,
    9.982649151135253e-18,
    3.1674176400399627e-18,
    -2.0249366459130742e-18,
    -3.8434076990182236e-19,
    4.199990897112819e-19,
    1.8909183375630022e-20,
    -8.403080699342286e-20,
    9.725567492464106e-21,
)


def log_i0_scaled(xp: Namespace, x: Array) -> Array:
    """Log I0(x) − x for x >= 0, differentiable; about −x near 0, and −½ log(2πx) where x is large.

    Examples
    --------
    >>> import numpy as np
    >>> log_i0_scaled(np, np.asarray([0.0, 1e-20, 1.0, 1e10]))
    array([ 0.00000000e+00, -1.00000000e-20, -7.64085641e-01, -1.24318640e+01])
    """
    small, near, far = _split(xp, x)
    quarter = 0.25 * near * near
    below = xp.log1p(quarter * polynomial(_I0[:-1], quarter)) - near
    value, _ = _chebyshev(1.0 / far)
    above = xp.log(value) - 0.5 * xp.log(far) - _HALF_LOG_2PI
    return xp.where(small, below, above)


def bessel_ratio(xp: Namespace, x: Array) -> tuple[Array, Array]:
    """I1(x) / I0(x) and what it lacks of 1, to 2 and 20 eps of themselves, for x >= 0.

    Examples
    --------
    >>> import numpy as np
    >>> with np.printoptions(precision=4):
    ...     print(bessel_ratio(np, np.asarray([1e-20, 1.0, 1e10])))
    (array([5.0000e-21, 4.4639e-01, 1.0000e+00]), array([1.0000e+00, 5.5361e-01, 5.0000e-11]))
    """
    small, near, far = _split(xp, x)
    half = _half_ratio(near)
    t = 1.0 / far
    lack = t * (0.5 + t * _log_slope(t))
    ratio = near * half
    return xp.where(small, ratio, 1.0 - lack), xp.where(small, 1.0 - ratio, lack)


def inverse_bessel_ratio(xp: Namespace, ratio: Array, lack: Array) -> Array:
    """The x >= 0 whose I1(x) / I0(x) is the ratio; `lack` is 1 − ratio, which may be next to 0.

    It is infinite where `lack` is 0.

    Examples
    --------
    >>> import numpy as np
    >>> inverse_bessel_ratio(np, np.asarray([0.0, 0.5, 1.0]), np.asarray([1.0, 0.5, 5e-11]))
    array([0.00000000e+00, 1.15931992e+00, 1.00000000e+10])
    """
    small = lack > _LACK_FROM
    goal = xp.where(small, ratio, 0.0)
    square = goal * goal
    x = goal * polynomial(_FROM_RATIO, square) / (1.0 - square)
    for _ in range(2):
        half = _half_ratio(x)
        value = x * half
        x = x - (value - goal) / (1.0 - half - value * value)
    # Of t = 1 / x, of which 1 − I1 / I0 is t / 2 + t² w with a nearly constant w.
    left = xp.where(small, _LACK_FROM, lack)
    t = 2.0 * left * polynomial(_FROM_LACK, left)
    w = _log_slope(t)
    t = t - (t * (0.5 + t * w) - left) / (2.0 * w + 0.25 - t * t * w * w)
    above = xp.where(t > 0, 1.0 / xp.where(t > 0, t, 1.0), math.inf)
    return xp.where(small, x, above)


def _split(xp: Namespace, x: Array) -> tuple[Array, Array, Array]:
    """Flags of small x, and the arguments of both forms."""
    small = x < _FROM
    return small, xp.where(small, x, 0.0), xp.where(small, _FROM, x)


def _half_ratio(x: Array) -> Array:
    """I1(x) / (x I0(x)) for 0 <= x < 7.75."""
    quarter = 0.25 * x * x
    return 0.5 * polynomial(_I1, quarter) / polynomial(_I0, quarter)


def _log_slope(t: Array) -> Array:
    """The derivative of log F(t)."""
    value, slope = _chebyshev(t)
    return slope / value


def _chebyshev(t: Array) -> tuple[Array, Array]:
    """F(t) and its derivative by t, by Clenshaw's recurrence."""
    u = (2.0 * _FROM) * t - 1.0
    zero = 0.0 * u
    value, after, slope, slope_after = zero, zero, zero, zero
    for coefficient in _CHEBYSHEV[:0:-1]:
        slope, slope_after = 2.0 * value + 2.0 * u * slope - slope_after, slope
        value, after = 2.0 * u * value - after + coefficient, value
    first = u * value - after + _CHEBYSHEV[0]
    return first, (2.0 * _FROM) * (value + u * slope - slope_after)
