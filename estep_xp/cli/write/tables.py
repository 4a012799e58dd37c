"""Tables that fit into narrow terminals: headings in two lines, names cut, columns in groups."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from estep_xp.cli.write.layout import GAP, Style, TableColumn, table_lines

_LEAST_TEXT = 8  # characters to which a column of words may be cut


class Cells(NamedTuple):
    """A column with its cells.

    Attributes
    ----------
    heading : str
        Its heading; where there is little room, its words stand below each other.
    cells : sequence of str
        Its cells.
    is_text : bool
        Whether these are words, which may be cut, and not numbers.
    is_key : bool
        Whether it says what a row is about, and so is repeated beside each group of columns.
    is_optional : bool
        Whether it may be left out where there is little room.
    """

    heading: str
    cells: Sequence[str]
    is_text: bool = False
    is_key: bool = False
    is_optional: bool = False

    def width(self, headings: Sequence[str]) -> int:
        """Return the width that cells and the lines of the heading need."""
        return max(map(len, [*headings, *self.cells]))


def fitting_table_lines(columns: Sequence[Cells], style: Style) -> Iterator[str]:
    """Yield the lines of a table, as wide as the terminal at most.

    Parameters
    ----------
    columns : sequence of Cells
        The columns.
    style : Style
        What can be shown.
    """
    if style.columns is None or _total(columns, broken=False) <= style.columns:
        yield from _lines(columns, style, broken=False)
        return
    if _total(columns, broken=True) > style.columns:
        columns = [column for column in columns if not column.is_optional]
    columns = _cut_words(columns, style.columns)
    if _total(columns, broken=True) <= style.columns:
        yield from _lines(columns, style, broken=True)
        return
    keys = [column for column in columns if column.is_key]
    group: list[Cells] = []
    first = True
    for column in [*(column for column in columns if not column.is_key), None]:
        full = column is None or (
            group and _total([*keys, *group, column], broken=True) > style.columns
        )
        if full:
            yield from [] if first else ["\n"]
            yield from _lines([*keys, *group], style, broken=True)
            group, first = [], False
        if column is not None:
            group.append(column)


def shorten(text: str, length: int) -> str:
    """Return a text as it is, or its beginning if it is longer."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _headings(column: Cells, *, broken: bool) -> list[str]:
    return re.split(r"(?<=-)| ", column.heading) if broken else [column.heading]


def _total(columns: Sequence[Cells], *, broken: bool) -> int:
    """Return the width of a table."""
    widths = [column.width(_headings(column, broken=broken)) for column in columns]
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _cut_words(columns: Sequence[Cells], room: int) -> list[Cells]:
    """Return the columns, words cut as far as that makes room for all, or for one beside keys."""
    spare = max(_total(columns, broken=True) - room, 0)
    cut = []
    for column in columns:
        if column.is_text and spare:
            width = column.width(_headings(column, broken=True))
            length = max(width - spare, min(width, max(_LEAST_TEXT, len(column.heading))))
            spare -= width - length
            column = column._replace(cells=[shorten(cell, length) for cell in column.cells])
        cut.append(column)
    return cut


def _lines(columns: Sequence[Cells], style: Style, *, broken: bool) -> Iterator[str]:
    """Yield the lines of columns beside each other; the last words of headings stand lowest."""
    headings = [_headings(column, broken=broken) for column in columns]
    height = max(map(len, headings))
    widths = [column.width(words) for column, words in zip(columns, headings, strict=True)]
    for line in range(height - 1):
        words = [words[line - height] if len(words) >= height - line else "" for words in headings]
        aligned = (
            TableColumn("", width, column.is_text).align(word)
            for column, width, word in zip(columns, widths, words, strict=True)
        )
        yield style.strong(GAP.join(aligned).rstrip()) + "\n"
    table = [
        TableColumn(words[-1], width, column.is_text)
        for column, width, words in zip(columns, widths, headings, strict=True)
    ]
    rows = zip(*(column.cells for column in columns), strict=True)
    for text in table_lines(table, rows, style):
        yield text.rstrip() + "\n"
