"""Rows of sequences in a driver's layout, shifted row by row, before any recursion."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from estep_xp.chain.parameters import normalize_rows
from estep_xp.chain.recursion import finite_or_zero, safe_log

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace
    from estep_xp.chain.sequences import Sequences
    from estep_xp.execution.chains import ChainOps

_LEAST = 1e-6  # initial probability that takes nothing to speak of from the range of floats


class Edges(NamedTuple):
    """What lies beyond rows that are a part of more rows."""

    carried: bool  # the first row stands for the rows before it, whose sequence goes on
    after: Array | None = None  # (k,) log-message that enters the last row, if it goes on


class Chain(NamedTuple):
    """Rows and their chain in a driver's layout, probabilities normalised."""

    initial: Array  # (k,)
    transitions: Array  # (k, k), or for each row in the layout
    first: Array  # flags of rows
    last: Array
    begin: Array  # flags of rows at which sequences begin, with initial probabilities
    goes_on: Array  # a flag of the last row, if a message enters it
    sequences: Sequences
    log_prob: Array  # log-densities; no initial probability is in them
    shift: Array  # the largest of each row that counts, by which it is to be shifted
    edges: Edges | None

    @property
    def begins(self) -> Array:
        """Numbers of the rows at which sequences begin."""
        return _begins(self.sequences, self.edges)

    def exponents_at(self, ops: ChainOps, rows: Array) -> Array:
        """Shifted log-densities (s, k) of some rows."""
        return ops.take(self.log_prob, rows) - ops.take(ops.expand(self.shift), rows)


def lay_out(
    ops: ChainOps,
    log_prob: Array,
    initial: Array,
    transitions: Array,
    sequences: Sequences,
    edges: Edges | None = None,
) -> Chain:
    """Bring rows and a chain into the layout, and find by how much rows are to be shifted.

    A carried first row has what the rows up to it say in place of log-densities.
    """
    xp = ops.xp
    first, last = ops.cut(sequences.first, 1.0), ops.cut(sequences.last, 1.0)
    begin, goes_on = first, last
    if edges is not None:
        one, rest = sequences.first[:1], sequences.first[1:]
        if edges.carried:
            begin = ops.cut(xp.concat([~(one | ~one), rest]), 1.0)
        nowhere = rest & ~rest
        goes_on = ops.cut(xp.concat([nowhere, one | ~one]), 1.0)
    initial = normalize_rows(xp, initial)
    if transitions.ndim == 3:
        # Matrices at first rows are not read, whatever they hold.
        unread = sequences.first[:, None, None]
        transitions = xp.where(unread, 1.0, transitions)
        transitions = ops.cut(normalize_rows(xp, transitions), 1.0)
    else:
        transitions = normalize_rows(xp, transitions)
    values = ops.cut(log_prob, 0.0)
    reachable = values
    if not ops.are_at_least(initial, _LEAST):
        # A first row's best state may be out of reach, or as good as that: shifted by the most
        # likely one, evidence stays in the range of floats.
        least = float(xp.finfo(initial.dtype).smallest_normal)  # whose reciprocal is finite
        bounded = xp.where(initial == 0, initial, xp.maximum(initial, least + 0.0 * initial))
        log_initial = safe_log(xp, bounded)
        reachable = ops.change(
            values + 0.0,
            begin,
            _begins(sequences, edges),
            lambda rows: rows + along(xp, log_initial, rows),
        )

    def largest(reachable: Array) -> tuple[Array]:
        return (finite_or_zero(xp, ops.max_states(reachable)),)

    (shift,) = ops.map_rows(largest, reachable)
    flags = (first, last, begin, goes_on)
    return Chain(initial, transitions, *flags, sequences, values, shift, edges)


def _begins(sequences: Sequences, edges: Edges | None) -> Array:
    return sequences.starts[1:] if edges is not None and edges.carried else sequences.starts


def along(xp: Namespace, states: Array, rows: Array) -> Array:
    """Numbers (k,) of states, to be broadcast against rows in a layout."""
    return xp.reshape(states, (1, states.shape[0], *(1,) * (rows.ndim - 2)))
