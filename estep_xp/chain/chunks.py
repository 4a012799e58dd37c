"""Rows of sequences in chunks that other processes may hold: what chunks tell each other.

A cut may go through a sequence. Then a chunk is for it a matrix (k, k): what is likely after the
chunk's rows, given the state before them. Such matrices compose, so that each chunk is looked at on
its own, twice:

1. `summarize` finds the chunk's matrix, in factors each of which is exact relatively.
2. `pass_messages`, a task of few numbers, composes the matrices from the first chunk on and from
   the last one back: to messages that enter each chunk at its two ends.
3. `smooth_chunk` runs forward and backward between these two messages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp import execution
from estep_xp.arrays.agreement import agree
from estep_xp.arrays.namespace import Space, space_of, to_host
from estep_xp.chain.layout import Edges
from estep_xp.chain.parts import ForwardPart, SmoothedPart
from estep_xp.chain.sequences import KnownSequences, Sequences

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray

_WARM_UP = 64  # rows after which a chain may have forgotten the state before them


class Segment(NamedTuple):
    """Where a chunk of rows is among the sequences."""

    start: int  # its first row
    which: slice  # sequences that have rows in it
    sequences: KnownSequences  # these, rows counted from the chunk's first
    carries: bool  # the first row goes on with the sequence of the row before
    is_cut: bool  # the sequence of the last row goes on after it

    @property
    def n_rows(self) -> int:
        """Number of rows in the chunk."""
        return int(self.sequences.ends[-1]) + 1

    @property
    def is_within(self) -> bool:
        """Whether all rows are of one sequence that begins before and ends after them."""
        return self.carries and self.is_cut and self.sequences.n_sequences == 1


def cut_sequences(sequences: KnownSequences, lengths: tuple[int, ...]) -> list[Segment]:
    """Segments of chunks of these lengths; there are none of chunks without rows."""
    segments, stop = [], 0
    for length in lengths:
        start, stop = stop, stop + length
        if not length:
            continue
        which, own = sequences.between(start, stop)
        carries = bool(sequences.starts[which.start] < start)
        is_cut = bool(sequences.ends[which.stop - 1] >= stop)
        segments.append(Segment(start, which, own, carries, is_cut))
    return segments


class Summary(NamedTuple):
    """What a chunk says to those beside it. `heads` and `before` are 0 where none is carried."""

    log_likelihood: AnyArray  # (s,) of its rows of each sequence; 0 of a carried one
    heads: AnyArray  # (k,) of its rows of the carried sequence, given the state before
    before: AnyArray  # (k,) the same but for a constant, to more digits
    onward: AnyArray  # (k, k) log-probabilities of the last row's state, given the state before


class Messages(NamedTuple):
    """What enters chunks at both ends, and the log-likelihoods of all sequences.

    A message of nothing but -inf is one of an impossible sequence, wherever that shows.
    """

    forward: AnyArray  # (chunks, k) log-probabilities of the state before, given the rows so far
    backward: AnyArray  # (chunks, k) what the later rows say of the last row's state
    log_likelihood: AnyArray  # (s,)


@dataclass(frozen=True)
class _Chunk:
    """Rows of a chunk in memory, and their chain."""

    space: Space
    segment: Segment
    positive: bool | None
    log_prob: Any
    initial: Any
    transitions: Any
    weights: Any

    @classmethod
    def of(cls, dtype: Any, segment: Segment, positive: bool | None, *arrays: Any) -> _Chunk:
        log_prob, initial, transitions, weights = arrays
        space = space_of({"log_prob": log_prob})._replace(dtype=dtype)
        if weights is not None:
            weights = weights[segment.which]
        return cls(space, segment, positive, log_prob, initial, transitions, weights)

    def run(self, kind: Any, rows: slice, message: Any, after: Any = None) -> Any:
        """Run a kernel on some rows, given the messages of those before and after."""
        xp, device, carries = self.space.xp, self.space.device, message is not None
        start, stop = rows.start, rows.stop
        log_prob, transitions, weights = self.log_prob[start:stop], self.transitions, self.weights
        which, (starts, ends) = self.segment.sequences.between(start, stop)
        if transitions.ndim == 3:
            transitions = transitions[start:stop]
        if carries:
            message = xp.asarray(message, dtype=log_prob.dtype, device=device)
            log_prob = xp.concat([message[None, :], log_prob], axis=0)
            starts, ends = np.concatenate([starts[:1], starts[1:] + 1]), ends + 1
            if transitions.ndim == 3:  # that of the carried row is not read
                transitions = xp.concat([transitions[:1], transitions], axis=0)
        if weights is not None:
            weights = weights[which]
        if after is not None:
            after = xp.asarray(after, dtype=log_prob.dtype, device=device)
        of_rows = KnownSequences(starts, ends).of_rows()[:-1]
        sequences = Sequences(*(xp.asarray(array, device=device) for array in of_rows))
        arrays = (log_prob, self.initial, transitions, sequences, weights, Edges(carries, after))
        return execution.driver_for(self.space).run_chain(kind(self.positive), self.space, *arrays)

    def run_forward(self, start: int, stop: int, message: Any) -> tuple[AnyArray, AnyArray]:
        """Log-likelihoods of sequences, and the log-probabilities (k,) after the rows."""
        found = self.run(ForwardPart, slice(start, stop), message)
        values, message = map(to_host, found)
        return values, message - _finite(_log_sum(message))


def summarize(
    space: Space, segment: Segment, positive: bool | None, *arrays: Any
) -> tuple[AnyArray, ...]:
    """Find out what a chunk says to those beside it: a `Summary`.

    Until the chain has forgotten the state before the chunk, it runs from each state; after that it
    does not matter from which. The arrays are log-densities, initial probabilities, transitions,
    and weights of sequences or None.
    """
    chunk = _Chunk.of(space.dtype, segment, positive, *arrays)
    n, k = chunk.log_prob.shape
    values = np.zeros(segment.sequences.n_sequences, space.dtype)
    heads = before = np.zeros(k, space.dtype)
    begin = 0
    if segment.carries:
        begin = int(segment.sequences.ends[0]) + 1
        heads, before, onward = _follow_states(chunk, begin)
    if not segment.is_within:
        # The rows of the last sequence go on as they begin, whatever there was before.
        own, message = (values, before) if begin == n else chunk.run_forward(begin, n, None)
        values[values.shape[0] - own.shape[0] :] = own
        onward = np.broadcast_to(message, (k, k))
    return tuple(Summary(values, heads, before, onward))


def _follow_states(chunk: _Chunk, stop: int) -> tuple[AnyArray, AnyArray, AnyArray]:
    """`heads`, `before` and `onward` of the rows of a carried sequence, which end at `stop`."""
    k, dtype = chunk.log_prob.shape[1], chunk.space.dtype
    nothing = np.zeros(k, dtype)
    certain = np.where(np.eye(k, dtype=bool), nothing, -math.inf)
    ahead = _WARM_UP
    while True:
        ahead = stop if 2 * ahead > stop else ahead
        found = [chunk.run_forward(0, ahead, state) for state in certain]
        heads = np.stack([values[0] for values, _ in found])
        onward = np.stack([message for _, message in found])
        if ahead == stop or agree(onward[1:], onward[:1], logs=True).all():
            break
        ahead *= 4
    goes_on = ahead < stop or chunk.segment.is_within
    smoothed = chunk.run(SmoothedPart, slice(0, ahead), nothing, nothing if goes_on else None)
    if ahead < stop:
        values, message = chunk.run_forward(ahead, stop, onward[0])
        heads, onward = heads + values[0], np.broadcast_to(message, (k, k))
    return heads, to_host(smoothed.at_edges.before), onward


def pass_messages(
    space: Space, segments: list[Segment], summaries: list[Any], n_sequences: int
) -> Messages:
    """Compose what chunks say of each other."""
    summaries = [Summary(*summary) for summary in summaries]
    k = summaries[0].heads.shape[0]
    forward = np.zeros((len(segments), k), space.dtype)
    backward = np.zeros_like(forward)
    values = np.zeros(n_sequences, space.dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        message = forward[0]
        for i, (segment, summary) in enumerate(zip(segments, summaries, strict=True)):
            values[segment.which] += summary.log_likelihood
            onward = summary.onward[0]
            if segment.carries:
                forward[i] = message
                values[segment.which.start] += _log_sum(message + summary.heads)
            if segment.is_within:
                joint = (message + summary.before)[:, None] + summary.onward
                onward = _log_sum(joint)
            message = onward - _finite(_log_sum(onward))
        for i in range(len(segments) - 1, 0, -1):
            segment, summary = segments[i], summaries[i]
            if segment.is_within:
                message = summary.before + _log_sum((summary.onward + backward[i]).T)
            else:
                message = summary.before
            backward[i - 1] = message - _finite(message.max())
    for i, segment in enumerate(segments):
        impossible = values[segment.which] == -math.inf
        if segment.carries and impossible[0]:
            forward[i] = -math.inf
        if segment.is_cut and impossible[-1]:
            backward[i] = -math.inf
    return Messages(forward, backward, values)


class SmoothedChunk(NamedTuple):
    """What forward-backward says of a chunk of rows."""

    shares: AnyArray  # (n, k) responsibilities times weights of sequences
    transitions: AnyArray  # (k, k) expected counts
    initial: AnyArray  # (k,)


def smooth_chunk(
    space: Space,
    segment: Segment,
    positive: bool | None,
    forward: Any,
    backward: Any,
    *arrays: Any,
) -> SmoothedChunk:
    """Run forward and backward, between the messages that enter at both ends.

    Without weights shares are responsibilities, NaN in impossible sequences; else 0 there.
    """
    chunk = _Chunk.of(space.dtype, segment, positive, *arrays)
    xp, n, after = chunk.space.xp, segment.n_rows, None
    if segment.is_cut:
        after = backward
        if (backward == -math.inf).all():  # as in the last rows of a sequence known as impossible
            last = xp.asarray(
                np.arange(n) >= segment.sequences.starts[-1], device=chunk.space.device
            )
            log_prob = xp.where(last[:, None], -math.inf, chunk.log_prob)
            chunk = _Chunk.of(space.dtype, segment, positive, log_prob, *arrays[1:])
            after = np.zeros_like(backward)
    message = forward if segment.carries else None
    part = chunk.run(SmoothedPart, slice(0, n), message, after)
    shares = part.shares
    if chunk.weights is None:
        index = xp.asarray(segment.sequences.of_rows().index, device=chunk.space.device)
        values = xp.take(part.log_likelihood, index, axis=0)
        shares = xp.where((values == -math.inf)[:, None], math.nan, shares)
    return SmoothedChunk(shares, part.transitions, part.initial)


def add_up(space: Space, parts: list[Any]) -> AnyArray:
    """Sum of arrays of one shape."""
    del space
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _log_sum(values: AnyArray) -> AnyArray:
    """Log-sum-exp over the first axis."""
    largest = _finite(values.max(axis=0))
    with np.errstate(divide="ignore"):
        total: AnyArray = largest + np.log(np.exp(values - largest).sum(axis=0))
    return total


def _finite(values: AnyArray) -> AnyArray:
    """Values, but 0 for -inf."""
    return np.where(values == -math.inf, 0.0, values)
