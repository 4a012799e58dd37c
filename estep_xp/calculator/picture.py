"""What the page draws: densities on a grid, and observations in the colours of their components."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.cli.curves import density_curves
from estep_xp.cli.evaluate import scaled
from estep_xp.cli.read.inputs import Inputs
from estep_xp.cli.results import Results

# Okabe and Ito's colours, which people with any colour vision tell apart, less black and yellow,
# which are hard to see on dark and on light ground.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_GREY = "#888888"
_MOST_POINTS = 2000
_WIDEST = 1e300  # an axis with room on both sides must be within the range of floats
_NAMED = 3  # components that the text at a point names


def colour_of(component: int) -> str:
    """Return the colour of a component, counted from 0."""
    return COLOURS[component % len(COLOURS)]


def picture_of(inputs: Inputs, results: Results) -> dict[str, Any] | None:
    """Return what there is to draw, in JSON's types; None where the numbers lie too far apart.

    Parameters
    ----------
    inputs : Inputs
        Observations and mixture.
    results : Results
        The E-step.
    """
    components = ex.UnivariateGaussian(inputs.means, inputs.variances)
    mixture = ex.Mixture(scaled(inputs.weights), components)
    with np.errstate(all="ignore"):
        try:
            curves = density_curves(mixture, inputs.x)
        except ValueError:  # a grid over these numbers overflows
            return None
        span = curves.x[-1] - curves.x[0]
    if not span < _WIDEST or not np.isfinite(curves.total).all():
        return None
    k = len(inputs.means)
    return {
        "grid": _rounded(curves.x, 12),
        "total": _rounded(curves.total, 6),
        "weighted": [_rounded(curve, 6) for curve in curves.weighted],
        "colours": [colour_of(j) for j in range(k)],
        **_points(inputs.x, results),
    }


def _points(x: NDArray[np.float64], results: Results) -> dict[str, Any]:
    """Return where observations are, their colours, and the texts that belong to them."""
    order = np.argsort(x, kind="stable")
    if len(x) > _MOST_POINTS:
        order = order[np.linspace(0, len(x) - 1, _MOST_POINTS).astype(np.int64)]
    responsibilities = results.responsibilities[order]
    return {
        "points": x[order].tolist(),
        "points_left_out": len(x) - len(order),
        "point_colours": _blends(responsibilities),
        "point_texts": [_text(row) for row in responsibilities],
    }


def _blends(responsibilities: NDArray[np.float64]) -> list[str]:
    """Return one colour a row: those of the components, mixed as it belongs to them."""
    k = responsibilities.shape[1]
    palette = np.asarray([_channels(colour_of(j)) for j in range(k)])
    possible = np.isfinite(responsibilities).all(axis=1, keepdims=True)
    grey = np.asarray(_channels(_GREY))
    mixed = np.where(possible, np.nan_to_num(responsibilities) @ palette, grey)
    return ["#{:02x}{:02x}{:02x}".format(*row) for row in mixed.round().astype(int).tolist()]


def _channels(colour: str) -> list[float]:
    return [float(int(colour[i : i + 2], 16)) for i in (1, 3, 5)]


def _text(row: NDArray[np.float64]) -> str:
    if np.isnan(row).any():
        return "zero density under every component"
    largest = np.argsort(-row, kind="stable")[:_NAMED]
    parts = [f"component {j}: {row[j]:.4f}" for j in largest]
    return "<br>".join([*parts, "..."] if len(row) > _NAMED else parts)


def _rounded(numbers: NDArray[np.float64], digits: int) -> list[float]:
    return [float(f"{number:.{digits}g}") for number in numbers.tolist()]
