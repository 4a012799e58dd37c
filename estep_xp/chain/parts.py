"""Rows of sequences in parts, one after the other, in memory that does not grow with their number.

A cut may go through a sequence. What the rows before it say of the last of them is k numbers, and
so is what the rows after it say: messages. A part begins with a row that is carried over, the last
one before the cut, whose densities are replaced by the message of all rows up to it; so the
transition across the cut is one within the part. The message from the rows after it is not known
yet when a part is worked on:

1. It is guessed from a few rows after the cut: chains forget. The next part tells what is right; as
   long as the guesses are, one turn over the parts is enough.
2. Else a first turn keeps the messages that go forward, and a second one goes from the last part to
   the first.
"""

from __future__ import annotations

import itertools
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp import execution
from estep_xp.arrays.agreement import agree
from estep_xp.chain.call import Call, evaluate_emissions
from estep_xp.chain.kernels import SequenceKernel
from estep_xp.chain.layout import Edges, lay_out
from estep_xp.chain.sequences import KnownSequences
from estep_xp.chain.smoother import run_forward_on, smooth

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import AnyArray, Array
    from estep_xp.chain.sequences import Sequences
    from estep_xp.execution.chains import ChainOps


_WARM_UP = 255  # rows after a part from which their message is guessed


@dataclass(frozen=True)
class ForwardPart(SequenceKernel):
    """Sums (s,) of norms over the rows of each sequence, and the message (k,) of the last row."""

    def run(
        self,
        ops: ChainOps,
        log_prob: Array,
        initial: Array,
        transitions: Array,
        sequences: Sequences,
        weights: Any,
        edges: Edges,
    ) -> tuple[Array, Array]:
        """Run forward."""
        log_prob = self._masked(ops.xp, log_prob, weights, sequences.index)
        chain = lay_out(ops, log_prob, initial, transitions, sequences, edges)
        likelihoods, message = run_forward_on(ops, chain, self.positive)
        return likelihoods.log_likelihood, message


class PartSums(NamedTuple):
    """Results of `SmoothedPart`."""

    log_likelihood: Array  # (s,) sums of norms over the rows of each sequence
    shares: Array  # (n, k) responsibilities times weights of sequences, without the carried row
    transitions: Array  # (k, k) expected counts
    initial: Array  # (k,)
    at_edges: Any  # `AtEdges`


@dataclass(frozen=True)
class SmoothedPart(SequenceKernel):
    """What a part contributes to the sums of EM; nothing of impossible sequences."""

    def run(
        self,
        ops: ChainOps,
        log_prob: Array,
        initial: Array,
        transitions: Array,
        sequences: Sequences,
        weights: Any,
        edges: Edges,
    ) -> PartSums:
        """Run forward and backward."""
        xp, index = ops.xp, sequences.index
        log_prob = self._masked(xp, log_prob, weights, index)
        chain = lay_out(ops, log_prob, initial, transitions, sequences, edges)
        if weights is None:
            weights = xp.ones_like(log_prob[: sequences.n_sequences, 0])
        smoothed = smooth(ops, chain, weights, self.positive)
        masses = xp.where(smoothed.likelihoods.possible, weights, 0.0)
        masses = xp.take(masses, index, axis=0)[:, None]
        shares = xp.where(masses == 0, 0.0, ops.join(smoothed.responsibilities) * masses)
        at_starts = xp.sum(xp.take(shares, chain.begins, axis=0), axis=0)
        own = shares[1:, :] if edges.carried else shares
        values = smoothed.likelihoods.log_likelihood
        return PartSums(values, own, smoothed.counts, at_starts, smoothed.at_edges)


