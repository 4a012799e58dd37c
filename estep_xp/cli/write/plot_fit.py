"""The picture of `fit`: densities over a histogram, or scatter plots of pairs with ellipses."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.cli.compute.curves import MAX_SPAN, density_curves
from estep_xp.cli.compute.families import Wish
from estep_xp.cli.text.numbers import format_count
from estep_xp.cli.write.figure import INK, dashes_of, handle_of, new_figure, save_figure
from estep_xp.cli.write.palette import GREY, colour_of
from estep_xp.files.components import name_of_family
from estep_xp.files.errors import InputError, show_token

_MAX_COLUMNS = 6
_MAX_ROWS = 2000  # drawn as points; a histogram has all
_MAX_VECTORS = 1000  # points drawn as SVG paths; more are rasterised
_MAX_IN_LEGEND = 10
_POINTS = 800  # of a curve
_DISCRETE = ("poisson", "bernoulli", "categorical")
_WITH_ELLIPSES = ("spherical", "diagonal", "tied", "full", "student_t", "factor_analyzer")
_DEVIATIONS = 2.0  # standard deviations from the centre to an ellipse
_CIRCLE = np.linspace(0.0, 2.0 * np.pi, 101)


class FitPicture(NamedTuple):
    """What is drawn of a fit.

    Attributes
    ----------
    rows : ndarray of shape (n, d)
        The rows; NaN is a hole.
    wish : Wish
        What was fitted.
    model : Mixture or HMM
        The model, on NumPy arrays.
    lengths : ndarray of shape (s,) or None
        The length of each sequence, of a chain.
    names : sequence of str
        The names of the columns.
    missing : bool
        Whether there may be holes.
    """

    rows: NDArray[np.float64]
    wish: Wish
    model: Any
    lengths: NDArray[np.int64] | None
    names: Sequence[str]
    missing: bool


def write_fit_plot(path: Path, picture: FitPicture) -> None:
    """Draw `picture` into the file at `path`, which appears, or is replaced, when it is whole.

    Raises
    ------
    InputError
        If its numbers span more than can be drawn.
    SystemFailure
        If it cannot be written, or matplotlib is not installed.
    """
    for name, column in zip(picture.names, picture.rows.T, strict=True):
        low, high = np.nanmin(column, initial=0.0), np.nanmax(column, initial=0.0)
        if not max(high, -low) < MAX_SPAN:
            raise InputError("--plot", f"column {show_token(name)} has values too far apart")
    draw = _draw_column if picture.rows.shape[1] == 1 else _draw_matrix
    save_figure(path, lambda: draw(picture))


def _mixture_of(picture: FitPicture) -> ex.Mixture:
    """Return the mixture of single rows: of a chain, by how often its states are visited."""
    model = picture.model
    if isinstance(model, ex.Mixture):
        return model
    return ex.Mixture(np.nanmean(_responsibilities(picture), axis=0), model.components)


def _responsibilities(picture: FitPicture) -> NDArray[np.float64]:
    """Return the responsibilities of all rows."""
    x = picture.wish.shape(picture.rows)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(zero density|impossible)", RuntimeWarning)
        step = ex.e_step(x, picture.model, lengths=picture.lengths, missing=picture.missing)
    return np.asarray(step.responsibilities)


# --- one column ----------------------------------------------------------------------------------


def _draw_column(picture: FitPicture) -> Any:
    """Return the figure of one column: a histogram under weighted densities and their sum."""
    figure = new_figure(8.0, 4.8)
    axes = figure.subplots()
    column = picture.rows[:, 0]
    mixture = _mixture_of(picture)
    handles = _draw_densities(axes, column[~np.isnan(column)], mixture)
    axes.set_xlabel(show_token(picture.names[0]))
    discrete = name_of_family(mixture.components) in _DISCRETE
    axes.set_ylabel("share of rows" if discrete else "density")
    axes.set_title(_title(picture), loc="left", fontsize=10)
    _add_legend(figure, handles, mixture.weights, ["all together"])
    return figure


def _draw_densities(axes: Any, column: NDArray[np.float64], mixture: ex.Mixture) -> list[Any]:
    """Draw a histogram and densities of one column; return handles, the total's last."""
    if name_of_family(mixture.components) in _DISCRETE:
        return _draw_shares(axes, column, mixture)
    bins = _bins(column)
    heights, *_ = axes.hist(column, bins, density=True, color=GREY.picture, alpha=0.3, linewidth=0)
    grid, weighted = _curves(column, mixture)
    total = weighted.sum(axis=0)
    (whole,) = axes.plot(grid, total, color=INK, linewidth=2.6, alpha=0.75)
    handles = []
    for j, density in enumerate(weighted):
        axes.fill_between(grid, density, color=colour_of(j).picture, alpha=0.15, linewidth=0)
        handles += axes.plot(grid, density, dashes_of(j), color=colour_of(j).picture, linewidth=1.6)
    # Not up to a density that is infinite, or a component on equal rows.
    tallest = float(heights.max(initial=0.0))
    highest = min(max(float(np.nanmax(total, initial=0.0)), tallest), 3.0 * tallest)
    axes.set_ylim(0, 1.05 * highest or 1.0)
    return [*handles, whole]


