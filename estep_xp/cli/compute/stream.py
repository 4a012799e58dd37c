"""The E-step over a file, block by block in constant memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.compute.evaluate import Evaluation
from estep_xp.cli.compute.results import result_values
from estep_xp.cli.read.kept import Piece
from estep_xp.cli.read.rows import Block

_BLOCK_SIZE = 1 << 24  # bytes of observations and responsibilities per block


class Summary(NamedTuple):
    """Totals of the E-step over a whole file.

    Attributes
    ----------
    n_rows : int
        Number of rows.
    rows_per_component : list of int
        How many rows have each component as their label.
    mean_max_responsibility : float
        Average of each row's largest responsibility.
    log_likelihood : float
        Total log-likelihood.
    n_impossible : int
        How many rows have zero density under every component.
    first_impossible : int
        The first of them, counted from 0; -1 if there is none.
    n_skipped : int
        How many rows have holes and were left out.
    """

    n_rows: int
    rows_per_component: list[int]
    mean_max_responsibility: float
    log_likelihood: float
    n_impossible: int
    first_impossible: int
    n_skipped: int = 0


def rows_per_block(n_features: int, n_components: int) -> int:
    """Return how many rows a block has."""
    return max(1, _BLOCK_SIZE // (8 * (n_features + n_components)))


def stream_results(
    blocks: Iterable[Block],
    n_components: int,
    evaluate: Callable[[NDArray[np.float64]], Evaluation],
    write: Callable[[Sequence[NDArray[Any]], Sequence[Piece]], None],
    advance: Callable[[int], None],
) -> Summary:
    """Write the results of all blocks and return their summary.

    Parameters
    ----------
    blocks : iterable of Block
        The observations, and what is kept beside them.
    n_components : int
        How many components the mixture has.
    evaluate : callable
        The E-step.
    write : callable
        Takes the results of each block, field by field, and the pieces of what is kept.
    advance : callable
        Called after each block with the number of rows done.
    """
    n_rows, n_skipped, n_impossible, first_impossible = 0, 0, 0, -1
    counts = np.zeros(n_components, dtype=np.int64)
    totals: list[float] = []
    largest: list[float] = []
    for x, kept in blocks:
        results, mean_max, total = evaluate(x)
        write(result_values(results), kept)
        # Rows that were left out have NaN for a log-likelihood, impossible ones -inf.
        skipped = int(np.count_nonzero(np.isnan(results.log_likelihood)))
        impossible = np.flatnonzero(results.log_likelihood == -math.inf)
        if len(impossible) and not n_impossible:
            first_impossible = n_rows + int(impossible[0])
        n_impossible += len(impossible)
        counts += np.bincount(results.labels[results.labels >= 0], minlength=n_components)
        totals.append(total)
        if len(x) > skipped:
            largest.append(mean_max * (len(x) - skipped))
        n_skipped += skipped
        n_rows += len(x)
        advance(n_rows)
    return Summary(
        n_rows,
        counts.tolist(),
        math.fsum(largest) / (n_rows - n_skipped) if n_rows > n_skipped else math.nan,
        math.fsum(totals),
        n_impossible,
        first_impossible,
        n_skipped,
    )
