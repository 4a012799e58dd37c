"""Sums of many terms that lose no digits, in the precision of the terms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from estep_xp.arrays.array_types import AnyArray, Array, Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SHORT = 16  # most terms whose plain sum is exact enough, even where all of them round alike


class Sum(NamedTuple):
    """A running sum, and its compensation for rounding so far (Neumaier 1974).

    In float32 a plain sum of 2^25 equal terms is off in its third digit. A compensated one is not,
    and needs no wider type, which some accelerators lack.
    """

    total: Array
    compensation: Array

    @classmethod
    def of(cls, xp: Namespace, term: Array) -> Sum:
        """The sum of one term."""
        return cls(term, xp.zeros_like(term))

    def add(self, term: Array) -> Sum:
        """Add one more term; the derivative is that of the plain sum."""
        total = self.total + term
        part = total - self.total
        compensation = (self.total - (total - part)) + (term - part)
        return Sum(total, self.compensation + compensation)

    def merge(self, other: Sum) -> Sum:
        """Add the terms of another sum."""
        both = self.add(other.total)
        return Sum(both.total, both.compensation + other.compensation)

    def value(self, xp: Namespace) -> AnyArray:
        """The sum, rounded once."""
        # The compensation of an infinite total is NaN.
        finite = xp.abs(self.total) < math.inf
        return xp.where(finite, self.total + self.compensation, self.total)

    def parts(self, xp: Namespace) -> tuple[Array, Array]:
        """The sum, rounded once, and the remainder that this rounding leaves."""
        value = self.value(xp)
        remainder = (self.total - value) + self.compensation
        return value, xp.where(xp.abs(value) < math.inf, remainder, xp.zeros_like(remainder))

    def sum_groups(self, xp: Namespace) -> Sum:
        """The sum of the sums along the first axis, by halves."""
        whole = self
        while (n := whole.total.shape[0]) > 1:
            half = n // 2
            first, second = (
                Sum(whole.total[piece, ...], whole.compensation[piece, ...])
                for piece in (slice(half), slice(half, 2 * half))
            )
            both = first.merge(second)
            if n % 2:
                pairs = zip(both, whole, strict=True)
                both = Sum(*(xp.concat([one, all_[-1:, ...]], axis=0) for one, all_ in pairs))
            whole = both
        return Sum(*(xp.sum(one, axis=0) for one in whole))  # along an axis of length 1, or 0


def values_of_sums(xp: Namespace, sums: Sequence[Sum]) -> tuple[Array, ...]:
    """Values of sums over rows, the first two of which are one sum, in two parts."""
    first, second, *others = sums
    return (*first.merge(second).parts(xp), *(one.value(xp) for one in others))


def sum_pairwise(reduce: Callable[[AnyArray, int], AnyArray], values: Array, axis: int) -> Array:
    """Sum along an axis by halves, so that rounding errors grow with log d, not with d.

    `reduce(values, axis)` is the library's own sum. Along an axis that is not contiguous in memory
    it adds term by term. If all d terms round the same way, as they do where features are equal,
    such a sum is off by d/8 eps of itself.
    """
    d = values.shape[axis]
    if d <= _SHORT:
        return reduce(values, axis)
    before = (slice(None),) * (axis % values.ndim)
    first, last = values[(*before, slice(None, d // 2))], values[(*before, slice(d // 2, None))]
    return sum_pairwise(reduce, first, axis) + sum_pairwise(reduce, last, axis)


def add_pairwise(terms: list[Array], add: Callable[[Array, Array], Array]) -> Array:
    """Sum of arrays in pairs, then of the pairs' sums; `add(a, b)` may overwrite a."""
    while len(terms) > 1:
        pairs = [add(a, b) for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
    return terms[0]
