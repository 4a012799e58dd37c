"""The E-step on one block of rows, in the layout of its driver: the one algorithm.

Three questions are asked of the same normalised row: the posterior, the log-likelihood, and the
log-joint. Kernels hold only what they must be compiled for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp._logsumexp import MixingWeights, across, mixing_weights, normalize, weighted
from estep_xp.families import _contract

if TYPE_CHECKING:
    from estep_xp._mixture import Mixture
    from estep_xp._typing import Array, Components
    from estep_xp.execution import Plan


class Prepared(NamedTuple):
    """What all blocks share."""

    components: Components
    shared: Any  # by the components
    weights: MixingWeights


@dataclass(frozen=True)
class MixtureKernel:
    """What the kernels have in common."""

    k: int  # components
    zeros: bool  # some weight may be zero
    lazy: bool  # results can't be checked: bad rows must show

    def prepare(self, plan: Plan, parameters: Mixture) -> Prepared:
        """Prepare weights and components."""
        weights, components = parameters
        return Prepared(
            components,
            _contract.prepare(plan, components),
            mixing_weights(plan.xp, weights, zeros=self.zeros),
        )

    def log_prob(self, plan: Plan, prepared: Prepared, x: Array) -> Array:
        """Component log-densities of a block."""
        if self.lazy:
            x = _contract.nan_where_infinite(plan, x)
        return _contract.log_prob_block(plan, prepared.components, prepared.shared, x, self.k)


@dataclass(frozen=True)
class Posterior(MixtureKernel):
    """Responsibilities and log-likelihoods."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((self.k,), ())

    def rows(self, plan: Plan, prepared: Prepared, *rows: Array) -> tuple[Array, ...]:
        """Evaluate a block."""
        xp = plan.xp
        log_prob = self.log_prob(plan, prepared, rows[0])
        shares, total, shift = normalize(xp, log_prob, prepared.weights, plan.axis)
        return shares / across(total, plan.axis), shift + xp.log(total)


@dataclass(frozen=True)
class LogJoint(MixtureKernel):
    """Log-joint densities, and the largest of each row to tell bad rows by."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((self.k,), ())

    def rows(self, plan: Plan, prepared: Prepared, *rows: Array) -> tuple[Array, ...]:
        """Evaluate a block."""
        log_prob = self.log_prob(plan, prepared, rows[0])
        joint = weighted(plan.xp, log_prob, prepared.weights, plan.axis)
        return joint, plan.xp.max(joint, axis=plan.axis)


@dataclass(frozen=True)
class LogLikelihood(MixtureKernel):
    """Contributions of rows to the log-likelihood, by their sample weights where there are any."""

    masks: bool  # some sample weight may be zero

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((),)

    def rows(self, plan: Plan, prepared: Prepared, *rows: Array) -> tuple[Array, ...]:
        """Evaluate a block of rows (x,) or (x, sample_weight)."""
        xp, x = plan.xp, rows[0]
        masked = blank = None
        if self.masks:
            masked = rows[1] == 0
            blank = masked & _unusable(plan, x)
            x = xp.where(_to_rows(plan, blank, x.ndim), _HARMLESS, x)
        log_prob = self.log_prob(plan, prepared, x)
        _, total, shift = normalize(xp, log_prob, prepared.weights, plan.axis, masked)
        log_likelihood = shift + xp.log(total)
        if len(rows) == 1:
            return (log_likelihood,)
        contributions = rows[1] * log_likelihood
        return (contributions if blank is None else xp.where(blank, 0.0, contributions),)


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
