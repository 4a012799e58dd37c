"""Sums over the rows of sequences, from which a chain and its components are estimated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp import execution
from estep_xp.arrays.quiet import quiet
from estep_xp.chain.call import Call, evaluate_emissions, impossible_text, sum_sequences, weigh_rows
from estep_xp.chain.chunk_graph import Chunks, chunks_of, read_again
from estep_xp.chain.density import run_log_likelihoods
from estep_xp.chain.emissions import Emissions
from estep_xp.chain.kernels import SmoothedRows
from estep_xp.chain.parts import Parts, parts_of
from estep_xp.chain.scanned import Model, SumsOfBlocks
from estep_xp.chain.sequences import Sequences
from estep_xp.families import contract

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.block import BlockOps
    from estep_xp.execution.kernel import BlockResults


class ChainSums(NamedTuple):
    """What EM needs to know of sequences."""

    log_likelihood: Array  # () by the weights of sequences
    n_rows: Array  # () likewise
    counts: Array  # (k,)
    moments: Any
    initial: Array  # (k,)
    transitions: Array  # (k, k)


@quiet
def take_sums(call: Call, options: execution.Options) -> ChainSums:
    """Run forward-backward and sum up. Impossible sequences show as a sum that is not finite."""
    parts = parts_of(call, options)
    if parts is not None:
        return _take_sums_by_parts(call, options, parts)
    chunks = chunks_of(call)
    if chunks is not None:
        return _take_sums_by_chunks(call, options, chunks)
    found = _take_sums_in_a_loop(call, options)
    if found is not None:
        return found
    space, weights = call.space, call.weights
    xp, driver = space.xp, execution.driver_for(space)
    log_prob = evaluate_emissions(call, options.block_size, options.workers)
    initial, transitions, _ = call.mixture
    sequences = call.space_sequences()
    results, _ = driver.run_chain(
        SmoothedRows(call.positive), space, log_prob, initial, transitions, sequences, weights
    )
    # Counts are those of the possible sequences.
    impossible = sequences.spread(xp, results.log_likelihood == -math.inf)
    shares = xp.where(impossible[:, None], 0.0, results.responsibilities)
    if weights is not None:
        masses = xp.take(weights, sequences.index, axis=0)
        shares = xp.where((masses == 0)[:, None], 0.0, shares) * masses[:, None]
    totals = _totals(call, results.log_likelihood)
    counts, *moments = _sum_rows(call, call.rows[0], shares, options)
    record = contract.estimable(call.mixture.components)._moments(*moments)
    return ChainSums(*totals, counts, record, results.initial, results.transitions)


def _take_sums_by_parts(call: Call, options: execution.Options, parts: Parts) -> ChainSums:
    """The same, a part of the rows after the other."""

    def of_rows(rows: slice, shares: Array) -> list[Array]:
        return _sum_rows(call, call.rows[0][rows, ...], shares, options)

    values, (initial, transitions, counts, *moments) = parts.add_up(of_rows)
    record = contract.estimable(call.mixture.components)._moments(*moments)
    return ChainSums(*_totals(call, values), counts, record, initial, transitions)


def _take_sums_by_chunks(call: Call, options: execution.Options, chunks: Chunks) -> ChainSums:
    """The same, later and chunk by chunk, each of which is read twice."""

    def densities(call: Call) -> Array:
        return evaluate_emissions(call, options.block_size, options.workers)

    messages, again = chunks.messages(densities(call)), read_again(call)
    shares, transitions, initial = chunks.smooth(densities(again), messages)
    if call.weights is None:  # an impossible sequence shows in the log-likelihood
        shares = call.space.xp.where(call.space.xp.isnan(shares), 0.0, shares)
    counts, *moments = _sum_rows(again, again.rows[0], shares, options)
    record = contract.estimable(call.mixture.components)._moments(*moments)
    totals = _totals(call, messages.log_likelihood)
    return ChainSums(*totals, counts, record, initial, transitions)


def _take_sums_in_a_loop(call: Call, options: execution.Options) -> ChainSums | None:
    """The same in a compiled loop over blocks of rows, where these are many."""
    space, (initial, transitions, _), sequences = call.space, call.mixture, call.sequences
    xp = space.xp
    kernel = SumsOfBlocks(call.positive, Emissions(call.k, lazy=True), _moments_of(call))
    starts, ends = (
        xp.asarray(at, device=space.device) for at in (sequences.starts, sequences.ends)
    )
    weights = call.weights
    if weights is None:
        weights = xp.ones(starts.shape, dtype=space.dtype, device=space.device)
    model = Model(initial, transitions, starts, ends, weights)
    parameters = (call.seen_components, 0.0 * initial)
    driver = execution.driver_for(space)
    found = driver.sum_chain(kernel, call.rows[0], parameters, model, options.block_size)
    if found is None:
        return None
    sums = [found[0], *found[1]]
    if isinstance(sequences, Sequences):  # sums over rows that are cut at the wrong places
        sums = [xp.where(sequences.valid, one, math.nan) for one in sums]
    values, first, steps, counts, *moments = sums
    record = contract.estimable(call.mixture.components)._moments(*moments)
    return ChainSums(*_totals(call, values), counts, record, first, steps)


def _totals(call: Call, values: Array) -> tuple[Array, Array]:
    """Log-likelihood and number of rows, each by the weight of its sequence, arrays ()."""
    total = sum_sequences(call, values)
    if call.weights is None:
        return total, call.space.xp.zeros_like(total) + float(call.rows[0].shape[0])
    return total, weigh_rows(call)


def _sum_rows(call: Call, x: Array, shares: Array, options: execution.Options) -> list[Array]:
    """Counts (k,), and the moments of the components."""
    kernel = _moments_of(call)
    parameters = (call.seen_components, 0.0 * call.mixture.initial)
    driver = execution.driver_for(call.space)
    _, _, *sums = driver.sum_rows(kernel, call.space, (x, shares), parameters, options)
    return sums


def _moments_of(call: Call) -> Moments:
    return Moments(call.k, evaluates=call.wrapper is not None)


def raise_for_impossible_sequences(call: Call) -> None:
    """Raise for the first sequence that no sum may hold."""
    call = call._replace(space=call.space._replace(lazy=False))
    log_prob = evaluate_emissions(call)
    text = impossible_text(call, *run_log_likelihoods(call, log_prob))
    if text:
        raise ValueError(
            f"{text}; drop such sequences, give them sample_weight 0, or start from other "
            "transitions or wider components"
        )


@dataclass(frozen=True)
class Moments:
    """Kernel: N_k and the family's moments of rows (x, shares)."""

    k: int
    evaluates: bool  # the family must evaluate rows anew, which lack values or have errors

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Nothing for single rows."""
        return ()

    @property
    def breadth(self) -> int:
        """Elements per row of the widest results."""
        return self.k

    def width(self, ops: BlockOps, parameters: Any) -> int:
        """Scratch elements per row, beyond the row itself."""
        return self.k + contract.family_of(parameters[0])._width(ops)

    def prepare(self, ops: BlockOps, parameters: Any) -> tuple[Any, Any]:
        """Prepare the components, of which (components, zeros (k,)) are the parameters."""
        components, zeros = parameters
        family = contract.family_of(components)
        return family, family._prepare(ops, zeros)

    def block(self, ops: BlockOps, prepared: tuple[Any, Any], *rows: Array) -> BlockResults:
        """Sum over a block of rows."""
        x, shares = rows
        family, shared = prepared
        counts = ops.xp.sum(shares, axis=1 - ops.axis)
        block = contract.Evaluated(x, shares)
        if self.evaluates:
            block = family._evaluate(ops, shared, x)
        elif family._is_builtin is False:
            family.k = self.k
        moments = family._moments_block(ops, shared, block, shares)
        # A sum in two parts comes first.
        nothing = ops.sum_rows(0.0 * ops.xp.sum(shares, axis=ops.axis))
        return (), (*nothing, counts, *moments)


def maximize_probabilities(xp: Any, old: Array, counts: Array, prior_counts: Any) -> Array:
    """Probabilities along the last axis, from expected counts; zeros of the old ones stay.

    Where there is nothing to count, as in the row of a state that is never left, the old stay.
    """
    allowed = old > 0
    added = xp.where(allowed, counts + prior_counts, 0.0)
    total = xp.sum(added, axis=-1, keepdims=True)
    least = float(xp.finfo(counts.dtype).eps) ** 2 * xp.sum(counts)
    empty = total <= least
    bad = total != total
    new = added / xp.where(empty, 1.0, total)
    return xp.where(empty & ~bad, old, new)
