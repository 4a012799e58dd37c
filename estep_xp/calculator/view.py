"""The E-step in the words of the page: figures, warning, table, and the link to the file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.calculator.colours import component_colours
from estep_xp.calculator.fields import Fields, format_list
from estep_xp.calculator.recipe import write_recipe
from estep_xp.calculator.sensitivity import Gradient
from estep_xp.calculator.shares import format_share
from estep_xp.calculator.textbook import textbook_responsibilities
from estep_xp.cli.compute.evaluate import Evaluator
from estep_xp.cli.read.inputs import Inputs
from estep_xp.cli.text.numbers import format_decimal
from estep_xp.cli.write.report import Calculation

_MAX_ROWS = 1000
_MAX_FAILURES = 5
_DASH = "–"


class Order(NamedTuple):
    """How the table is sorted.

    Attributes
    ----------
    key : str
        ``position``, ``x``, ``label``, ``log_likelihood``, or a component's number.
    descending : bool
        Largest first.
    """

    key: str
    descending: bool


class Cell(NamedTuple):
    """A responsibility in the table.

    Attributes
    ----------
    text : str
        Its digits.
    share : str
        Length of its bar, from 0 to 1.
    failed : bool
        Whether the textbook's formula gives NaN where there is a responsibility.
    """

    text: str
    share: str
    failed: bool


def calculate(inputs: Inputs) -> Calculation:
    """Return the E-step.

    Raises
    ------
    InputError
        If the numbers are such that the library refuses them.
    """
    components = ex.UnivariateGaussian(inputs.means, inputs.variances)
    evaluate = Evaluator(ex.Mixture(inputs.weights, components), "numpy")
    with np.errstate(over="ignore"):  # an overflowing total is shown as infinite
        return Calculation(inputs.x, inputs.weights, evaluate(inputs.x))


def read_order(form: Mapping[str, str]) -> Order:
    """Return the order that a request asks for; that of the input if it asks for none."""
    text = form.get("sort", "")
    return Order(text.removeprefix("-") or "position", text.startswith("-"))


def figures_context(inputs: Inputs, calculation: Calculation) -> dict[str, Any]:
    """Return what the template of the figures shows."""
    results, mean_max_responsibility, log_likelihood = calculation.evaluation
    sums = np.nansum(results.responsibilities, axis=0).tolist()
    return {
        "n": len(inputs.x),
        "k": len(inputs.means),
        "mean_max_responsibility": format_cell(mean_max_responsibility),
        "log_likelihood": format_cell(log_likelihood),
        "weights": [format_cell(weight) for weight in calculation.normalized_weights],
        "sums": [format_cell(total) for total in sums],
    }


def results_context(
    fields: Fields, inputs: Inputs, calculation: Calculation, order: Order, *, textbook: bool
) -> dict[str, Any]:
    """Return what the template of the results shows.

    Parameters
    ----------
    fields : Fields
        The texts, for links.
    inputs : Inputs
        What they say.
    calculation : Calculation
        The E-step.
    order : Order
        How the table is sorted.
    textbook : bool
        Show the table as the textbook's formula gives it.
    """
    results = calculation.evaluation.results
    warning = calculation.warning
    by_textbook = textbook_responsibilities(inputs)
    shares = by_textbook if textbook else results.responsibilities
    return {
        "textbook": textbook,
        "warning": warning and warning.removeprefix("warning: x: "),
        "headings": _headings(len(inputs.means), order),
        "rows": _rows(inputs, calculation, shares, order),
        "query": fields.query,
        "failures": _find_textbook_failures(inputs, results.responsibilities, by_textbook),
        "recipe": write_recipe(inputs),
    }


def sensitivity_context(gradient: Gradient) -> dict[str, Any]:
    """Return what the template of the sensitivity shows."""
    columns = (gradient.means, gradient.variances, gradient.weights)
    rows = [
        [_format_derivative(column[j]) for column in columns] for j in range(len(gradient.means))
    ]
    return {"rows": rows, "method": gradient.method, "colours": component_colours(len(rows))}


def format_cell(number: float, digits: int = 4) -> str:
    """Return a number with some decimals; a dash if it is none."""
    if math.isnan(number):
        return _DASH
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    return format_decimal(number, digits)


def _format_derivative(number: float) -> str:
    """Return a derivative with five significant digits: its scale is that of its parameter."""
    return f"{number:+.5g}" if math.isfinite(number) else format_cell(number)


def _headings(k: int, order: Order) -> list[dict[str, str]]:
    """Return text, sort state and the order after a press of each column's heading."""
    names = {"position": "#", "x": "x"} | {str(j): f"Component {j}" for j in range(k)}
    names |= {"label": "Label", "log_likelihood": "log p(x)"}
    headings = []
    for key, text in names.items():
        state = "none"
        if key == order.key:
            state = "descending" if order.descending else "ascending"
        # Sort responsibilities from the largest first, everything else from the smallest.
        first, second = (f"-{key}", key) if key.isdigit() else (key, f"-{key}")
        current = f"-{key}" if order.descending else key
        ask = second if state != "none" and current == first else first
        headings.append({"key": key, "text": text, "sort": ask, "state": state})
    return headings


