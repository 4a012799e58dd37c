"""Sums over rows of sequences, block by block in a compiled loop: formulas for one block.

A compiled loop knows no lengths: where sequences begin and end in a block is known when it runs.
So every block has a row that is carried over, whether the sequence of the row before goes on or
not, and as many places for sequences as rows. Forward, blocks hand on what their rows say of the
last one's state; then backward, from the last block to the first, what they say to the rows before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.chain.layout import Edges, lay_out
from estep_xp.chain.sequences import Sequences
from estep_xp.chain.smoother import run_forward_on, smooth

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace
    from estep_xp.execution.chains import ChainOps
    from estep_xp.execution.kernel import Kernel


class Model(NamedTuple):
    """What all blocks share."""

    initial: Array  # (k,)
    transitions: Array  # (k, k) or (n, k, k)
    starts: Array  # (s,) the first row of each sequence
    ends: Array  # (s,) the last row of each sequence
    weights: Array  # (s,)


class BlockSums(NamedTuple):
    """What a block contributes."""

    shares: Array  # (rows of the block, k) responsibilities times weights of sequences
    initial: Array  # (k,)
    transitions: Array  # (k, k) expected counts


class _Block(NamedTuple):
    """Rows of a block, the carried one before them."""

    log_prob: Array
    transitions: Array
    sequences: Sequences
    which: Array  # (places,) which sequence each place is
    weights: Array  # (places,)
    inside: Array  # (places,) whether there is one
    goes_on: Array  # () whether the sequence of the last row does


@dataclass(frozen=True)
class SumsOfBlocks:
    """Forward and backward over a block. Hashable: what programs are compiled for."""

    positive: bool | None  # all transitions are large enough for scaled sums; None: not known yet
    emissions: Kernel  # log-densities of rows
    moments: Kernel  # sums over rows and their shares

    def forward(
        self, ops: ChainOps, model: Model, message: Array, rows: Array, n: int, log_prob: Array
    ) -> tuple[Array, Array]:
        """Log-likelihoods (s,) of a block's rows of sequences, and the message (k,) it hands on.

        `rows` (b,) are their numbers; those from n on stand for none.
        """
        block = _cut(ops.xp, model, message, rows, n, log_prob)
        chain = _lay_out(ops, block, model)
        likelihoods, message = run_forward_on(ops, chain, self.positive)
        values = ops.xp.where(block.inside, likelihoods.log_likelihood, 0.0)
        return ops.sum_sequences(values, model.starts, block.which), message

    def backward(
        self,
        ops: ChainOps,
        model: Model,
        messages: tuple[Array, Array],
        rows: Array,
        n: int,
        log_prob: Array,
    ) -> tuple[BlockSums, Array]:
        """What a block contributes, and the message (k,) to the rows before it.

        `messages` enter from the rows before and after. Impossible sequences have weight 0 here.
        """
        xp, (message, after) = ops.xp, messages
        block = _cut(xp, model, message, rows, n, log_prob)
        after = xp.where(block.goes_on, after, 0.0)
        chain = _lay_out(ops, block, model, after)
        smoothed = smooth(ops, chain, block.weights, self.positive)
        masses = xp.take(block.weights, block.sequences.index, axis=0)[1:, None]
        shares = xp.where(masses == 0, 0.0, smoothed.responsibilities[1:, :] * masses)
        begins = block.sequences.first[1:, None]
        initial = xp.sum(xp.where(begins, shares, 0.0), axis=0)
        assert smoothed.at_edges is not None
        return BlockSums(shares, initial, smoothed.counts), smoothed.at_edges.before

    def of_possible(self, xp: Namespace, model: Model, log_likelihood: Array) -> Model:
        """The same model, in which impossible sequences have weight 0."""
        impossible = log_likelihood == -math.inf
        return model._replace(weights=xp.where(impossible, 0.0, model.weights))


def _cut(
    xp: Namespace,
    model: Model,
    message: Array,
    rows: Array,
    n: int,
    log_prob: Array,
) -> _Block:
    """The rows of a block, with the message of the rows before it in the place of one."""
    b, s = rows.shape[0], model.starts.shape[0]
    inside = rows < n
    which = xp.searchsorted(model.ends, rows)
    which = xp.where(which < s, which, s - 1)
    # Rows that stand for none are sequences of weight 0.
    first = (xp.take(model.starts, which, axis=0) == rows) | ~inside
    last = (xp.take(model.ends, which, axis=0) == rows) | ~inside
    masses = xp.where(inside, xp.take(model.weights, which, axis=0), 0.0)
    log_prob = xp.where(masses[:, None] == 0, 0.0, log_prob)
    carried = xp.concat([message[None, :], log_prob], axis=0)
    transitions = model.transitions
    if transitions.ndim == 3:
        transitions = xp.take(transitions, xp.where(inside, rows, n - 1), axis=0)
        transitions = xp.concat([transitions[:1, ...], transitions], axis=0)  # one that is not read
    yes = rows[:1] == rows[:1]
    goes_on, ends = ~last[-1], xp.concat([first[:1], last[:-1], yes])
    first = xp.concat([yes, first])
    index = xp.cumulative_sum(xp.astype(first, rows.dtype)) - 1
    places = xp.arange(b + 1, dtype=rows.dtype)
    starts = xp.searchsorted(index, places)
    is_place, starts = starts <= b, xp.where(starts <= b, starts, b)
    sequences = Sequences(first, ends, index, starts, 0 * places + b)
    of_rows = xp.concat([which[:1], which]), xp.concat([masses[:1], masses])
    own, masses = (xp.take(array, starts, axis=0) for array in of_rows)
    inside = xp.take(xp.concat([yes, inside]), starts, axis=0)
    return _Block(carried, transitions, sequences, own, masses, is_place & inside, goes_on)


def _lay_out(ops: ChainOps, block: _Block, model: Model, after: Array | None = None) -> Any:
    edges = Edges(True, after)
    arrays = (block.log_prob, model.initial, block.transitions, block.sequences, edges)
    return lay_out(ops, *arrays)
