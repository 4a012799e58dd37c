"""Pictures of the command line: their format, their style, and how they are written."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from estep_xp.cli.system.extras import require
from estep_xp.cli.system.files import atomic_write, translate_write_errors
from estep_xp.cli.write.palette import N_COLOURS, colour_of
from estep_xp.files.errors import InputError

INK = "#222222"
STYLE = {
    "font.size": 10.0,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "legend.frameon": False,
    "legend.title_fontsize": 9.0,
    "legend.fontsize": 9.0,
    "svg.hashsalt": "estep_xp",  # reproducible bytes
    "text.color": INK,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
}

_FORMATS = (".png", ".svg")
_DASHES = ("-", "--", ":", "-.")  # the next style after each cycle of colours
_INSTALL = '"estep_xp[cli]"'


def require_plot_format(path: Path) -> None:
    """Raise InputError unless the name's ending says a format of pictures that can be written."""
    if path.suffix.lower() not in _FORMATS:
        formats = " or ".join(_FORMATS)
        raise InputError(str(path), f"must end in {formats}, which is the format of the picture")


def require_matplotlib() -> Any:
    """Return matplotlib, told to open no window; SystemFailure if it is not installed."""
    os.environ["MPLBACKEND"] = "agg"  # whatever the user has configured
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # "building the font cache", say
    return require("matplotlib", wanted_by="--plot", install=_INSTALL)


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure of a size in inches."""
    module = require("matplotlib.figure", wanted_by="--plot", install=_INSTALL)
    return module.Figure(figsize=(width, height), layout="constrained")


def save_figure(path: Path, draw: Callable[[], Any]) -> None:
    """Write the figure that `draw` returns to `path`, which appears, or is replaced, when whole.

    Raises
    ------
    SystemFailure
        If it cannot be written, or matplotlib is not installed.
    """
    matplotlib = require_matplotlib()
    suffix = path.suffix.lower()
    metadata = {"Date": None} if suffix == ".svg" else {}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # ignore the user's matplotlibrc
        matplotlib.rcParams.update(STYLE)
        figure = draw()
        with atomic_write(path) as file, translate_write_errors(path):
            figure.savefig(file, format=suffix[1:], dpi=150, metadata=metadata)


def handle_of(component: int) -> Any:
    """Return a point of a component's colour, for a legend."""
    lines = require("matplotlib.lines", wanted_by="--plot", install=_INSTALL)
    return lines.Line2D([], [], color=colour_of(component).picture, linestyle="", marker="o")


def dashes_of(component: int) -> str:
    """Return the line style of a component, which tells those of one colour apart."""
    return _DASHES[component // N_COLOURS % len(_DASHES)]


def line_width(count: int, *, widest: float) -> float:
    """Return the line width in points at which `count` lines find room."""
    return float(np.clip(300 / max(count, 1), 0.5, widest))