def _rows(
    inputs: Inputs, calculation: Calculation, shares: NDArray[np.float64], order: Order
) -> list[dict[str, Any]]:
    """Return the table's first rows, in that order."""
    results = calculation.evaluation.results
    possible = inputs.weights > 0
    rows = []
    for i in _sort_positions(inputs, calculation, order)[:_MAX_ROWS].tolist():
        label = int(results.labels[i])
        rows.append(
            {
                "position": i + 1,
                "x": format_list([float(inputs.x[i])]),
                "cells": [
                    _make_cell(share, bool(possible[j]), known=label >= 0)
                    for j, share in enumerate(shares[i].tolist())
                ],
                "label": str(label) if label >= 0 else _DASH,
                "log_likelihood": format_cell(float(results.log_likelihood[i])),
            }
        )
    return rows


def _make_cell(share: float, possible: bool, *, known: bool) -> Cell:
    """Return a cell; NaN where the responsibility is `known` is the textbook's failure."""
    failed = known and math.isnan(share)
    text = "NaN" if failed else format_share(share, possible)
    return Cell(text, f"{np.nan_to_num(share):.4f}", failed)


def _sort_positions(inputs: Inputs, calculation: Calculation, order: Order) -> NDArray[np.int64]:
    """Return the positions of the observations, sorted; those without a value come last."""
    results = calculation.evaluation.results
    n, k = results.responsibilities.shape
    columns = {"x": inputs.x, "label": results.labels, "log_likelihood": results.log_likelihood}
    columns |= {str(j): results.responsibilities[:, j] for j in range(k)}
    column = columns.get(order.key, np.arange(n))
    return np.argsort(-column if order.descending else column, kind="stable")


def _find_textbook_failures(
    inputs: Inputs, responsibilities: NDArray[np.float64], textbook: NDArray[np.float64]
) -> dict[str, Any] | None:
    """Return the rows where the textbook formula gives NaN and the library does not, if any."""
    failed = np.flatnonzero(
        ~np.isfinite(textbook).all(axis=1) & np.isfinite(responsibilities).all(axis=1)
    )
    if not len(failed):
        return None
    possible = (inputs.weights > 0).tolist()
    rows = [
        {
            "x": format_list([float(inputs.x[i])]),
            "textbook": [
                _make_cell(share, True, known=True).text for share in textbook[i].tolist()
            ],
            "here": list(map(format_share, responsibilities[i].tolist(), possible)),
        }
        for i in failed[:_MAX_FAILURES].tolist()
    ]
    return {"count": len(failed), "rows": rows}
