"""Help pages in the words of people: no types of Python, and examples that can be pasted."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import typer

from estep_xp.cli.system import terminal

_INDENT = "    "  # of what belongs to the line before


def describe_for_people(command: Any) -> None:
    """Change how typer shows a command: its options, and the commands that are its epilog.

    rich would pad lines with blanks, behind a backslash, too; so what can be pasted is written
    after rich has shown the rest.

    Parameters
    ----------
    command : typer.core.TyperCommand or typer.core.TyperGroup
        The command.
    """
    options = [*command.params, _help_option(command)]
    for parameter in options:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""  # it takes nothing: no <bool>
        elif parameter.param_type_name == "argument":
            _describe_argument(parameter)
    epilog, command.epilog = command.epilog, None
    show = command.format_help

    def format_help(context: Any, formatter: Any) -> None:
        names = [parameter.opts for parameter in options]
        for parameter in options:  # two long names would be cut on a narrow terminal
            long = [name for name in parameter.opts if name.startswith("--")]
            parameter.opts = [name for name in parameter.opts if name not in long[1:]]
        show(context, formatter)
        for parameter, own in zip(options, names, strict=True):
            parameter.opts = own
        for line in _epilog_lines(epilog):
            terminal.write_stdout(f"{line}\n")

    command.format_help = format_help


def _epilog_lines(epilog: str) -> Iterator[str]:
    """Yield the lines of an epilog: titles that end with a colon, and commands below them."""
    columns = terminal.columns()
    for text in epilog.splitlines():
        if text.endswith(":"):
            yield f" {text}\n"
        else:
            lines = break_command(text, None if columns is None else columns - len(_INDENT))
            yield from (f" {line}" for line in lines)
            yield ""


def _describe_argument(parameter: Any) -> None:
    """Make an argument one of type FILE, as every argument is, in any version of typer."""
    parameter.display_type = lambda _: "FILE"
    if hasattr(parameter, "type"):
        parameter.type = copy.copy(parameter.type)
        parameter.type.name = "file"


def _help_option(command: Any) -> Any:
    """Return the option --help, which the parser keeps once it has made it."""
    return command.get_help_option(typer.Context(command, help_option_names=["-h", "--help"]))


def break_command(command: str, width: int | None) -> list[str]:
    r"""Return the lines of a command, each of which but the last goes on after a backslash.

    Parameters
    ----------
    command : str
        The command.
    width : int or None
        How long a line may be; None for any length. No option is parted from its value.
    """
    lines = [""]
    for piece in re.split(r" (?=--)", command):
        longer = f"{lines[-1]} {piece}" if lines[-1] else piece
        if width is None or len(longer) <= width - len(" \\") or not lines[-1]:
            lines[-1] = longer
        else:
            lines[-1] += " \\"
            lines.append(f"{_INDENT}{piece}")
    return lines
