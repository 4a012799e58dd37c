"""The picture of `calculate`: densities, observations and responsibilities, as PNG or SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.cli.compute.curves import MAX_SPAN, Curves, density_curves
from estep_xp.cli.compute.results import Results
from estep_xp.cli.write.figure import INK, dashes_of, line_width, new_figure, save_figure
from estep_xp.cli.write.palette import colour_of
from estep_xp.files.errors import InputError

_MAX_IN_LEGEND = 13
_MAX_VECTORS = 1000  # observations drawn as SVG lines; more are rasterised
_VISIBLE = 1e-4  # fraction of a panel's height


class Picture(NamedTuple):
    """What is drawn.

    Attributes
    ----------
    x : ndarray of shape (n,)
        The observations.
    mixture : Mixture
        The univariate mixture, its weights normalised.
    results : Results
        What the E-step says about the observations.
    title : str
        A line above.
    """

    x: NDArray[np.float64]
    mixture: ex.Mixture
    results: Results
    title: str


def write_plot(path: Path, picture: Picture) -> None:
    """Draw `picture` into the file at `path`, which appears, or is replaced, when it is whole.

    Raises
    ------
    InputError
        If its numbers span more than can be drawn.
    SystemFailure
        If it cannot be written, or matplotlib is not installed.
    """
    save_figure(path, lambda: _draw(picture))


def _draw(picture: Picture) -> Any:
    """Return the figure: densities above, responsibilities below them."""
    possible = picture.results.labels >= 0
    x, responsibilities = picture.x[possible], picture.results.responsibilities[possible]
    curves = density_curves(picture.mixture, x)
    low, high = float(curves.x[0]), float(curves.x[-1])
    if not max(high, -low) < MAX_SPAN:
        raise InputError(
            "--plot", f"the values lie between {low:.3g} and {high:.3g}: too far apart"
        )
    figure = new_figure(8.0, 5.6)
    above, below = figure.subplots(2, sharex=True, height_ratios=[5, 2])
    handles = _draw_densities(above, curves)
    handles.append(_draw_observations(above, x))
    _draw_responsibilities(below, curves, x, responsibilities)
    margin = 0.02 * (high - low) or max(abs(low) * 1e-9, 1e-9)
    below.set_xlim(low - margin, high + margin)
    above.set_title(picture.title, loc="left", fontsize=10)
    figure.align_ylabels()
    _add_legend(figure, handles, picture.mixture)
    return figure


def _draw_densities(axes: Any, curves: Curves) -> list[Any]:
    """Draw the densities and return their legend handles, the mixture's last."""
    handles = []
    (total,) = axes.plot(curves.x, curves.total, color=INK, linewidth=2.6, alpha=0.75)
    least = _VISIBLE * curves.total.max()
    for j, density in enumerate(curves.weighted):
        part = _where_visible(density, least)
        x, height = curves.x[part], density[part]
        axes.fill_between(x, height, color=colour_of(j).picture, alpha=0.18, linewidth=0)
        handles += axes.plot(x, height, dashes_of(j), color=colour_of(j).picture, linewidth=1.6)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("density")
    axes.tick_params(labelbottom=False)
    return [*handles, total]


def _draw_observations(axes: Any, x: NDArray[np.float64]) -> Any:
    """Draw a tick on the axis for each observation and return the legend handle."""
    axes.vlines(
        x,
        0,
        0.035,
        color=INK,
        linewidth=line_width(len(x), widest=1.2),
        transform=axes.get_xaxis_transform(),
        rasterized=len(x) > _MAX_VECTORS,
        zorder=3,
    )
    (mark,) = axes.plot([], [], "|", color=INK, markersize=8)
    return mark


def _draw_responsibilities(
    axes: Any, curves: Curves, x: NDArray[np.float64], responsibilities: NDArray[np.float64]
) -> None:
    """Draw stacked responsibilities: pale wherever an observation could be, strong where one is."""
    edges = _stack(curves.responsibilities)
    bars = _stack(responsibilities)
    for j in range(edges.shape[1] - 1):
        colour = colour_of(j).picture
        part = _where_visible(curves.responsibilities[:, j], _VISIBLE)
        low, high = edges[part, j], edges[part, j + 1]
        axes.fill_between(curves.x[part], low, high, color=colour, alpha=0.3, linewidth=0)
        axes.vlines(
            x,
            bars[:, j],
            bars[:, j + 1],
            color=colour,
            linewidth=line_width(len(x), widest=5.0),
            capstyle="butt",
            rasterized=len(x) > _MAX_VECTORS,
        )
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel("responsibility")
    axes.set_xlabel("x")


def _add_legend(figure: Any, handles: Sequence[Any], mixture: ex.Mixture) -> None:
    """Add the legend: as many components as there is room for."""
    components: Any = mixture.components
    parameters = (mixture.weights, components.means, components.variances)
    labels = [
        f"{j}:  {weight:.4g} N({mean:.4g}, {variance:.4g})".replace("-", "\N{MINUS SIGN}")
        for j, (weight, mean, variance) in enumerate(zip(*parameters, strict=True))
    ]
    k = len(labels)
    shown = k if k <= _MAX_IN_LEGEND else _MAX_IN_LEGEND - 1
    title = "components: weight N(mean, variance)"
    if shown < k:
        title += f", and {k - shown} more"
    figure.legend(
        [*handles[:shown], *handles[k:]],
        [*labels[:shown], "mixture density", "observations"],
        title=title,
        alignment="left",
        loc="outside lower left",
        ncols=3,
    )


def _where_visible(heights: NDArray[np.float64], least: float) -> slice:
    """Return the slice of a curve that is visibly above zero."""
    visible = np.flatnonzero(heights > least)
    return slice(max(visible[0] - 1, 0), visible[-1] + 2) if len(visible) else slice(0)


def _stack(responsibilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the k + 1 edges (n, k + 1) of k stacked shares."""
    zeros = np.zeros((len(responsibilities), 1))
    return np.concatenate((zeros, np.cumsum(responsibilities, axis=1)), axis=1)
