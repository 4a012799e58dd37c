"""Filtering: what the rows so far say of a row's state, each row entered from the one before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.chain.causal_blocks import causal_messages
from estep_xp.chain.parameters import normalize_rows
from estep_xp.chain.recursion import Logarithmic, Recursion, Scaled, finite_or_zero, safe_log
from estep_xp.chain.smoother import least_reliable
from estep_xp.execution.chains import stand_in

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace
    from estep_xp.chain.sequences import Sequences
    from estep_xp.execution.chains import ChainOps


class Rows(NamedTuple):
    """What is known of rows before any recursion."""

    evidence: Array  # (n, k) densities or their logs, less the shift; in first rows with initials
    shift: Array  # (n,)
    entering: Array  # (n, k) probabilities of states that a first row is entered with
    first: Array  # (n,) flags of first rows


def normalize_parameters(
    xp: Namespace, parameters: tuple[Array, ...], sequences: Sequences
) -> tuple[Array, ...]:
    """Initial probabilities, transitions, and what sequences start from, made to sum to 1."""
    initial, transitions, *start = parameters
    if transitions.ndim == 3 and not start:  # those at first rows are not read
        transitions = xp.where(sequences.first[:, None, None], 1.0, transitions)
    return tuple(normalize_rows(xp, one) for one in (initial, transitions, *start))


@dataclass(frozen=True)
class FilteredRows:
    """Probabilities of states given the past and the row (n, k), or the past alone, and norms.

    In an impossible sequence norms are -inf from the impossible row on, and filtered ones NaN.
    """

    positive: bool | None  # all transitions are large enough for scaled sums; None: not known yet

    def results_like(self, log_prob: Array, *_: Any) -> tuple[Any, ...]:
        """Stand-ins of the results."""
        n, k = log_prob.shape
        return stand_in(n, k), stand_in(n, k), stand_in(n)

    def run(
        self,
        ops: ChainOps,
        log_prob: Array,
        initial: Array,
        transitions: Array,
        sequences: Sequences,
        start: Any = None,
    ) -> tuple[Array, Array, Array]:
        """Run forward. With `start` (s, k) sequences go on after rows with these probabilities."""
        xp = ops.xp
        if transitions.ndim == 3 and start is None:  # those at first rows are not read
            transitions = xp.where(sequences.first[:, None, None], 1.0, transitions)
        transitions = normalize_rows(xp, transitions)
        entering = _entering(xp, initial, transitions, sequences, start)
        rows = _prepare(xp, log_prob, xp.take(entering, sequences.index, axis=0), sequences.first)

        def scaled() -> tuple[Array, Array, Array]:
            return _run_scaled(ops, rows._replace(evidence=xp.exp(rows.evidence)), transitions)

        def in_log_space() -> tuple[Array, Array, Array]:
            return _run_in_log_space(ops, rows, transitions)

        if self.positive is None:
            safe = xp.min(transitions) >= least_reliable(xp, transitions.dtype)
            filtered, predicted, norms = ops.cond(safe, scaled, in_log_space)
        else:
            filtered, predicted, norms = scaled() if self.positive else in_log_space()
        if sequences.valid is not None:
            mark = xp.where(sequences.valid, 0.0, math.nan)
            filtered, predicted, norms = filtered + mark, predicted + mark, norms + mark
        return filtered, predicted, norms

    normalize_all = staticmethod(normalize_parameters)

    def run_linearly(
        self,
        ops: ChainOps,
        log_prob: Array,
        parameters: tuple[Array, ...],
        known: tuple[Array, ...],
        sequences: Sequences,
    ) -> tuple[Array, Array, Array]:
        """The same without logarithms of what is 0; `run` itself knows first rows' predictions."""
        xp, transitions = ops.xp, parameters[1]
        rows = lay_out_linearly(xp, log_prob, parameters, known, sequences)
        filtered, predicted, norms = _run_scaled(ops, rows, transitions)
        return filtered, xp.where(rows.first[:, None], 0.0, predicted), norms


def lay_out_linearly(
    xp: Namespace,
    log_prob: Array,
    parameters: tuple[Array, ...],
    known: tuple[Array, ...],
    sequences: Sequences,
) -> Rows:
    """Rows of normalised probabilities, in which only densities have been logarithms.

    What first rows are entered with is that of `known`, the same numbers, where it is not 0.
    """

    def enter(initial: Array, transitions: Array, start: Any = None) -> Array:
        return _entering(xp, initial, transitions, sequences, start, normalize=False)

    entering, certain = enter(*parameters), enter(*known)
    entering = xp.take(xp.where(certain == 0, entering, certain), sequences.index, axis=0)
    shift = finite_or_zero(xp, xp.max(log_prob, axis=1))
    densities = xp.exp(log_prob - shift[:, None])
    evidence = xp.where(sequences.first[:, None], densities * entering, densities)
    return Rows(evidence, shift, entering, sequences.first)


