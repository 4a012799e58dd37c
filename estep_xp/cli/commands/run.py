"""``estep-xp run``: every row of a file, at constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

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
    MissingOption,
    QuietOption,
    RowsOption,
    SequenceOption,
    check_chain_options,
    holes_note,
    require_holes_allowed,
    shows_rows,
    style,
    write_notes,
    write_summary,
)
from estep_xp.cli.compute.backend import BACKENDS
from estep_xp.cli.compute.evaluate import ChainEvaluator, Evaluation, Evaluator
from estep_xp.cli.compute.results import column_names, result_fields
from estep_xp.cli.compute.stream import rows_per_block, stream_results
from estep_xp.cli.read.data import choose_columns, open_data
from estep_xp.cli.read.dialect import dialect_options
from estep_xp.cli.read.kept import choose_kept
from estep_xp.cli.read.progress import reading_progress
from estep_xp.cli.read.rows import Block, Source, read_rows, read_whole, require_support
from estep_xp.cli.read.sequences import find_sequence, labels_of, take_labels
from estep_xp.cli.system.files import (
    parse_data_path,
    parse_file_path,
    parse_output_path,
    refuse_to_overwrite,
    translate_read_errors,
)
from estep_xp.cli.write.report import summary_json, summary_text, summary_warning
from estep_xp.cli.write.rows import open_rows, require_format
from estep_xp.files.components import name_of_family
from estep_xp.files.errors import escape
from estep_xp.files.model import ModelFile

EXAMPLE = (
    "estep-xp run examples/data/faithful.csv --model examples/data/faithful.json --output out.csv"
)


def run(
    data: DataArgument,
    model: Annotated[str, typer.Option(metavar="MODEL.json", help="The mixture.")],
    output: RowsOption,
    columns: ColumnsOption = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Columns of DATA that OUT has, too, as they stand: names, numbers from 0, or all.",
        ),
    ] = None,
    array: ArrayOption = None,
    header: HeaderOption = "auto",
    delimiter: DelimiterOption = None,
    decimal: DecimalOption = None,
    sequence: SequenceOption = None,
    decode: Annotated[
        bool,
        typer.Option(
            "--decode",
            help="Labels of the most likely path of states (Viterbi), for a hidden Markov model.",
        ),
    ] = False,
    missing: MissingOption = "error",
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
    quiet: QuietOption = False,
    backend: BackendOption = BACKENDS[0],
    as_json: JsonOption = False,
) -> None:
    """Responsibilities, label and log-likelihood of every row of a file, however large.

    OUT appears when it is whole, and only then. Under a hidden Markov model all rows are held in
    memory, and the log-likelihood of a row is that given the rows before it.
    """
    source_path, model_path = parse_data_path(data), parse_file_path("--model", model)
    output_path = parse_output_path(output)
    require_format(output_path, keeps=keep is not None)
    refuse_to_overwrite(output_path, source_path, model_path, force=force)
    dialect = dialect_options(delimiter, decimal, HEADERS[header])
    with translate_read_errors(model_path):
        description = ModelFile(model_path, waits=True)
    check_chain_options(description.is_chain, sequence, missing, decode=decode)
    d, k, names = description.n_features, description.n_components, description.feature_names
    with ExitStack() as stack:
        source = open_data(source_path, array, stack, dialect=dialect, features=names or ())
        beside = [] if sequence is None else [find_sequence(source, sequence)]
        chosen = choose_columns(source, source_path, columns, d, features=names, besides=beside)
        fields = result_fields(k)
        kept, kept_names = choose_kept(source, keep, column_names(fields))
        # After the cheap checks: factorising a million covariances takes a while.
        mixture = description.read()
        components = mixture.components
        require_holes_allowed(components, name_of_family(components), missing)
        holes, n_rows = missing != "error", rows_per_block(d, k)
        blocks = read_rows(source, chosen, source_path, n_rows, [*kept, *beside], holes=holes)
        blocks = require_support(blocks, components, chosen, source, source_path)
        writer = stack.enter_context(open_rows(output_path, fields, kept_names))
        hidden = quiet or shows_rows(output_path)
        advance = stack.enter_context(reading_progress(source, quiet=hidden))
        evaluate: Callable[[NDArray[np.float64]], Evaluation]
        if description.is_chain:
            block, lengths = _read_sequences(blocks, source, source_path, beside)
            blocks = iter([block])
            evaluate = ChainEvaluator(
                mixture, backend, lengths, decode=decode, missing=missing == "marginalize"
            )
        else:
            evaluate = Evaluator(mixture, backend, missing)
        summary = stream_results(blocks, k, evaluate, writer.write, advance)
    notes = [holes_note(source_path, summary.n_skipped, summary.n_rows)]
    notes.append(summary_warning(summary, str(source_path)))
    write_notes([*source.notes, *notes], quiet=quiet)
    if as_json:
        lines = iter([summary_json(summary, output)])
    else:
        noun = "state" if description.is_chain else "component"
        lines = summary_text(summary, escape(str(output_path)), style(), noun=noun)
    write_summary(lines, output_path, quiet=quiet)


def _read_sequences(
    blocks: Iterable[Block], source: Source, path: Path, beside: Sequence[int]
) -> tuple[Block, NDArray[np.int64] | None]:
    """Return all rows at once, and the lengths of sequences where a column tells them."""
    if not beside:
        return read_whole(blocks), None
    labels = labels_of(source, path, beside[0])
    whole = read_whole(take_labels(block, labels) for block in blocks)
    return whole, labels.lengths
