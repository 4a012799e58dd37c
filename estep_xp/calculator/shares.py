"""Responsibilities as text."""

from __future__ import annotations

import math

_DIGITS = 6
_SMALLEST = 10.0**-_DIGITS
_DASH = "–"


def format_share(share: float, possible: bool = True) -> str:
    """Return a responsibility with six decimals.

    Parameters
    ----------
    share : float
        The responsibility; NaN becomes a dash.
    possible : bool
        Whether the component has a positive weight: only then is 0 a tiny number that has been
        rounded, and not 0 itself.
    """
    if math.isnan(share):
        return _DASH
    if possible and share < _SMALLEST:
        return f"< {_SMALLEST:.{_DIGITS}f}"
    return f"{share:.{_DIGITS}f}"
