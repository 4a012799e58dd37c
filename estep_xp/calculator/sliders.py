"""The rows of components: their numbers, and where their sliders begin and end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from estep_xp.calculator.fields import format_list
from estep_xp.cli.read.inputs import Inputs

_STEPS = 200  # minimum number of steps of a slider


class Slider(NamedTuple):
    """One parameter's slider, in the words of HTML.

    Attributes
    ----------
    field, component : str, int
        The value that it moves.
    lowest, highest, step, value : str
        Its range and where it stands.
    """

    field: str
    component: int
    lowest: str
    highest: str
    step: str
    value: str


class Parameter(NamedTuple):
    """One parameter in a row.

    Attributes
    ----------
    field : str
        The list that it stands in.
    text : str
        Its number with all digits.
    slider : Slider or None
        Its slider; None at extreme numbers.
    """

    field: str
    text: str
    slider: Slider | None


def make_rows(inputs: Inputs) -> list[list[Parameter]]:
    """Return the parameters of each component: mean, variance and weight."""
    none: list[Slider | None] = [None, None, None]
    sliders: Sequence[Sequence[Slider | None]] = make_sliders(inputs) or [none] * len(inputs.means)
    fields = ("means", "variances", "weights")
    rows = zip(*(getattr(inputs, field).tolist() for field in fields), strict=True)
    return [
        [
            Parameter(field, format_list([number]), slider)
            for field, number, slider in zip(fields, row, of_row, strict=True)
        ]
        for row, of_row in zip(rows, sliders, strict=True)
    ]


def make_sliders(inputs: Inputs) -> list[list[Slider]]:
    """Return the sliders of each component: mean, variance and weight; none at extreme numbers."""
    x, means, variances, weights = inputs
    places = np.concatenate((x, means))
    with np.errstate(all="ignore"):
        reach = float(np.sqrt(variances.max()))
        spread = float(np.var(x))
    ranges = {
        "means": (float(places.min()) - reach, float(places.max()) + reach),
        "variances": (0.0, max(3 * float(variances.max()), spread)),
        "weights": (0.0, max(1.0, float(weights.max()))),
    }
    steps = {field: _round_step(highest - lowest) for field, (lowest, highest) in ranges.items()}
    if None in steps.values():
        return []
    return [
        [
            _make_slider(field, j, *ranges[field], steps[field] or 1.0, float(values[j]))
            for field, values in zip(ranges, (means, variances, weights), strict=True)
        ]
        for j in range(len(means))
    ]


def _round_step(span: float) -> float | None:
    """Return 1, 2 or 5 times a power of ten; None if the span is too small or too large."""
    if not 1e-300 < span < 1e300:
        return None
    unit = 10.0 ** math.floor(math.log10(span / _STEPS))
    return max(factor * unit for factor in (1, 2, 5) if span / (factor * unit) >= _STEPS)


def _make_slider(
    field: str, j: int, lowest: float, highest: float, step: float, value: float
) -> Slider:
    first = math.floor(lowest / step)
    if field == "variances":
        first = 1  # variances are positive
    last = math.ceil(highest / step)
    ends = (first * step, last * step, step, value)
    return Slider(field, j, *(format_list([number], 6) for number in ends))
