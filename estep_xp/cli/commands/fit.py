"""``estep-xp fit``: a mixture fitted to the rows of a file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from estep_xp.cli.commands.shared import (
    HEADERS,
    MISSING,
    ArrayOption,
    BackendOption,
    ColumnsOption,
    DataArgument,
    DecimalOption,
    DelimiterOption,
    HeaderOption,
    JsonOption,
    MissingOption,
    QuietOption,
    SequenceOption,
    check_chain_options,
    holes_note,
    is_warning,
    require_holes_allowed,
    style,
    write_notes,
)
from estep_xp.cli.compute.backend import BACKENDS
from estep_xp.cli.compute.families import Part, Wish, default_family, takes_one_column
from estep_xp.cli.compute.fitting import FitOptions, fit_rows
from estep_xp.cli.read.columns import require_distinct
from estep_xp.cli.read.data import choose_columns, open_data
from estep_xp.cli.read.dialect import dialect_options
from estep_xp.cli.read.progress import reading_progress
from estep_xp.cli.read.rows import Source, refuse_outside
from estep_xp.cli.read.sequences import Labels, find_sequence, labels_of
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
from estep_xp.cli.text.numbers import format_count
from estep_xp.cli.text.options import (
    choice_parser,
    choices_parser,
    float_parser,
    integer_parser,
    sizes_parser,
)
from estep_xp.cli.text.parts import PartText, columns_of_parts, parse_parts
from estep_xp.cli.write.figure import require_matplotlib, require_plot_format
from estep_xp.cli.write.fit_report import fit_json, fit_text, fit_warnings
from estep_xp.cli.write.plot_fit import FitPicture, write_fit_plot
from estep_xp.em.select import CRITERIA
from estep_xp.files.components import FAMILIES
from estep_xp.files.errors import InputError, escape
from estep_xp.files.model import encode_model

EXAMPLE = "estep-xp fit examples/data/faithful.csv --components 1-6 --output model.json"

_MODEL = "Model"
_MODELS = ("mixture", "hmm")
_EM = "Starts and iterations"
_FAMILIES = tuple(family for family in FAMILIES if family != "product")
_OF_ONE_COLUMN = tuple(family for family in _FAMILIES if takes_one_column(family))
_BLOCK_ROWS = 1 << 16


def fit(
    data: DataArgument,
    components: Annotated[
        Any,
        typer.Option(
            "--components",
            "--states",
            metavar="K",
            help="Number of components, or several to choose from: 2,4 or 1-8. --states "
            "is the same.",
            parser=sizes_parser("--components"),
            rich_help_panel=_MODEL,
        ),
    ],
    output: Annotated[
        str, typer.Option(metavar="MODEL", help="Where the mixture goes: .json, which run reads.")
    ],
    family: Annotated[
        Any,
        typer.Option(
            metavar="F",
            help="Kind of components, or several to choose from, with commas between: "
            f"{', '.join(_FAMILIES)}. If left out, full, or univariate for one column.",
            parser=choices_parser("--family", _FAMILIES),
            autocompletion=lambda: list(_FAMILIES),
            rich_help_panel=_MODEL,
        ),
    ] = None,
    parts: Annotated[
        str | None,
        typer.Option(
            metavar="PARTS",
            help='Families for columns of several kinds: "gaussian: height, weight; poisson: '
            'visits". Excludes --family and --columns.',
            rich_help_panel=_MODEL,
        ),
    ] = None,
    factors: Annotated[
        int | None,
        typer.Option(
            metavar="Q",
            help="Number of factors of factor_analyzer; 1 if left out.",
            parser=integer_parser("--factors", minimum=1),
            rich_help_panel=_MODEL,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="mixture, or hmm: a hidden Markov model, of rows that follow each other.",
            parser=choice_parser("--model", _MODELS),
            autocompletion=lambda: list(_MODELS),
            rich_help_panel=_MODEL,
        ),
    ] = _MODELS[0],
    sequence: SequenceOption = None,
    criterion: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What chooses among several fits, the lower the better: bic, aic or icl.",
            parser=choice_parser("--criterion", CRITERIA),
            autocompletion=lambda: list(CRITERIA),
            rich_help_panel=_MODEL,
        ),
    ] = CRITERIA[0],
    variance_floor: Annotated[
        float | None,
        typer.Option(
            metavar="V",
            help="Added to all variances, so that none becomes zero; if left out, a millionth of "
            "each column's variance.",
            parser=float_parser("--variance-floor"),
            rich_help_panel=_MODEL,
        ),
    ] = None,
    columns: ColumnsOption = None,
    array: ArrayOption = None,
    header: HeaderOption = "auto",
    delimiter: DelimiterOption = None,
    decimal: DecimalOption = None,
    missing: MissingOption = MISSING[0],
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Seed of the start: the same gives the same model.",
            parser=integer_parser("--seed", minimum=0),
            rich_help_panel=_EM,
        ),
    ] = 0,
    init: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Number of starts, the best of which counts.",
            parser=integer_parser("--init", minimum=1),
            rich_help_panel=_EM,
        ),
    ] = 1,
    tol: Annotated[
        float,
        typer.Option(
            metavar="T",
            help="Stop when the log-likelihood per row rises by less.",
            parser=float_parser("--tol"),
            rich_help_panel=_EM,
        ),
    ] = 1e-6,
    max_iter: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Stop after so many iterations in any case.",
            parser=integer_parser("--max-iter", minimum=1),
            rich_help_panel=_EM,
        ),
    ] = 1000,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Draw the fit: .png or .svg. Densities over a histogram, or, of several columns, "
            "each against each other.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace MODEL and FILE if they exist.")
    ] = False,
    quiet: QuietOption = False,
    backend: BackendOption = BACKENDS[0],
    as_json: JsonOption = False,
) -> None:
    """Fit a mixture to the rows of a file by expectation-maximisation.

    Of several families or numbers of components the best fit counts, by BIC. MODEL appears when the
    fit is done, and only then.
    """
    wanted = _Wanted(family, parts, factors, columns)
    as_chain = model == "hmm"
    check_chain_options(as_chain, sequence, missing)
    if as_chain and criterion == "icl":
        raise InputError("--criterion", "is icl, which is for mixtures; must be bic or aic")
    dialect = dialect_options(delimiter, decimal, HEADERS[header])
    source_path, output_path = parse_data_path(data), parse_file_path("--output", output)
    require_model_name(output_path)
    refuse_to_overwrite(output_path, source_path, force=force)
    plot_path = None if plot is None else _plot_path(plot, source_path, force=force)
    with ExitStack() as stack:
        source = open_data(source_path, array, stack, dialect=dialect)
        beside = [] if sequence is None else [find_sequence(source, sequence)]
        chosen = wanted.choose(source, source_path, beside)
        wishes = wanted.wishes(len(chosen))
        for name in dict.fromkeys(name for wish in wishes for name in wish.families):
            require_holes_allowed(FAMILIES[name], name, missing)
        names = None if source.names is None else [source.names[column] for column in chosen]
        require_distinct(source_path, names or ())
        # Open the output first, so that an unwritable one costs no fit.
        partial = stack.enter_context(atomic_write(output_path))
        with reading_progress(source, quiet=quiet) as advance:
            labels = labels_of(source, source_path, beside[0]) if beside else None
            keep = None if labels is None else labels.add
            holes = missing != "error"
            rows = read_table(
                source, chosen, source_path, advance, holes=holes, kept=beside, keep=keep
            )
        for wish in wishes:
            _refuse_outside(wish, rows, chosen, source, source_path)
        if missing == "skip":
            rows = _leave_holes_out(rows, source, source_path)
        options = FitOptions(
            wishes,
            components,
            criterion,
            seed,
            init,
            tol,
            max_iter,
            variance_floor,
            backend,
            missing == "marginalize",
            _lengths(len(rows), labels) if as_chain else None,
        )
        bar = terminal.shows_progress(quiet=quiet)
        fitted = fit_rows(rows, str(source_path), options, names, progress=bar)
        if plot_path is not None:
            labels_of_columns = names or [f"column {column}" for column in chosen]
            picture = FitPicture(
                rows, fitted.wish, fitted.model, options.lengths, labels_of_columns, options.missing
            )
            write_fit_plot(plot_path, picture)
        with translate_write_errors(output_path):
            partial.write(encode_model(fitted.model, names))
    # Warnings are printed even with --quiet: a misread file shows nowhere else.
    write_notes([note for note in source.notes if not quiet or is_warning(note)], quiet=False)
    write_notes(fit_warnings(fitted, str(source_path)), quiet=quiet)
    if as_json:
        lines = iter([fit_json(fitted, names, output)])
    else:
        lines = fit_text(fitted, names, escape(output), style())
    for line in lines:
        terminal.write_stdout(line)


def _lengths(n: int, labels: Labels | None) -> NDArray[np.int64]:
    """Return the length of each sequence: by labels, if there are any, else one of all rows."""
    return np.asarray([n]) if labels is None else labels.lengths


def _plot_path(plot: str, source: Path, *, force: bool) -> Path:
    """Return where the picture goes, if it can be drawn at all."""
    path = parse_file_path("--plot", plot)
    require_plot_format(path)
    refuse_to_overwrite(path, source, force=force)
    require_matplotlib()
    return path


class _Wanted:
    """What options say of families and columns; InputError where they contradict each other."""

    def __init__(
        self,
        families: tuple[str, ...] | None,
        parts: str | None,
        n_factors: int | None,
        columns: str | None,
    ) -> None:
        self._families, self._columns = families, columns
        self._parts: tuple[PartText, ...] = ()
        self._n_factors = n_factors or 1
        if parts is not None:
            for option, given in (("--family", families), ("--columns", columns)):
                if given is not None:
                    raise InputError(option, "excludes --parts, which says it; give one of them")
            self._parts = parse_parts(parts, _FAMILIES, _OF_ONE_COLUMN)
        has_factors = [*(families or ()), *(part.family for part in self._parts)]
        if n_factors is not None and "factor_analyzer" not in has_factors:
            raise InputError("--factors", "is for --family factor_analyzer")

    def choose(self, source: Source, path: Path, besides: Sequence[int]) -> Sequence[int]:
        """Return the columns to fit; some of the others have another meaning."""
        if self._parts:
            chosen = columns_of_parts(self._parts)
            return choose_columns(source, path, chosen, None, option="--parts", besides=besides)
        single = next(filter(takes_one_column, self._families or ()), None)
        d = None if single is None else 1
        owner = f"--family {single}"
        return choose_columns(source, path, self._columns, d, owner, besides=besides)

    def wishes(self, n_columns: int) -> tuple[Wish, ...]:
        """Return what is to be fitted to so many columns."""
        parts, start = [], 0
        for part in self._parts:
            stop = start + len(part.columns)
            self._check_factors(part.family, stop - start)
            parts.append(Part(part.family, tuple(range(start, stop))))
            start = stop
        if parts:
            return (Wish("product", self._n_factors, tuple(parts)),)
        families = self._families or (default_family(n_columns),)
        for family in families:
            self._check_factors(family, n_columns)
        return tuple(Wish(family, self._n_factors) for family in families)

    def _check_factors(self, family: str, n_columns: int) -> None:
        if family == "factor_analyzer" and self._n_factors > n_columns:
            found = format_count(n_columns, "column")
            raise InputError(
                "--factors", f"is {self._n_factors}; must be at most the number of columns, {found}"
            )


def _leave_holes_out(rows: NDArray[np.float64], source: Source, path: Path) -> NDArray[np.float64]:
    """Return the rows without holes, and note how many others there are."""
    complete = ~np.isnan(rows).any(axis=1)
    n_skipped = len(rows) - int(np.count_nonzero(complete))
    if not n_skipped:
        return rows
    if n_skipped == len(rows):
        raise InputError(str(path), "has a hole in each row; --missing marginalize fits the others")
    source.notes += filter(None, [holes_note(path, n_skipped, len(rows))])
    return rows[complete]


def _refuse_outside(
    wish: Wish, rows: NDArray[np.float64], columns: Sequence[int], source: Source, path: Path
) -> None:
    """Raise InputError at the first value that the family cannot have, by its row and column."""
    for support, part in wish.supports(len(columns)):
        if getattr(support, "_has_full_support", False):
            continue
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = rows[start : start + _BLOCK_ROWS, part]
            refuse_outside(support, block, columns[part], source, path, start)
