"""States of rows to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from estep_xp import execution
from estep_xp.arrays.namespace import space_of
from estep_xp.arrays.validation import check_shape, check_whole
from estep_xp.chain.hmm import HMM, check_hmm
from estep_xp.chain.parameters import check_initial, check_transitions, normalize_rows
from estep_xp.chain.probabilities import check_probabilities, refuse_records
from estep_xp.execution.chains import stand_in

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.shapes import FloatStepsK, LikeStatesK
    from estep_xp.execution.chains import ChainOps


def forecast(hmm: HMM, probabilities: LikeStatesK, steps: int) -> FloatStepsK:
    """Probabilities of the states of rows to come, given those of the last row.

    Parameters
    ----------
    hmm : HMM
        The chain, with one matrix of transitions for all rows.
    probabilities : array, shape (..., k)
        Probabilities of the last row's state, such as `Filtered.last`; normalised.
    steps : int
        Number of rows to come.

    Returns
    -------
    array, shape (steps, ..., k)
        p A, p A², ...: of the next row first.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5])
    >>> hmm = ex.HMM([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], components)
    >>> ex.forecast(hmm, [1.0, 0.0], 3)
    array([[0.9  , 0.1  ],
           [0.83 , 0.17 ],
           [0.781, 0.219]])
    """
    check_hmm(hmm)
    refuse_records("probabilities", probabilities)
    initial, transitions, _ = hmm
    named = {"initial": initial, "transitions": transitions, "probabilities": probabilities}
    space, n = space_of(named), check_whole("steps", steps, 0)
    k = int(check_initial(space, initial).shape[0])
    transitions = check_transitions(space, transitions, k)
    now = check_probabilities(space, "probabilities", probabilities)
    check_shape("probabilities", now, (*("any" for _ in now.shape[:-1]), k), ": one for each state")
    states: Array = execution.driver_for(space).run_chain(Forecast(n), space, now, transitions)
    return states


@dataclass(frozen=True)
class Forecast:
    """Probabilities (steps, ..., k) of rows to come."""

    steps: int

    def results_like(self, now: Array, *_: Any) -> Any:
        """Stand-ins of the results."""
        return stand_in(self.steps, *now.shape)

    def run(self, ops: ChainOps, now: Array, transitions: Array) -> Array:
        """Multiply by the transitions, row after row."""
        xp, ops = ops.xp, ops.by_rows()
        matrix = normalize_rows(xp, transitions)

        def go_on(now: Array, _: Any) -> tuple[Array, Array]:
            then = now @ matrix
            then = then / xp.sum(then, axis=-1, keepdims=True)
            return then, then

        now = normalize_rows(xp, now)
        if self.steps == 0:
            return now[None, ...][:0, ...]
        ticks = xp.broadcast_to(0.0 * matrix[0, :1], (self.steps,))
        states: Array = ops.scan(go_on, now, (ticks,))
        return states
