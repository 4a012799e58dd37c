"""What the page draws: densities, a histogram, observations, and responsibilities along x."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.calculator.colours import scheme_colours
from estep_xp.calculator.shares import format_share
from estep_xp.calculator.textbook import textbook_responsibilities
from estep_xp.cli.compute.curves import MAX_SPAN, Curves, density_curves
from estep_xp.cli.compute.results import Results
from estep_xp.cli.read.inputs import Inputs
from estep_xp.cli.write.palette import GREY, N_COLOURS

_MAX_POINTS = 2000
_MAX_NAMED = 3  # components named in the text at a point
_MIN_BINNED = 40  # observations from which on a histogram says more than their marks
_MAX_BINS = 60
_MANY_POINTS, _INVISIBLE = 20_000, 1e-9  # of all curves; a share of the highest
_LARGE = 1e9  # integers beyond are as good as real numbers
_TALLER = 8.0  # times the next lower curve: a peak that would press all others to the ground


class _Heights(NamedTuple):
    """Where the axis of the densities ends, and the components whose peaks lie beyond it."""

    top: float
    beyond: list[int]


def make_picture(
    inputs: Inputs, results: Results, *, textbook: bool = False
) -> dict[str, Any] | None:
    """Return the picture as JSON types; None where the numbers lie too far apart.

    Parameters
    ----------
    inputs : Inputs
        Observations and mixture.
    results : Results
        The E-step.
    textbook : bool
        Show the responsibilities along x by the textbook's formula, with its gaps.
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
    strip = curves.responsibilities
    if textbook:
        strip = textbook_responsibilities(inputs._replace(x=curves.x))
    histogram = _make_histogram(inputs.x)
    heights = _find_heights(curves, histogram)
    return {
        "grid": _round(curves.x, 12),
        "total": _round(curves.total, 6),
        "weighted": _round_curves(curves.weighted),
        "top": heights.top,
        "beyond": heights.beyond,
        "strip": [_replace_nan(column.round(4)) for column in strip.T],
        "failing": _find_gaps(curves.x, strip) if textbook else [],
        "histogram": histogram,
        "means": inputs.means.tolist(),
        "deviations": np.sqrt(inputs.variances).tolist(),
        "weights": (inputs.weights / inputs.weights.sum()).tolist(),
        "colours": scheme_colours(k),
        "n_colours": N_COLOURS,
        **_place_points(inputs, results),
    }


@np.errstate(all="ignore")
def _make_histogram(x: NDArray[np.float64]) -> dict[str, list[float]] | None:
    """Return middles, widths and heights of bars whose area is 1; None for a few observations."""
    low, high = float(x.min()), float(x.max())
    if len(x) < _MIN_BINNED or not 0 < high - low < MAX_SPAN:
        return None
    # Freedman and Diaconis, a little finer, and not too wide where groups lie far apart.
    width = 1.4 * float(np.subtract(*np.percentile(x, [75, 25]))) / len(x) ** (1 / 3)
    n_bins = max((high - low) / width if width > 0 else 0, math.sqrt(len(x)))
    edges = np.linspace(low, high, math.ceil(min(n_bins, _MAX_BINS)) + 1)
    width = float(edges[1] - edges[0])
    if 1 < width < _LARGE and (x == np.floor(x)).all():  # or a bar may hold one integer more
        edges = np.arange(low - 0.5, high + round(width), round(width))
    try:
        heights, _ = np.histogram(x, edges, density=True)
    except ValueError:  # numbers so close that edges coincide
        return None
    if not np.isfinite(heights).all():
        return None
    return {
        "middles": _round((edges[1:] + edges[:-1]) / 2, 12),
        "widths": _round(np.diff(edges), 12),
        "heights": _round(heights, 6),
    }


