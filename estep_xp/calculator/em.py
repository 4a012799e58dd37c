"""The two buttons of EM: one step, and as many as it takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.calculator.fields import Fields, format_list
from estep_xp.cli.read.inputs import Inputs
from estep_xp.cli.text.numbers import format_count
from estep_xp.em.fit import Options, run_fit
from estep_xp.em.fit_warnings import Collapse

if TYPE_CHECKING:
    from collections.abc import Callable

_DIGITS = 8  # significant digits of new parameters in the fields
_TOLERANCE = 1e-9
_MAX_ITERATIONS = 10_000
_PATIENCE = 2.0  # seconds until a run stops; the next press continues it


class EMProgress(NamedTuple):
    """The state of EM after some iterations.

    Attributes
    ----------
    fields : Fields
        The same observations and the new parameters.
    log_likelihoods : list of float
        The log-likelihood before the first iteration and after each.
    summary : str
        What has happened, in a sentence.
    warning : str
        What a person should know before they trust the result; mostly empty.
    """

    fields: Fields
    log_likelihoods: list[float]
    summary: str
    warning: str


@np.errstate(all="ignore")  # overflow is an error of the library, not a warning
def take_step(fields: Fields, inputs: Inputs) -> EMProgress:
    """Return the parameters after one E-step and one M-step.

    Raises
    ------
    ValueError
        If an observation has zero density under every component.
    """
    return _run_em(fields, inputs, Options(max_iter=1), lambda _: "One step")


@np.errstate(all="ignore")
def run_to_convergence(fields: Fields, inputs: Inputs) -> EMProgress:
    """Return the parameters at convergence, or after the time that a press may take.

    Raises
    ------
    ValueError
        If an observation has zero density under every component.
    """
    end = time.monotonic() + _PATIENCE

    def stop_when_late(_: ex.EMResult) -> None:
        if time.monotonic() > end:
            raise StopIteration

    def describe(result: ex.EMResult) -> str:
        steps = format_count(result.n_iter, "step")
        return f"Converged after {steps}" if result.converged else f"Not converged after {steps}"

    options = Options(tol=_TOLERANCE, max_iter=_MAX_ITERATIONS, callback=stop_when_late)
    return _run_em(fields, inputs, options, describe)


def _run_em(
    fields: Fields, inputs: Inputs, options: Options, describe: Callable[[ex.EMResult], str]
) -> EMProgress:
    start = ex.Mixture(inputs.weights, ex.UnivariateGaussian(inputs.means, inputs.variances))
    before = float(ex.log_likelihood(inputs.x, start))
    result, diagnosis = run_fit(inputs.x, start, None, options)
    log_likelihoods = [before, *result.history.tolist()]
    components: Any = result.mixture.components
    parameters = (components.means, components.variances, result.mixture.weights)
    texts = (format_list(array.tolist(), _DIGITS) for array in parameters)
    summary = (
        f"{describe(result)}: log-likelihood {log_likelihoods[0]:.4f} → {log_likelihoods[-1]:.4f}."
    )
    warning = _describe_collapse(diagnosis.collapse, components.variances)
    if options.max_iter > 1 and not result.converged:
        again = "The log-likelihood still rises: press again to go on."
        warning = f"{again} {warning}".strip()
    return EMProgress(Fields(fields.x, *texts), log_likelihoods, summary, warning)


def _describe_collapse(collapse: Collapse, variances: NDArray[np.float64]) -> str:
    """Return sentences about components that have collapsed or lost their observations."""
    sentences = [
        f"Component {j} has collapsed onto equal numbers: only the floor under variances, "
        f"{variances[j]:.2g}, keeps its density finite."
        for j in collapse.components
    ]
    sentences += [f"Component {j} has lost all observations." for j in collapse.empty]
    if sentences:
        sentences.append(
            "The log-likelihood says more about that than about the data: try fewer components, "
            "another start, or more numbers."
        )
    return " ".join(sentences)
