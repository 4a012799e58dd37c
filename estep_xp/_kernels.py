"""The E-step on one block of rows, in the layout of its driver: the one algorithm.

Four questions are asked of the same normalised row: the posterior, the log-joint, the
log-likelihood, and the expected statistics. Kernels hold only what they must be compiled for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp._logsumexp import (
    LogNormalized,
    MixingWeights,
    across,
    mixing_weights,
    normalize,
    without_dead,
)
from estep_xp.families import _contract

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp._mixture import Mixture
    from estep_xp._typing import Array, Components
    from estep_xp.execution import Plan


class Prepared(NamedTuple):
    """What all blocks share."""

    components: Components
    shared: Any  # by the components
    weights: MixingWeights

    def by_weights(self, plan: Plan, function: Callable[[Prepared], Any]) -> Any:
        """What `function` makes of it, with less work if no weight that may be zero is."""
        if self.weights.gain is None:
            return function(self)
        positive = self._replace(weights=MixingWeights(self.weights.log))
        flag = plan.xp.all(self.weights.gain == 1.0)
        return plan.chosen(flag, lambda: function(positive), lambda: function(self))


@dataclass(frozen=True)
class MixtureKernel:
    """What the kernels have in common."""

    k: int  # components
    zeros: bool  # some weight may be zero
    lazy: bool  # results can't be checked: bad rows must show

    def prepare(self, plan: Plan, parameters: Mixture) -> Prepared:
        """Prepare weights and components."""
        weights, components = parameters
        mixing = mixing_weights(plan, weights, zeros=self.zeros)
        return Prepared(components, _contract.prepare(plan, components, mixing.log), mixing)

    @property
    def breadth(self) -> int:
        """Numbers that a row has in the widest results."""
        return self.k

    def width(self, plan: Plan, parameters: Mixture) -> int:
        """Numbers that a row needs meanwhile, beyond itself."""
        return self.k + _contract.width(plan, parameters.components)

    def evaluated(self, plan: Plan, prepared: Prepared, x: Array) -> _contract.Evaluated:
        """Log-joints of a block, as `normalize` takes them."""
        if self.lazy:
            x = _contract.nan_where_infinite(plan, x)
        return _contract.evaluated(
            plan, prepared.components, prepared.shared, prepared.weights.log, x
        )


@dataclass(frozen=True)
class Posterior(MixtureKernel):
    """Responsibilities and log-likelihoods."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((self.k,), ())

    def rows(self, plan: Plan, prepared: Prepared, *rows: Array) -> tuple[Array, ...]:
        """Evaluate a block."""

        def posterior(prepared: Prepared) -> tuple[Array, ...]:
            block = self.evaluated(plan, prepared, rows[0])
            shares, total, shift = normalize(plan, block.log_joint, prepared.weights, block.bound)
            log_likelihood = _log_likelihood(plan, total, shift)
            return plan.quotient(shares, total), log_likelihood

        results: tuple[Array, ...] = prepared.by_weights(plan, posterior)
        return results


