"""Iterations of EM: E-steps and M-steps in turn from some starts, here or in a compiled loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp import execution
from estep_xp.arrays.array_types import Array
from estep_xp.arrays.namespace import (
    Space,
    is_concrete,
    is_tracer,
    numpy_namespace,
    space_of,
    to_host,
)
from estep_xp.arrays.quiet import quiet
from estep_xp.arrays.validation import has_zeros
from estep_xp.em.fit_warnings import (
    CollapseWarning,
    ConvergenceWarning,
    Verdict,
    collapse_of,
    exhausted_text,
    unfinished_text,
)
from estep_xp.em.m_step import default_floor, maximized
from estep_xp.em.result import EMResult
from estep_xp.em.squarem import extrapolated
from estep_xp.em.statistics import Statistics, arrays_of, check_rows_of, sums_in_full
from estep_xp.em.stopping import Course, Height, Rule
from estep_xp.mixture.call import Problem, padded
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from collections.abc import Callable


class _State(NamedTuple):
    """Where a fit stands: a pytree, which a compiled loop carries along."""

    previous: Mixture
    statistics: Statistics  # under the current mixture
    left: Array  # of its log-likelihood, by rounding
    n_iter: Any
    course: Course

    @property
    def height(self) -> Height:
        return Height(self.statistics.log_likelihood, self.left)

    def result(self, history: Array) -> EMResult:
        mixture, log_likelihood = self.statistics[:2]
        return EMResult(mixture, log_likelihood, self.n_iter, self.course.converged, history)


class Iteration(NamedTuple):
    """How to go on: the choices that are the same for all iterations."""

    options: execution.Options
    tol: Any
    max_iter: int
    floor: Any
    accelerate: bool

    def expected(self, problem: Problem, mixture: Mixture) -> tuple[Statistics, Array]:
        """The E-step, in full. Bad rows show in its log-likelihood; nothing is raised."""
        problem = problem._replace(mixture=mixture, zeros=has_zeros(mixture.weights))
        driver = execution.driver_for(problem.space)
        sums: tuple[Statistics, Array] = driver.materialize(sums_in_full(problem, self.options))
        return sums

    def begun(self, problem: Problem) -> _State:
        """Before the first iteration."""
        statistics, left = self.expected(problem, problem.mixture)
        return self._reached(problem, None, statistics, left)

    @quiet
    def advanced(self, problem: Problem, state: _State) -> _State:
        """One iteration: an M-step, and the E-step at its mixture."""
        step = self._accelerated if self.accelerate else self._plain
        return self._reached(problem, state, *step(problem, state))

    def _reached(
        self, problem: Problem, before: _State | None, statistics: Statistics, left: Array
    ) -> _State:
        """Where a fit stands after an E-step."""
        rule = Rule(self.tol, statistics.n_rows, math.prod(problem.rows[0].shape[1:]))
        height = Height(statistics.log_likelihood, left)
        if before is None:
            return _State(problem.mixture, statistics, left, 0, _followed(None, height, rule))
        course = _followed(before.course, height, rule)
        return _State(before.statistics.mixture, statistics, left, before.n_iter + 1, course)

    def variance_floor(self, statistics: Statistics) -> Any:
        """The floor of variances, whose default follows from the rows."""
        if self.floor is not None:
            return self.floor
        components, moments = statistics.mixture.components, statistics.moments
        space = _space(statistics)
        driver = execution.driver_for(space)
        return driver.compute(default_floor, space, components, statistics.counts, moments)

    def _plain(self, problem: Problem, state: _State) -> tuple[Statistics, Array]:
        old = state.statistics
        return self.expected(problem, maximized(_space(old), old, self.floor))

    def _accelerated(self, problem: Problem, state: _State) -> tuple[Statistics, Array]:
        """Extrapolate every second step, if that leads uphill; the first has nothing to go by."""
        old = state.statistics
        space, floor = _space(old), self.variance_floor(old)
        driver = execution.driver_for(space)
        mixtures = (state.previous, old.mixture, maximized(space, old, floor))
        bold, usable = driver.compute(extrapolated, space, *mixtures, floor)

        def at_plain() -> tuple[Statistics, Array]:
            return self.expected(problem, mixtures[-1])

        def at_bold() -> tuple[Statistics, Array]:
            statistics, left = self.expected(problem, bold)
            # By so much that it can't end the fit: an extrapolation may come out no higher where EM
            # still has far to climb.
            rise = Height(statistics.log_likelihood, left).above(state.height)
            risen = rise >= self.tol * old.n_rows
            better: tuple[Statistics, Array] = driver.cond(
                risen, lambda: (statistics, left), at_plain
            )
            return better

        is_second = state.n_iter % 2 == 1
        sums: tuple[Statistics, Array] = driver.cond(usable & is_second, at_bold, at_plain)
        return sums


class _Outcome(NamedTuple):
    """Where a fit came to from one start."""

    result: EMResult
    start: Mixture
    end: _State


def best_of(
    em: Iteration, starts: list[Problem], callbacks: list[Callable[[EMResult], Any]]
) -> tuple[EMResult, Verdict]:
    """The fit with the highest log-likelihood, the first of several at a tie."""
    outcomes: list[_Outcome] = []
    stopped = False
    for problem in starts:
        whole = padded(problem)
        first = em.begun(whole)
        space = _space(first.statistics)
        eager = not (space.lazy or is_tracer(em.tol) or is_tracer(em.floor))
        if eager:
            _check_weight_of_rows(problem, first.statistics)
            check_rows_of(problem, first.statistics, em.options)
            outcome, stopped = _climbed(em, problem, whole, first, callbacks)
        else:
            outcome = _compiled(em, whole, first, callbacks)
        outcomes.append(outcome)
        if stopped:
            break
    best = outcomes[0]
    for other in outcomes[1:]:
        best = _higher(best, other)
    return best.result, _judged(em, best, stopped=stopped) if eager else Verdict()


def _higher(one: _Outcome, other: _Outcome) -> _Outcome:
    better = other.end.height.above(one.end.height) > 0
    space = _space(one.end.statistics)
    higher: _Outcome = execution.driver_for(space).cond(better, lambda: other, lambda: one)
    return higher


def _judged(em: Iteration, outcome: _Outcome, *, stopped: bool) -> Verdict:
    """What there is to say of a fit besides its result."""
    result, start, end = outcome
    course, n_iter = end.course, end.n_iter
    if n_iter == 0:
        return Verdict()
    text = ""
    if course.exhausted:
        fall = float(course.best.above(course.height)) / float(to_host(end.statistics.n_rows))
        text = exhausted_text(n_iter, fall, _space(end.statistics).dtype)
    elif not (result.converged or stopped):
        text = unfinished_text(n_iter, abs(float(course.rise)), em.tol)
    floor = em.variance_floor(end.statistics)
    collapse = collapse_of(start, result.mixture, floor, given=em.floor is not None)
    if any(collapse):
        said = "; ".join(filter(None, (collapse.text(), text)))
        return Verdict(collapse, CollapseWarning(said))
    return Verdict(collapse, ConvergenceWarning(text) if text else None)


def _climbed(
    em: Iteration,
    problem: Problem,
    whole: Problem,
    state: _State,
    callbacks: list[Callable[[EMResult], Any]],
) -> tuple[_Outcome, bool]:
    """Iterate here and now; whether somebody has stopped it comes with the outcome.

    Sums are those of the `whole` of a problem, with its padding.
    """
    heights: list[Array] = []

    def result() -> EMResult:
        xp, total = _space(state.statistics).xp, state.statistics.log_likelihood
        # Ctrl-C may have come between the two lines below that end an iteration.
        history = xp.stack([total, *heights[: state.n_iter]])[1:]
        return state.result(history)._replace(converged=bool(state.course.converged))

    stopped = False
    try:
        while not state.course.ended and state.n_iter < em.max_iter:
            new = em.advanced(whole, state)
            check_rows_of(
                problem._replace(mixture=new.statistics.mixture), new.statistics, em.options
            )
            heights.append(new.statistics.log_likelihood)
            state = new
            for callback in callbacks:
                callback(result())
    except (KeyboardInterrupt, StopIteration):
        stopped = True
    return _Outcome(result(), problem.mixture, state), stopped


def _compiled(
    em: Iteration, problem: Problem, state: _State, callbacks: list[Callable[[EMResult], Any]]
) -> _Outcome:
    """Iterate as a part of a larger compiled program."""
    if callbacks:
        raise TypeError(
            "callback and progress need numbers, and under jit there are none yet; leave them out, "
            "or call fit outside of jit"
        )

    def going(state: _State) -> Array:
        finite = abs(state.statistics.log_likelihood) < math.inf
        return ~state.course.ended & finite

    state, history = execution.driver_for(_space(state.statistics)).while_loop(
        lambda state: em.advanced(problem, state),
        going,
        lambda state: state.statistics.log_likelihood,
        state,
        em.max_iter,
    )
    return _Outcome(state.result(history), problem.mixture, state)


@quiet
def _followed(course: Course | None, height: Height, rule: Rule) -> Course:
    """The course of a fit that has come to a height; of one that begins there if it has none."""
    xp = space_of({"log_likelihood": height.value}).xp
    if all(map(is_concrete, (*height, rule.n_rows))) and not is_tracer(rule.tol):
        # Numbers that are looked at in each iteration are quicker to look at here.
        xp, height = numpy_namespace, Height(*map(to_host, height))
        rule = rule._replace(n_rows=to_host(rule.n_rows))
    return Course.begun(xp, height) if course is None else course.after(xp, height, rule)


def _space(statistics: Statistics) -> Space:
    return space_of(arrays_of("statistics", statistics))


def _check_weight_of_rows(problem: Problem, statistics: Statistics) -> None:
    """Raise unless there is a row, now that also lazy ones have been counted."""
    n_rows = float(to_host(statistics.n_rows))
    if math.isnan(n_rows):
        raise ValueError("sample_weight must be non-negative and finite; an entry is not")
    if n_rows == 0:
        least = "one row" if len(problem.rows) == 1 else "one row of positive sample_weight"
        raise ValueError(f"{problem.name} has no rows; fit needs at least {least}")
