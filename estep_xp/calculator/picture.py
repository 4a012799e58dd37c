"""What the page draws: densities on a grid, and observations in the colours of their components."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.cli.compute.curves import MAX_SPAN, density_curves
from estep_xp.cli.compute.results import Results
from estep_xp.cli.read.inputs import Inputs
from estep_xp.cli.write.palette import GREY, N_ON_ANY_GROUND, colour_of

_MAX_POINTS = 2000
_MAX_NAMED = 3  # components named in the text at a point


def component_colours(k: int) -> list[str]:
    """Return the colours of `k` components, on light and on dark ground."""
    return [colour_of(j, N_ON_ANY_GROUND) for j in range(k)]


def make_picture(inputs: Inputs, results: Results) -> dict[str, Any] | None:
    """Return the picture as JSON types; None where the numbers lie too far apart.

    Parameters
    ----------
    inputs : Inputs
        Observations and mixture.
    results : Results
        The E-step.
    """
    components = ex.UnivariateGaussian(inputs.means, inputs.variances)
    mixture = ex.Mixture(inputs.weights, components)
    with np.errstate(all="ignore"):
        try:
            curves = density_curves(mixture, inputs.x)
        except ValueError:  # the grid overflows
            return None
        span = curves.x[-1] - curves.x[0]
    if not span < MAX_SPAN or not np.isfinite(curves.total).all():
        return None
    k = len(inputs.means)
    return {
        "grid": _round(curves.x, 12),
        "total": _round(curves.total, 6),
        "weighted": [_round(curve, 6) for curve in curves.weighted],
        "colours": component_colours(k),
        "n_colours": N_ON_ANY_GROUND,
        **_place_points(inputs.x, results),
    }


def _place_points(x: NDArray[np.float64], results: Results) -> dict[str, Any]:
    """Return places, colours and texts of the observations, a sample if there are many."""
    order = np.argsort(x, kind="stable")
    if len(x) > _MAX_POINTS:
        order = order[np.linspace(0, len(x) - 1, _MAX_POINTS).astype(np.int64)]
    responsibilities = results.responsibilities[order]
    return {
        "points": x[order].tolist(),
        "points_left_out": len(x) - len(order),
        "point_colours": _blend_colours(responsibilities),
        "point_texts": [_point_text(row) for row in responsibilities],
    }


def _blend_colours(responsibilities: NDArray[np.float64]) -> list[str]:
    """Return one colour per row: the components' colours weighted by responsibilities."""
    k = responsibilities.shape[1]
    palette = np.asarray(list(map(_channels, component_colours(k))))
    possible = np.isfinite(responsibilities).all(axis=1, keepdims=True)
    grey = np.asarray(_channels(GREY))
    mixed = np.where(possible, np.nan_to_num(responsibilities) @ palette, grey)
    return ["#{:02x}{:02x}{:02x}".format(*row) for row in mixed.round().astype(int).tolist()]


def _channels(colour: str) -> list[float]:
    return [float(int(colour[i : i + 2], 16)) for i in (1, 3, 5)]


def _point_text(row: NDArray[np.float64]) -> str:
    if np.isnan(row).any():
        return "zero density under every component"
    largest = np.argsort(-row, kind="stable")[:_MAX_NAMED]
    parts = [f"component {j}: {row[j]:.4f}" for j in largest]
    return "<br>".join([*parts, "..."] if len(row) > _MAX_NAMED else parts)


def _round(numbers: NDArray[np.float64], digits: int) -> list[float]:
    return [float(f"{number:.{digits}g}") for number in numbers.tolist()]
