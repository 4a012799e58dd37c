"""The most likely path of states through sequences: a recursion of maxima, and the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.chain.parameters import normalize_rows
from estep_xp.chain.recursion import Logarithmic, finite_or_zero, safe_log
from estep_xp.chain.viterbi_blocks import most_likely_path
from estep_xp.execution.chains import stand_in

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace
    from estep_xp.chain.sequences import Sequences
    from estep_xp.execution.chains import ChainOps


@dataclass(frozen=True)
class Maxima(Logarithmic):
    """Maxima of sums: messages are those of the best path to each state."""

    def apply(self, xp: Namespace, matrix: Array, joint: Array) -> Array:
        """Largest sum over the states that messages come from."""
        best: Array = xp.max(matrix + joint[None, ...], axis=1)
        return best

    def prepare_rows(self, matrix: Any, evidence: Any) -> None:
        """Nothing: maxima take no exponentials."""

    def rescale(
        self, xp: Namespace, joint: Array, reference: Array, axes: tuple[int, ...]
    ) -> Array:
        """Subtract the largest: a sum over all rows so far would round by more and more."""
        del reference
        return joint - finite_or_zero(xp, xp.max(joint, axis=axes, keepdims=True))


@dataclass(frozen=True)
class MostLikelyPath:
    """Labels (n,) of the most likely path, -1 in impossible sequences, and its log-joint (s,)."""

    def results_like(self, *arrays: Any) -> Any:
        """Stand-ins of the results."""
        log_prob, _, _, sequences = arrays
        labels = np.broadcast_to(np.int64(0), (log_prob.shape[0],))
        return labels, stand_in(sequences.n_sequences)

    def run(
        self,
        ops: ChainOps,
        log_prob: Array,
        initial: Array,
        transitions: Array,
        sequences: Sequences,
    ) -> tuple[Array, Array]:
        """Run forward, go back, and add up along the path."""
        xp = ops.xp
        log_initial = safe_log(xp, normalize_rows(xp, initial))
        if transitions.ndim == 3:  # those at first rows are not read, whatever they hold
            transitions = xp.where(sequences.first[:, None, None], 1.0, transitions)
        log_transitions = safe_log(xp, normalize_rows(xp, transitions))
        if ops.values_visible and transitions.ndim == 2:
            chain: Any = log_prob, log_initial, log_transitions, sequences.first, sequences.last
            path: Any = most_likely_path(*chain)
        else:
            path = _find_path(ops.by_rows(), log_prob, log_initial, log_transitions, sequences)
        log_joint = _add_along(ops, path, log_prob, log_initial, log_transitions, sequences)
        if sequences.valid is not None:
            log_joint = xp.where(sequences.valid, log_joint, math.nan)
        possible = xp.take(xp.isfinite(log_joint), sequences.index, axis=0)
        return xp.where(possible, path, -1), log_joint


def _find_path(
    ops: ChainOps,
    log_prob: Array,
    log_initial: Array,
    log_transitions: Array,
    sequences: Sequences,
) -> Array:
    """The path (n,), row after row."""
    xp = ops.xp
    first, last = sequences.first, sequences.last
    evidence = log_prob - finite_or_zero(xp, xp.max(log_prob, axis=1, keepdims=True))
    evidence = xp.where(first[:, None], evidence + log_initial, evidence)
    entering = xp.matrix_transpose(log_transitions)
    messages = ops.messages(Maxima(), entering, evidence, first, xp.zeros_like(evidence))
    varying = log_transitions.ndim == 3
    following = ops.following(log_transitions) if varying else log_transitions

    def go_back(after: Array, row: tuple[Array, ...]) -> tuple[Array, Array]:
        values, ends, *matrix = row
        columns = xp.matrix_transpose(matrix[0] if varying else log_transitions)
        onward = values + xp.take(columns, xp.reshape(after, (1,)), axis=0)[0, :]
        state = xp.argmax(xp.where(ends, values, onward))
        return state, state

    rows = (messages + evidence, last, *((following,) if varying else ()))
    nowhere = xp.argmax(evidence[0, :] * 0.0)
    path: Array = ops.scan(go_back, nowhere, rows, reverse=True)
    return path


def _add_along(
    ops: ChainOps,
    path: Array,
    log_prob: Array,
    log_initial: Array,
    log_transitions: Array,
    sequences: Sequences,
) -> Array:
    """Log-joint (s,) of the rows and a path; NaN where any density is."""
    xp, k = ops.xp, log_prob.shape[1]
    densities = xp.take_along_axis(log_prob, path[:, None], axis=1)[:, 0]
    places = ops.by_rows().previous(path) * k + path
    if log_transitions.ndim == 2:
        steps = xp.take(xp.reshape(log_transitions, (k * k,)), places, axis=0)
    else:
        flat = xp.reshape(log_transitions, (path.shape[0], k * k))
        steps = xp.take_along_axis(flat, places[:, None], axis=1)[:, 0]
    steps = xp.where(sequences.first, xp.take(log_initial, path, axis=0), steps)
    # Bad numbers need not be on the path.
    bad = xp.any(xp.isnan(log_prob), axis=1) | xp.any(xp.isnan(log_initial))
    if log_transitions.ndim == 2:
        bad = bad | xp.any(xp.isnan(log_transitions))
    else:
        bad = bad | xp.any(xp.isnan(log_transitions), axis=(1, 2))
    steps = xp.where(bad, math.nan, steps)
    where = (sequences.starts, sequences.index)
    return ops.sum_sequences(densities, *where) + ops.sum_sequences(steps, *where)
