"""Forward-backward: from log-densities and a chain to posteriors, in the layout of a driver.

Where all transitions are positive, sums are scaled row by row: every state is entered with at least
the least transition probability a, so what exp loses below its range changes nothing by more than
that over a. Where some are zero there is no such bound: a state may be kept alive by itself alone
and be recalled by later evidence. Then everything is in log space.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.chain.layout import Chain, along
from estep_xp.chain.recursion import Logarithmic, Recursion, Scaled, finite_or_zero, safe_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array, Namespace, ResultT
    from estep_xp.execution.chains import ChainOps


class Likelihoods(NamedTuple):
    """What forward alone says; arrays as users see them."""

    norms: Array  # (n,) of each row: log p(x_t | x_1 .. x_t−1)
    log_likelihood: Array  # (s,)

    @property
    def possible(self) -> Array:
        """Flags (s,) of sequences that are not impossible; NaN, which must be seen, is not."""
        return ~(self.log_likelihood == -math.inf)


class AtEdges(NamedTuple):
    """What the rows of a part say to those beyond it."""

    last: Array  # (k,) log-probabilities of the last row's state given the rows up to it
    before: Array  # (k,) log-message that enters the first row from the rows after it


class Smoothed(NamedTuple):
    """What forward-backward says of rows, in the driver's layout."""

    responsibilities: Array  # 0 or NaN in impossible sequences
    likelihoods: Likelihoods
    slopes: Array  # of the log-likelihood by transitions: (k, k), or for each row
    counts: Array  # (k, k) expected transitions
    initial_slopes: Array  # (s, k) of each sequence's log-likelihood by initial probabilities
    at_edges: AtEdges | None = None


def least_reliable(xp: Namespace, dtype: Any) -> float:
    """The least transition probability for which scaled sums lose nothing."""
    # exp ends at e-745 in double precision, at e-103 in single precision.
    return 1e-15 if dtype == xp.float64 else 1e-6


def is_positive(ops: ChainOps, chain: Chain) -> Array:
    """Whether all transitions are large enough for scaled sums."""
    xp, transitions = ops.xp, chain.transitions
    return xp.min(transitions) >= least_reliable(xp, transitions.dtype)


def run_forward(ops: ChainOps, chain: Chain, positive: bool | None) -> Likelihoods:
    """Log-likelihoods by the forward recursion alone."""
    norms = _decide(
        ops,
        chain,
        positive,
        lambda: _scaled_forward(ops, chain)[2],
        lambda: _log_forward(ops, chain)[2],
    )
    return _likelihoods(ops, chain, norms)


def run_forward_on(ops: ChainOps, chain: Chain, positive: bool | None) -> tuple[Likelihoods, Array]:
    """The same, and the log-probabilities (k,) of the last row's state given the rows up to it."""

    def scaled() -> tuple[Array, Array]:
        evidence, forward, norms, _ = _scaled_forward(ops, chain)
        return norms, _scaled_last(ops, chain, forward, evidence)

    def in_log_space() -> tuple[Array, Array]:
        evidence, forward, norms, _ = _log_forward(ops, chain)
        return norms, _log_last(ops, chain, forward, evidence)

    norms, message = _decide(ops, chain, positive, scaled, in_log_space)
    return _likelihoods(ops, chain, norms), message


def smooth(ops: ChainOps, chain: Chain, weights: Array, positive: bool | None) -> Smoothed:
    """Run forward and backward; `weights` (s,) of sequences count in the sums over rows."""
    return _decide(
        ops,
        chain,
        positive,
        lambda: _scaled_smooth(ops, chain, weights),
        lambda: _log_smooth(ops, chain, weights),
    )


def _likelihoods(ops: ChainOps, chain: Chain, norms: Array) -> Likelihoods:
    xp, sequences = ops.xp, chain.sequences
    norms = ops.join(norms)
    if chain.edges is not None and chain.edges.carried:  # rows before are counted already
        norms = xp.concat([xp.zeros_like(norms[:1]), norms[1:]])
    sums = ops.sum_sequences(norms, sequences.starts, sequences.index)
    if sequences.valid is not None:
        sums = xp.where(sequences.valid, sums, math.nan)
    return Likelihoods(norms, sums)


def _weigh_entries(ops: ChainOps, chain: Chain, weights: Array, likelihoods: Likelihoods) -> Array:
    """Weights of the transitions into rows; 0 in impossible sequences."""
    xp, sequences = ops.xp, chain.sequences
    rows = sequences.spread(xp, xp.where(likelihoods.possible, weights, 0.0))
    return ops.cut(xp.where(sequences.first, 0.0, rows), 0.0)


def _decide(
    ops: ChainOps,
    chain: Chain,
    positive: bool | None,
    scaled: Callable[[], ResultT],
    log: Callable[[], ResultT],
) -> ResultT:
    if positive is None:
        return ops.cond(is_positive(ops, chain), scaled, log)
    return scaled() if positive else log()


