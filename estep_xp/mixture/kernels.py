"""The E-step on one block of rows, in the layout of its driver: the one algorithm.

Four questions are asked of the same normalised row: the posterior, the log-joint, the
log-likelihood, and the expected statistics. Kernels hold only what they must be compiled for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.arrays.logsumexp import (
    LogNormalized,
    MixingWeights,
    across,
    mixing_weights,
    normalize,
    without_dead,
)
from estep_xp.families import contract

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array, Components
    from estep_xp.execution import Plan
    from estep_xp.mixture.mixture import Mixture


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

    def by_form(self, plan: Plan, x: Array, function: Callable[[Prepared], Any]) -> Any:
        """What `function` makes of it for a block, by the quicker form if that is exact."""
        forms = contract.forms(plan, self.components, self.shared, x)
        if forms is None:
            return function(self)
        quick, sure = (self._replace(shared=shared) for shared in (forms.quick, forms.sure))
        return plan.chosen(forms.exact, lambda: function(quick), lambda: function(sure))


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
        return Prepared(components, contract.prepare(plan, components, mixing.log), mixing)

    @property
    def breadth(self) -> int:
        """Numbers that a row has in the widest results."""
        return self.k

    def width(self, plan: Plan, parameters: Mixture) -> int:
        """Numbers that a row needs meanwhile, beyond itself."""
        return self.k + contract.width(plan, parameters.components)

    def evaluated(self, plan: Plan, prepared: Prepared, x: Array) -> contract.Evaluated:
        """Log-joints of a block, as `normalize` takes them."""
        return contract.evaluated(
            plan, prepared.components, prepared.shared, prepared.weights.log, x
        )

    def normalized(
        self,
        plan: Plan,
        prepared: Prepared,
        block: contract.Evaluated,
        masked: Array | None = None,
    ) -> LogNormalized:
        """An evaluated block, normalised."""
        mark = contract.nan_where_infinite(plan, block.x) if self.lazy else None
        return normalize(plan, block.log_joint, prepared.weights, block.bound, masked, mark)


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
            normalized = self.normalized(plan, prepared, block)
            log_likelihood = _log_likelihood(plan, normalized)
            return normalized.result(plan), log_likelihood

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
        if self.lazy:
            joint = contract.marked(plan, rows[0], joint)
        joint = without_dead(joint, prepared.weights, plan.axis)
        return joint, plan.xp.max(joint, axis=plan.axis)


@dataclass(frozen=True)
class _Weighted(MixtureKernel):
    """What the kernels share that take rows (x,) or (x, sample_weight)."""

    masks: bool  # some sample weight may be zero
    pads: bool = field(default=False, kw_only=True)  # those of padding are, which are good rows

    def looked_at(self, plan: Plan, rows: tuple[Array, ...]) -> tuple[Array, ...]:
        """The block with NaN for bad sample weights that nobody could look at before."""
        if len(rows) == 1 or not self.lazy:
            return rows
        x, weight = rows
        good = (weight >= 0) & (weight < math.inf)
        return x, plan.xp.where(good, weight, math.nan)

    def masked(self, plan: Plan, prepared: Prepared, rows: tuple[Array, ...]) -> _Masked:
        """The block with harmless numbers in its blank rows, and which those are."""
        rows = self.looked_at(plan, rows)
        if not self.masks:
            return _Masked(rows, blank=rows[1] == 0 if self.pads else None)
        x, weight = rows
        zero = blank = weight == 0
        if contract.takes_any_row(prepared.components):
            # All the others can be evaluated, and have a derivative by their weight.
            blank = zero & _unusable(plan, x)
        x = plan.xp.where(_to_rows(plan, blank, x.ndim), _HARMLESS, x)
        return _Masked((x, weight), zero, blank)


@dataclass(frozen=True)
class LogLikelihood(_Weighted):
    """Contributions of rows to the log-likelihood, by their sample weights where there are any."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((),)

    def rows(self, plan: Plan, prepared: Prepared, *rows: Array) -> tuple[Array, ...]:
        """Evaluate a block of rows (x,) or (x, sample_weight)."""
        masked = self.masked(plan, prepared, rows)

        def contributions(prepared: Prepared) -> Array:
            block = self.evaluated(plan, prepared, masked.rows[0])
            return masked.contributions(plan, self.normalized(plan, prepared, block, masked.zero))

        return (prepared.by_weights(plan, contributions),)

    def slopes(self, *, by_x: bool, by_sample_weight: bool) -> Slopes:
        """The kernel of the sum's derivatives."""
        flags = (self.masks, by_x, by_sample_weight)
        return Slopes(self.k, self.zeros, self.lazy, *flags, pads=self.pads)


