"""Calls over rows that lie in chunks and are read later: who computes what from which chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from estep_xp import execution
from estep_xp.chain.chunks import (
    Messages,
    Segment,
    SmoothedChunk,
    add_up,
    cut_sequences,
    pass_messages,
    smooth_chunk,
    summarize,
)
from estep_xp.chain.sequences import KnownSequences
from estep_xp.execution.chains import stand_in

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray
    from estep_xp.chain.call import Call


@dataclass(frozen=True)
class Chunks:
    """The chunks of a call's rows."""

    call: Call
    segments: list[Segment]

    def messages(self, log_prob: Any) -> Messages:
        """What chunks say to each other, and log-likelihoods of sequences."""
        k, s, count = self.call.k, self.call.sequences.n_sequences, len(self.segments)
        summaries = []
        for segment in self.segments:
            own = (stand_in(segment.sequences.n_sequences), stand_in(k), stand_in(k))
            arguments = (segment, self.call.positive, *self._arrays(log_prob, segment))
            summaries.append(self._later(summarize, arguments, (*own, stand_in(k, k))))
        like = Messages(stand_in(count, k), stand_in(count, k), stand_in(s))
        found: Messages = self._later(pass_messages, (self.segments, summaries, s), like)
        return found

    def smooth(self, log_prob: Any, messages: Messages) -> SmoothedChunk:
        """Forward-backward over all rows."""
        k, parts = self.call.k, []
        for i, segment in enumerate(self.segments):
            ends = messages.forward[i, :], messages.backward[i, :]
            arguments = (segment, self.call.positive, *ends, *self._arrays(log_prob, segment))
            like = SmoothedChunk(stand_in(segment.n_rows, k), stand_in(k, k), stand_in(k))
            parts.append(self._later(smooth_chunk, arguments, like))
        shares, transitions, initial = zip(*parts, strict=True)
        return SmoothedChunk(
            self.call.space.xp.concat(list(shares), axis=0),
            self._later(add_up, (list(transitions),), stand_in(k, k)),
            self._later(add_up, (list(initial),), stand_in(k)),
        )

    def _arrays(self, log_prob: AnyArray, segment: Segment) -> tuple[Any, ...]:
        """Log-densities of a chunk and what goes with them."""
        rows = slice(segment.start, segment.start + segment.n_rows)
        initial, transitions, _ = self.call.mixture
        own: AnyArray = transitions if transitions.ndim == 2 else transitions[rows]
        return log_prob[rows], initial, own, self.call.weights

    def _later(self, function: Any, arguments: tuple[Any, ...], like: Any) -> Any:
        space = self.call.space
        return execution.driver_for(space).call_lazily(function, space, arguments, like)


def chunks_of(call: Call) -> Chunks | None:
    """The chunks of a call's rows; None where rows are at hand, or all in one chunk."""
    lengths = execution.driver_for(call.space).chunks_of_rows(call.rows[0])
    if len(lengths) < 2 or not isinstance(call.sequences, KnownSequences):
        return None
    segments = cut_sequences(call.sequences, lengths)
    return Chunks(call, segments) if len(segments) > 1 else None


def read_again(call: Call) -> Call:
    """The same call, whose rows are read anew where chunks are: none is kept until then."""
    (x,) = call.rows
    return call._replace(rows=(execution.driver_for(call.space).read_again(x),))
