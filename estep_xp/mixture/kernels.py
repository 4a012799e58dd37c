"""The E-step on one block of rows, in the layout of its driver: the one algorithm.

Four questions are asked of the same normalised row: the posterior, the log-joint, the
log-likelihood, and the expected statistics. Kernels hold only what they must be compiled for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from estep_xp.arrays.block import expand_rows
from estep_xp.arrays.logsumexp import (
    LogNormalized,
    MixingWeights,
    mixing_weights,
    normalize,
    without_dead,
)
from estep_xp.families import contract

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array, Components
    from estep_xp.arrays.block import BlockOps
    from estep_xp.mixture.mixture import Mixture


class Prepared(NamedTuple):
    """What all blocks share."""

    components: Components
    shared: Any  # by the components
    weights: MixingWeights

    def by_weights(self, ops: BlockOps, function: Callable[[Prepared], Any]) -> Any:
        """What `function` makes of it, with less work if no weight that may be zero is."""
        if self.weights.gain is None:
            return function(self)
        positive = self._replace(weights=MixingWeights(self.weights.log))
        flag = ops.xp.all(self.weights.gain == 1.0)
        return ops.cond(flag, lambda: function(positive), lambda: function(self))

    def by_form(self, ops: BlockOps, x: Array, function: Callable[[Prepared], Any]) -> Any:
        """What `function` makes of it for a block, by the quicker form if that is exact."""
        forms = contract.forms(ops, self.components, self.shared, x)
        if forms is None:
            return function(self)
        quick, sure = (self._replace(shared=shared) for shared in (forms.quick, forms.sure))
        return ops.cond(forms.exact, lambda: function(quick), lambda: function(sure))


@dataclass(frozen=True)
class MixtureKernel:
    """What the kernels have in common."""

    k: int  # components
    zeros: bool  # some weight may be zero
    lazy: bool  # results can't be checked: bad rows must show

    normalizes: ClassVar[bool] = True  # log-joints are no results themselves

    def prepare(self, ops: BlockOps, parameters: Mixture) -> Prepared:
        """Prepare weights and components."""
        weights, components = parameters
        mixing = mixing_weights(ops, weights, zeros=self.zeros)
        return Prepared(components, contract.prepare(ops, components, mixing.log), mixing)

    @property
    def breadth(self) -> int:
        """Numbers that a row has in the widest results."""
        return self.k

    def width(self, ops: BlockOps, parameters: Mixture) -> int:
        """Numbers that a row needs meanwhile, beyond itself."""
        return self.k + contract.width(ops, parameters.components)

    def evaluated(self, ops: BlockOps, prepared: Prepared, x: Array) -> contract.Evaluated:
        """Log-joints of a block, as `normalize` takes them."""
        if self.normalizes and prepared.weights.gain is None:
            ops = ops.for_shares()
        return contract.evaluated(
            ops, prepared.components, prepared.shared, prepared.weights.log, x
        )

    def normalized(
        self,
        ops: BlockOps,
        prepared: Prepared,
        block: contract.Evaluated,
        masked: Array | None = None,
    ) -> LogNormalized:
        """An evaluated block, normalised."""
        mark = contract.nan_where_infinite(ops, block.x) if self.lazy else None
        return normalize(ops, block.log_joint, prepared.weights, block.bound, masked, mark)


@dataclass(frozen=True)
class Posterior(MixtureKernel):
    """Responsibilities and log-likelihoods."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((self.k,), ())

    def rows(self, ops: BlockOps, prepared: Prepared, *rows: Array) -> tuple[Array, ...]:
        """Evaluate a block."""

        def posterior(prepared: Prepared) -> tuple[Array, ...]:
            block = self.evaluated(ops, prepared, rows[0])
            normalized = self.normalized(ops, prepared, block)
            log_likelihood = _log_likelihood(ops, normalized)
            return normalized.result(ops), log_likelihood

        results: tuple[Array, ...] = prepared.by_weights(ops, posterior)
        return results


@dataclass(frozen=True)
class LogJoint(MixtureKernel):
    """Log-joint densities, and the largest of each row to tell bad rows by."""

    normalizes = False

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((self.k,), ())

    def rows(self, ops: BlockOps, prepared: Prepared, *rows: Array) -> tuple[Array, ...]:
        """Evaluate a block."""
        joint = self.evaluated(ops, prepared, rows[0]).log_joint
        if self.lazy:
            joint = contract.marked(ops, rows[0], joint)
        joint = without_dead(joint, prepared.weights, ops.axis)
        return joint, ops.xp.max(joint, axis=ops.axis)


