"""Inputs to begin with: the worked example, two classic data sets, and two that go wrong."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from estep_xp.calculator.fields import WORKED, Fields


class Preset(NamedTuple):
    """Inputs with a name.

    Attributes
    ----------
    name : str
        What its button says.
    note : str
        What there is to see.
    fields : Fields
        The inputs.
    """

    name: str
    note: str
    fields: Fields


def presets() -> list[Preset]:
    """Return all of them, in the order of their buttons."""
    waiting = _read_column("faithful.csv", 1)
    velocities = _read_column("galaxies.csv", 0)
    return [
        Preset(
            "Worked example",
            "Twelve numbers, two groups, and two numbers between them that are ambiguous.",
            WORKED,
        ),
        Preset(
            "Old Faithful",
            "Minutes between eruptions of the geyser, and a rough guess: run EM to convergence.",
            Fields(waiting, "50, 90", "100, 100", "0.5, 0.5"),
        ),
        Preset(
            "Galaxies",
            "Velocities of 82 galaxies in km/s: clusters, voids, and a slow climb for EM.",
            Fields(
                velocities,
                "10000, 20000, 23000, 33000",
                "1000000, 1000000, 1000000, 1000000",
                "0.1, 0.4, 0.4, 0.1",
            ),
        ),
        Preset(
            "Underflow",
            "At 100 both densities round to 0, and the textbook's formula divides 0 by 0.",
            WORKED._replace(x="1, 4, 100"),
        ),
        Preset(
            "Collapse",
            "Too few numbers: EM closes in on a single one, whose component collapses.",
            WORKED._replace(x="0.5, 1.2, 3.8"),
        ),
    ]


def _read_column(name: str, column: int) -> str:
    """Return one column of a file of numbers with a heading, as a field shows it."""
    lines = _find_data(name).read_text(encoding="utf-8").splitlines()[1:]
    return ", ".join(line.split(",")[column] for line in lines)


def _find_data(name: str) -> Traversable:
    """Return a data set: it lies beside this file once it is installed, or in the examples."""
    installed = files("estep_xp.calculator") / name
    return installed if installed.is_file() else Path(__file__).parents[2] / "examples/data" / name