@dataclass(frozen=True)
class ExpectedStatistics(_Weighted):
    """Log-likelihood, number of rows, N_k and the family's moments, summed over rows."""

    def sums(self, plan: Plan, prepared: Prepared, *rows: Array) -> tuple[Array, ...]:
        """Sum over a block of rows (x,) or (x, sample_weight)."""
        xp = plan.xp
        masked = self.masked(plan, prepared, rows)
        x = masked.rows[0]

        def summed(prepared: Prepared) -> tuple[Array, ...]:
            block = self.evaluated(plan, prepared, x)
            normalized = self.normalized(plan, prepared, block, masked.zero)
            log_likelihood = plan.sum_of_rows(masked.contributions(plan, normalized))
            n_rows = xp.sum(masked.weights(plan, normalized.total))
            responsibilities = masked.responsibilities(plan, normalized)
            counts = xp.sum(responsibilities, axis=1 - plan.axis)
            moments = contract.moments_block(
                plan, prepared.components, prepared.shared, block, responsibilities
            )
            return (*log_likelihood, n_rows, counts, *moments)

        sums: tuple[Array, ...] = prepared.by_form(plan, x, summed)
        return sums


@dataclass(frozen=True)
class Slopes(_Weighted):
    """The log-likelihood and its derivatives, for libraries that can differentiate densities.

    By Fisher's identity (Salakhutdinov, Roweis and Ghahramani 2003) the derivatives by parameters
    are those of the expected log-density of rows and components, responsibilities held fixed: they
    are made of the expected statistics. Components of another family than the package's are
    differentiated block by block.
    """

    by_x: bool
    by_sample_weight: bool

    def prepare(self, plan: Plan, parameters: Mixture) -> Prepared:
        """Prepare weights and components."""
        # Derivatives by rows are as exact as residuals are, which features cancel.
        return super().prepare(replace(plan, many_rows=False) if self.by_x else plan, parameters)

    def block(
        self, plan: Plan, prepared: Prepared, *rows: Array
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Sums over a block of rows (x,) or (x, sample_weight), and derivatives by these."""
        masked = self.masked(plan, prepared, rows)

        def differentiated(prepared: Prepared) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
            return self._differentiated(plan, prepared, masked)

        sums, by_rows = prepared.by_form(plan, masked.rows[0], differentiated)
        return sums, by_rows

    def _differentiated(
        self, plan: Plan, prepared: Prepared, masked: _Masked
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        xp = plan.xp
        block, pull = self._pulled(plan, prepared, masked.rows[0])
        normalized = self.normalized(plan, prepared, block, masked.zero)
        log_likelihood = plan.sum_of_rows(masked.contributions(plan, normalized))
        by_sample_weight = _log_likelihood(plan, normalized) if self.by_sample_weight else None
        # A row of zero density belongs to no component: derivatives through it are 0.
        total = xp.where(normalized.total == 0, 1.0, normalized.total)
        normalized = normalized._replace(total=total)
        responsibilities = masked.responsibilities(plan, normalized)
        by_components = () if pull is None else pull(responsibilities)
        by_rows: list[Array] = []
        if self.by_x:
            by_rows.append(masked.where_usable(plan, by_components[-1]))
            by_components = by_components[:-1]
        if by_sample_weight is not None:
            by_rows.append(masked.where_usable(plan, by_sample_weight))
        if contract.is_estimable(prepared.components):
            by_components = contract.moments_block(
                plan, prepared.components, prepared.shared, block, responsibilities
            )
        rows_axis = 1 - plan.axis
        counts = [xp.sum(responsibilities, axis=rows_axis)]
        if normalized.ratios is not None:  # also of components without weight
            ratios = masked.shared_out(plan, normalized.ratios, normalized.total)
            counts.append(xp.sum(ratios, axis=rows_axis))
        return (*log_likelihood, *counts, *by_components), tuple(by_rows)

    def _pulled(
        self, plan: Plan, prepared: Prepared, x: Array
    ) -> tuple[contract.Evaluated, Callable[[Array], tuple[Array, ...]] | None]:
        """An evaluated block, and how it is differentiated by components and rows if need be."""
        arguments: tuple[Any, ...] = (x,) if self.by_x else ()
        if not contract.is_estimable(prepared.components):
            arguments = (prepared.components, *arguments)
        elif not arguments:
            return self.evaluated(plan, prepared, x), None

        def log_joint(*arguments: Any) -> Array:
            rows = arguments[-1] if self.by_x else x
            components = prepared.components
            if not contract.is_estimable(components):
                components = arguments[0]
            return self.evaluated(plan, prepared._replace(components=components), rows).log_joint

        joint, pull = plan.pullback(log_joint, *arguments)
        return contract.Evaluated(x, joint), pull

    def by_parameters(
        self, plan: Plan, parameters: Mixture, sums: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        """Derivatives by weights and the components' arrays."""
        xp = plan.xp
        _, _, counts, *rest = sums
        ratios = rest.pop(0) if self.zeros else None
        by_components = tuple(rest)
        old = parameters.components
        own = contract.is_estimable(old)

        def expected(weights: Array, *components: Any) -> Array:
            mixing = mixing_weights(plan, weights, zeros=self.zeros)
            total = xp.sum(mixing.log * counts)
            if mixing.gain is not None and ratios is not None:
                total = total + xp.sum(mixing.gain * ratios)
            for one in components:
                total = total + contract.expected(plan, one, old, counts, by_components)
            return total

        arguments = parameters if own else parameters[:1]
        value, pull = plan.pullback(expected, *arguments)
        slopes = pull(xp.ones_like(value))
        return slopes if own else (*slopes, *by_components)


class _Masked(NamedTuple):
    """Rows (x,) or (x, sample_weight) of a block, and which of them take no part.

    Blank is a row of weight zero whose density may not be asked for: its x is a harmless number.
    """

    rows: tuple[Array, ...]
    zero: Array | None = None
    blank: Array | None = None

    def where_usable(self, plan: Plan, values: Array) -> Array:
        """Values of rows, but 0 for blank ones."""
        if self.blank is None:
            return values
        return plan.xp.where(_to_rows(plan, self.blank, values.ndim), 0.0, values)

    def contributions(self, plan: Plan, normalized: LogNormalized) -> Array:
        """Log-likelihoods (rows,) by their weights."""
        log_likelihood = _log_likelihood(plan, normalized)
        if len(self.rows) == 1:
            return log_likelihood
        return self.where_usable(plan, self.rows[1] * log_likelihood)

    def weights(self, plan: Plan, like: Array) -> Array:
        """Weights of rows; of blank ones without a derivative."""
        if len(self.rows) == 1:
            return plan.xp.ones_like(like)
        return self.where_usable(plan, self.rows[1])

    def responsibilities(self, plan: Plan, normalized: LogNormalized) -> Array:
        """Responsibilities by the weights of their rows; may overwrite the shares."""
        if len(self.rows) == 1:
            return normalized.responsibilities(plan)
        return self.shared_out(plan, normalized.shares, normalized.total)

    def shared_out(self, plan: Plan, shares: Array, total: Array) -> Array:
        """Shares of a total (rows,), by the weights of rows."""
        return shares * across(self.weights(plan, total) / total, plan.axis)


def _log_likelihood(plan: Plan, normalized: LogNormalized) -> Array:
    logarithm = plan.xp.log(normalized.total)
    return logarithm if normalized.shift is None else normalized.shift + logarithm


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
