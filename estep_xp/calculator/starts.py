"""Parameters for numbers that are there: a start from the data, and one component more."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

import estep_xp as ex
from estep_xp.calculator.fields import MAX_COMPONENTS, Fields, check_fields, format_list
from estep_xp.cli.text.numbers import format_count

_DIGITS = 6  # significant digits of new parameters


def start_from_data(fields: Fields, count: str) -> dict[str, Any]:
    """Return fields with a start of :func:`estep_xp.initialize`, or what is wrong.

    Parameters
    ----------
    fields : Fields
        Only the observations are read.
    count : str
        The number of components, as it was typed.
    """
    if not re.fullmatch(r"[0-9]{1,9}", count.strip()) or not 1 <= int(count) <= MAX_COMPONENTS:
        return {"status": f"The number of components must be between 1 and {MAX_COMPONENTS}."}
    k = int(count)
    inputs, errors = check_fields(Fields(fields.x, "0", "1", ""))
    if inputs is None:
        return {"errors": errors, "status": "Correct the observations first."}
    if len(inputs.x) < k:
        has = format_count(len(inputs.x), "observation")
        return {"status": f"{has}: too few for {k} components."}
    try:
        with np.errstate(all="ignore"):
            start = ex.initialize(inputs.x, k, ex.UnivariateGaussian)
    except ValueError as error:
        return {"status": f"No start can be found: {error}."}
    order = np.argsort(start.components.means, kind="stable")
    parameters = (*start.components, start.weights)
    texts = (format_list(values[order].tolist(), _DIGITS) for values in parameters)
    has = format_count(k, "component")
    return {"fields": Fields(fields.x, *texts)._asdict(), "status": f"A start with {has}."}


def add_component(fields: Fields) -> dict[str, Any]:
    """Return fields with one component more, where the mixture explains the data worst."""
    inputs, errors = check_fields(fields)
    if inputs is None:
        return {"errors": errors, "status": "Correct the marked field first."}
    if len(inputs.means) == MAX_COMPONENTS:
        return {"status": f"The page takes {MAX_COMPONENTS} components."}
    components = ex.UnivariateGaussian(inputs.means, inputs.variances)
    with np.errstate(all="ignore"):
        density = ex.log_density(inputs.x, ex.Mixture(inputs.weights, components))
        variance = float(np.median(inputs.variances))
        weight = float(inputs.weights.mean())
    worst = float(inputs.x[np.argmin(density)])
    return {
        "fields": Fields(
            fields.x,
            _append(fields.means, worst),
            _append(fields.variances, variance),
            _append(fields.weights, weight) if fields.weights.strip() else "",
        )._asdict(),
        "status": f"Component {len(inputs.means)} stands at {worst:.6g}.",
    }


def _append(text: str, number: float) -> str:
    """Return a list with one number more; what was typed stays as it is."""
    return f"{text.rstrip().removesuffix(',')}, {format_list([number], _DIGITS)}"