def linear_norms(ops: ChainOps, rows: Rows, transitions: Array) -> Array:
    """Norms (n,) of rows, for transitions that may sum to other numbers than 1."""
    xp = ops.xp
    entered = _messages(ops, Scaled(), rows, xp.matrix_transpose(transitions), rows.evidence)
    return rows.shift + safe_log(xp, xp.sum(entered * rows.evidence, axis=1))


def _entering(
    xp: Namespace,
    initial: Array,
    transitions: Array,
    sequences: Sequences,
    start: Any,
    *,
    normalize: bool = True,
) -> Array:
    """Probabilities (s, k) of states that first rows are entered with."""
    if start is None:
        each = (sequences.starts.shape[0], initial.shape[0])
        initial = normalize_rows(xp, initial) if normalize else initial
        shared: Array = xp.broadcast_to(initial[None, :], each)
        return shared
    before = normalize_rows(xp, start) if normalize else start
    if transitions.ndim == 2:
        return before @ transitions
    own = xp.take(transitions, sequences.starts, axis=0)
    return (before[:, None, :] @ own)[:, 0, :]


def _prepare(xp: Namespace, log_prob: Array, entering: Array, first: Array) -> Rows:
    begins = first[:, None]
    log_entering = safe_log(xp, entering)
    # The shift comes first, as the sum would round by the size of the log-densities; and where a
    # first row's best state is out of reach, it is the shift of the others.
    out_of_reach = begins & (entering == 0)
    reachable = xp.where(out_of_reach, -math.inf, log_prob)
    shift = finite_or_zero(xp, xp.max(reachable, axis=1))
    evidence = log_prob - shift[:, None]
    evidence = xp.where(begins, evidence + log_entering, evidence)
    evidence = xp.where(out_of_reach, -math.inf, evidence)
    again = finite_or_zero(xp, xp.max(evidence, axis=1))
    return Rows(evidence - again[:, None], shift + again, entering, first)


def _messages(
    ops: ChainOps, recursion: Recursion, rows: Rows, matrix: Array, terms: Array
) -> Array:
    """What enters each row (n, k), from the rows before it and no others."""
    if ops.values_visible:
        messages: Array = causal_messages(recursion, matrix, terms, rows.first)
        return messages
    return ops.by_rows().messages(recursion, matrix, terms, rows.first, ops.xp.zeros_like(terms))


def _run_scaled(ops: ChainOps, rows: Rows, transitions: Array) -> tuple[Array, Array, Array]:
    xp, begins, evidence = ops.xp, rows.first[:, None], rows.evidence
    matrix = xp.matrix_transpose(transitions)
    entered = _messages(ops, Scaled(), rows, matrix, evidence)
    mass = xp.where(rows.first, 1.0, xp.sum(entered, axis=1))
    joint = entered * evidence
    total = xp.sum(joint, axis=1)
    predicted = xp.where(begins, rows.entering, _divide(xp, entered, mass))
    norms = rows.shift + (safe_log(xp, total) - xp.log(xp.where(mass == 0, 1.0, mass)))
    return _divide(xp, joint, total), predicted, norms


def _run_in_log_space(ops: ChainOps, rows: Rows, transitions: Array) -> tuple[Array, Array, Array]:
    xp, begins = ops.xp, rows.first[:, None]
    matrix = safe_log(xp, xp.matrix_transpose(transitions))
    entered = _messages(ops, Logarithmic(), rows, matrix, rows.evidence)
    mass = xp.where(rows.first, 0.0, _log_sum(xp, entered))
    joint = entered + rows.evidence
    total = _log_sum(xp, joint)
    predicted = xp.where(begins, rows.entering, _exp_less(xp, entered, mass))
    return _exp_less(xp, joint, total), predicted, rows.shift + (total - finite_or_zero(xp, mass))


def _divide(xp: Namespace, values: Array, total: Array) -> Array:
    """Rows over their totals, NaN of a total of 0."""
    nothing = total == 0
    quotient = values / xp.where(nothing, 1.0, total)[:, None]
    return xp.where(nothing[:, None], math.nan, quotient)


def _exp_less(xp: Namespace, values: Array, total: Array) -> Array:
    """Exponentials of rows less their log-totals, NaN of a total of -inf."""
    exponentials = xp.exp(values - finite_or_zero(xp, total)[:, None])
    return xp.where((total == -math.inf)[:, None], math.nan, exponentials)


def _log_sum(xp: Namespace, values: Array) -> Array:
    """Log-sum-exp of rows, -inf of rows of -inf."""
    largest = finite_or_zero(xp, xp.max(values, axis=1))
    return largest + safe_log(xp, xp.sum(xp.exp(values - largest[:, None]), axis=1))
