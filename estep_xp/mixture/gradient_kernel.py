"""The gradient of the log-likelihood, for libraries that can differentiate densities."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.arrays.block import expand_components, expand_rows
from estep_xp.arrays.logsumexp import LogNormalized, finite_exp_, mixing_weights
from estep_xp.families.contract import family_of
from estep_xp.families.family import Evaluated
from estep_xp.mixture.masking import MaskedRows, WeightedKernel
from estep_xp.mixture.prepared import Prepared, row_log_likelihoods

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.block import BlockOps
    from estep_xp.execution.kernel import BlockResults
    from estep_xp.mixture.mixture import Mixture


class _Rows(NamedTuple):
    """A block of rows, evaluated and normalised; and flags (rows,) of those of zero density."""

    masked: MaskedRows
    block: Evaluated
    normalized: LogNormalized
    empty: Array


@dataclass(frozen=True)
class LogLikelihoodGradient(WeightedKernel):
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
        # The product form loses digits of x − μ, and with them of derivatives by rows.
        return super().prepare(replace(ops, many_rows=False) if self.by_x else ops, parameters)

    def block(self, ops: BlockOps, prepared: Prepared, *rows: Array) -> BlockResults:
        """Derivatives by rows (x,) or (x, sample_weight) of a block, and sums over them."""
        masked = self.mask_rows(ops, prepared, rows)
        xp = ops.xp
        block, pull = self._pull_back(ops, prepared, masked.rows[0])
        normalized = self.normalize(ops, prepared, block, masked.zero)
        log_likelihood = ops.sum_rows(masked.contributions(ops, normalized))
        by_sample_weight = row_log_likelihoods(ops, normalized) if self.by_sample_weight else None
        # A row of zero density belongs to no component: derivatives through it are 0.
        empty = normalized.total == 0
        total = xp.where(empty, 1.0, normalized.total)
        normalized = normalized._replace(total=total)
        responsibilities = masked.responsibilities(ops, normalized)
        by_components = () if pull is None else pull(responsibilities)
        if prepared.family._has_zero_factors and not prepared.family._has_expected_log_prob:
            last = len(by_components) - self.by_x
            fields, others = by_components[:last], by_components[last:]
            rows_found = _Rows(masked, block, normalized, empty)
            more = self._by_zero_factors(ops, prepared, rows_found, fields)
            fields = tuple(one + other for one, other in zip(fields, more, strict=True))
            by_components = (*fields, *others)
        by_rows: list[Array] = []
        if self.by_x:
            by_rows.append(masked.zero_replaced(ops, by_components[-1]))
            by_components = by_components[:-1]
        if by_sample_weight is not None:
            by_rows.append(masked.zero_replaced(ops, by_sample_weight))
        if prepared.family._has_expected_log_prob:
            by_components = prepared.family._moments_block(
                ops, prepared.shared, block, responsibilities
            )
        rows_axis = 1 - ops.axis
        counts = [xp.sum(responsibilities, axis=rows_axis)]
        if normalized.ratios is not None:  # also of components without weight
            ratios = masked.weight_shares(ops, normalized.ratios, normalized.total)
            counts.append(xp.sum(ratios, axis=rows_axis))
        return tuple(by_rows), (*log_likelihood, *counts, *by_components)

    def _by_zero_factors(
        self, ops: BlockOps, prepared: Prepared, rows: _Rows, fields: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        """Derivatives by parameters that are 0, through densities that are 0 for one of them.

        No responsibility leads there: of a density f θ, 0 at θ = 0, the derivative is f / p.
        """
        xp, family, (masked, block, normalized, empty) = ops.xp, prepared.family, rows

        def gain(components: Any) -> Array:
            split: Array = family_of(components)._split_zeros(ops, prepared.shared, block.x)[2]
            return split

        def derivatives() -> tuple[Array, ...]:
            _, pull = ops.pullback(gain, prepared.components)
            rest, zeros, _ = family._split_zeros(ops, prepared.shared, block.x)
            if normalized.shift is not None:
                rest = rest - expand_rows(normalized.shift, ops.axis)
            single = (zeros == 1.0) & ~expand_rows(empty, ops.axis)
            shares = xp.where(single, finite_exp_(ops, rest), 0.0)
            if prepared.weights.gain is not None:
                shares = shares * expand_components(prepared.weights.gain, ops.axis)
            return pull(masked.weight_shares(ops, shares, normalized.total))

        def nothing() -> tuple[Array, ...]:
            return tuple(map(xp.zeros_like, fields))

        slopes: tuple[Array, ...] = ops.cond(
            xp.all(block.log_joint > -math.inf), nothing, derivatives
        )
        return slopes

    def _pull_back(
        self, ops: BlockOps, prepared: Prepared, x: Array
    ) -> tuple[Evaluated, Callable[[Array], tuple[Array, ...]] | None]:
        """An evaluated block, and its pullback to components and rows where that is needed."""
        arguments: tuple[Any, ...] = (x,) if self.by_x else ()
        if not prepared.family._has_expected_log_prob:
            arguments = (prepared.components, *arguments)
        elif not arguments:
            return self.evaluate(ops, prepared, x), None

        def log_joint(*arguments: Any) -> Array:
            rows = arguments[-1] if self.by_x else x
            own = prepared
            if not prepared.family._has_expected_log_prob:
                components = arguments[0]
                shared = family_of(components)._prepare(ops, prepared.weights.log)
                own = prepared._replace(components=components, shared=shared)
            return self.evaluate(ops, own, rows).log_joint

        joint, pull = ops.pullback(log_joint, *arguments)
        return Evaluated(x, joint), pull


def derivatives_by_parameters(
    ops: BlockOps, parameters: Mixture, sums: tuple[Array, ...], *, zeros: bool
) -> tuple[Array, ...]:
    """Derivatives by weights and the components' arrays, from the gradient kernel's sums."""
    xp = ops.xp
    _, _, counts, *rest = sums
    ratios = rest.pop(0) if zeros else None
    by_components = tuple(rest)
    old = parameters.components
    own = family_of(old)._has_expected_log_prob

    def expected(weights: Array, *components: Any) -> Array:
        mixing = mixing_weights(ops, weights, zeros=zeros)
        total = xp.sum(mixing.log * counts)
        if mixing.gain is not None and ratios is not None:
            total = total + xp.sum(mixing.gain * ratios)
        for one in components:
            total = total + family_of(one)._expected_log_prob(ops, old, counts, by_components)
        return total

    arguments = parameters if own else parameters[:1]
    value, pull = ops.pullback(expected, *arguments)
    slopes = pull(xp.ones_like(value))
    return slopes if own else (*slopes, *by_components)
