"""Iterations of EM: E-steps and M-steps in turn, in a Python loop or a compiled one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp import execution
from estep_xp.arrays.array_types import Array
from estep_xp.arrays.namespace import (
    Space,
    is_concrete,
    is_tracer,
    space_of,
    to_host,
)
from estep_xp.arrays.quiet import quiet
from estep_xp.arrays.validation import has_zeros
from estep_xp.em.fit_warnings import (
    CollapseWarning,
    ConvergenceWarning,
    Diagnosis,
    exhausted_text,
    find_collapse,
    unfinished_text,
)
from estep_xp.em.m_step import default_floor, run_m_step
from estep_xp.em.result import EMResult
from estep_xp.em.squarem import squarem_step
from estep_xp.em.statistics import (
    AnyCall,
    AnyStatistics,
    accumulate_in_two_parts,
    arrays_of,
    pad_em_call,
    raise_for_bad_rows_of,
)
from estep_xp.em.stopping import Convergence, Objective, Rule
from estep_xp.mixture.call import Call

if TYPE_CHECKING:
    from collections.abc import Callable


# Iterations after which means are near the rows wherever they began: then the variance of all rows,
# from which the default floor comes, is computed without cancellation, and changes no more.
_GOOD_MEANS = 2


class _State(NamedTuple):
    """The state of a fit: a pytree, which a compiled loop carries."""

    previous: Any  # the model before the current one
    statistics: Any  # under the current mixture
    compensation: Array  # what rounding the total log-likelihood has lost
    n_iter: Any
    convergence: Convergence

    @property
    def objective(self) -> Objective:
        return Objective(self.statistics.log_likelihood, self.compensation)

    def result(self, history: Array) -> EMResult[Any]:
        mixture, log_likelihood = self.statistics[:2]
        converged = self.convergence.converged
        return EMResult(mixture, log_likelihood, self.n_iter, converged, history, self.statistics)


class Iteration(NamedTuple):
    """One iteration, and the options that are the same for all of them."""

    options: execution.Options
    tol: Any
    max_iter: int
    floor: Any
    accelerate: bool
    space: Space | None = None  # that of the statistics, where it is the same in all iterations
    rule: Rule | None = None  # when to stop, in Python's numbers, once these are known
    known_floor: Any = None  # the default floor, once it has been computed from good means
    prior_counts: Any = 0.0  # of a chain

    def space_of(self, statistics: AnyStatistics) -> Space:
        """Return the space of statistics."""
        return _space(statistics) if self.space is None else self.space

    def take_statistics(self, call: AnyCall, mixture: Any) -> tuple[Any, Array]:
        """Run the E-step. Bad rows show as a non-finite log-likelihood; nothing raises."""
        if isinstance(call, Call):
            call = call._replace(mixture=mixture, zeros=has_zeros(mixture.weights))
        else:
            call = call._replace(mixture=mixture)
        driver = execution.driver_for(call.space)
        sums: tuple[Any, Array] = driver.materialize(accumulate_in_two_parts(call, self.options))
        return sums

    def start(self, call: AnyCall) -> _State:
        """Run the E-step at the starting mixture."""
        statistics, compensation = self.take_statistics(call, call.mixture)
        return self._state_after(call, None, statistics, compensation)

    def step(self, call: AnyCall, state: _State) -> _State:
        """Run one iteration: an M-step, and the E-step at the new mixture."""
        step = self._accelerated if self.accelerate else self._plain
        return self._state_after(call, state, *step(call, state))

    def _state_after(
        self, call: AnyCall, before: _State | None, statistics: AnyStatistics, compensation: Array
    ) -> _State:
        """Build the state after an E-step; `before` is None at the start."""
        rule = self.rule or _rule_of(self.tol, call, statistics)
        objective = Objective(statistics.log_likelihood, compensation)
        if self.rule is not None:
            objective = objective.to_numbers()
        if before is None:
            convergence = _update_convergence(None, objective, rule)
            return _State(call.mixture, statistics, compensation, 0, convergence)
        if self.rule is not None:
            convergence = before.convergence.update(_choose, objective, rule)
        else:
            convergence = _update_convergence(before.convergence, objective, rule)
        return _State(
            before.statistics.mixture, statistics, compensation, before.n_iter + 1, convergence
        )

    def variance_floor(self, statistics: AnyStatistics) -> Any:
        """Return the variance floor, by default the one that follows from the rows."""
        floor = self.floor if self.known_floor is None else self.known_floor
        if floor is not None:
            return floor
        components, moments = statistics.mixture.components, statistics.moments
        space = self.space_of(statistics)
        driver = execution.driver_for(space)
        return driver.compute(default_floor, space, components, statistics.counts, moments)

    def _plain(self, call: AnyCall, state: _State) -> tuple[Any, Array]:
        old = state.statistics
        new = self._maximize(self.space_of(old), old, self.known_floor)
        return self.take_statistics(call, new)

    def _maximize(self, space: Space, statistics: AnyStatistics, known_floor: Any) -> Any:
        return run_m_step(space, statistics, self.floor, known_floor, self.prior_counts)

    @quiet
    def _accelerated(self, call: AnyCall, state: _State) -> tuple[Any, Array]:
        """Run SQUAREM on every second step, plain EM where extrapolation gains nothing."""
        old = state.statistics
        space, floor = self.space_of(old), self.variance_floor(old)
        driver = execution.driver_for(space)
        mixtures = (state.previous, old.mixture, self._maximize(space, old, floor))
        extrapolated, usable = driver.compute(squarem_step, space, *mixtures, floor)

        def at_plain() -> tuple[Any, Array]:
            return self.take_statistics(call, mixtures[-1])

        def at_extrapolated() -> tuple[Any, Array]:
            statistics, compensation = self.take_statistics(call, extrapolated)
            # A gain below tol would end the fit, where plain EM may still gain more.
            rise = Objective(statistics.log_likelihood, compensation).minus(state.objective)
            risen = rise >= self.tol * old.n_rows
            better: tuple[Any, Array] = driver.cond(
                risen, lambda: (statistics, compensation), at_plain
            )
            return better

        is_second = state.n_iter % 2 == 1
        sums: tuple[Any, Array] = driver.cond(usable & is_second, at_extrapolated, at_plain)
        return sums


class _Outcome(NamedTuple):
    """The fit from one start."""

    result: EMResult[Any]
    start: Any
    end: _State


def best_of(
    em: Iteration, starts: list[AnyCall], callbacks: list[Callable[[EMResult[Any]], Any]]
) -> tuple[EMResult[Any], Diagnosis]:
    """Fit from each start; return the fit with the highest log-likelihood, the first at a tie."""
    outcomes: list[_Outcome] = []
    stopped = False
    for call in starts:
        whole = pad_em_call(call)
        first = em.start(whole)
        space = _space(first.statistics)
        eager = not (space.lazy or is_tracer(em.tol) or is_tracer(em.floor))
        if eager:
            _check_weight_of_rows(call, first.statistics)
            raise_for_bad_rows_of(call, first.statistics, em.options)
            rule = _rule_of(em.tol, whole, first.statistics).to_numbers()
            em = em._replace(space=space, rule=rule)
            outcome, stopped = _run_eager(em, call, whole, first, callbacks)
        else:
            outcome = _run_traced(em, whole, first, callbacks)
        outcomes.append(outcome)
        if stopped:
            break
    best = outcomes[0]
    for other in outcomes[1:]:
        best = _better(best, other)
    return best.result, _diagnose(em, best, stopped=stopped) if eager else Diagnosis()


def _better(one: _Outcome, other: _Outcome) -> _Outcome:
    better = other.end.objective.minus(one.end.objective) > 0
    space = _space(one.end.statistics)
    higher: _Outcome = execution.driver_for(space).cond(better, lambda: other, lambda: one)
    return higher


def _diagnose(em: Iteration, outcome: _Outcome, *, stopped: bool) -> Diagnosis:
    """Find what a fit warns of."""
    result, start, end = outcome
    convergence, n_iter = end.convergence, end.n_iter
    if n_iter == 0:
        return Diagnosis()
    text = ""
    if convergence.exhausted:
        fall = float(convergence.best.minus(convergence.objective)) / float(
            to_host(end.statistics.n_rows)
        )
        text = exhausted_text(n_iter, fall, _space(end.statistics).dtype)
    elif not (result.converged or stopped):
        text = unfinished_text(n_iter, abs(float(convergence.rise)), em.tol)
    floor = em.variance_floor(end.statistics)
    collapse = find_collapse(start, end.statistics, floor, given=em.floor is not None)
    if any(collapse[:3]):
        said = "; ".join(filter(None, (collapse.text(), text)))
        return Diagnosis(collapse, CollapseWarning(said))
    return Diagnosis(collapse, ConvergenceWarning(text) if text else None)


def _run_eager(
    em: Iteration,
    call: AnyCall,
    whole: AnyCall,
    state: _State,
    callbacks: list[Callable[[EMResult[Any]], Any]],
) -> tuple[_Outcome, bool]:
    """Run EM in a Python loop. Returns the outcome, and whether the user interrupted it.

    `whole` is the call with padded rows, over which sums run.
    """
    heights: list[Array] = []

    def result() -> EMResult[Any]:
        xp, total = _space(state.statistics).xp, state.statistics.log_likelihood
        # Ctrl-C may have come between the two lines below that end an iteration.
        history = xp.stack([total, *heights[: state.n_iter]])[1:]
        return state.result(history)._replace(converged=bool(state.convergence.converged))

    stopped = False
    try:
        while not state.convergence.ended and state.n_iter < em.max_iter:
            if state.n_iter == _GOOD_MEANS:
                em = em._replace(known_floor=em.variance_floor(state.statistics))
            new = em.step(whole, state)
            raise_for_bad_rows_of(call, new.statistics, em.options)
            heights.append(new.statistics.log_likelihood)
            state = new
            for callback in callbacks:
                callback(result())
    except (KeyboardInterrupt, StopIteration):
        stopped = True
    return _Outcome(result(), call.mixture, state), stopped


def _run_traced(
    em: Iteration, call: AnyCall, state: _State, callbacks: list[Callable[[EMResult[Any]], Any]]
) -> _Outcome:
    """Run EM as a loop inside a compiled program."""
    if callbacks:
        raise TypeError(
            "callback and progress need numbers, and under jit there are none yet; leave them out, "
            "or call fit outside of jit"
        )

    def going(state: _State) -> Array:
        finite = abs(state.statistics.log_likelihood) < math.inf
        return ~state.convergence.ended & finite

    state, history = execution.driver_for(_space(state.statistics)).while_loop(
        lambda state: em.step(call, state),
        going,
        lambda state: state.statistics.log_likelihood,
        state,
        em.max_iter,
    )
    return _Outcome(state.result(history), call.mixture, state)


def _rule_of(tol: Any, call: AnyCall, statistics: AnyStatistics) -> Rule:
    eps = float(call.space.xp.finfo(call.space.dtype).eps)
    return Rule(tol, statistics.n_rows, math.prod(call.rows[0].shape[1:]), eps)


def _update_convergence(
    convergence: Convergence | None, objective: Objective, rule: Rule
) -> Convergence:
    """Add a log-likelihood to the record of a fit, or begin the record."""
    one: Any = 1.0
    where: Any = _choose
    if all(map(is_concrete, (*objective, rule.n_rows))) and not is_tracer(rule.tol):
        objective, rule = objective.to_numbers(), rule.to_numbers()
    else:
        xp = space_of({"log_likelihood": objective.value}).xp
        one, where = xp.ones_like(objective.value), xp.where
    if convergence is None:
        return Convergence.start(objective, one)
    return convergence.update(where, objective, rule)


def _choose(flag: bool, one: float, other: float) -> float:
    return one if flag else other


def _space(statistics: AnyStatistics) -> Space:
    return space_of(arrays_of("statistics", statistics))


def _check_weight_of_rows(call: AnyCall, statistics: AnyStatistics) -> None:
    """Raise unless there is a row, now that also lazy ones have been counted."""
    n_rows = float(to_host(statistics.n_rows))
    if math.isnan(n_rows):
        raise ValueError("sample_weight must be non-negative and finite; an entry is not")
    if n_rows == 0:
        least = "one row" if len(call.rows) == 1 else "one row of positive sample_weight"
        raise ValueError(f"{call.name} has no rows; fit needs at least {least}")
