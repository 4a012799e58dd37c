"""Draws the pictures of the documentation anew, beside this file: ``python docs/pictures/draw.py``.

Their ground is transparent and their ink a grey between black and white, so that one file shows on
light and on dark pages.
"""

from __future__ import annotations

from pathlib import Path

import jax
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

import estep_xp as ex
import estep_xp.jax
from estep_xp.cli.write.palette import PALETTE

HERE = Path(__file__).parent
DATA = HERE.parent.parent / "examples" / "data"
INK = "#777b80"  # contrast 4.3 with white and with the dark theme's ground
COLOURS = [colour.picture for colour in PALETTE]
FIRST, SECOND, THIRD = COLOURS[:3]
STYLE = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 11.0,
    "font.size": 10.0,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "savefig.transparent": True,
    "svg.hashsalt": "estep_xp",  # the same bytes each time
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def save(figure: Figure, name: str) -> None:
    """Write a picture beside this file."""
    figure.savefig(HERE / f"{name}.svg", metadata={"Date": None})


def draw_guide() -> None:
    """The guide's example: weighted densities, and the first component's responsibility."""
    x = np.linspace(-2, 13, 400)
    mixture = ex.Mixture([0.45, 0.55], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    step = ex.e_step(x, mixture)
    weighted = np.exp(ex.log_joint(x, mixture))
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    above.plot(x, np.exp(step.log_likelihood), color=INK, linewidth=3, label="mixture")
    for number, colour in enumerate((FIRST, SECOND)):
        label = f"component {number}, weight {mixture.weights[number]}"
        above.plot(x, weighted[:, number], color=colour, linewidth=2, label=label)
    above.set_ylabel("density")
    above.legend(loc="upper right")
    below.plot(x, step.responsibilities[:, 0], color=FIRST, linewidth=2)
    below.axvline(4.0, color=INK, linestyle=":")
    below.annotate(
        "x = 4: 0.340", (4.0, step.responsibilities[x.searchsorted(4.0), 0]), (4.4, 0.45)
    )
    below.set(xlabel="x", ylabel="responsibility\nof component 0", ylim=(-0.05, 1.05))
    save(figure, "guide_responsibilities")


def geyser() -> np.ndarray:
    """Durations and waiting times, of shape (272, 2)."""
    return np.loadtxt(DATA / "faithful.csv", delimiter=",", skiprows=1)


def draw_ellipses(axes: Axes, mixture: ex.Mixture) -> None:
    """Ellipses of one and two standard deviations, 39 % and 86 % of each component."""
    for mean, covariance, colour in zip(
        mixture.components.means, mixture.components.covariances, COLOURS, strict=False
    ):
        variances, axes_of_it = np.linalg.eigh(covariance)
        angle = np.degrees(np.arctan2(axes_of_it[1, 1], axes_of_it[0, 1]))
        for deviations in (1, 2):
            short, long = 2 * deviations * np.sqrt(variances)
            shape = Ellipse(mean, long, short, angle=angle, fill=False, color=colour, linewidth=2)
            axes.add_patch(shape)


def draw_geyser() -> None:
    """Old Faithful: rows in the colours of their components, and the components' ellipses."""
    rows = geyser()
    mixture = ex.fit(rows, ex.initialize(rows, 2, ex.FullGaussian)).mixture
    step = ex.e_step(rows, mixture)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    shade = mpl.colors.LinearSegmentedColormap.from_list("pair", [FIRST, SECOND])
    axes.scatter(*rows.T, c=shade(step.responsibilities[:, 1]), s=14)
    draw_ellipses(axes, mixture)
    axes.set(xlabel="duration of an eruption, minutes", ylabel="wait for the next, minutes")
    save(figure, "geyser")


def draw_regression() -> None:
    """The wait that the mixture expects after each duration, and its standard deviation."""
    rows = geyser()
    mixture = ex.fit(rows, ex.initialize(rows, 2, ex.FullGaussian)).mixture
    durations = np.linspace(1.5, 5.2, 150)
    middle, spread = np.empty_like(durations), np.empty_like(durations)
    for place, duration in enumerate(durations):
        given = ex.condition(mixture, [0], [duration])
        means, variances = given.components.means[:, 0], given.components.covariances[:, 0, 0]
        middle[place] = given.weights @ means
        spread[place] = np.sqrt(given.weights @ (variances + (means - middle[place]) ** 2))
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.scatter(*rows.T, color=INK, s=10)
    axes.fill_between(durations, middle - spread, middle + spread, color=FIRST, alpha=0.25)
    axes.plot(durations, middle, color=FIRST, linewidth=2.5, label="mixture regression")
    line = np.polynomial.Polynomial.fit(*rows.T, 1)
    axes.plot(durations, line(durations), color=THIRD, linestyle="--", label="straight line")
    axes.set(xlabel="duration of an eruption, minutes", ylabel="wait for the next, minutes")
    axes.legend()
    save(figure, "geyser_regression")


def draw_galaxies() -> None:
    """Galaxies: the criterion for each number of components, and the density that it chooses."""
    speeds = np.loadtxt(DATA / "galaxies.csv", skiprows=1) / 1000
    selection = ex.select(speeds, ex.UnivariateGaussian, range(1, 7), n_init=3)
    table = sorted(selection.table, key=lambda row: row.n_components)
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2, 3])
    left.plot([row.n_components for row in table], [row.bic for row in table], "o-", color=FIRST)
    left.set(xlabel="components", ylabel="BIC, lower is better")
    right.hist(speeds, bins=40, density=True, color=INK, alpha=0.5)
    x = np.linspace(speeds.min() - 2, speeds.max() + 2, 500)
    right.plot(x, np.exp(ex.log_density(x, selection.best.mixture)), color=SECOND, linewidth=2)
    right.set(xlabel="velocity, 1000 km/s", ylabel="density")
    save(figure, "galaxies")


