"""Help pages: what an option takes by a name as people say it, and examples to be pasted."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand

_EXAMPLE_WIDTH = 56  # columns, so that no terminal of 60 breaks a line where a shell would run it


class Command(TyperCommand):
    """A command whose help names types by metavar alone: ``DATA``, not ``{DATA}`` and ``<str>``."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line."""
        pieces = super().collect_usage_pieces(ctx)
        return [re.sub(r"^\{(.*)\}$", r"\1", piece) for piece in pieces]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write what arguments and options there are."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for one in self.get_params(ctx):
            title = "Arguments" if one.param_type_name == "argument" else "Options"
            record = one.get_help_record(ctx)
            if record is not None:
                name, text = record
                rows = groups.setdefault(getattr(one, "rich_help_panel", None) or title, [])
                rows.append((re.sub(r" <\w+>$", "", name), text))
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def show_example(command: str) -> str:
    r"""Return an epilog that shows a command, broken by ``\`` where it is long.

    Parameters
    ----------
    command : str
        One line, which a shell can run.
    """
    lines = [""]
    for part in re.split(r" (?=--)", command):
        fits = len(lines[-1]) + len(part) + 3 <= _EXAMPLE_WIDTH
        if fits or not lines[-1].strip():
            lines[-1] += f" {part}" if lines[-1].strip() else part
        else:
            lines.append(f"    {part}")
    shown = " \\\n".join(lines)
    return f"Example:\n\n\b\n{shown}"  # \b: these lines stay as they are
