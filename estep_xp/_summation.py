"""Sums of many terms without losing digits, in whatever precision the terms have."""

from __future__ import annotations

import math
from typing import NamedTuple

from estep_xp._typing import Array, Namespace


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
