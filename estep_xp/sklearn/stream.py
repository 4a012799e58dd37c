"""Stepwise EM: statistics of all batches so far, of which each new batch takes a share."""

from __future__ import annotations

from typing import Any, NamedTuple

from estep_xp.arrays.namespace import namespace_of, to_host
from estep_xp.arrays.validation import check_number
from estep_xp.em.adjust import recenter, scale
from estep_xp.em.merge import merge
from estep_xp.em.statistics import Statistics
from estep_xp.mixture.call import pad_call, prepare_call
from estep_xp.mixture.mixture import Mixture
from estep_xp.sklearn.em import e_step, maximize

# Of the step size t^-exponent; between 0.5 and 1 stepwise EM converges, and 0.6 is the one that its
# authors use.
_EXPONENT = 0.6


class Progress(NamedTuple):
    """How far a stream has come."""

    statistics: Statistics[Any] | None = None  # of the rows so far, whatever their scale
    n_batches: int = 0
    n_rows: float = 0.0  # weighted, of all batches

    def share(self, n_rows: float) -> float:
        """The share that the next batch, of so many rows, takes of the statistics.

        A batch smaller than the others takes less by as much: else the rows of a short last batch,
        pass after pass, would count more than others.
        """
        t = self.n_batches + 1
        mean = (self.n_rows + n_rows) / t
        return min(1.0, float(t**-_EXPONENT) * n_rows / mean)


class Step(NamedTuple):
    """What a batch has led to."""

    mixture: Mixture[Any]
    progress: Progress
    lower_bound: float  # log-likelihood per row, a running mean over batches


def check_share(value: Any) -> float:
    """A step size as a number: positive, at most 1."""
    share: float = check_number("step_size", value)
    if not 0.0 < share <= 1.0:
        raise ValueError(f"step_size is {value!r}; expected 0 < step_size <= 1")
    return share


def step(
    x: Any,
    mixture: Mixture[Any],
    sample_weight: Any,
    before: Progress,
    share: float | None,
    floor: float,
) -> Step:
    """Take a batch in: S becomes (1 - share) S + share s / n, and an M-step follows.

    Cappé and Moulines (2009), eq. 13. S may have been taken under any mixture; of the first batch
    all is taken. Without a `share` it decreases.
    """
    call = prepare_call(x, mixture, sample_weight=sample_weight)
    batch, _ = e_step(call, pad_call(call), call.mixture)
    old, n_rows = before.statistics, _n_rows(batch)
    if old is None:
        statistics = scale(batch, 1.0 / n_rows)
    else:
        share = before.share(n_rows) if share is None else share
        kept = scale(recenter(old, call.mixture), (1.0 - share) / _n_rows(old))
        statistics = merge(kept, scale(batch, share / n_rows))
    return Step(
        maximize(None, statistics, floor),
        Progress(statistics, before.n_batches + 1, before.n_rows + n_rows),
        float(to_host(statistics.log_likelihood)) / _n_rows(statistics),
    )


def join_rows(parts: tuple[tuple[Any, Any], ...]) -> tuple[Any, Any]:
    """Rows and weights of several batches as those of one."""
    if len(parts) == 1:
        return parts[0]
    xp = namespace_of(*(rows for rows, _ in parts))
    joined = xp.concat([rows for rows, _ in parts], axis=0)
    if all(weight is None for _, weight in parts):
        return joined, None
    weights = [xp.ones_like(rows[:, 0]) if w is None else w for rows, w in parts]
    return joined, xp.concat(weights, axis=0)


def _n_rows(statistics: Statistics[Any]) -> float:
    return float(to_host(statistics.n_rows))
