"""Which line of a text each row begins on."""

from __future__ import annotations

import bisect


class Lines:
    """Lines of rows in turn, kept only where a row does not stand on the line after the last."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._lines: list[int] = []
        self._n_rows = 0
        self._next = 0

    def add(self, line: int, n_rows: int = 1) -> None:
        """Take the next rows, which begin on a line and fill one each."""
        if line != self._next:
            self._rows.append(self._n_rows)
            self._lines.append(line)
        self._n_rows += n_rows
        self._next = line + n_rows

    def line_of(self, row: int) -> int:
        """Return the line that a row begins on; both are counted as they are added."""
        place = bisect.bisect_right(self._rows, row) - 1
        return self._lines[place] + row - self._rows[place]