def draw_chain() -> None:
    """The first eruptions in their order, each in the colour of its most likely state."""
    durations = geyser()[:, 0]
    start = ex.initialize(durations, 2, ex.UnivariateGaussian)
    begin = ex.HMM.from_mixture(ex.fit(durations, start).mixture, stay=0.5)
    labels = ex.decode(durations, ex.fit(durations, begin).mixture).labels
    shown = np.arange(80)
    figure = Figure(figsize=(7, 3.0), layout="constrained")
    axes = figure.subplots()
    axes.plot(shown + 1, durations[shown], color=INK, linewidth=1)
    for state, colour in enumerate((FIRST, SECOND)):
        of_state = shown[labels[shown] == state]
        label = ("short", "long")[state]
        axes.scatter(of_state + 1, durations[of_state], color=colour, s=22, zorder=2, label=label)
    axes.set(xlabel="eruption, in the order in which they came", ylabel="duration, minutes")
    axes.legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    save(figure, "geyser_chain")


def draw_influence() -> None:
    """How the mean of the short waits would move with each row, per minute."""
    jax.config.update("jax_enable_x64", True)
    waits = jax.numpy.asarray(geyser()[:, 1])
    components = ex.UnivariateGaussian(
        jax.numpy.asarray([50.0, 85.0]), jax.numpy.asarray([40.0, 40.0])
    )
    start = ex.Mixture(jax.numpy.asarray([0.5, 0.5]), components)

    def shorter(x: jax.Array) -> jax.Array:
        return ex.jax.fit(x, start).mixture.components.means[0]

    influence = jax.jit(jax.grad(shorter))(waits)
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0.0, color=INK, linewidth=1)
    axes.scatter(waits, influence, color=FIRST, s=16)
    axes.set(xlabel="wait, minutes", ylabel="change of the mean of the\nshort waits, per minute")
    save(figure, "geyser_influence")


def draw_penguins() -> None:
    """Penguins by two measurements, in the colours of the six groups that the columns give."""
    table = pd.read_csv(DATA / "penguins.csv")
    names = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
    rows = table[names].assign(
        male=table.sex.map({"female": 0, "male": 1}),
        island=table.island.astype("category").cat.codes,
    )
    kinds = ex.Product(
        (
            ex.DiagonalGaussian(np.zeros((1, 4)), np.ones((1, 4))),
            ex.Bernoulli([[0.5]]),
            ex.Categorical([[1.0, 1.0, 1.0]]),
        )
    )
    start = ex.initialize(rows, 6, kinds, missing=True)
    mixture = ex.fit(rows, start, missing=True).mixture
    groups = ex.predict(rows, mixture, missing=True)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    by_mass = np.argsort(mixture.components.parts[0].means[:, 3])
    for number, (group, colour) in enumerate(zip(by_mass, COLOURS, strict=False)):
        own = rows[groups == group]
        marker = "os^vD*"[number]
        axes.scatter(
            own.bill_length_mm, own.flipper_length_mm, color=colour, s=22, marker=marker,
            label=(table.species + ", " + table.sex)[groups == group].mode()[0],
        )  # fmt: skip
    axes.set(xlabel="length of the bill, mm", ylabel="length of the flipper, mm")
    axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    save(figure, "penguins")


if __name__ == "__main__":
    with mpl.rc_context(STYLE):
        draw_guide()
        draw_geyser()
        draw_regression()
        draw_galaxies()
        draw_chain()
        draw_influence()
        draw_penguins()