def _draw_shares(axes: Any, column: NDArray[np.float64], mixture: ex.Mixture) -> list[Any]:
    """Draw how many rows have each whole number, and how many should."""
    low, high = int(column.min(initial=0.0)), int(column.max(initial=1.0))
    grid = np.unique(np.linspace(low, high, min(high - low + 1, _POINTS)).round())
    width = 0.8 * float(np.diff(grid).min(initial=1.0))
    edges = np.append(grid - 0.5, grid[-1] + 0.5)
    counts, _ = np.histogram(column, edges)
    axes.bar(grid, counts / max(len(column), 1), width, color=GREY.picture, alpha=0.35)
    weighted = _weighted_densities(grid, mixture)
    marker = "." if len(grid) <= 60 else ""
    total = weighted.sum(axis=0)
    (whole,) = axes.plot(grid, total, color=INK, linewidth=2.4, alpha=0.75, marker=marker)
    handles = []
    for j, shares in enumerate(weighted):
        style = {"color": colour_of(j).picture, "marker": marker, "linewidth": 1.2}
        handles += axes.plot(grid, shares, dashes_of(j), **style)
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return [*handles, whole]


def _curves(
    column: NDArray[np.float64], mixture: ex.Mixture
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a grid (g,), and the weighted densities (k, g) on it."""
    components: Any = mixture.components
    if isinstance(components, ex.UnivariateGaussian):
        curves = density_curves(mixture, column)
        return curves.x, curves.weighted
    column = column if len(column) else np.zeros(1)
    low, high = float(column.min()), float(column.max())
    # An angle's density comes back on the other side.
    margin = 0.0 if isinstance(components, ex.VonMises) else 0.1 * (high - low) or 1.0
    support = getattr(type(components), "_supports", lambda x: x == x)
    even = np.linspace(low - margin, high + margin, _POINTS)
    # Between rows, too: a narrow component lies where its rows are.
    shares = np.quantile(column, np.linspace(0, 1, _POINTS // 2))
    grid = np.unique(np.concatenate((even, shares)))
    grid = grid[np.asarray(support(grid), dtype=bool)]
    return grid, _weighted_densities(grid, mixture)


def _weighted_densities(grid: NDArray[np.float64], mixture: ex.Mixture) -> NDArray[np.float64]:
    """Return weight times density (k, g) of each component; infinite ones are left out."""
    components: Any = mixture.components
    x = grid[:, None] if len(components._rows_shape() or ()) == 2 else grid
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*zero density", RuntimeWarning)
        weighted = np.exp(np.asarray(ex.log_joint(x, mixture)).T)
    return np.where(np.isfinite(weighted), weighted, np.nan)


def _bins(column: NDArray[np.float64]) -> Any:
    """Return the edges of a histogram: between 10 and 80 bins, for few rows or many."""
    if not len(column) or column.min() == column.max():
        return 10
    quarter, three = np.quantile(column, [0.25, 0.75])
    span = float(column.max() - column.min())
    width = 2.0 * float(three - quarter) / len(column) ** (1 / 3)
    # By the rule of Freedman and Diaconis, which is too coarse for several peaks of few rows.
    n_bins = int(np.clip(max(span / width if width > 0 else 0.0, len(column) ** 0.5), 10, 80))
    return np.linspace(column.min(), column.max(), n_bins + 1)


# --- several columns -----------------------------------------------------------------------------


def _draw_matrix(picture: FitPicture) -> Any:
    """Return the figure of several columns: each against each other, and their histograms."""
    d = min(picture.rows.shape[1], _MAX_COLUMNS)
    mixture = _mixture_of(picture)
    chosen = _choose_rows(picture.rows)
    rows, labels = picture.rows[chosen][:, :d], _labels(picture, chosen)
    size = max(2.0 * d, 5.0) + 0.8
    figure = new_figure(size, size + 0.6)
    grid = figure.subplots(d, d, squeeze=False, sharex="col")
    handles: list[Any] = []
    for i in range(d):
        for j in range(d):
            axes = grid[i, j]
            if i == j:
                handles = _draw_diagonal(axes, picture.rows[:, i], mixture, i) or handles
                axes.set_yticks([])
            elif j < i:
                _draw_pair(axes, rows[:, [j, i]], labels, mixture, (j, i))
            else:
                axes.set_axis_off()
            if i == d - 1:
                axes.set_xlabel(show_token(picture.names[j]))
            if j == 0 and i > 0:
                axes.set_ylabel(show_token(picture.names[i]))
    figure.suptitle(_title(picture), x=0.01, ha="left", fontsize=10)
    last = ["all together"] if handles else []
    if not handles:
        handles = [handle_of(j) for j in range(len(mixture.weights))]
    _add_legend(figure, handles, mixture.weights, last)
    return figure


def _draw_diagonal(
    axes: Any, column: NDArray[np.float64], mixture: ex.Mixture, feature: int
) -> list[Any]:
    """Draw a histogram of one column, and its densities where the family has marginals."""
    column = column[~np.isnan(column)]
    components: Any = mixture.components
    if not components._has_marginals:
        axes.hist(column, _bins(column), density=True, color=GREY.picture, alpha=0.3, linewidth=0)
        return []
    marginal = ex.marginal(mixture, [feature])
    one: Any = marginal.components
    if isinstance(one, ex.Product):
        marginal = ex.Mixture(marginal.weights, one.parts[0])
    return _draw_densities(axes, column, marginal)


def _draw_pair(
    axes: Any,
    rows: NDArray[np.float64],
    labels: NDArray[np.int64],
    mixture: ex.Mixture,
    features: tuple[int, int],
) -> None:
    """Draw two columns against each other in the colours of components, with ellipses."""
    whole = ~np.isnan(rows).any(axis=1)
    colours = [
        (colour_of(label) if label >= 0 else GREY).picture for label in labels[whole].tolist()
    ]
    size = float(np.clip(4000 / max(len(colours), 1), 4, 18))
    axes.scatter(
        rows[whole, 0],
        rows[whole, 1],
        size,
        c=colours,
        alpha=0.6,
        linewidths=0,
        rasterized=len(colours) > _MAX_VECTORS,
    )
    components: Any = mixture.components
    if name_of_family(components) not in _WITH_ELLIPSES:
        return
    marginal: Any = ex.marginal(mixture, list(features)).components
    for j, (mean, covariance) in enumerate(zip(*_moments(marginal), strict=True)):
        values, vectors = np.linalg.eigh(covariance)
        radii = _DEVIATIONS * np.sqrt(np.maximum(values, 0.0))
        ring = mean + (np.column_stack([np.cos(_CIRCLE), np.sin(_CIRCLE)]) * radii) @ vectors.T
        axes.plot(ring[:, 0], ring[:, 1], color="white", linewidth=3.0, alpha=0.7)
        axes.plot(ring[:, 0], ring[:, 1], dashes_of(j), color=colour_of(j).picture, linewidth=1.6)
        axes.plot(*mean, marker="+", color=INK, markersize=7)


def _moments(components: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return means (k, 2) and covariances (k, 2, 2), or scale matrices."""
    family = name_of_family(components)
    means = components.means
    matrices = components.scales if family == "student_t" else components.covariances
    if family == "spherical":
        matrices = matrices[:, None, None] * np.eye(2)
    elif family == "diagonal":
        matrices = matrices[:, :, None] * np.eye(2)
    return means, np.broadcast_to(matrices, (len(means), 2, 2))


def _choose_rows(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return which rows are drawn: all, or some at random, the same every time."""
    if len(rows) <= _MAX_ROWS:
        return np.arange(len(rows))
    return np.sort(np.random.default_rng(0).choice(len(rows), _MAX_ROWS, replace=False))


def _labels(picture: FitPicture, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the most responsible component of some rows; -1 where none is."""
    if isinstance(picture.model, ex.HMM):  # what a row's state is the rows around it say, too
        responsibilities = _responsibilities(picture)[chosen]
    else:
        responsibilities = _responsibilities(picture._replace(rows=picture.rows[chosen]))
    possible = ~np.isnan(responsibilities[:, 0])
    return np.where(possible, np.nan_to_num(responsibilities).argmax(axis=1), -1)


def _title(picture: FitPicture) -> str:
    """Return what was fitted, and what of it is not drawn."""
    k, (n, d) = len(picture.model[0]), picture.rows.shape
    noun = "state" if isinstance(picture.model, ex.HMM) else "component"
    words = [f"{format_count(n, 'row')}, {k} {picture.wish.family} {noun}{'' if k == 1 else 's'}"]
    if d > 1:
        words += [f"{_MAX_ROWS} rows drawn at random"] if n > _MAX_ROWS else []
        words += [f"the first {_MAX_COLUMNS} of {d} columns"] if d > _MAX_COLUMNS else []
        if picture.wish.family in _WITH_ELLIPSES:
            what = "scales" if picture.wish.family == "student_t" else "standard deviations"
            words.append(f"ellipses at {_DEVIATIONS:g} {what}")
    return "; ".join(words)


def _add_legend(
    figure: Any, handles: Sequence[Any], weights: NDArray[np.float64], others: Sequence[str]
) -> None:
    """Add the legend: as many components as there is room for, with their weights."""
    shares = (weights / weights.sum()).tolist()
    k = len(shares)
    shown = k if k <= _MAX_IN_LEGEND else _MAX_IN_LEGEND - 1
    labels = [f"{j}: {share:.3f}" for j, share in enumerate(shares)]
    title = "components and their weights"
    if shown < k:
        title += f", and {k - shown} more"
    figure.legend(
        [*handles[:shown], *handles[k:]],
        [*labels[:shown], *others],
        title=title,
        alignment="left",
        loc="outside lower left",
        ncols=6,
    )
