"""``estep-xp calculate``: a few numbers on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import estep_xp as ex
from estep_xp.cli.commands.shared import (
    BackendOption,
    JsonOption,
    style,
)
from estep_xp.cli.compute.backend import BACKENDS
from estep_xp.cli.compute.evaluate import Evaluator
from estep_xp.cli.read.inputs import read_inputs
from estep_xp.cli.system import terminal
from estep_xp.cli.system.files import (
    parse_file_path,
    refuse_to_overwrite,
)
from estep_xp.cli.write.figure import require_plot_format
from estep_xp.cli.write.plot import Picture, write_plot
from estep_xp.cli.write.report import Calculation
from estep_xp.files.errors import InputError

EXAMPLE = (
    'estep-xp calculate --x "0.5, 1.2, 3.8" --means "2, 6" --variances "1, 1.5" '
    '--weights "0.45, 0.55"'
)


def calculate(
    x: Annotated[
        str, typer.Option(metavar="NUMBERS", help="Observations; - reads standard input.")
    ],
    means: Annotated[str, typer.Option(metavar="NUMBERS", help="Mean of each component.")],
    variances: Annotated[
        str,
        typer.Option(
            metavar="NUMBERS", help="Variance of each component (not its standard deviation)."
        ),
    ],
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Mixing weight of each component; equal if left out, normalised if need be.",
        ),
    ] = None,
    backend: BackendOption = BACKENDS[0],
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    plot: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Draw densities and responsibilities: .png or .svg."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the picture if it exists.")
    ] = False,
) -> None:
    """Responsibilities of a few numbers under a univariate Gaussian mixture.

    Numbers are separated by commas, white space or newlines. Components count from 0.
    """
    if as_json and as_csv:
        raise InputError("--csv", "excludes --json; give one of them")
    if plot is not None:
        plot_path = parse_file_path("--plot", plot)
        require_plot_format(plot_path)
        refuse_to_overwrite(plot_path, force=force)
    inputs = read_inputs(terminal.read_stdin() if x == "-" else x, means, variances, weights)
    components = ex.UnivariateGaussian(inputs.means, inputs.variances)
    evaluate = Evaluator(ex.Mixture(inputs.weights, components), backend)
    calculation = Calculation(inputs.x, inputs.weights, evaluate(inputs.x))
    if plot is not None:
        mixture = ex.Mixture(np.asarray(calculation.normalized_weights), components)
        picture = Picture(inputs.x, mixture, calculation.evaluation.results, calculation.title)
        write_plot(Path(plot), picture)
    if calculation.warning:
        terminal.write_stderr(calculation.warning)
    if as_json:
        lines = iter([calculation.json()])
    else:
        lines = calculation.csv() if as_csv else calculation.text(style())
    for line in lines:
        terminal.write_stdout(line)
