"""What several commands take and print: options of files, notes, the style of tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from estep_xp.cli.compute.backend import BACKENDS
from estep_xp.cli.system import terminal
from estep_xp.cli.system.files import STANDARD_OUTPUT
from estep_xp.cli.text.options import choice_parser
from estep_xp.cli.write.layout import Style
from estep_xp.files.errors import InputError

_READING = "Reading DATA"

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
    str,
    typer.Argument(
        metavar="DATA", help="Rows: .csv, .tsv, .npy, .npz or .parquet; - reads CSV from a pipe."
    ),
]
RowsOption = Annotated[
    str,
    typer.Option(
        metavar="OUT", help="Where rows go: .csv, .npy or .parquet; - writes CSV to a pipe."
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Columns to use: names, or numbers from 0, with commas between.",
        rich_help_panel=_READING,
    ),
]
ArrayOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Which array of a .npz archive.", rich_help_panel=_READING),
]
HeaderOption = Annotated[
    str,
    typer.Option(
        metavar="WHEN",
        help="Whether the first line of a text file holds names: yes, no, or auto, which takes it "
        "for names if none of its values is a number.",
        parser=choice_parser("--header", HEADERS),
        autocompletion=lambda: list(HEADERS),
        rich_help_panel=_READING,
    ),
]
DelimiterOption = Annotated[
    str | None,
    typer.Option(
        metavar="CHARACTER",
        help="What separates values in a text file: comma, semicolon, tab or another character; "
        "recognised if left out.",
        rich_help_panel=_READING,
    ),
]
DecimalOption = Annotated[
    str | None,
    typer.Option(
        metavar="CHARACTER",
        help="What separates decimals in a text file: point or comma; recognised if left out.",
        rich_help_panel=_READING,
    ),
]
MISSING = ("error", "skip", "marginalize")
MissingOption = Annotated[
    str,
    typer.Option(
        metavar="HOW",
        help="What is done about empty fields, NA and NaN: error, skip (the row is left out) or "
        "marginalize (the others of the row count).",
        parser=choice_parser("--missing", MISSING),
        autocompletion=lambda: list(MISSING),
        rich_help_panel=_READING,
    ),
]
SequenceOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Column that names the sequence of each row, for a hidden Markov model; all rows are "
        "one sequence if left out.",
        rich_help_panel=_READING,
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress bar, no notes.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def is_warning(note: str) -> bool:
    """Whether a note says that something may be wrong."""
    return note.startswith("warning: ")


def write_notes(lines: Iterable[str | None], *, quiet: bool) -> None:
    """Write notes and warnings to standard error, unless told to be quiet."""
    for line in lines:
        if line and not quiet:
            terminal.write_stderr(line)


def shows_rows(output: Path) -> bool:
    """Whether rows are shown on a terminal, where a progress bar would stand among them."""
    return output is STANDARD_OUTPUT and terminal.is_terminal(sys.stdout)


def write_summary(lines: Iterable[str], output: Path, *, quiet: bool) -> None:
    """Write a summary to standard output, or to standard error where rows went there instead."""
    if output is not STANDARD_OUTPUT:
        for line in lines:
            terminal.write_stdout(line)
    elif not quiet:
        terminal.write_stderr_lines(lines)


def check_chain_options(
    is_chain: bool, sequence: str | None, missing: str, *, decode: bool = False
) -> None:
    """Raise InputError where options ask of a mixture or a chain what it does not have."""
    for option, given in (("--sequence", sequence is not None), ("--decode", decode)):
        if given and not is_chain:
            raise InputError(option, "is for hidden Markov models; rows of a mixture have no order")
    if is_chain and missing == "skip":
        raise InputError(
            "--missing",
            "is skip, but a chain cannot spare rows between others; must be error or marginalize",
        )


def require_holes_allowed(family: Any, name: str | None, missing: str) -> None:
    """Raise InputError unless a family, a class or components, takes values that are missing."""
    if missing == "marginalize" and not family._takes_missing:
        raise InputError(
            "--missing",
            f"is marginalize, which {name} components cannot; skip leaves rows with holes out",
        )


def holes_note(path: Path, n_skipped: int, n_rows: int) -> str | None:
    """Return the note that rows were left out, if any were."""
    if not n_skipped:
        return None
    has, were = ("has", "was") if n_skipped == 1 else ("have", "were")
    return f"note: {path}: {n_skipped} of {n_rows} rows {has} holes and {were} left out"


def style() -> Style:
    """The width and colours of the terminal that standard output is."""
    return Style(terminal.columns(), terminal.wants_colour(sys.stdout))