@dataclass(frozen=True)
class LogJoint(MixtureKernel):
    """Log-joint densities, and the largest of each row to tell bad rows by."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((self.k,), ())

    def rows(self, plan: Plan, prepared: Prepared, *rows: Array) -> tuple[Array, ...]:
        """Evaluate a block."""
        joint = self.evaluated(plan, prepared, rows[0]).log_joint
        joint = without_dead(joint, prepared.weights, plan.axis)
        return joint, plan.xp.max(joint, axis=plan.axis)


@dataclass(frozen=True)
class _Weighted(MixtureKernel):
    """What the kernels share that take rows (x,) or (x, sample_weight)."""

    masks: bool  # some sample weight may be zero

    def looked_at(self, plan: Plan, rows: tuple[Array, ...]) -> tuple[Array, ...]:
        """The block with NaN for bad sample weights that nobody could look at before."""
        if len(rows) == 1 or not self.lazy:
            return rows
        x, weight = rows
        good = (weight >= 0) & (weight < math.inf)
        return x, plan.xp.where(good, weight, math.nan)

    def normalized(
        self, plan: Plan, prepared: Prepared, *rows: Array
    ) -> tuple[_contract.Evaluated, LogNormalized, Array | None]:
        """The block with harmless numbers in its blank rows, normalised; and which those are.

        Blank is a row of weight 0 whose density may not be asked for.
        """
        x = rows[0]
        masked = blank = None
        if self.masks:
            masked = rows[1] == 0
            blank = masked
            if _contract.takes_any_row(prepared.components):
                # All the others can be evaluated, and have a derivative by their weight.
                blank = masked & _unusable(plan, x)
            x = plan.xp.where(_to_rows(plan, blank, x.ndim), _HARMLESS, x)
        block = self.evaluated(plan, prepared, x)
        normalized = normalize(plan, block.log_joint, prepared.weights, block.bound, masked)
        return block, normalized, blank


@dataclass(frozen=True)
class LogLikelihood(_Weighted):
    """Contributions of rows to the log-likelihood, by their sample weights where there are any."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((),)

    def rows(self, plan: Plan, prepared: Prepared, *rows: Array) -> tuple[Array, ...]:
        """Evaluate a block of rows (x,) or (x, sample_weight)."""
        rows = self.looked_at(plan, rows)
        _, (_, total, shift), blank = self.normalized(plan, prepared, *rows)
        return (_contributions(plan, total, shift, rows, blank),)


@dataclass(frozen=True)
class ExpectedStatistics(_Weighted):
    """Log-likelihood, number of rows, N_k and the family's moments, summed over rows."""

    def sums(self, plan: Plan, prepared: Prepared, *rows: Array) -> tuple[Array, ...]:
        """Sum over a block of rows (x,) or (x, sample_weight)."""
        xp = plan.xp
        rows = self.looked_at(plan, rows)
        block, (shares, total, shift), blank = self.normalized(plan, prepared, *rows)
        log_likelihood = xp.sum(_contributions(plan, total, shift, rows, blank))
        row_weight = rows[1] if len(rows) == 2 else xp.ones_like(total)
        if blank is not None:  # what stands in for such a row has no derivative by its weight
            row_weight = xp.where(blank, 0.0, row_weight)
        if len(rows) == 1:
            responsibilities = plan.quotient(shares, total)
        else:
            responsibilities = shares * across(row_weight / total, plan.axis)
        counts = xp.sum(responsibilities, axis=1 - plan.axis)
        moments = _contract.moments_block(
            plan, prepared.components, prepared.shared, block, responsibilities
        )
        return (log_likelihood, xp.sum(row_weight), counts, *moments)


def _log_likelihood(plan: Plan, total: Array, shift: Array | None) -> Array:
    logarithm = plan.xp.log(total)
    return logarithm if shift is None else shift + logarithm


def _contributions(
    plan: Plan, total: Array, shift: Array | None, rows: tuple[Array, ...], blank: Array | None
) -> Array:
    log_likelihood = _log_likelihood(plan, total, shift)
    if len(rows) == 1:
        return log_likelihood
    contributions = rows[1] * log_likelihood
    return contributions if blank is None else plan.xp.where(blank, 0.0, contributions)


# Stands in for the numbers of a masked row: inside the support of continuous families on the line,
# the half-line and the unit interval, so that zero times its derivative is zero.
_HARMLESS = 0.5


def _unusable(plan: Plan, x: Array) -> Array:
    """Rows with entries that are not finite, or whose squares are not; shape (rows,)."""
    xp = plan.xp
    bad = ~(xp.abs(x) < math.sqrt(float(xp.finfo(x.dtype).max)))
    others = tuple(range(x.ndim - 1)) if plan.axis == 0 else tuple(range(1, x.ndim))
    return xp.any(bad, axis=others) if others else bad


def _to_rows(plan: Plan, flags: Array, ndim: int) -> Array:
    """Flags (rows,) ready to broadcast against a block of `ndim` axes."""
    shape = (1,) * (ndim - 1)
    n = flags.shape[0]
    return plan.xp.reshape(flags, (*shape, n) if plan.axis == 0 else (n, *shape))
