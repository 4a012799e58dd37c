"""The command line: what each command takes. How it reads, computes and prints is elsewhere."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import estep_xp as ex
from estep_xp._io import terminal
from estep_xp._io.data import choose_columns, open_data
from estep_xp._io.errors import InputError, escaped
from estep_xp._io.evaluate import Evaluator
from estep_xp._io.extras import require
from estep_xp._io.files import refuse_to_overwrite
from estep_xp._io.inputs import read_inputs
from estep_xp._io.model import read_model
from estep_xp._io.process import exit_code_of
from estep_xp._io.progress import progress
from estep_xp._io.report import Calculation, Style, summary_json, summary_text, summary_warning
from estep_xp._io.results import open_results, require_format
from estep_xp._io.rows import good_blocks
from estep_xp._io.stream import rows_per_block, stream

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


class Backend(StrEnum):
    """The array library that computes."""

    numpy = "numpy"
    jax = "jax"


BackendOption = Annotated[
    Backend, typer.Option(help="Array library that computes, in 64-bit floats.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
_CALCULATE = (
    'estep-xp calculate --x "0.5, 1.2, 3.8" --means "2, 6" --variances "1, 1.5" '
    '--weights "0.45, 0.55"'
)
_RUN = (
    "estep-xp run examples/data/faithful.csv --model examples/data/faithful.json --output out.csv"
)


@app.callback(invoke_without_command=True, epilog=f"Example:\n\n{_CALCULATE}")
def top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """The E-step of mixture models: responsibilities and log-likelihoods."""
    if version:
        terminal.put(f"estep-xp {ex.__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        terminal.put(f"{context.get_help()}\n")


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
    backend: BackendOption = Backend.numpy,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Responsibilities of a few numbers under a univariate Gaussian mixture.

    Numbers are separated by commas, white space or newlines. Components count from 0.
    """
    if as_json and as_csv:
        raise InputError("--csv", "excludes --json; give one of them")
    inputs = read_inputs(terminal.get() if x == "-" else x, means, variances, weights)
    components = ex.UnivariateGaussian(inputs.means, inputs.variances)
    evaluate = Evaluator(ex.Mixture(inputs.weights, components), backend.value)
    calculation = Calculation(inputs.x, inputs.weights, evaluate(inputs.x))
    if calculation.warning:
        terminal.complain(calculation.warning)
    if as_json:
        lines = iter([calculation.json()])
    else:
        lines = calculation.csv() if as_csv else calculation.text(_style())
    for line in lines:
        terminal.put(line)


@app.command(epilog=f"Example:\n\n{_RUN}")
def run(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Rows: .csv, .tsv, .npy, .npz or .parquet.")
    ],
    model: Annotated[str, typer.Option(metavar="MODEL.json", help="The mixture.")],
    output: Annotated[
        str, typer.Option(metavar="OUT", help="Where results go: .csv, .npy or .parquet.")
    ],
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Columns to use: names, or numbers from 0, with commas between."
        ),
    ] = None,
    array: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which array of a .npz archive.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar, no warnings.")] = False,
    backend: BackendOption = Backend.numpy,
    as_json: JsonOption = False,
) -> None:
    """Responsibilities, label and log-likelihood of every row of a file, however large.

    OUT appears when it is whole, and only then.
    """
    source_path, model_path, output_path = Path(data), Path(model), Path(output)
    require_format(output_path)
    refuse_to_overwrite(output_path, source_path, model_path, force=force)
    mixture = read_model(model_path)
    d, k = mixture.n_features, mixture.n_components
    with ExitStack() as stack:
        source = open_data(source_path, array, stack)
        chosen = choose_columns(source, source_path, columns, d)
        evaluate = Evaluator(mixture.mixture(), backend.value)
        blocks = good_blocks(source, chosen, source_path, rows_per_block(d, k))
        writer = stack.enter_context(open_results(output_path, k))
        advance = stack.enter_context(progress(source, quiet=quiet))
        summary = stream(blocks, k, evaluate, writer, advance)
    warning = summary_warning(summary, data)
    if warning and not quiet:
        terminal.complain(warning)
    if as_json:
        lines = iter([summary_json(summary, output)])
    else:
        lines = summary_text(summary, escaped(output), _style())
    for line in lines:
        terminal.put(line)


@app.command(epilog="Example:\n\nestep-xp calculator --port 8000")
def calculator(
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, metavar="P", help="Port; 0 or left out for one that is free."
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address.")
    ] = False,
) -> None:
    """The interactive page, served to this computer only, until Ctrl-C."""
    for module in ("starlette", "uvicorn", "jinja2", "plotly"):
        require(module, wanted_by="calculator", install='"estep_xp[calculator]"')
    from estep_xp._calculator.server import serve
    from estep_xp.calculator import create_app

    serve(create_app(), port, browser=not no_browser)


def main() -> int:
    """Run the command line and return its exit code."""
    return exit_code_of(_parse_and_run)


def _parse_and_run() -> int:
    command: Any = typer.main.get_command(app)
    result = command.main(sys.argv[1:], prog_name="estep-xp", standalone_mode=False)
    return result if isinstance(result, int) else 0  # typer returns the code of an early exit


def _style() -> Style:
    return Style(terminal.columns(), terminal.wants_colour(sys.stdout))
