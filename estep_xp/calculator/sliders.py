"""Where the sliders of a mixture's parameters begin and end."""

from __future__ import annotations

import math
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