# --- scaled sums ----------------------------------------------------------------------------------


def _scaled_forward(ops: ChainOps, chain: Chain) -> tuple[Array, Array, Array, tuple[Array, ...]]:
    """Evidence, messages that enter rows, norms of rows, and sums of messages before and after.

    The evidence is written over the exponents where the driver's arrays can be.
    """
    xp = ops.xp
    (evidence,) = ops.map_rows(
        lambda rows: (xp.exp(rows),), chain.exponents, over=(chain.exponents,)
    )
    evidence = ops.change(
        evidence,
        chain.begin,
        chain.begins,
        lambda rows: _times_positive(xp, rows, along(xp, chain.initial, rows)),
    )
    matrices = _transposed(xp, chain.transitions)
    forward = ops.messages(Scaled(), matrices, evidence, chain.first, evidence)

    def norms(forward: Array, evidence: Array, first: Array, shift: Array) -> tuple[Array, ...]:
        # Messages are scaled as it happens; rows of transitions sum to 1, so a sum is the scale.
        scale = xp.where(first, 1.0, _positive(xp, ops.sum_states(forward)))
        left = ops.sum_states(forward * evidence)
        share = left / scale
        return shift + (xp.log(share) if ops.values_visible else safe_log(xp, share)), scale, left

    norm, *sums = ops.map_rows(norms, forward, evidence, chain.first, chain.shift)
    return evidence, forward, norm, tuple(sums)


def _scaled_last(ops: ChainOps, chain: Chain, forward: Array, evidence: Array) -> Array:
    xp, ends = ops.xp, chain.sequences.ends[-1:]
    joint = (ops.take(forward, ends) * ops.take(evidence, ends))[0, :]
    largest = xp.max(joint)
    return safe_log(xp, joint / xp.where(largest > 0, largest, 1.0))


def _times_positive(xp: Namespace, values: Array, factors: Array) -> Array:
    """Products, 0 where the factor is 0 even if the value is infinite."""
    return xp.where(factors == 0, 0.0 * factors, values * factors)


def _scaled_smooth(ops: ChainOps, chain: Chain, weights: Array) -> Smoothed:
    xp, starts = ops.xp, chain.sequences.starts
    seen_at_starts = xp.exp(ops.take(chain.exponents, starts))
    evidence, forward, norms, sums = _scaled_forward(ops, chain)
    likelihoods = _likelihoods(ops, chain, norms)
    edge = None if chain.edges is None else _scaled_last(ops, chain, forward, evidence)
    backward = _backward(ops, Scaled(), chain, chain.transitions, evidence, evidence)
    at_starts = ops.take(backward, starts)

    def finish(
        forward: Array, backward: Array, evidence: Array, weight: Array, scale: Array, left: Array
    ) -> tuple[Array, ...]:
        # Norms first: what is divided must not underflow where the quotient does not.
        left = _positive(xp, left)
        filtered = ops.multiply_(ops.multiply_(forward, ops.expand(1.0 / left)), evidence)
        norm = _positive(xp, ops.sum_states(filtered * backward))
        backward = ops.multiply_(backward, ops.expand(1.0 / norm))
        right = ops.multiply_(evidence, backward)
        right = ops.multiply_(right, ops.expand(weight * scale / left))
        return filtered, ops.multiply_(backward, filtered), right, _positive(xp, norm * left)

    weight = _weigh_entries(ops, chain, weights, likelihoods)
    rows = (forward, backward, evidence)
    filtered, responsibilities, right, norm = ops.map_rows(finish, *rows, weight, *sums, over=rows)
    if chain.transitions.ndim == 2:
        slopes = ops.sum_pairs(filtered, right)
        counts = chain.transitions * slopes
    else:
        before = xp.expand_dims(ops.previous(filtered), axis=2)
        slopes = before * xp.expand_dims(right, axis=1)
        counts = ops.sum_rows(chain.transitions * slopes)
    initial_slopes = seen_at_starts * (at_starts / ops.take(ops.expand(norm), starts))
    at_edges = None if edge is None else AtEdges(edge, safe_log(xp, at_starts[0, :]))
    return Smoothed(responsibilities, likelihoods, slopes, counts, initial_slopes, at_edges)


def _positive(xp: Namespace, sums: Array) -> Array:
    """Sums to divide by: hardly more than nothing in place of the 0 of impossible sequences."""
    return xp.maximum(sums, float(xp.finfo(sums.dtype).smallest_normal))


# --- log space ------------------------------------------------------------------------------------


