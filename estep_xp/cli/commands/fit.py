"""``estep-xp fit``: a mixture fitted to the rows of a file."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from estep_xp.cli.commands.shared import (
    HEADERS,
    ArrayOption,
    BackendOption,
    ColumnsOption,
    DataArgument,
    DecimalOption,
    DelimiterOption,
    HeaderOption,
    JsonOption,
    QuietOption,
    is_warning,
    style,
    write_notes,
)
from estep_xp.cli.compute.backend import BACKENDS
from estep_xp.cli.compute.fitting import FitOptions, fit_rows
from estep_xp.cli.read.columns import require_distinct
from estep_xp.cli.read.data import choose_columns, open_data
from estep_xp.cli.read.dialect import dialect_options
from estep_xp.cli.read.progress import reading_progress
from estep_xp.cli.read.table import read_table
from estep_xp.cli.system import terminal
from estep_xp.cli.system.files import (
    atomic_write,
    parse_data_path,
    parse_file_path,
    refuse_to_overwrite,
    require_model_name,
    translate_write_errors,
)
from estep_xp.cli.text.options import choice_parser, float_parser, integer_parser
from estep_xp.cli.write.fit_report import fit_json, fit_text, fit_warning
from estep_xp.files.components import GAUSSIAN_FAMILIES
from estep_xp.files.errors import escape
from estep_xp.files.model import encode_model

EXAMPLE = "estep-xp fit examples/data/faithful.csv --components 2 --family full --output model.json"


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
    source_path, output_path = parse_data_path(data), parse_file_path("--output", output)
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
        bar = terminal.shows_progress(quiet=quiet)
        fitted = fit_rows(rows, str(source_path), options, names, progress=bar)
        with translate_write_errors(output_path):
            partial.write(encode_model(fitted.mixture, names))
    # Warnings are printed even with --quiet: a misread file shows nowhere else.
    write_notes([note for note in source.notes if not quiet or is_warning(note)], quiet=False)
    write_notes([fit_warning(fitted, str(source_path))], quiet=quiet)
    if as_json:
        lines = iter([fit_json(fitted, names, output)])
    else:
        lines = fit_text(fitted, names, escape(output), style())
    for line in lines:
        terminal.write_stdout(line)
