"""What the rows so far say of each row's state: `filtered`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp import execution
from estep_xp.arrays.caller import warn_caller
from estep_xp.arrays.namespace import is_concrete, to_host
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.record_repr import sizes, summarized, total
from estep_xp.arrays.validation import check_shape
from estep_xp.chain.call import Call, evaluate_emissions, impossible_text, prepare_call
from estep_xp.chain.filter import FilteredRows
from estep_xp.chain.hmm import HMM
from estep_xp.chain.parameters import normalize_rows
from estep_xp.chain.probabilities import check_probabilities, refuse_records

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.shapes import FloatN, FloatNK, FloatSK, LikeNoise, LikeS, LikeSK, RowsLike


@summarized
class Filtered(NamedTuple):
    """What the rows so far say of the state of each row.

    Parameters
    ----------
    responsibilities : array, shape (n, k)
        Probabilities of each row's state given the row and those before it in its sequence; NaN
        from a row on that is impossible after them.
    predicted : array, shape (n, k)
        The same given the rows before it alone: the first row of a sequence has the initial
        probabilities.
    log_likelihood : array, shape (n,)
        Log-density of each row given the rows before it, in nats; -inf from an impossible row on.
        A sequence's sum is its log-likelihood.
    last : array, shape (s, k)
        The responsibilities of the last row of each sequence, with which ``start=`` goes on.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5])
    >>> hmm = ex.HMM([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], components)
    >>> ex.filtered([2.5, 4.0, 5.5], hmm).last.round(4)
    array([[0.0105, 0.9895]])
    """

    responsibilities: FloatNK
    predicted: FloatNK
    log_likelihood: FloatN
    last: FloatSK

    def _shown_fields(self) -> dict[str, Any]:
        shown = sizes("nk", "responsibilities", self.responsibilities)
        return shown | {"log_likelihood": total(self.log_likelihood)}


def filtered(
    x: RowsLike,
    hmm: HMM,
    *,
    lengths: LikeS | None = None,
    start: LikeSK | None = None,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
) -> Filtered:
    """Probabilities of each row's state given the rows so far, and none of the later ones.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row, of sequences one after the other; shape (n,) for univariate
        components.
    hmm : HMM
        Initial probabilities, transitions and components.
    lengths : array of int, shape (s,), optional
        Length of each sequence, at least 1; they sum to n. One sequence by default.
    start : array, shape (s, k), optional
        Probabilities of the state before each sequence's first row, such as ``last`` of an earlier
        call, normalised: sequences go on from there, and do not begin with the initial
        probabilities. With no rows at all, and no `lengths`, they are the result's ``last``.
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
    Filtered
        ``responsibilities`` and ``predicted`` (n, k), ``log_likelihood`` (n,) and ``last`` (s, k).

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value; the message names it.

    Warns
    -----
    RuntimeWarning
        If a sequence is impossible, from which row on.

    Notes
    -----
    No bit of a row's results depends on the values of later rows. Rows in batches, each of which
    starts with the ``last`` of the one before, give the results of all rows at once but for
    rounding; a state whose probability is too small for a float is lost between batches.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5])
    >>> hmm = ex.HMM([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], components)
    >>> now = ex.filtered([2.5, 4.0], hmm)
    >>> now.responsibilities.round(4)
    array([[0.9846, 0.0154],
           [0.8347, 0.1653]])
    >>> ex.filtered([5.5], hmm, start=now.last).predicted.round(4)
    array([[0.7843, 0.2157]])
    """
    refuse_records("start", start)
    call = prepare_call(x, hmm, lengths, missing=missing, noise=noise)
    space, initial, transitions = call.space, call.mixture.initial, call.mixture.transitions
    where = call.space_sequences()
    idle = call.rows[0].shape[0] == 0 and lengths is None  # no new row of any sequence
    parameters: tuple[Any, ...] = (initial, transitions)
    if start is not None:
        start = check_probabilities(space, "start", start)
        shape: tuple[Any, ...] = (call.sequences.n_sequences, call.k)
        if idle:
            shape = ("s", call.k)
        check_shape("start", start, shape, ": the last probabilities of each sequence")
        parameters = (*parameters, start)
    log_prob = evaluate_emissions(call, block_size, workers, by_row=True)
    driver = execution.driver_for(space)
    kernel = FilteredRows(call.positive)
    responsibilities, predicted, norms = driver.run_forward(
        kernel, space, log_prob, parameters, where
    )
    _warn_of_impossible_rows(call, norms)
    if start is not None and idle:
        last = quietly(driver.map_each_row, normalize_rows, start)
        return Filtered(responsibilities, predicted, norms, last)
    last = space.xp.take(responsibilities, where.ends, axis=0)
    return Filtered(responsibilities, predicted, norms, last)


def _warn_of_impossible_rows(call: Call, norms: Array) -> None:
    if not is_concrete(norms):
        return
    bad = to_host(norms) == -math.inf
    if bad.any():
        sums = np.zeros(call.sequences.n_sequences)
        which = np.searchsorted(to_host(call.sequences.ends), np.flatnonzero(bad))
        sums[which] = -math.inf
        text = impossible_text(call, sums, norms)
        warn_caller(
            f"{text}: from there on log_likelihood is -inf and responsibilities are NaN",
            RuntimeWarning,
        )