def _log_forward(ops: ChainOps, chain: Chain) -> tuple[Array, Array, Array, Array]:
    """Evidence, messages that enter rows, norms of rows, and by what messages are too large."""
    xp = ops.xp
    log_initial = safe_log(xp, chain.initial)
    evidence = ops.change(
        chain.exponents + 0.0,
        chain.begin,
        chain.begins,
        lambda rows: _plus_finite(xp, rows, along(xp, log_initial, rows)),
    )
    matrices = safe_log(xp, _transposed(xp, chain.transitions))
    nothing = xp.zeros_like(evidence)
    entered = ops.messages(Logarithmic(), matrices, evidence, chain.first, nothing)
    joint = entered + evidence
    largest = finite_or_zero(xp, ops.max_states(joint))
    rest = safe_log(xp, ops.sum_states(xp.exp(joint - ops.expand(largest))))
    # Messages leave rows with a largest entry of 1: their sum is that of the row before.
    excess = xp.where(
        chain.first | (rest == -math.inf), 0.0, finite_or_zero(xp, ops.previous(rest))
    )
    return evidence, entered, chain.shift + largest + (rest - excess), excess


def _plus_finite(xp: Namespace, values: Array, terms: Array) -> Array:
    """Sums, -inf where the term is even if the value is +inf."""
    return xp.where(terms == -math.inf, terms, values + terms)


def _log_smooth(ops: ChainOps, chain: Chain, weights: Array) -> Smoothed:
    xp = ops.xp
    evidence, forward, norms, excess = _log_forward(ops, chain)
    likelihoods = _likelihoods(ops, chain, norms)
    counted = _weigh_entries(ops, chain, weights, likelihoods)
    edge = None if chain.edges is None else _log_last(ops, chain, forward, evidence)
    log_transitions = safe_log(xp, chain.transitions)
    backward = _backward(ops, Logarithmic(), chain, log_transitions, evidence, forward)
    joint = forward + evidence
    log_posterior = joint + backward
    largest = finite_or_zero(xp, ops.max_states(log_posterior))
    shares = xp.exp(log_posterior - ops.expand(largest))
    total = ops.sum_states(shares)
    total = xp.where(total == 0, 1.0, total)  # in impossible sequences
    responsibilities = shares / ops.expand(total)
    norm = largest + xp.log(total)
    filtered = joint - ops.expand(_log_sum(ops, joint))
    right = evidence + backward + ops.expand(excess - norm)
    right = _plus_finite(xp, right, ops.expand(safe_log(xp, counted)))
    if chain.transitions.ndim == 2:
        slopes = ops.sum_exp_pairs(filtered, right, chain.transitions > 0)
        counts = _times_positive(xp, slopes, chain.transitions)
    else:
        before = xp.expand_dims(ops.previous(filtered), axis=2)
        slopes = xp.exp(before + xp.expand_dims(right, axis=1))
        counts = ops.sum_rows(_times_positive(xp, slopes, chain.transitions))
    starts = chain.sequences.starts
    at_starts = ops.take(backward, starts)
    first = at_starts - ops.take(ops.expand(norm), starts)
    initial_slopes = xp.exp(ops.take(chain.exponents, starts) + first)
    at_edges = None if edge is None else AtEdges(edge, at_starts[0, :])
    return Smoothed(responsibilities, likelihoods, slopes, counts, initial_slopes, at_edges)


def _log_sum(ops: ChainOps, values: Array) -> Array:
    """Log-sum-exp over states; 0 in rows of zero density, so that it may be subtracted."""
    xp = ops.xp
    largest = finite_or_zero(xp, ops.max_states(values))
    total = ops.sum_states(xp.exp(values - ops.expand(largest)))
    return finite_or_zero(xp, largest + safe_log(xp, total))


def _log_last(ops: ChainOps, chain: Chain, forward: Array, evidence: Array) -> Array:
    ends = chain.sequences.ends[-1:]
    joint = (ops.take(forward, ends) + ops.take(evidence, ends))[0, :]
    return joint - finite_or_zero(ops.xp, ops.xp.max(joint))


def _backward(
    ops: ChainOps,
    recursion: Recursion,
    chain: Chain,
    matrices: Array,
    evidence: Array,
    reference: Array,
) -> Array:
    """Messages that enter rows from those after them."""
    xp, after = ops.xp, None if chain.edges is None else chain.edges.after
    if matrices.ndim > 2:  # a row is entered from the next one, by the next one's matrix
        matrices = ops.following(matrices)

    def followed(values: Array) -> Array:
        if after is None:
            return values
        message = after if isinstance(recursion, Logarithmic) else xp.exp(after - xp.max(after))
        return ops.change(
            values,
            chain.goes_on,
            chain.sequences.ends[-1:],
            lambda rows: recursion.multiply(rows, along(xp, message, rows)),
        )

    seen = evidence if after is None else followed(evidence + 0.0)
    backward = ops.messages(recursion, matrices, seen, chain.last, reference, reverse=True)
    return followed(backward)


def _transposed(xp: Namespace, transitions: Array) -> Array:
    """Matrices forward: from the row before to each row."""
    if transitions.ndim == 2:
        return xp.matrix_transpose(transitions)
    axes = (0, 2, 1, *range(3, transitions.ndim))
    return xp.permute_dims(transitions, axes)
