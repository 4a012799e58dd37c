"""Elementary functions where their plain formula has no value, or loses its digits."""

from __future__ import annotations

from collections.abc import Sequence

from estep_xp.arrays.array_types import Array, Namespace

# log(1 + u) − u is −u r + 2 (r³/3 + r⁵/5 + ...) with r = u / (2 + u).
_ODD = tuple(2.0 / (2 * i + 1) for i in range(12, 0, -1))


def polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """Horner's rule, the coefficient of the highest power first."""
    value = 0.0 * x + coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


def x_log_y(xp: Namespace, x: Array, y: Array, less: Array | float = 0.0) -> Array:
    """X (log y − less), 0 where x is 0 whatever y; −inf where y is 0 and x is not.

    Gradients are finite.

    Examples
    --------
    >>> import numpy as np
    >>> x_log_y(np, np.asarray([0.0, 1.0, 2.0]), np.asarray([0.0, 0.0, 1.0]))
    array([  0., -inf,   0.])
    """
    logarithm = xp.log(xp.where(y == 0, 1.0, y)) - less
    return xp.where(x == 0, 0.0, xp.where(y == 0, -xp.inf, x * logarithm))


def log1p_minus(xp: Namespace, u: Array) -> Array:
    """log(1 + u) − u for u > −1, to a few eps of itself, differentiable.

    Examples
    --------
    >>> import numpy as np
    >>> log1p_minus(np, np.asarray([-0.5, 0.0, 1e-10, 1.0]))
    array([-1.93147181e-01,  0.00000000e+00, -5.00000000e-21, -3.06852819e-01])
    """
    small = (u > -0.25) & (u < 0.5)
    near, far = xp.where(small, u, 0.0), xp.where(small, 0.0, u)
    r = near / (2.0 + near)
    square = r * r
    series = -near * r + r * square * polynomial(_ODD, square)
    return xp.where(small, series, xp.log1p(far) - far)
