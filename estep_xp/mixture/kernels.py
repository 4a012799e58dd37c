"""The E-step on one block of rows, in the layout of its driver: the one algorithm.

The same normalised row is asked for its posterior, its most responsible component, its entropy,
its log-likelihood, and what it adds to the expected statistics. Kernels hold only what they must be
compiled for.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from estep_xp.arrays.logsumexp import entropy, without_dead
from estep_xp.families.contract import mark_nonfinite_rows
from estep_xp.mixture.gradient_kernel import LogLikelihoodGradient, derivatives_by_parameters
from estep_xp.mixture.masking import WeightedKernel
from estep_xp.mixture.prepared import MixtureKernel, Prepared, row_log_likelihoods

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.block import BlockOps
    from estep_xp.execution.kernel import BlockResults
    from estep_xp.mixture.mixture import Mixture


@dataclass(frozen=True)
class Posterior(MixtureKernel):
    """Responsibilities and log-likelihoods."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((self.k,), ())

    def block(self, ops: BlockOps, prepared: Prepared, *rows: Array) -> BlockResults:
        """Evaluate a block."""

        def posterior(prepared: Prepared) -> tuple[Array, ...]:
            block = self.evaluate(ops, prepared, rows[0])
            normalized = self.normalize(ops, prepared, block)
            log_likelihood = row_log_likelihoods(ops, normalized)
            return normalized.result(ops), log_likelihood

        results: tuple[Array, ...] = prepared.call_without_zeros(ops, posterior)
        return results, ()


@functools.cache  # to make one takes as long as arithmetic on a few rows
def posterior_kernel(k: int, zeros: bool, lazy: bool) -> Posterior:
    """The kernel of an E-step."""
    return Posterior(k, zeros, lazy)


@dataclass(frozen=True)
class MostResponsible(MixtureKernel):
    """Places of the largest responsibilities; -inf in rows of zero density, NaN in bad ones."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((),)

    def block(self, ops: BlockOps, prepared: Prepared, *rows: Array) -> BlockResults:
        """Evaluate a block."""
        xp = ops.xp
        block = self.evaluate(ops, prepared, rows[0])
        normalized = self.normalize(ops, prepared, block)
        log_likelihood = row_log_likelihoods(ops, normalized)
        places = xp.argmax(normalized.responsibilities(ops), axis=ops.axis)
        places = xp.astype(places, log_likelihood.dtype)
        return (xp.where(xp.isfinite(log_likelihood), places, log_likelihood),), ()


@dataclass(frozen=True)
class LogJoint(MixtureKernel):
    """Log-joint densities, and the largest of each row to tell bad rows by."""

    normalizes = False

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((self.k,), ())

    def block(self, ops: BlockOps, prepared: Prepared, *rows: Array) -> BlockResults:
        """Evaluate a block."""
        joint = self.evaluate(ops, prepared, rows[0]).log_joint
        if self.lazy:
            x = prepared.family._without_holes(ops, rows[0])
            joint = mark_nonfinite_rows(ops, x, joint)
        joint = without_dead(joint, prepared.weights, ops.axis)
        return (joint, ops.xp.max(joint, axis=ops.axis)), ()


@dataclass(frozen=True)
class LogLikelihood(WeightedKernel):
    """Contributions of rows to the log-likelihood, by their sample weights where there are any."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((),)

    def block(self, ops: BlockOps, prepared: Prepared, *rows: Array) -> BlockResults:
        """Evaluate a block of rows (x,) or (x, sample_weight)."""
        masked = self.mask_rows(ops, prepared, rows)

        def contributions(prepared: Prepared) -> Array:
            block = self.evaluate(ops, prepared, masked.rows[0])
            return masked.contributions(ops, self.normalize(ops, prepared, block, masked.zero))

        return (prepared.call_without_zeros(ops, contributions),), ()

    def gradient_kernel(self, *, by_x: bool, by_sample_weight: bool) -> LogLikelihoodGradient:
        """The kernel of the sum's derivatives."""
        flags = (self.masks, by_x, by_sample_weight)
        return LogLikelihoodGradient(self.k, self.zeros, self.lazy, *flags, pads=self.pads)

    def by_parameters(
        self, ops: BlockOps, parameters: Mixture, sums: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        """Derivatives by weights and the components' arrays, from that kernel's sums."""
        return derivatives_by_parameters(ops, parameters, sums, zeros=self.zeros)


@dataclass(frozen=True)
class Entropy(WeightedKernel):
    """Entropies of rows' responsibilities by their sample weights; 0 in rows of zero density."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return ((),)

    def block(self, ops: BlockOps, prepared: Prepared, *rows: Array) -> BlockResults:
        """Evaluate a block of rows (x,) or (x, sample_weight)."""
        xp = ops.xp
        masked = self.mask_rows(ops, prepared, rows)
        block = self.evaluate(ops, prepared, masked.rows[0])
        normalized = self.normalize(ops, prepared, block, masked.zero)
        weights, impossible = masked.weights(ops, normalized.total), normalized.total == 0
        entropies = entropy(xp, normalized.responsibilities(ops), ops.axis)
        entropies = xp.where(impossible | (weights == 0), 0.0, entropies)
        return (weights * entropies,), ()


@dataclass(frozen=True)
class ExpectedStatistics(WeightedKernel):
    """Log-likelihood, number of rows, N_k and the family's moments, summed over rows."""

    def block(self, ops: BlockOps, prepared: Prepared, *rows: Array) -> BlockResults:
        """Sum over a block of rows (x,) or (x, sample_weight)."""
        xp = ops.xp
        masked = self.mask_rows(ops, prepared, rows)
        x = masked.rows[0]

        block = self.evaluate(ops, prepared, x)
        normalized = self.normalize(ops, prepared, block, masked.zero)
        log_likelihood = ops.sum_rows(masked.contributions(ops, normalized))
        n_rows = masked.count_rows(ops, normalized.total)
        responsibilities = masked.responsibilities(ops, normalized)
        counts = xp.sum(responsibilities, axis=1 - ops.axis)
        moments = prepared.family._moments_block(ops, prepared.shared, block, responsibilities)
        return (), (*log_likelihood, n_rows, counts, *moments)


@functools.cache
def expected_statistics_kernel(
    k: int, zeros: bool, lazy: bool, masks: bool, pads: bool
) -> ExpectedStatistics:
    """The kernel of expected statistics, which each iteration of EM takes anew."""
    return ExpectedStatistics(k, zeros, lazy, masks, pads=pads)
