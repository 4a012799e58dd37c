"""Forward-backward: the E-step of a chain, for any components, on any array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp import execution
from estep_xp.arrays.logsumexp import entropy_of_rows, labels_of_rows
from estep_xp.arrays.quiet import quiet
from estep_xp.arrays.record_repr import sizes, summarized, total
from estep_xp.arrays.validation import check_shape
from estep_xp.chain.call import (
    Call,
    evaluate_emissions,
    prepare_call,
    warn_of_impossible_sequences,
)
from estep_xp.chain.chunk_graph import chunks_of
from estep_xp.chain.hmm import HMM
from estep_xp.chain.kernels import SmoothedRows
from estep_xp.families import contract

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import (
        FloatK,
        FloatKK,
        FloatN,
        FloatNK,
        FloatS,
        FloatScalar,
        IntN,
        LikeK,
        LikeNK,
        LikeNoise,
        LikeS,
        LikeTransitions,
        RowsLike,
    )


@summarized
class ChainEStep(NamedTuple):
    """What forward-backward knows of sequences of observations.

    Parameters
    ----------
    responsibilities : array, shape (n, k)
        Probability of each state given its whole sequence; rows sum to 1. NaN in the rows of an
        impossible sequence.
    log_likelihood : array, shape (s,)
        Log-density of each sequence, in nats; -inf for an impossible one.
    transitions : array, shape (k, k)
        Expected number of times that state i is followed by state j, over all sequences.
    initial : array, shape (k,)
        Expected number of sequences that begin in each state.

    Examples
    --------
    >>> import estep_xp as ex
    >>> step = ex.chain_posterior(
    ...     [[-1.0, -3.0], [-2.0, -1.5]], [0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]]
    ... )
    >>> step.labels
    array([0, 0])
    >>> step.transitions.round(4)
    array([[0.7084, 0.1298],
           [0.0213, 0.1405]])
    """

    responsibilities: FloatNK
    log_likelihood: FloatS
    transitions: FloatKK
    initial: FloatK

    def _shown_fields(self) -> dict[str, Any]:
        shown = sizes("nk", "responsibilities", self.responsibilities)
        shown |= sizes("s", "log_likelihood", self.log_likelihood)
        return shown | {"log_likelihood": total(self.log_likelihood)}

    @property
    def labels(self) -> IntN:
        """Most probable state of each row, counted from 0, shape (n,).

        The first of several at a tie; -1 where the responsibilities are NaN.
        """
        labels: IntN = execution.driver_of(self.responsibilities).map_each_row(
            labels_of_rows, self.responsibilities
        )
        return labels

    @property
    @quiet
    def entropy(self) -> FloatN:
        """Entropy of each row's state in nats, shape (n,): 0 when certain."""
        entropy: FloatN = execution.driver_of(self.responsibilities).map_each_row(
            entropy_of_rows, self.responsibilities
        )
        return entropy

    @property
    @quiet
    def total_log_likelihood(self) -> FloatScalar:
        """Log-likelihood of all sequences, shape ()."""
        return execution.driver_of(self.log_likelihood).sum_values(self.log_likelihood)


def e_step(
    x: RowsLike,
    hmm: HMM,
    *,
    lengths: LikeS | None = None,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
) -> ChainEStep:
    """Posteriors of states, log-likelihoods, and expected counts of a hidden Markov model."""
    return run(prepare_call(x, hmm, lengths, missing=missing, noise=noise), block_size, workers)


def chain_posterior(
    log_prob: LikeNK,
    initial: LikeK,
    transitions: LikeTransitions,
    *,
    lengths: LikeS | None = None,
) -> ChainEStep:
    """Forward-backward for log-densities of states that are known already.

    Parameters
    ----------
    log_prob : array, shape (n, k)
        log p(x_t | state) of each row under each state; -inf where the density is zero. Sequences
        lie one after the other.
    initial : array, shape (k,)
        Probabilities of the first row's state; normalised here.
    transitions : array, shape (k, k) or (n, k, k)
        Row i holds the probabilities of the state after state i; rows are normalised here. With
        one matrix for each row, rows are entered by their own; those of first rows are not read.
    lengths : array of int, shape (s,), optional
        Length of each sequence, at least 1; they sum to n. One sequence by default.

    Returns
    -------
    ChainEStep
        ``responsibilities`` (n, k), ``log_likelihood`` (s,) and the expected counts
        ``transitions`` (k, k) and ``initial`` (k,), arrays like `log_prob`.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value; the message names it.

    Warns
    -----
    RuntimeWarning
        If a sequence is impossible: no path of states has a density there.

    Notes
    -----
    Forward-backward (Rabiner 1989, section III): sums of products, scaled row by row, where all
    transitions are positive; log space elsewhere.

    Examples
    --------
    >>> import estep_xp as ex
    >>> step = ex.chain_posterior(
    ...     [[-1.0, -3.0], [-2.0, -1.5]], [0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]]
    ... )
    >>> step.responsibilities.round(4)
    array([[0.8382, 0.1618],
           [0.7297, 0.2703]])
    >>> step.log_likelihood.round(4)
    array([-3.4538])
    """
    hmm = HMM(initial, transitions, contract.Given())
    call = prepare_call(log_prob, hmm, lengths, name="log_prob")
    check_shape("log_prob", call.rows[0], ("n", call.k), ": one column a state")
    return run(call, None, None)


def run(call: Call, block_size: int | None, workers: int | None) -> ChainEStep:
    """Run forward-backward on a call that has been checked."""
    log_prob = evaluate_emissions(call, block_size, workers)
    chunks = chunks_of(call)
    if chunks is not None:
        messages = chunks.messages(log_prob)
        shares, *counts = chunks.smooth(log_prob, messages)
        return ChainEStep(shares, messages.log_likelihood, *counts)
    initial, transitions, _ = call.mixture
    sums, norms = execution.driver_for(call.space).run_chain(
        SmoothedRows(call.positive),
        call.space,
        log_prob,
        initial,
        transitions,
        call.space_sequences(),
    )
    warn_of_impossible_sequences(call, sums.log_likelihood, norms)
    return ChainEStep(*sums[:4])
