"""When a fit stops: the rule, and the record of log-likelihoods that the rule needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.arrays.array_types import Array
from estep_xp.arrays.namespace import to_number

if TYPE_CHECKING:
    from collections.abc import Callable

# Changes of direction without a new best after which the log-likelihood counts as oscillating.
_MOST_TURNS = 8

# Multiple of the rounding of the log-likelihood per row by which it may lie below its best.
_WITHIN = 4.0


class Objective(NamedTuple):
    """The log-likelihood in two parts: the rounded value, and what rounding it has lost."""

    value: Any
    compensation: Any

    def to_numbers(self) -> Objective:
        """The same in Python's numbers."""
        return Objective(to_number(self.value), to_number(self.compensation))

    def minus(self, other: Objective) -> Any:
        """The difference of two large, close values, rounded only after the subtraction."""
        return (self.value - other.value) + (self.compensation - other.compensation)


class Rule(NamedTuple):
    """When to stop.

    A fit stops as soon as the log-likelihood per row changes by less than `tol`. Where `tol` is
    less than rounding alone may change, one small change means nothing, and there may never be one:
    then, and wherever the log-likelihood oscillates, the fit stops when the log-likelihood has
    turned several times without rising above its best by more than `tol`.
    """

    tol: Any
    n_rows: Any
    n_features: int  # elements of a row
    eps: float  # of the dtype of log-likelihoods

    def to_numbers(self) -> Rule:
        """The same rule in Python's numbers."""
        return self._replace(n_rows=to_number(self.n_rows))

    def rounding(self, objective: Objective) -> Array:
        """Rounding error to expect of the log-likelihood per row."""
        # The terms of a row add up to its log-likelihood, and each squared residual is about 1.
        return self.eps * (abs(objective.value) / self.n_rows + self.n_features)


class Convergence(NamedTuple):
    """The log-likelihoods of a fit so far, as far as the rule needs them.

    Its numbers are arrays inside compiled programs and Python's own elsewhere: they are few, and
    each iteration reads them.
    """

    objective: Objective
    best: Objective
    rise: Any  # of the log-likelihood per row in the last iteration
    turns: Any  # changes of direction since the best
    converged: Any
    exhausted: Any  # whether the log-likelihood oscillates by more than rounding explains

    @classmethod
    def start(cls, objective: Objective, one: Any) -> Convergence:
        """Begin the record before the first iteration; `one` is 1 as a number like the others."""
        no = abs(objective.value) < 0  # False for NaN, too
        return cls(objective, objective, one, one - 1.0, no, no)

    @property
    def ended(self) -> Any:
        """Whether the fit should stop."""
        return self.converged | self.exhausted

    def update(
        self, where: Callable[[Any, Any, Any], Any], objective: Objective, rule: Rule
    ) -> Convergence:
        """Add the log-likelihood after one more iteration; `where` chooses between two numbers."""
        rise = objective.minus(self.objective) / rule.n_rows
        is_small = abs(rise) < rule.tol
        gains = objective.minus(self.best) / rule.n_rows > rule.tol
        turned = is_small | ((rise > 0) & (self.rise <= 0))
        turns = where(gains, 0.0 * self.turns, where(turned, self.turns + 1.0, self.turns))
        best = Objective(
            where(gains, objective.value, self.best.value),
            where(gains, objective.compensation, self.best.compensation),
        )
        rounding = rule.rounding(objective)
        # A tolerance of zero asks for all iterations.
        oscillates = (turns >= _MOST_TURNS) & (rule.tol > 0)
        near = best.minus(objective) / rule.n_rows <= _WITHIN * rounding + rule.tol
        converged = (is_small & (rounding <= rule.tol)) | (oscillates & near)
        return Convergence(
            objective, best, rise, turns, converged, oscillates ^ (oscillates & near)
        )