@dataclass(frozen=True)
class _Weighted(MixtureKernel):
    """What the kernels share that take rows (x,) or (x, sample_weight)."""

    masks: bool  # some sample weight may be zero
    pads: bool = field(default=False, kw_only=True)  # those of padding are, which are good rows

    def looked_at(self, ops: BlockOps, rows: tuple[Array, ...]) -> tuple[Array, ...]:
        """The block with NaN for bad sample weights that nobody could look at before."""
        if len(rows) == 1 or not self.lazy:
            return rows
        x, weight = rows
        good = (weight >= 0) & (weight < math.inf)
        return x, ops.xp.where(good, weight, math.nan)

    def masked(self, ops: BlockOps, prepared: Prepared, rows: tuple[Array, ...]) -> _Masked:
        """The block with harmless numbers in its blank rows, and which those are."""
        rows = self.looked_at(ops, rows)
        if not self.masks:
            return _Masked(rows, blank=rows[1] == 0 if self.pads else None)
        x, weight = rows
        zero = blank = weight == 0
        if contract.takes_any_row(prepared.components):
            # All the others can be evaluated, and have a derivative by their weight.
            blank = zero & _unusable(ops, x)
        x = ops.xp.where(_to_rows(ops, blank, x.ndim), _HARMLESS, x)
        return _Masked((x, weight), zero, blank)


@dataclass(frozen=True)
class LogLikelihood(_Weighted):
    """Contributions of rows to the log-likelihood, by their sample weights where there are any."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((),)

    def rows(self, ops: BlockOps, prepared: Prepared, *rows: Array) -> tuple[Array, ...]:
        """Evaluate a block of rows (x,) or (x, sample_weight)."""
        masked = self.masked(ops, prepared, rows)

        def contributions(prepared: Prepared) -> Array:
            block = self.evaluated(ops, prepared, masked.rows[0])
            return masked.contributions(ops, self.normalized(ops, prepared, block, masked.zero))

        return (prepared.by_weights(ops, contributions),)

    def slopes(self, *, by_x: bool, by_sample_weight: bool) -> Slopes:
        """The kernel of the sum's derivatives."""
        flags = (self.masks, by_x, by_sample_weight)
        return Slopes(self.k, self.zeros, self.lazy, *flags, pads=self.pads)


