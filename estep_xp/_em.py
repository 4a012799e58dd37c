"""Expectation-maximisation: E-steps and M-steps in turn until the log-likelihood stands still."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp import execution
from estep_xp._initialize import initialize
from estep_xp._m_step import maximized
from estep_xp._mixture import Mixture
from estep_xp._namespace import Space, is_concrete, is_tracer, space_of, to_host
from estep_xp._problem import Problem, padded
from estep_xp._progress import progress_bar
from estep_xp._result import EMResult
from estep_xp._squarem import extrapolated
from estep_xp._statistics import Statistics, arrays_of, check_rows_of, posed, sums_of
from estep_xp._typing import Array, ArrayLike
from estep_xp._validation import check_number, check_whole, has_zeros

if TYPE_CHECKING:
    from collections.abc import Callable


def fit(
    x: ArrayLike,
    mixture: Mixture,
    *,
    sample_weight: ArrayLike | None = None,
    tol: float = 1e-6,
    max_iter: int = 1000,
    variance_floor: float = 1e-6,
    n_init: int = 1,
    seed: int = 0,
    accelerate: bool = False,
    callback: Callable[[EMResult], Any] | None = None,
    progress: bool = False,
    block_size: int | None = None,
    workers: int | None = None,
) -> EMResult:
    """Fit a mixture by expectation-maximisation.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one a row; shape (n,) for univariate components. At least one.
    mixture : Mixture
        Where to start, for example from `initialize`; of one of the package's families.
    sample_weight : array, shape (n,), optional
        Non-negative weight of each row: 2 counts a row twice, 0 leaves it out whatever it holds.
    tol : float, optional
        Stop when the log-likelihood per (weighted) row changes by less than this in an iteration;
        scikit-learn's rule.
    max_iter : int, optional
        Stop after so many M-steps in any case.
    variance_floor : float, optional
        Added to the variances in each M-step, see `m_step`.
    n_init : int, optional
        Number of starts: `mixture`, and ``n_init - 1`` from `initialize` with the seeds that follow
        `seed`. The fit with the highest log-likelihood is returned.
    seed : int, optional
        For the other starts.
    accelerate : bool, optional
        Extrapolate every second step by SQUAREM (Varadhan and Roland 2008); where that would lower
        the log-likelihood, the plain step is taken. Saves most iterations where EM is slow.
    callback : callable, optional
        Called after each iteration with the `EMResult` so far; it may raise ``StopIteration``.
    progress : bool, optional
        Show a bar with the log-likelihood on standard error; needs rich.
    block_size, workers : int, optional
        As for `e_step`.

    Returns
    -------
    EMResult
        ``mixture``, its ``log_likelihood``, ``n_iter``, ``converged`` and ``history``. Ctrl-C ends
        the fit, too, and gives the last whole iteration.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value, a row has zero density under every
        component, or a covariance matrix is not positive definite.

    Notes
    -----
    Each iteration is an M-step (`m_step`) and an E-step (`expected_statistics`). The log-likelihood
    rises until it stands still (Dempster, Laird and Rubin 1977). Only where `variance_floor` is not
    small beside the variances of a component, which without it would collapse, may it fall a
    little: the floor keeps EM away from the maximum.

    All of it runs under JAX's ``jit`` and ``vmap``, too, there without callback and progress.

    Examples
    --------
    >>> import estep_xp as ex
    >>> x = [1.0, 1.4, 1.8, 6.2, 6.6, 7.0]
    >>> result = ex.fit(x, ex.initialize(x, 2, ex.UnivariateGaussian, seed=0))
    >>> sorted(result.mixture.components.means.round(4).tolist())
    [1.4, 6.6]
    >>> result.converged, round(float(result.log_likelihood), 4)
    (True, -5.9584)
    """
    problem = posed(x, mixture, sample_weight)
    _check_rows_given(problem)
    em = _Em(
        execution.options(block_size, workers),
        check_number("tol", tol),
        check_whole("max_iter", max_iter, 1),
        check_number("variance_floor", variance_floor),
        bool(accelerate),
    )
    if not (callback is None or callable(callback)):
        raise TypeError(f"callback is {callback!r:.60}; callback must be callable or None")
    seed = check_whole("seed", seed, 0)
    starts = [problem]
    for i in range(1, check_whole("n_init", n_init, 1)):
        k, family = problem.k, type(problem.mixture.components)
        start = initialize(x, k, family, seed=seed + i, sample_weight=sample_weight)
        starts.append(posed(x, start, sample_weight))
    with ExitStack() as stack:
        callbacks = [] if callback is None else [callback]
        if progress:
            callbacks.append(stack.enter_context(progress_bar(em.max_iter, len(starts))))
        return _best_of(em, starts, callbacks)


class _State(NamedTuple):
    """Where a fit stands: a pytree, which a compiled loop carries along."""

    previous: Mixture
    statistics: Statistics  # under the current mixture
    n_iter: Any
    converged: Any

    def result(self, history: Array) -> EMResult:
        mixture, log_likelihood = self.statistics[:2]
        return EMResult(mixture, log_likelihood, self.n_iter, self.converged, history)


class _Em(NamedTuple):
    """How to go on: the choices that are the same for all iterations."""

    how: execution.Options
    tol: Any
    max_iter: int
    floor: Any
    accelerate: bool

    def expected(self, problem: Problem, mixture: Mixture) -> Statistics:
        """The E-step. Bad rows show in its log-likelihood; nothing is raised."""
        problem = problem._replace(mixture=mixture, zeros=has_zeros(mixture.weights))
        statistics: Statistics = execution.realized(problem.space, sums_of(problem, self.how))
        return statistics

    def advanced(self, problem: Problem, state: _State) -> _State:
        """One iteration: an M-step, and the E-step at its mixture."""
        old = state.statistics
        step = self._accelerated if self.accelerate else self._plain
        new = step(problem, state)
        rise = (new.log_likelihood - old.log_likelihood) / old.n_rows
        converged = _space(old).xp.abs(rise) < self.tol
        return _State(old.mixture, new, state.n_iter + 1, converged)

    def _plain(self, problem: Problem, state: _State) -> Statistics:
        old = state.statistics
        return self.expected(problem, maximized(_space(old), old, self.floor))

    def _accelerated(self, problem: Problem, state: _State) -> Statistics:
        """Extrapolate every second step, if that leads uphill; the first has nothing to go by."""
        old = state.statistics
        space = _space(old)
        mixtures = (state.previous, old.mixture, maximized(space, old, self.floor))
        bold, usable = execution.compute(extrapolated, space, *mixtures, self.floor)

        def at_plain() -> Statistics:
            return self.expected(problem, mixtures[-1])

        def at_bold() -> Statistics:
            found = self.expected(problem, bold)
            # By so much that it can't end the fit: an extrapolation may come out no higher where EM
            # still has far to climb.
            risen = found.log_likelihood - old.log_likelihood >= self.tol * old.n_rows
            better: Statistics = execution.chosen(space, risen, lambda: found, at_plain)
            return better

        is_second = state.n_iter % 2 == 1
        statistics: Statistics = execution.chosen(space, usable & is_second, at_bold, at_plain)
        return statistics


def _best_of(
    em: _Em, starts: list[Problem], callbacks: list[Callable[[EMResult], Any]]
) -> EMResult:
    """The fit with the highest log-likelihood; the first of several at a tie."""
    results: list[EMResult] = []
    for problem in starts:
        whole = padded(problem)
        first = _State(problem.mixture, em.expected(whole, problem.mixture), 0, False)
        space = _space(first.statistics)
        if not (space.lazy or is_tracer(em.tol) or is_tracer(em.floor)):
            _check_weight_of_rows(problem, first.statistics)
            check_rows_of(problem, first.statistics, em.how)
            result, stopped = _climbed(em, problem, whole, first, callbacks)
        else:
            result, stopped = _compiled(em, whole, first, callbacks), False
        results.append(result)
        if stopped:
            break
    best = results[0]
    for other in results[1:]:
        best = _higher(best, other)
    return best


def _higher(one: EMResult, other: EMResult) -> EMResult:
    better = other.log_likelihood > one.log_likelihood
    space = space_of({"log_likelihood": one.log_likelihood})
    higher: EMResult = execution.chosen(space, better, lambda: other, lambda: one)
    return higher


def _climbed(
    em: _Em,
    problem: Problem,
    whole: Problem,
    state: _State,
    callbacks: list[Callable[[EMResult], Any]],
) -> tuple[EMResult, bool]:
    """Iterate here and now; whether somebody has stopped it comes with the result.

    Sums are those of the `whole` of a problem, with its padding.
    """
    heights: list[Array] = []

    def result() -> EMResult:
        xp, total = _space(state.statistics).xp, state.statistics.log_likelihood
        # Ctrl-C may have come between the two lines below that end an iteration.
        history = xp.stack([total, *heights[: state.n_iter]])[1:]
        return state.result(history)

    try:
        while not state.converged and state.n_iter < em.max_iter:
            new = em.advanced(whole, state)
            check_rows_of(problem._replace(mixture=new.statistics.mixture), new.statistics, em.how)
            heights.append(new.statistics.log_likelihood)
            state = new._replace(converged=bool(new.converged))
            for callback in callbacks:
                callback(result())
    except (KeyboardInterrupt, StopIteration):
        return result(), True
    return result(), False


def _compiled(
    em: _Em, problem: Problem, state: _State, callbacks: list[Callable[[EMResult], Any]]
) -> EMResult:
    """Iterate as a part of a larger compiled program."""
    if callbacks:
        raise TypeError(
            "callback and progress need numbers, and under jit there are none yet; leave them out, "
            "or call fit outside of jit"
        )

    def going(state: _State) -> Array:
        finite = abs(state.statistics.log_likelihood) < math.inf
        return ~state.converged & finite

    state, history = execution.iterated(
        _space(state.statistics),
        lambda state: em.advanced(problem, state),
        going,
        lambda state: state.statistics.log_likelihood,
        state,
        em.max_iter,
    )
    return state.result(history)


def _space(statistics: Statistics) -> Space:
    return space_of(arrays_of("statistics", statistics))


def _check_rows_given(problem: Problem) -> None:
    """Raise unless there is a row, as far as that can be told."""
    if problem.rows[0].shape[0] == 0:
        raise ValueError(f"{problem.name} has no rows; fit needs at least one")
    if (
        len(problem.rows) == 2
        and is_concrete(problem.rows[1])
        and not to_host(problem.rows[1]).any()
    ):
        raise ValueError("sample_weight sums to 0; at least one row must have a positive weight")


def _check_weight_of_rows(problem: Problem, statistics: Statistics) -> None:
    """Raise unless there is a row, now that also lazy ones have been counted."""
    n_rows = float(to_host(statistics.n_rows))
    if math.isnan(n_rows):
        raise ValueError("sample_weight must be non-negative and finite; an entry is not")
    if n_rows == 0:
        least = "one row" if len(problem.rows) == 1 else "one row of positive sample_weight"
        raise ValueError(f"{problem.name} has no rows; fit needs at least {least}")
