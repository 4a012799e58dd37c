"""EM as scikit-learn keeps its books: bounds before each M-step, compared as they come."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from estep_xp import execution
from estep_xp.arrays.namespace import Space, to_number
from estep_xp.em.iteration import Iteration
from estep_xp.em.m_step import run_m_step
from estep_xp.em.statistics import Statistics, raise_for_bad_rows_of
from estep_xp.mixture.call import Call, pad_call
from estep_xp.mixture.mixture import Mixture

_ILL_DEFINED = (
    "Fitting the mixture model failed because some components have ill-defined empirical "
    "covariance (for instance caused by singleton or collapsed samples). Try to decrease the "
    "number of components, increase reg_covar, or scale the input data."
)


class Trial(NamedTuple):
    """EM from one start."""

    mixture: Mixture[Any]
    statistics: Statistics[Any] | None  # from which the last M-step made the mixture
    lower_bounds: list[float]  # log-likelihood per (weighted) row before each M-step
    converged: bool

    @property
    def lower_bound(self) -> float:
        """The last of them; -inf without one."""
        return self.lower_bounds[-1] if self.lower_bounds else -math.inf


def run_em(
    call: Call,
    *,
    tol: float,
    max_iter: int,
    floor: float,
    bound: float,
    watch: Callable[[int, float], None],
) -> Trial:
    """Iterate until the bound changes by less than `tol`; it is `bound` at the beginning."""
    whole, mixture, space = pad_call(call), call.mixture, None
    statistics: Statistics[Any] | None = None
    bounds: list[float] = []
    for n_iter in range(1, max_iter + 1):
        statistics, new = e_step(call, whole, mixture)
        space = space or _EM.space_of(statistics)  # the same in all iterations
        mixture = maximize(space, statistics, floor)
        bounds.append(new)
        change, bound = new - bound, new
        watch(n_iter, change)
        if abs(change) < tol:
            return Trial(mixture, statistics, bounds, converged=True)
    return Trial(mixture, statistics, bounds, converged=False)


# Only to run one half of an iteration: no rule of stopping, no floor.
_EM = Iteration(execution.Options(None, None), 0.0, 0, None, accelerate=False)


def e_step(call: Call, whole: Call, mixture: Mixture[Any]) -> tuple[Statistics[Any], float]:
    """Statistics of the rows under a mixture, and their log-likelihood per (weighted) row."""
    statistics, lost = _EM.take_statistics(whole, mixture)
    raise_for_bad_rows_of(call, statistics, _EM.options)
    total = to_number(statistics.log_likelihood) + to_number(lost)
    return statistics, total / to_number(statistics.n_rows)


def maximize(space: Space | None, statistics: Statistics[Any], floor: float) -> Mixture[Any]:
    """Run the M-step; a covariance that is not positive definite raises in scikit-learn's words."""
    mixture: Mixture[Any]
    try:  # not `ill_defined`, which takes as long as the arithmetic
        mixture = run_m_step(space or _EM.space_of(statistics), statistics, floor)
    except ValueError as error:
        raise _told(error) from error
    return mixture


@contextlib.contextmanager
def ill_defined(doubt: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Say in scikit-learn's words, and then in ours, which covariance is of no use."""
    try:
        yield
    except ValueError as error:
        if not doubt():
            raise
        raise _told(error) from error


def _told(error: ValueError) -> ValueError:
    return ValueError(f"{_ILL_DEFINED} ({error})")
