"""The most likely path of states through each sequence: `decode`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp import execution
from estep_xp.arrays.caller import warn_caller
from estep_xp.arrays.namespace import is_concrete, to_host
from estep_xp.arrays.record_repr import sizes, summarized, total
from estep_xp.chain.call import Call, evaluate_emissions, impossible_text, prepare_call
from estep_xp.chain.hmm import HMM
from estep_xp.chain.kernels import LogLikelihoods
from estep_xp.chain.viterbi import MostLikelyPath

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.shapes import FloatS, IntN, LikeNoise, LikeS, RowsLike
    from estep_xp.execution.chains import ChainKernel


@summarized
class Decoded(NamedTuple):
    """The most likely path of states through sequences of observations.

    Parameters
    ----------
    labels : array of int, shape (n,)
        State of each row on the path, counted from 0; -1 in an impossible sequence.
    log_joint : array, shape (s,)
        Log-density of each sequence and its path together; -inf for an impossible one.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5])
    >>> hmm = ex.HMM([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], components)
    >>> ex.decode([1.0, 2.0, 6.5, 5.0], hmm).labels
    array([0, 0, 1, 1])
    """

    labels: IntN
    log_joint: FloatS

    def _shown_fields(self) -> dict[str, Any]:
        shown = sizes("n", "labels", self.labels) | sizes("s", "log_joint", self.log_joint)
        return shown | {"log_joint": total(self.log_joint)}


def decode(
    x: RowsLike,
    hmm: HMM,
    *,
    lengths: LikeS | None = None,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
) -> Decoded:
    """Most likely path of states through each sequence of observations.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row, of sequences one after the other; shape (n,) for univariate
        components.
    hmm : HMM
        Initial probabilities, transitions and components.
    lengths : array of int, shape (s,), optional
        Length of each sequence, at least 1; they sum to n. One sequence by default.
    block_size, workers : int, optional
        As for `e_step`.
    missing : bool, optional
        Whether NaN in `x` is a feature that was not observed, which is integrated out; by default
        it is bad input.
    noise : array, shape (n, d) or (n, d, d), optional
        Variances or covariances of each row's measurement errors, for Gaussian families; shape (n,)
        for univariate components. Components then describe what was measured, without the errors.

    Returns
    -------
    Decoded
        ``labels`` (n,), the states of the path, and ``log_joint`` (s,), log p(x, path). At a tie
        the last row has the lowest of the best states, and then, backwards, each row.

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
    The path that is the most likely as a whole (Viterbi 1967). Row by row the most probable states
    are ``predict(x, hmm)``; they may lie on no possible path.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5])
    >>> hmm = ex.HMM([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], components)
    >>> decoded = ex.decode([1.0, 2.0, 6.5, 5.0, 7.0, 2.5], hmm, lengths=[4, 2])
    >>> decoded.labels
    array([0, 0, 1, 1, 1, 0])
    >>> decoded.log_joint.round(4)
    array([-8.3221, -4.8015])
    """
    call = prepare_call(x, hmm, lengths, missing=missing, noise=noise)
    log_prob = evaluate_emissions(call, block_size, workers)
    labels, log_joint = _run(MostLikelyPath(), call, log_prob)
    _warn_of_impossible_sequences(call, log_prob, log_joint)
    return Decoded(labels, log_joint)


def _run(kernel: ChainKernel, call: Call, log_prob: Array) -> Any:
    initial, transitions, _ = call.mixture
    arrays = (log_prob, initial, transitions, call.space_sequences())
    return execution.driver_for(call.space).run_chain(kernel, call.space, *arrays)


def _warn_of_impossible_sequences(call: Call, log_prob: Array, log_joint: Array) -> None:
    """Warn of sequences that no path explains; only then is the first impossible row looked for."""
    if is_concrete(log_joint) and (to_host(log_joint) == -math.inf).any():
        _, norms = _run(LogLikelihoods(call.positive), call, log_prob)
        text = impossible_text(call, log_joint, norms)
        warn_caller(f"{text}: log_joint is -inf and labels are -1 there", RuntimeWarning)
