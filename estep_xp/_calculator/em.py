"""The two buttons of EM: one step, and as many as it takes."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

import estep_xp as ex
from estep_xp._calculator.fields import Fields, list_text
from estep_xp._io.evaluate import scaled
from estep_xp._io.inputs import Inputs

_DIGITS = 8  # significant ones that go into the fields
_TOLERANCE = 1e-9
_MOST_ITERATIONS = 10_000
_VARIANCE_FLOOR = 1e-6  # as in m_step and fit
_PATIENCE = 2.0  # seconds; a longer run goes on with the next press


class Climb(NamedTuple):
    """Where EM has arrived.

    Attributes
    ----------
    fields : Fields
        The same observations and the new parameters.
    heights : list of float
        The log-likelihood before the first iteration and after each.
    summary : str
        What has happened, in a sentence or two.
    """

    fields: Fields
    heights: list[float]
    summary: str


@np.errstate(all="ignore")  # numbers that overflow are refused, not warned of
def one_step(fields: Fields, inputs: Inputs) -> Climb:
    """Return the parameters after one E-step and one M-step.

    Raises
    ------
    ValueError
        If an observation has zero density under every component.
    """
    statistics = ex.expected_statistics(inputs.x, _mixture(inputs))
    mixture = ex.m_step(statistics)
    heights = [statistics.log_likelihood, ex.log_likelihood(inputs.x, mixture)]
    return _climb(fields, mixture, list(map(float, heights)), "One step")


@np.errstate(all="ignore")
def to_convergence(fields: Fields, inputs: Inputs) -> Climb:
    """Return the parameters when the log-likelihood stands still, or patience is at an end.

    Raises
    ------
    ValueError
        If an observation has zero density under every component.
    """
    end = time.monotonic() + _PATIENCE

    def watch(_: ex.EMResult) -> None:
        if time.monotonic() > end:
            raise StopIteration

    start = _mixture(inputs)
    before = float(ex.log_likelihood(inputs.x, start))
    result = ex.fit(inputs.x, start, tol=_TOLERANCE, max_iter=_MOST_ITERATIONS, callback=watch)
    heights = [before, *result.history.tolist()]
    steps = f"{result.n_iter} step{'s' if result.n_iter > 1 else ''}"
    how = f"Converged after {steps}" if result.converged else f"Not there after {steps}, go on"
    return _climb(fields, result.mixture, heights, how)


def _mixture(inputs: Inputs) -> ex.Mixture:
    components = ex.UnivariateGaussian(inputs.means, inputs.variances)
    return ex.Mixture(scaled(inputs.weights), components)


def _climb(fields: Fields, mixture: ex.Mixture, heights: list[float], how: str) -> Climb:
    components: Any = mixture.components
    parameters = (components.means, components.variances, mixture.weights)
    texts = (list_text(array.tolist(), _DIGITS) for array in parameters)
    summary = f"{how}: log-likelihood {heights[0]:.4f} → {heights[-1]:.4f}."
    for j in (components.variances < 2 * _VARIANCE_FLOOR).nonzero()[0].tolist():
        summary += (
            f" Component {j} has collapsed onto equal numbers: only the floor under variances, "
            f"{_VARIANCE_FLOOR:g}, keeps its density finite."
        )
    return Climb(Fields(fields.x, *texts), heights, summary)