@dataclass(frozen=True)
class Part:
    """Some of the rows of a call on arrays of NumPy."""

    call: Call
    rows: slice  # without the carried one
    workers: int | None = None

    @property
    def carries(self) -> bool:
        """Whether the first row goes on with the sequence of the row before."""
        start, starts = self.rows.start, self.call.sequences.starts
        return bool(start > 0 and starts[np.searchsorted(starts, start, "right") - 1] != start)

    @property
    def is_cut(self) -> bool:
        """Whether the sequence of the last row goes on after it."""
        last, ends = self.rows.stop - 1, self.call.sequences.ends
        return bool(ends[np.searchsorted(ends, last)] != last)

    def run(self, kind: type[SequenceKernel], message: Any, after: Any = None) -> tuple[Any, slice]:
        """Run a kernel, given the messages of the rows before and after; and which sequences."""
        call, carries = self.call, self.carries
        start, stop = self.rows.start - carries, self.rows.stop
        assert isinstance(call.sequences, KnownSequences)
        which, sequences = call.sequences.between(start, stop)
        log_prob = evaluate_emissions(call, None, self.workers, rows=self.rows)
        if carries:
            log_prob = np.concatenate([message[None, :], log_prob])
        transitions: AnyArray = call.mixture.transitions
        if transitions.ndim == 3:
            transitions = transitions[start:stop]
        weights = None if call.weights is None else call.weights[which]
        arrays = (call.mixture.initial, transitions, sequences.of_rows(), weights)
        edges = Edges(carries, after if self.is_cut else None)
        kernel: Any = kind(call.positive)
        driver = execution.driver_for(call.space)
        return driver.run_chain(kernel, call.space, log_prob, *arrays, edges), which

    def guess_after(self) -> Any:
        """The message that enters the last row, from a few of those after it; None if it ends."""
        if not self.is_cut:
            return None
        stop, n = self.rows.stop, self.call.rows[0].shape[0]
        few = Part(self.call, slice(stop, min(stop + _WARM_UP, n)), self.workers)
        nothing = np.zeros(self.call.k, self.call.space.dtype)
        try:
            return few.run(SmoothedPart, nothing, nothing)[0].at_edges.before
        except ValueError:  # of bad rows the first is named, which may be in the part itself
            evaluate_emissions(self.call, None, self.workers, rows=self.rows)
            raise


class Parts:
    """All rows of a call on arrays of NumPy, in parts."""

    def __init__(self, call: Call, size: int, workers: int | None) -> None:
        self._call = call
        n = call.rows[0].shape[0]
        edges = np.linspace(0, n, -(-n // size) + 1).astype(int).tolist()
        self._parts = [Part(call, slice(*pair), workers) for pair in itertools.pairwise(edges)]

    def run_forward(self) -> tuple[Array, list[Any]]:
        """Log-likelihoods (s,) of sequences, and the messages that parts begin with."""
        values, message = self._zeros(), None
        messages: list[Any] = []
        for part in self._parts:
            messages.append(message)
            (own, message), which = part.run(ForwardPart, message)
            values[which] += own
        return values, messages

    def add_up(self, of_rows: Callable[[slice, Array], list[Array]]) -> tuple[Array, list[Array]]:
        """Log-likelihoods (s,), and sums: initial, transitions, and those of rows and shares."""
        sums = _Sums(of_rows)
        values, message, after = self._zeros(), None, None
        for i, part in enumerate(self._parts):
            guess = part.guess_after()
            own, which = part.run(SmoothedPart, message, guess)
            if i and not _say_the_same(after, own.at_edges.before):
                return self._add_up_backward(_Sums(of_rows))
            values[which] += own.log_likelihood
            sums.add(part.rows, own)
            message, after = own.at_edges.last, guess
        return values, sums.values

    def _add_up_backward(self, sums: _Sums) -> tuple[Array, list[Array]]:
        values, messages = self.run_forward()
        after = None
        for part, message in zip(self._parts[::-1], messages[::-1], strict=True):
            own, _ = part.run(SmoothedPart, message, after)
            after = own.at_edges.before
            sums.add(part.rows, own)
        return values, sums.values

    def _zeros(self) -> AnyArray:
        return np.zeros(self._call.sequences.n_sequences, self._call.space.dtype)


class _Sums:
    """Sums over parts."""

    def __init__(self, of_rows: Callable[[slice, Array], list[Array]]) -> None:
        self._of_rows = of_rows
        self.values: list[Any] = []

    def add(self, rows: slice, part: PartSums) -> None:
        own = [part.initial, part.transitions, *self._of_rows(rows, part.shares)]
        self.values = list(map(operator.add, self.values, own)) if self.values else own


def _say_the_same(guess: Any, message: Any) -> bool:
    """Whether log-messages say the same to rounding; None where a sequence ends."""
    if guess is None:
        return True
    with np.errstate(invalid="ignore"):
        guess, message = guess - guess.max(), message - message.max()
    return bool(agree(guess, message, logs=True).all())


def parts_of(call: Call, options: execution.Options) -> Parts | None:
    """The parts of a call whose rows are too many to be treated at once; else None."""
    n, size = call.rows[0].shape[0], execution.driver_for(call.space).rows_of_part(call.k)
    known = isinstance(call.sequences, KnownSequences) and not call.space.lazy
    if size is None or n <= 2 * size or not known:
        return None
    return Parts(call, size, options.workers)