@dataclass(frozen=True)
class ExpectedStatistics(_Weighted):
    """Log-likelihood, number of rows, N_k and the family's moments, summed over rows."""

    def sums(self, ops: BlockOps, prepared: Prepared, *rows: Array) -> tuple[Array, ...]:
        """Sum over a block of rows (x,) or (x, sample_weight)."""
        xp = ops.xp
        masked = self.masked(ops, prepared, rows)
        x = masked.rows[0]

        def summed(prepared: Prepared) -> tuple[Array, ...]:
            block = self.evaluated(ops, prepared, x)
            normalized = self.normalized(ops, prepared, block, masked.zero)
            log_likelihood = ops.sum_rows(masked.contributions(ops, normalized))
            n_rows = xp.sum(masked.weights(ops, normalized.total))
            responsibilities = masked.responsibilities(ops, normalized)
            counts = xp.sum(responsibilities, axis=1 - ops.axis)
            moments = contract.moments_block(
                ops, prepared.components, prepared.shared, block, responsibilities
            )
            return (*log_likelihood, n_rows, counts, *moments)

        sums: tuple[Array, ...] = prepared.by_form(ops, x, summed)
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

    def prepare(self, ops: BlockOps, parameters: Mixture) -> Prepared:
        """Prepare weights and components."""
        # Derivatives by rows are as exact as residuals are, which features cancel.
        return super().prepare(replace(ops, many_rows=False) if self.by_x else ops, parameters)

    def block(
        self, ops: BlockOps, prepared: Prepared, *rows: Array
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Sums over a block of rows (x,) or (x, sample_weight), and derivatives by these."""
        masked = self.masked(ops, prepared, rows)

        def differentiated(prepared: Prepared) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
            return self._differentiated(ops, prepared, masked)

        sums, by_rows = prepared.by_form(ops, masked.rows[0], differentiated)
        return sums, by_rows

    def _differentiated(
        self, ops: BlockOps, prepared: Prepared, masked: _Masked
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        xp = ops.xp
        block, pull = self._pulled(ops, prepared, masked.rows[0])
        normalized = self.normalized(ops, prepared, block, masked.zero)
        log_likelihood = ops.sum_rows(masked.contributions(ops, normalized))
        by_sample_weight = _log_likelihood(ops, normalized) if self.by_sample_weight else None
        # A row of zero density belongs to no component: derivatives through it are 0.
        total = xp.where(normalized.total == 0, 1.0, normalized.total)
        normalized = normalized._replace(total=total)
        responsibilities = masked.responsibilities(ops, normalized)
        by_components = () if pull is None else pull(responsibilities)
        by_rows: list[Array] = []
        if self.by_x:
            by_rows.append(masked.where_usable(ops, by_components[-1]))
            by_components = by_components[:-1]
        if by_sample_weight is not None:
            by_rows.append(masked.where_usable(ops, by_sample_weight))
        if contract.is_estimable(prepared.components):
            by_components = contract.moments_block(
                ops, prepared.components, prepared.shared, block, responsibilities
            )
        rows_axis = 1 - ops.axis
        counts = [xp.sum(responsibilities, axis=rows_axis)]
        if normalized.ratios is not None:  # also of components without weight
            ratios = masked.shared_out(ops, normalized.ratios, normalized.total)
            counts.append(xp.sum(ratios, axis=rows_axis))
        return (*log_likelihood, *counts, *by_components), tuple(by_rows)

    def _pulled(
        self, ops: BlockOps, prepared: Prepared, x: Array
    ) -> tuple[contract.Evaluated, Callable[[Array], tuple[Array, ...]] | None]:
        """An evaluated block, and how it is differentiated by components and rows if need be."""
        arguments: tuple[Any, ...] = (x,) if self.by_x else ()
        if not contract.is_estimable(prepared.components):
            arguments = (prepared.components, *arguments)
        elif not arguments:
            return self.evaluated(ops, prepared, x), None

        def log_joint(*arguments: Any) -> Array:
            rows = arguments[-1] if self.by_x else x
            components = prepared.components
            if not contract.is_estimable(components):
                components = arguments[0]
            return self.evaluated(ops, prepared._replace(components=components), rows).log_joint

        joint, pull = ops.pullback(log_joint, *arguments)
        return contract.Evaluated(x, joint), pull

    def by_parameters(
        self, ops: BlockOps, parameters: Mixture, sums: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        """Derivatives by weights and the components' arrays."""
        xp = ops.xp
        _, _, counts, *rest = sums
        ratios = rest.pop(0) if self.zeros else None
        by_components = tuple(rest)
        old = parameters.components
        own = contract.is_estimable(old)

        def expected(weights: Array, *components: Any) -> Array:
            mixing = mixing_weights(ops, weights, zeros=self.zeros)
            total = xp.sum(mixing.log * counts)
            if mixing.gain is not None and ratios is not None:
                total = total + xp.sum(mixing.gain * ratios)
            for one in components:
                total = total + contract.expected(ops, one, old, counts, by_components)
            return total

        arguments = parameters if own else parameters[:1]
        value, pull = ops.pullback(expected, *arguments)
        slopes = pull(xp.ones_like(value))
        return slopes if own else (*slopes, *by_components)


class _Masked(NamedTuple):
    """Rows (x,) or (x, sample_weight) of a block, and which of them take no part.

    Blank is a row of weight zero whose density may not be asked for: its x is a harmless number.
    """

    rows: tuple[Array, ...]
    zero: Array | None = None
    blank: Array | None = None

    def where_usable(self, ops: BlockOps, values: Array) -> Array:
        """Values of rows, but 0 for blank ones."""
        if self.blank is None:
            return values
        return ops.xp.where(_to_rows(ops, self.blank, values.ndim), 0.0, values)

    def contributions(self, ops: BlockOps, normalized: LogNormalized) -> Array:
        """Log-likelihoods (rows,) by their weights."""
        log_likelihood = _log_likelihood(ops, normalized)
        if len(self.rows) == 1:
            return log_likelihood
        return self.where_usable(ops, self.rows[1] * log_likelihood)

    def weights(self, ops: BlockOps, like: Array) -> Array:
        """Weights of rows; of blank ones without a derivative."""
        if len(self.rows) == 1:
            return ops.xp.ones_like(like)
        return self.where_usable(ops, self.rows[1])

    def responsibilities(self, ops: BlockOps, normalized: LogNormalized) -> Array:
        """Responsibilities by the weights of their rows; may overwrite the shares."""
        if len(self.rows) == 1:
            return normalized.responsibilities(ops)
        return self.shared_out(ops, normalized.shares, normalized.total)

    def shared_out(self, ops: BlockOps, shares: Array, total: Array) -> Array:
        """Shares of a total (rows,), by the weights of rows."""
        return shares * expand_rows(self.weights(ops, total) / total, ops.axis)


def _log_likelihood(ops: BlockOps, normalized: LogNormalized) -> Array:
    logarithm = ops.xp.log(normalized.total)
    return logarithm if normalized.shift is None else normalized.shift + logarithm


# Stands in for the numbers of a masked row: inside the support of continuous families on the line,
# the half-line and the unit interval, so that zero times its derivative is zero.
_HARMLESS = 0.5


def _unusable(ops: BlockOps, x: Array) -> Array:
    """Rows with entries that are not finite, or whose squares are not; shape (rows,)."""
    xp = ops.xp
    bad = ~(xp.abs(x) < math.sqrt(float(xp.finfo(x.dtype).max)))
    others = tuple(range(x.ndim - 1)) if ops.axis == 0 else tuple(range(1, x.ndim))
    return xp.any(bad, axis=others) if others else bad


def _to_rows(ops: BlockOps, flags: Array, ndim: int) -> Array:
    """Flags (rows,) ready to broadcast against a block of `ndim` axes."""
    shape = (1,) * (ndim - 1)
    n = flags.shape[0]
    return ops.xp.reshape(flags, (*shape, n) if ops.axis == 0 else (n, *shape))
