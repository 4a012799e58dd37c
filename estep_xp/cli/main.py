"""The command line: what each command takes. How it reads, computes and prints is elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import estep_xp as ex
from estep_xp.cli.compute.backend import BACKENDS
from estep_xp.cli.compute.evaluate import Evaluator
from estep_xp.cli.compute.fitting import FitOptions, fit_rows
from estep_xp.cli.compute.stream import rows_per_block, stream_results
from estep_xp.cli.read.columns import require_distinct
from estep_xp.cli.read.data import choose_columns, open_data
from estep_xp.cli.read.dialect import dialect_options
from estep_xp.cli.read.inputs import read_inputs
from estep_xp.cli.read.progress import reading_progress
from estep_xp.cli.read.rows import read_blocks, require_support
from estep_xp.cli.read.table import read_table
from estep_xp.cli.system import terminal
from estep_xp.cli.system.extras import require
from estep_xp.cli.system.files import (
    atomic_write,
    parse_file_path,
    refuse_to_overwrite,
    require_model_name,
    translate_read_errors,
    translate_write_errors,
)
from estep_xp.cli.system.process import run_to_exit_code
from estep_xp.cli.text.options import choice_parser, float_parser, integer_parser
from estep_xp.cli.write.fit_report import fit_json, fit_text, fit_warning
from estep_xp.cli.write.layout import Style
from estep_xp.cli.write.plot import Picture, require_plot_format, write_plot
from estep_xp.cli.write.report import Calculation, summary_json, summary_text, summary_warning
from estep_xp.cli.write.results import open_results, require_format
from estep_xp.files.components import GAUSSIAN_FAMILIES
from estep_xp.files.errors import InputError, escape
from estep_xp.files.model import ModelFile, encode_model

app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


HEADERS = {"yes": True, "no": False, "auto": None}

BackendOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Array library that computes, in 64-bit floats: numpy or jax.",
        parser=choice_parser("--backend", BACKENDS),
        autocompletion=lambda: list(BACKENDS),
    ),
]
DataArgument = Annotated[
    str, typer.Argument(metavar="DATA", help="Rows: .csv, .tsv, .npy, .npz or .parquet.")
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES", help="Columns to use: names, or numbers from 0, with commas between."
    ),
]
ArrayOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which array of a .npz archive.")
]
HeaderOption = Annotated[
    str,
    typer.Option(
        metavar="WHEN",
        help="Whether the first line of a text file holds names: yes, no, or auto, which takes it "
        "for names if none of its values is a number.",
        parser=choice_parser("--header", HEADERS),
        autocompletion=lambda: list(HEADERS),
    ),
]
DelimiterOption = Annotated[
    str | None,
    typer.Option(
        metavar="CHARACTER",
        help="What separates values in a text file: comma, semicolon, tab or another character; "
        "recognised if left out.",
    ),
]
DecimalOption = Annotated[
    str | None,
    typer.Option(
        metavar="CHARACTER",
        help="What separates decimals in a text file: point or comma; recognised if left out.",
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress bar, no notes.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
_CALCULATE = (
    'estep-xp calculate --x "0.5, 1.2, 3.8" --means "2, 6" --variances "1, 1.5" '
    '--weights "0.45, 0.55"'
)
_COMPLETION = "estep-xp --install-completion"
_FIT = "estep-xp fit examples/data/faithful.csv --components 2 --family full --output model.json"
_RUN = (
    "estep-xp run examples/data/faithful.csv --model examples/data/faithful.json --output out.csv"
)


@app.callback(
    invoke_without_command=True,
    epilog=f"Example:\n\n{_CALCULATE}\n\nCompletion in your shell:\n\n{_COMPLETION}",
)
def top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """The E-step of mixture models: responsibilities and log-likelihoods."""
    if version:
        terminal.write_stdout(f"estep-xp {ex.__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        terminal.write_stdout(f"{context.get_help()}\n")


@app.command(epilog=f"Example:\n\n{_CALCULATE}")
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
        lines = calculation.csv() if as_csv else calculation.text(_style())
    for line in lines:
        terminal.write_stdout(line)


@app.command(epilog=f"Example:\n\n{_RUN}")
def run(
    data: DataArgument,
    model: Annotated[str, typer.Option(metavar="MODEL.json", help="The mixture.")],
    output: Annotated[
        str, typer.Option(metavar="OUT", help="Where results go: .csv, .npy or .parquet.")
    ],
    columns: ColumnsOption = None,
    array: ArrayOption = None,
    header: HeaderOption = "auto",
    delimiter: DelimiterOption = None,
    decimal: DecimalOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
    quiet: QuietOption = False,
    backend: BackendOption = BACKENDS[0],
    as_json: JsonOption = False,
) -> None:
    """Responsibilities, label and log-likelihood of every row of a file, however large.

    OUT appears when it is whole, and only then.
    """
    source_path, model_path = parse_file_path("DATA", data), parse_file_path("--model", model)
    output_path = parse_file_path("--output", output)
    require_format(output_path)
    refuse_to_overwrite(output_path, source_path, model_path, force=force)
    dialect = dialect_options(delimiter, decimal, HEADERS[header])
    with translate_read_errors(model_path):
        description = ModelFile(model_path, waits=True)
        description.require_mixture()
    d, k, names = description.n_features, description.n_components, description.feature_names
    with ExitStack() as stack:
        source = open_data(source_path, array, stack, dialect=dialect, features=names or ())
        chosen = choose_columns(source, source_path, columns, d, features=names)
        # After the cheap checks: factorising a million covariances takes a while.
        mixture = description.read()
        evaluate = Evaluator(mixture, backend)
        blocks = read_blocks(source, chosen, source_path, rows_per_block(d, k))
        blocks = require_support(blocks, mixture.components, chosen, source_path)
        writer = stack.enter_context(open_results(output_path, k))
        advance = stack.enter_context(reading_progress(source, quiet=quiet))
        summary = stream_results(blocks, k, evaluate, writer.write, advance)
    warning = summary_warning(summary, data)
    _write_notes([*source.notes, warning], quiet=quiet)
    if as_json:
        lines = iter([summary_json(summary, output)])
    else:
        lines = summary_text(summary, escape(output), _style())
    for line in lines:
        terminal.write_stdout(line)


@app.command(epilog=f"Example:\n\n{_FIT}")
def fit(
    data: DataArgument,
    components: Annotated[
        int,
        typer.Option(
            metavar="K",
            help="Number of components.",
            parser=integer_parser("--components", minimum=1),
        ),
    ],
    family: Annotated[
        str,
        typer.Option(
            metavar="F",
            help=f"Kind of components: {', '.join(GAUSSIAN_FAMILIES)}.",
            parser=choice_parser("--family", GAUSSIAN_FAMILIES),
            autocompletion=lambda: list(GAUSSIAN_FAMILIES),
        ),
    ],
    output: Annotated[
        str, typer.Option(metavar="MODEL", help="Where the mixture goes: .json, which run reads.")
    ],
    columns: ColumnsOption = None,
    array: ArrayOption = None,
    header: HeaderOption = "auto",
    delimiter: DelimiterOption = None,
    decimal: DecimalOption = None,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Seed of the start: the same gives the same model.",
            parser=integer_parser("--seed", minimum=0),
        ),
    ] = 0,
    init: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Number of starts, the best of which counts.",
            parser=integer_parser("--init", minimum=1),
        ),
    ] = 1,
    tol: Annotated[
        float,
        typer.Option(
            metavar="T",
            help="Stop when the log-likelihood per row rises by less.",
            parser=float_parser("--tol"),
        ),
    ] = 1e-6,
    max_iter: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Stop after so many iterations in any case.",
            parser=integer_parser("--max-iter", minimum=1),
        ),
    ] = 1000,
    variance_floor: Annotated[
        float | None,
        typer.Option(
            metavar="V",
            help="Added to all variances, so that none becomes zero; if left out, a millionth of "
            "each column's variance.",
            parser=float_parser("--variance-floor"),
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace MODEL if it exists.")] = False,
    quiet: QuietOption = False,
    backend: BackendOption = BACKENDS[0],
    as_json: JsonOption = False,
) -> None:
    """Fit a Gaussian mixture to the rows of a file by expectation-maximisation.

    MODEL appears when the fit is done, and only then.
    """
    options = FitOptions(family, components, seed, init, tol, max_iter, variance_floor, backend)
    dialect = dialect_options(delimiter, decimal, HEADERS[header])
    source_path, output_path = parse_file_path("DATA", data), parse_file_path("--output", output)
    require_model_name(output_path)
    refuse_to_overwrite(output_path, source_path, force=force)
    with ExitStack() as stack:
        source = open_data(source_path, array, stack, dialect=dialect)
        d = 1 if family == "univariate" else None
        chosen = choose_columns(source, source_path, columns, d, f"--family {family}")
        names = None if source.names is None else [source.names[column] for column in chosen]
        require_distinct(source_path, names or ())
        # Open the output first, so that an unwritable one costs no fit.
        partial = stack.enter_context(atomic_write(output_path))
        with reading_progress(source, quiet=quiet) as advance:
            rows = read_table(source, chosen, source_path, advance)
        fitted = fit_rows(rows, data, options, names, progress=terminal.shows_progress(quiet=quiet))
        with translate_write_errors(output_path):
            partial.write(encode_model(fitted.mixture, names))
    # Warnings are printed even with --quiet: a misread file shows nowhere else.
    _write_notes([note for note in source.notes if not quiet or _is_warning(note)], quiet=False)
    _write_notes([fit_warning(fitted, data)], quiet=quiet)
    if as_json:
        lines = iter([fit_json(fitted, names, output)])
    else:
        lines = fit_text(fitted, names, escape(output), _style())
    for line in lines:
        terminal.write_stdout(line)


@app.command(epilog="Example:\n\nestep-xp calculator --port 8000")
def calculator(
    port: Annotated[
        int | None,
        typer.Option(
            metavar="P",
            help="Port; 0 or left out for one that is free.",
            parser=integer_parser("--port", minimum=0, maximum=65535),
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address.")
    ] = False,
) -> None:
    """The interactive page, served to this computer only, until Ctrl-C."""
    for module in ("starlette", "uvicorn", "jinja2", "plotly"):
        require(module, wanted_by="calculator", install='"estep_xp[calculator]"')
    from estep_xp.calculator.app import create_app
    from estep_xp.calculator.server import serve

    serve(create_app(), port, browser=not no_browser)


def main() -> int:
    """Run the command line and return its exit code."""
    return run_to_exit_code(_parse_and_run)


def _parse_and_run() -> int:
    command: Any = typer.main.get_command(app)
    for parameter in command.params:  # their long names overflow a narrow terminal
        parameter.hidden = parameter.name in ("install_completion", "show_completion")
    result = command.main(sys.argv[1:], prog_name="estep-xp", standalone_mode=False)
    return result if isinstance(result, int) else 0  # typer returns the code of an early exit


def _is_warning(note: str) -> bool:
    """Whether a note says that something may be wrong."""
    return note.startswith("warning: ")


def _write_notes(lines: Iterable[str | None], *, quiet: bool) -> None:
    """Write notes and warnings to standard error, unless told to be quiet."""
    for line in lines:
        if line and not quiet:
            terminal.write_stderr(line)


def _style() -> Style:
    return Style(terminal.columns(), terminal.wants_colour(sys.stdout))