def _find_heights(curves: Curves, histogram: dict[str, Any] | None) -> _Heights:
    """Return how high the axis reaches: over all curves, but for peaks of another order."""
    peaks = curves.weighted.max(axis=1)
    order = [j for j in np.argsort(peaks).tolist() if peaks[j] > 0]
    if not order:
        return _Heights(1.0, [])
    shown = 1
    while shown < len(order) and peaks[order[shown]] <= _TALLER * peaks[order[shown - 1]]:
        shown += 1
    limit = float(peaks[order[shown - 1]])
    bars = max(histogram["heights"]) if histogram else 0.0
    if shown == len(order):
        return _Heights(1.05 * max(float(curves.total.max()), bars), [])
    return _Heights(max(1.8 * limit, min(1.05 * bars, 4 * limit)), sorted(order[shown:]))


def _find_gaps(grid: NDArray[np.float64], strip: NDArray[np.float64]) -> list[list[float]]:
    """Return the ends of the stretches of the grid where responsibilities are NaN."""
    failed = np.concatenate(([False], ~np.isfinite(strip).all(axis=1), [False]))
    edges = np.flatnonzero(np.diff(failed.astype(np.int8)))
    return [
        [float(grid[first]), float(grid[last - 1])] for first, last in edges.reshape(-1, 2).tolist()
    ]


def _place_points(inputs: Inputs, results: Results) -> dict[str, Any]:
    """Return places, colours and texts of the observations, a sample if there are many."""
    x = inputs.x
    order = np.argsort(x, kind="stable")
    if len(x) > _MAX_POINTS:
        order = order[np.linspace(0, len(x) - 1, _MAX_POINTS).astype(np.int64)]
    responsibilities = results.responsibilities[order]
    possible = inputs.weights > 0
    light, dark = zip(*scheme_colours(len(possible)), strict=True)
    return {
        "points": x[order].tolist(),
        "points_left_out": len(x) - len(order),
        "point_colours": [
            _blend_colours(responsibilities, light, GREY.light),
            _blend_colours(responsibilities, dark, GREY.dark),
        ],
        "point_texts": [_point_text(row, possible) for row in responsibilities],
    }


def _blend_colours(
    responsibilities: NDArray[np.float64], colours: tuple[str, ...], grey: str
) -> list[str]:
    """Return one colour per row: the components' colours weighted by responsibilities."""
    palette = np.asarray([_channels(colour) for colour in colours])
    possible = np.isfinite(responsibilities).all(axis=1, keepdims=True)
    mixed = np.where(possible, np.nan_to_num(responsibilities) @ palette, _channels(grey))
    return ["#{:02x}{:02x}{:02x}".format(*row) for row in mixed.round().astype(int).tolist()]


def _channels(colour: str) -> list[float]:
    return [float(int(colour[i : i + 2], 16)) for i in (1, 3, 5)]


def _point_text(row: NDArray[np.float64], possible: NDArray[np.bool_]) -> str:
    if np.isnan(row).any():
        return "zero density under every component"
    largest = np.argsort(-row, kind="stable")[:_MAX_NAMED].tolist()
    parts = [f"component {j}: {format_share(row[j], possible[j])}" for j in largest]
    return "<br>".join([*parts, "..."] if len(row) > _MAX_NAMED else parts)


def _round_curves(curves: NDArray[np.float64]) -> list[list[float]]:
    """Return curves with six digits; of very many points, 0 for heights that nobody sees."""
    if curves.size > _MANY_POINTS:
        curves = np.where(curves > _INVISIBLE * curves.max(), curves, 0.0)
    return [_round(curve, 6) for curve in curves]


def _round(numbers: NDArray[np.float64], digits: int) -> list[float]:
    """Return numbers with so many digits."""
    return [float(f"{number:.{digits}g}") if number else 0.0 for number in numbers.tolist()]


def _replace_nan(numbers: NDArray[np.float64]) -> list[float | None]:
    """Return numbers, None for NaN, which JSON lacks."""
    return [None if number != number else number for number in numbers.tolist()]
