"""What sums over rows can be at all: statistics that are made by hand may be none of any rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace

_ROUNDINGS = 64.0  # by which sums that cancel may be off


class Limit(NamedTuple):
    """Which entries of a field of statistics some rows can have as their sums."""

    field: str
    good: Array  # flags, shaped like the field
    expected: str
    by_component: bool = True  # the first axis is that of components


def slack(xp: Namespace, like: Array) -> float:
    """What rounding may make of a sum, relatively: far more than it does."""
    return float(xp.finfo(like.dtype).eps) ** 0.5


def lost_squares(xp: Namespace, counts: Array, variances: Array) -> Array:
    """What cancelling may take from sums of squares, given their counts and usual squares.

    Rows that all lie at a component's mean leave a rounding error of either sign.
    """
    usual = xp.where(counts > 0, counts * variances, 0.0)
    return slack(xp, usual) * usual + float(xp.finfo(usual.dtype).smallest_normal)


def at_least_zero(field: str, sums: Array, lost: Array | float = 0.0) -> Limit:
    """Sums of numbers that are not negative, but for what cancelling has taken from them."""
    words = "a sum of numbers that are not negative must not be negative"
    return Limit(field, sums >= -lost, words)


def at_least_about_zero(xp: Namespace, field: str, sums: Array, counts: Array) -> Limit:
    """Sums of numbers that are not negative, of which cancelling may leave a little less."""
    return at_least_zero(field, sums, _ROUNDINGS * float(xp.finfo(sums.dtype).eps) * counts)


def at_most_by_squares(
    xp: Namespace,
    field: str,
    first: Array,
    second: Array,
    counts: Array,
    what: str,
    lost: Array | float = 0.0,
) -> Limit:
    """Sums (Σ r z)² ≤ Σ r · Σ r z², by Cauchy and Schwarz; all of one shape.

    Cancelling may have lost as much of the squares.
    """
    second = xp.where(second > 0, second, 0.0) + lost
    most = (1.0 + slack(xp, first)) * xp.sqrt(counts) * xp.sqrt(second)
    # Where squares underflow there is a message that says so.
    tiny = 1e3 * float(xp.finfo(first.dtype).smallest_normal) ** 0.5
    good = (xp.abs(first) <= most) | (xp.abs(first) <= tiny * counts)
    return Limit(field, good, f"its square must be at most the component's {what}")


def circle_limit(xp: Namespace, field: str, sines: Array, versines: Array, counts: Array) -> Limit:
    """Sums of sines and of 1 − cos: a mean resultant is no longer than 1."""
    eps = float(xp.finfo(sines.dtype).eps)
    inside = versines * (2.0 * counts - versines) * (1.0 + slack(xp, sines))
    good = sines * sines <= inside + _ROUNDINGS * eps * counts * counts
    return Limit(field, good, "its square must be at most versines (2 counts − versines)")
