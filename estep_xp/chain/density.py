"""Log-likelihoods of sequences, by the forward recursion alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp import execution
from estep_xp.arrays.namespace import is_concrete, to_host
from estep_xp.arrays.quiet import quietly
from estep_xp.chain.call import (
    Call,
    evaluate_emissions,
    prepare_call,
    sum_sequences,
    warn_of_impossible_sequences,
)
from estep_xp.chain.chunk_graph import chunks_of
from estep_xp.chain.kernels import LogLikelihoods
from estep_xp.chain.parts import parts_of
from estep_xp.families import contract

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array


def log_density(
    x: Any, hmm: Any, *, lengths: Any, block_size: int | None, workers: int | None, **seen: Any
) -> Array:
    """Log-density of each sequence (s,); `seen` says what rows lack."""
    call = prepare_call(x, hmm, lengths, **seen)
    found = _by_parts(call, block_size, workers)
    if found is not None:
        return found
    log_prob = evaluate_emissions(call, block_size, workers)
    values, norms = run_log_likelihoods(call, log_prob)
    warn_of_impossible_sequences(call, values, norms)
    return values


def log_likelihood(
    x: Any,
    hmm: Any,
    *,
    lengths: Any,
    sample_weight: Any,
    block_size: int | None,
    workers: int | None,
    **seen: Any,
) -> Array:
    """Total log-likelihood () of sequences by their weights; `seen` says what rows lack."""
    call = prepare_call(x, hmm, lengths, sample_weight=sample_weight, **seen)
    values = _by_parts(call, block_size, workers)
    if values is not None:
        return sum_sequences(call, values)
    log_prob = evaluate_emissions(call, block_size, workers)
    initial, transitions, _ = call.mixture
    total, results = execution.driver_for(call.space).chain_total(
        LogLikelihoods(call.positive),
        call.space,
        log_prob,
        (initial, transitions),
        call.space_sequences(),
        call.weights,
    )
    if results is None and is_concrete(total) and not math.isfinite(to_host(total)):
        results = run_log_likelihoods(call, log_prob)  # which tells which sequence it is
    if results is not None:
        warn_of_impossible_sequences(call, *results)
    return total


def _by_parts(call: Call, block_size: int | None, workers: int | None) -> Array | None:
    """Log-likelihoods (s,) of rows in chunks, or of so many that they are taken in parts.

    None where they are taken all at once, or where a sequence in parts is impossible.
    """
    chunks = chunks_of(call)
    if chunks is not None:
        return chunks.messages(evaluate_emissions(call, block_size, workers)).log_likelihood
    parts = parts_of(call, contract.check_options(call.family, block_size, workers))
    if parts is None:
        return None
    values: Any = quietly(parts.run_forward)[0]
    return values if np.isfinite(values).all() else None


def run_log_likelihoods(call: Call, log_prob: Array) -> tuple[Array, Array]:
    """Log-likelihoods (s,) of sequences, and the norms (n,) of rows."""
    initial, transitions, _ = call.mixture
    values, norms = execution.driver_for(call.space).run_forward(
        LogLikelihoods(call.positive),
        call.space,
        log_prob,
        (initial, transitions),
        call.space_sequences(),
        call.weights,
    )
    return values, norms
