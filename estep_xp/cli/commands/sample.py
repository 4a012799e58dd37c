"""``estep-xp sample``: rows drawn from a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import typer

import estep_xp as ex
from estep_xp.cli.commands.shared import (
    JsonOption,
    QuietOption,
    RowsOption,
    shows_rows,
    style,
    write_summary,
)
from estep_xp.cli.compute.draw import (
    draw_blocks,
    sample_fields,
    sample_values,
    whole_features,
)
from estep_xp.cli.compute.results import Field
from estep_xp.cli.read.progress import rows_progress
from estep_xp.cli.system.files import (
    parse_file_path,
    parse_output_path,
    refuse_to_overwrite,
    translate_read_errors,
)
from estep_xp.cli.text.options import integer_parser
from estep_xp.cli.write.report import drawn_json, drawn_text
from estep_xp.cli.write.rows import open_rows, require_format
from estep_xp.files.errors import InputError, escape
from estep_xp.files.model import ModelFile

EXAMPLE = "estep-xp sample examples/data/faithful.json --n 1000 --output drawn.csv"


def sample(
    model: Annotated[
        str, typer.Argument(metavar="MODEL.json", help="A mixture or a hidden Markov model.")
    ],
    n: Annotated[
        int,
        typer.Option(
            "--n", metavar="N", help="Number of rows.", parser=integer_parser("--n", minimum=1)
        ),
    ],
    output: RowsOption,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Seed: the same gives the same rows.",
            parser=integer_parser("--seed", minimum=0),
        ),
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Rows drawn at random from a model, and the component that each came from.

    Columns are called as the model's features. OUT appears when it is whole, and only then.
    """
    model_path, output_path = parse_file_path("MODEL.json", model), parse_output_path(output)
    require_format(output_path)
    refuse_to_overwrite(output_path, model_path, force=force)
    with translate_read_errors(model_path):
        description = ModelFile(model_path, waits=True)
    d, k, place = description.n_features, description.n_components, str(model_path)
    drawn_from = description.read()
    if isinstance(drawn_from, ex.HMM) and drawn_from.transitions.ndim == 3:
        raise InputError(f"{place}: transitions", "differ from row to row; must be one matrix")
    blocks = draw_blocks(drawn_from, n, seed, d + k)
    first = next(blocks)  # before a file is opened: not every model can be sampled
    whole = whole_features(drawn_from.components)
    if output_path.suffix.lower() == ".npy" and not all(whole):
        whole = [False] * d  # an array's features share a field
    fields = sample_fields(d, first.x.ndim == 1, description.feature_names, place, whole)
    with (
        open_rows(output_path, fields) as writer,
        rows_progress(n, quiet=quiet or shows_rows(output_path)) as advance,
    ):
        counts = _write_all(first, blocks, fields, k, writer, advance)
    if as_json:
        lines: Iterator[str] = iter([drawn_json(counts, output)])
    else:
        noun = "state" if isinstance(drawn_from, ex.HMM) else "component"
        lines = drawn_text(counts, escape(str(output_path)), style(), noun=noun)
    write_summary(lines, output_path, quiet=quiet)


def _write_all(
    block: ex.Sample | None,
    others: Iterator[ex.Sample],
    fields: Sequence[Field],
    k: int,
    writer: Any,
    advance: Any,
) -> list[int]:
    """Write all blocks and return how many rows came from each component."""
    counts = np.zeros(k, dtype=np.int64)
    while block is not None:
        writer.write(sample_values(block, fields))
        counts += np.bincount(block.labels, minlength=k)
        advance(int(counts.sum()))
        block = next(others, None)
    found: list[int] = counts.tolist()
    return found
