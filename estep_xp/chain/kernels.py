"""What is computed of sequences: kernels, which a driver runs as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.chain.filter import lay_out_linearly, linear_norms, normalize_parameters
from estep_xp.chain.layout import lay_out
from estep_xp.chain.parameters import normalize_rows
from estep_xp.chain.smoother import run_forward, smooth
from estep_xp.execution.chains import stand_in

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace
    from estep_xp.chain.sequences import Sequences
    from estep_xp.execution.chains import ChainOps


class Sums(NamedTuple):
    """Results of `SmoothedRows`."""

    responsibilities: Array  # (n, k)
    log_likelihood: Array  # (s,)
    transitions: Array  # (k, k) expected counts
    initial: Array  # (k,)
    by_transitions: Array  # (k, k) or (n, k, k) derivatives of the total by normalised transitions
    by_initial: Array  # (k,) and by normalised initial probabilities


@dataclass(frozen=True)
class SequenceKernel:
    """What the kernels have in common. Sequences of weight 0 contribute nothing."""

    positive: bool | None  # all transitions are large enough for scaled sums; None: not known yet

    def _masked(self, xp: Namespace, log_prob: Array, weights: Any, index: Array) -> Array:
        """Densities, of which sequences of weight 0 have harmless ones."""
        if weights is None:
            return log_prob
        return xp.where(xp.take(weights, index, axis=0)[:, None] == 0, 0.0, log_prob)


@dataclass(frozen=True)
class LogLikelihoods(SequenceKernel):
    """Log-likelihoods (s,) of sequences, and the norms (n,) of rows that they are made of."""

    def run(
        self,
        ops: ChainOps,
        log_prob: Array,
        initial: Array,
        transitions: Array,
        sequences: Sequences,
        weights: Any = None,
    ) -> tuple[Array, Array]:
        """Run forward."""
        log_prob = self._masked(ops.xp, log_prob, weights, sequences.index)
        chain = lay_out(ops, log_prob, initial, transitions, sequences)
        likelihoods = run_forward(ops, chain, self.positive)
        return likelihoods.log_likelihood, likelihoods.norms

    normalize_all = staticmethod(normalize_parameters)

    def run_linearly(
        self,
        ops: ChainOps,
        log_prob: Array,
        parameters: tuple[Array, ...],
        known: tuple[Array, ...],
        sequences: Sequences,
        weights: Any = None,
    ) -> tuple[Array, Array]:
        """The same without logarithms of what is 0."""
        log_prob = self._masked(ops.xp, log_prob, weights, sequences.index)
        rows = lay_out_linearly(ops.xp, log_prob, parameters, known, sequences)
        norms = linear_norms(ops, rows, parameters[1])
        return ops.sum_sequences(norms, sequences.starts, sequences.index), norms

    def results_like(self, *arrays: Any) -> Any:
        """Stand-ins of the results."""
        log_prob, _, _, sequences, *_ = arrays
        return stand_in(sequences.n_sequences), stand_in(log_prob.shape[0])

    def normalize(self, xp: Namespace, *parameters: Array) -> tuple[Array, ...]:
        """Make rows of probabilities sum to 1."""
        return tuple(normalize_rows(xp, one) for one in parameters)

    def derivatives(self, ops: ChainOps, *arrays: Any) -> tuple[Array, tuple[Array, ...]]:
        """Fisher's identity: expected counts, before they are multiplied by probabilities."""
        sums, _ = SmoothedRows(self.positive).run(ops, *arrays)
        xp, (*_, sequences, weights) = ops.xp, arrays
        by_rows = sums.responsibilities
        if weights is not None:
            masses = xp.take(weights, sequences.index, axis=0)[:, None]
            by_rows = xp.where(masses == 0, 0.0, by_rows) * masses
        return sums.log_likelihood, (by_rows, sums.by_initial, sums.by_transitions)


@dataclass(frozen=True)
class SmoothedRows(SequenceKernel):
    """Responsibilities, log-likelihoods, expected counts, and derivatives of the total."""

    def run(
        self,
        ops: ChainOps,
        log_prob: Array,
        initial: Array,
        transitions: Array,
        sequences: Sequences,
        weights: Any = None,
    ) -> tuple[Sums, Array]:
        """Run forward and backward; the norms (n,) of rows, too."""
        xp, index = ops.xp, sequences.index
        log_prob = self._masked(xp, log_prob, weights, index)
        chain = lay_out(ops, log_prob, initial, transitions, sequences)
        if weights is None:
            weights = 0.0 * xp.astype(sequences.starts, log_prob.dtype) + 1.0
        smoothed = smooth(ops, chain, weights, self.positive)
        norms, log_likelihood = smoothed.likelihoods
        possible = smoothed.likelihoods.possible
        r = ops.join(smoothed.responsibilities)
        if sequences.valid is not None:
            r = xp.where(sequences.valid, r, math.nan)
        masses = xp.where(possible, weights, 0.0)[:, None]
        possible = possible[:, None]
        at_starts = xp.where(possible, xp.take(r, sequences.starts, axis=0), 0.0)
        slopes, counts = smoothed.slopes, smoothed.counts
        if sequences.valid is not None:  # sums over rows that are cut at the wrong places
            slopes = xp.where(sequences.valid, slopes, math.nan)
            counts = xp.where(sequences.valid, counts, math.nan)
        sums = Sums(
            r,
            log_likelihood,
            counts,
            xp.sum(at_starts * masses, axis=0),
            slopes if transitions.ndim == 2 else ops.join(slopes),
            xp.sum(xp.where(possible, smoothed.initial_slopes, 0.0) * masses, axis=0),
        )
        return sums, norms

    def results_like(self, *arrays: Any) -> Any:
        """Stand-ins of the results."""
        log_prob, initial, transitions, sequences, *_ = arrays
        n, k, s = log_prob.shape[0], initial.shape[0], sequences.n_sequences
        shapes = ((n, k), (s,), (k, k), (k,), tuple(transitions.shape), (k,))
        return Sums(*(stand_in(*shape) for shape in shapes)), stand_in(n)
