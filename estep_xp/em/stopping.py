"""When a fit has arrived: the rule for stopping, and what it remembers of the heights so far."""

from __future__ import annotations

from typing import Any, NamedTuple

from estep_xp.arrays.array_types import Array, Namespace

# Changes of direction without a gain after which a log-likelihood only goes up and down.
_MOST_TURNS = 8

# Rounding of the log-likelihood per row, in eps of its size, by which it may lie below its best.
_WITHIN = 4.0


class Height(NamedTuple):
    """A log-likelihood in two parts: its value, and what rounding has left of it."""

    value: Array
    left: Array

    def above(self, other: Height) -> Array:
        """How much higher it is: the difference of two large numbers, rounded after that."""
        return (self.value - other.value) + (self.left - other.left)


class Rule(NamedTuple):
    """When to stop.

    As soon as the log-likelihood per row changes by less than `tol`. But where that is less than
    rounding alone may change, one small change means nothing, and there may never be one: then, and
    wherever the log-likelihood goes up and down, when it has turned several times without rising
    above its best by more than `tol`.
    """

    tol: Any
    n_rows: Any
    features: int  # numbers in a row

    def rounding(self, xp: Namespace, height: Height) -> Array:
        """What rounding may change in the log-likelihood per row."""
        # Its terms are as large as itself, or as the squared distance of a row, one a feature.
        size = xp.abs(height.value) / self.n_rows + self.features
        return float(xp.finfo(height.value.dtype).eps) * size


class Course(NamedTuple):
    """How a fit has gone so far."""

    height: Height
    best: Height
    rise: Any  # per row, in the last iteration
    turns: Any  # how often it has turned since it was at its best
    converged: Any
    exhausted: Any  # whether it goes up and down by more than rounding explains

    @classmethod
    def begun(cls, xp: Namespace, height: Height) -> Course:
        """Before the first iteration."""
        no = xp.abs(height.value) < 0  # so for NaN, too
        one = xp.ones_like(height.value)
        return cls(height, height, one, one - 1.0, no, no)

    @property
    def ended(self) -> Any:
        """Whether the fit should stop."""
        return self.converged | self.exhausted

    def after(self, xp: Namespace, height: Height, rule: Rule) -> Course:
        """After one more iteration."""
        rise = height.above(self.height) / rule.n_rows
        still = xp.abs(rise) < rule.tol
        gains = height.above(self.best) / rule.n_rows > rule.tol
        turned = still | ((rise > 0) & (self.rise <= 0))
        turns = xp.where(turned, self.turns + 1.0, self.turns)
        turns = xp.where(gains, xp.zeros_like(turns), turns)
        pairs = zip(height, self.best, strict=True)
        best = Height(*(xp.where(gains, one, other) for one, other in pairs))
        rounding = rule.rounding(xp, height)
        # A tolerance of zero asks for all iterations.
        to_and_fro = (turns >= _MOST_TURNS) & (xp.zeros_like(rise) + rule.tol > 0)
        near = best.above(height) / rule.n_rows <= _WITHIN * rounding + rule.tol
        converged = (still & (rounding <= rule.tol)) | (to_and_fro & near)
        return Course(height, best, rise, turns, converged, to_and_fro & ~near)
