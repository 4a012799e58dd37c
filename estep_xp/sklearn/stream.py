"""Stepwise EM: statistics of all batches so far, of which each new batch takes a share."""

from __future__ import annotations

from typing import Any, NamedTuple

from estep_xp.arrays.namespace import namespace_of, to_host
from estep_xp.arrays.validation import check_number
from estep_xp.em.adjust import recenter, scale
from estep_xp.em.statistics import Statistics, merge, prepare_em_call
from estep_xp.mixture.call import pad_call
from estep_xp.mixture.mixture import Mixture
from estep_xp.sklearn.em import e_step, maximize

# Of the step size t^-exponent; between 0.5 and 1 stepwise EM converges, and 0.6 is the one that its
# authors use.
_EXPONENT = 0.6


class Step(NamedTuple):
    """The state after a batch."""

    mixture: Mixture[Any]
    statistics: Statistics[Any]  # per row

    @property
    def lower_bound(self) -> float:
        """The log-likelihood per row, a running mean over batches."""
        return float(to_host(self.statistics.log_likelihood / self.statistics.n_rows))


def check_share(value: Any) -> float:
    """A step size as a number: positive, at most 1."""
    share: float = check_number("step_size", value)
    if not 0.0 < share <= 1.0:
        raise ValueError(f"step_size is {value!r}; expected 0 < step_size <= 1")
    return share


def decreasing_share(t: int) -> float:
    """The share that the batch of number t = 1, 2, ... takes of the statistics."""
    return float(t**-_EXPONENT)


def step(
    x: Any,
    mixture: Mixture[Any],
    sample_weight: Any,
    before: Statistics[Any] | None,
    share: float,
    floor: float,
) -> Step:
    """Take a batch in: S becomes (1 - share) S + share s / n, and an M-step follows.

    Cappé and Moulines (2009), eq. 13. `before` is S, taken under any mixture and of any number of
    rows; None at the first batch, of which all is taken.
    """
    call = prepare_em_call(x, mixture, sample_weight)
    batch, _ = e_step(call, pad_call(call), call.mixture)
    if before is None:
        statistics = scale(batch, 1.0 / _n_rows(batch))
    else:
        old = scale(recenter(before, call.mixture), (1.0 - share) / _n_rows(before))
        statistics = merge(old, scale(batch, share / _n_rows(batch)))
    return Step(maximize(statistics, floor), statistics)


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
