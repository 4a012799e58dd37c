"""Sums of many terms without losing digits, in whatever precision the terms have."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from estep_xp.arrays.array_types import Array, Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SHORT = 16  # terms up to which a plain sum is exact enough, even where all of them round alike


class Sum(NamedTuple):
    """A running sum and what rounding took from it so far (Neumaier 1974).

    In float32 a plain sum of 2^25 equal terms is off in its third digit; this one is not, and needs
    no wider type, which some accelerators lack.
    """

    total: Array
    lost: Array

    @classmethod
    def of(cls, xp: Namespace, term: Array) -> Sum:
        """The sum of one term."""
        return cls(term, xp.zeros_like(term))

    def plus(self, term: Array) -> Sum:
        """The sum with one more term; its derivative is the plain sum's."""
        total = self.total + term
        part = total - self.total
        lost = (self.total - (total - part)) + (term - part)
        return Sum(total, self.lost + lost)

    def joined(self, other: Sum) -> Sum:
        """The sum of the terms of both."""
        both = self.plus(other.total)
        return Sum(both.total, both.lost + other.lost)

    def value(self, xp: Namespace) -> Array:
        """The sum, rounded once."""
        # What is lost from an infinite total is NaN.
        return xp.where(xp.abs(self.total) < math.inf, self.total + self.lost, self.total)

    def parts(self, xp: Namespace) -> tuple[Array, Array]:
        """The sum, rounded once, and what this rounding leaves of it."""
        value = self.value(xp)
        left = (self.total - value) + self.lost
        return value, xp.where(xp.abs(value) < math.inf, left, xp.zeros_like(left))

    def added_up(self, xp: Namespace) -> Sum:
        """The sum of the sums along the first axis, halves of which are added to each other."""
        whole = self
        while (n := whole.total.shape[0]) > 1:
            half = n // 2
            first, second = (
                Sum(whole.total[piece, ...], whole.lost[piece, ...])
                for piece in (slice(half), slice(half, 2 * half))
            )
            both = first.joined(second)
            if n % 2:
                pairs = zip(both, whole, strict=True)
                both = Sum(*(xp.concat([one, all_[-1:, ...]], axis=0) for one, all_ in pairs))
            whole = both
        return Sum(*(xp.sum(one, axis=0) for one in whole))  # of a single one, or of none


def values_of(xp: Namespace, sums: Sequence[Sum]) -> tuple[Array, ...]:
    """Values of sums over rows, the second of which takes what rounding leaves of the first."""
    first, second, *others = sums
    return (*first.joined(second).parts(xp), *(one.value(xp) for one in others))


def sum_pairwise(reduce: Callable[[Array, int], Array], values: Array, axis: int) -> Array:
    """Sum along an axis by halves, so that rounding errors grow with log d, not with d.

    Libraries add up an axis that is not contiguous in memory term by term. If all d terms round the
    same way, as they do where features are equal, such a sum is off by d/8 eps of itself.
    `reduce(values, axis)` is the library's own sum.
    """
    d = values.shape[axis]
    if d <= _SHORT:
        return reduce(values, axis)
    before = (slice(None),) * (axis % values.ndim)
    first, last = values[(*before, slice(None, d // 2))], values[(*before, slice(d // 2, None))]
    return sum_pairwise(reduce, first, axis) + sum_pairwise(reduce, last, axis)


def add_pairwise(terms: list[Array], add: Callable[[Array, Array], Array]) -> Array:
    """Sum of arrays, neighbours first, then their sums; `add(a, b)` may overwrite a."""
    while len(terms) > 1:
        pairs = [add(a, b) for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
    return terms[0]
