"""Figures and tables as text: aligned, as wide as the terminal allows, one line at a time.

rich is not used here. It renders a table as a whole, at about a millisecond a row, where these
functions hand on line after line, at five microseconds each; its import takes a tenth of a second,
which every command would pay; and words that do not fit, paths of files too, it breaks or cuts.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

GAP = "  "
_BOLD = "\x1b[1m{}\x1b[0m"
_LONGEST_NAME = "Average max responsibility"  # of all figures; values are aligned after it


class Style(NamedTuple):
    """What the output can show.

    Attributes
    ----------
    columns : int or None
        How long a line may be; None for any length.
    colour : bool
        Whether escape sequences are obeyed.
    """

    columns: int | None
    colour: bool

    def strong(self, text: str) -> str:
        """Return `text` set off from what is around it, where that can be shown."""
        return _BOLD.format(text) if self.colour else text


class TableColumn(NamedTuple):
    """A column of a table: its heading, its width, and whether its cells are words, not numbers."""

    heading: str
    width: int
    is_text: bool = False

    def align(self, cell: str) -> str:
        """Return a cell as wide as the column: words to the left, numbers to the right."""
        return cell.ljust(self.width) if self.is_text else cell.rjust(self.width)


def figure_lines(figures: dict[str, str], style: Style) -> Iterator[str]:
    """Yield one figure a line, continued below itself where it is long."""
    indent = len(_LONGEST_NAME) + len(GAP)
    for name, value in figures.items():
        lines = [value]
        if style.columns is not None:
            room = max(style.columns - indent, 10)
            lines = textwrap.wrap(value, room, break_long_words=False, break_on_hyphens=False)
        for index, line in enumerate(lines):
            yield f"{'' if index else name:{indent}}{line}\n"


def table_lines(
    columns: Sequence[TableColumn],
    rows: Iterable[Sequence[str]],
    style: Style,
    strong: Iterable[int | None] = repeat(None),
) -> Iterator[str]:
    """Yield the lines of a table, the headings first.

    Parameters
    ----------
    columns : sequence of TableColumn
        The columns.
    rows : iterable of sequences of str
        The cells of each row.
    style : Style
        What can be shown.
    strong : iterable of int or None, optional
        Which cell of each row is set off; None for none.
    """
    headings = [column.align(column.heading) for column in columns]
    yield style.strong(GAP.join(headings)) + "\n"
    for row, chosen in zip(rows, strong, strict=False):
        cells = [column.align(cell) for column, cell in zip(columns, row, strict=True)]
        if chosen is not None:
            cells[chosen] = style.strong(cells[chosen])
        yield GAP.join(cells) + "\n"
