"""Text files with one row a line: comma-separated and tab-separated values."""

from __future__ import annotations

import codecs
import csv
import io
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estep_xp._io.errors import InputError
from estep_xp._io.files import reading
from estep_xp._io.numbers import looks_numeric, parse_number
from estep_xp._io.rows import BadRows

_BLOCK = 1 << 21  # characters read at a time
_LONGEST_LINE = 1 << 26
_ROWS = 1 << 14  # rows of a block that is read field by field


class DelimitedFile:
    """A text file of rows; see :class:`~estep_xp._io.rows.Source`.

    The first line is a heading if none of its fields is a number. A byte order mark, any line
    ends, quotes and blank lines are fine.

    Parameters
    ----------
    path : Path
        The file's name, for errors.
    file : BufferedReader or BufferedRandom
        The file.
    delimiter : str
        What separates the fields of a line.
    """

    def __init__(
        self, path: Path, file: io.BufferedReader | io.BufferedRandom, delimiter: str
    ) -> None:
        self._path = path
        self._file = file
        self._delimiter = delimiter
        status = os.fstat(file.fileno())
        self.total = status.st_size if stat.S_ISREG(status.st_mode) else None
        if file.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise InputError(str(path), "is UTF-16 text; must be UTF-8")
        # Text that is not UTF-8 may stand in columns that nobody asked for.
        self._text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape")
        self._line = 0  # lines before the blocks to come
        self._blocks: Iterator[str] = self._whole_lines()
        self.names: tuple[str, ...] | None = None
        self.n_columns = self._read_heading()

    @property
    def position(self) -> int:
        """How many bytes have been read."""
        return 0 if self.total is None else self._file.tell()

    def blocks(self, columns: Sequence[int], bad: BadRows) -> Iterator[NDArray[np.float64]]:
        """Yield the chosen columns of all rows, block by block, less the rows added to `bad`."""
        for text in self._blocks:
            if '"' in text:  # a quoted field may hold a newline, so this block may end inside one
                lines = (line for block in chain([text], self._blocks) for line in _lines(block))
                yield from self._read_fields(lines, columns, bad)
                return
            block = self._read_numbers(text, columns)
            if block is None:
                yield from self._read_fields(_lines(text), columns, bad)
            else:
                self._line += len(block)
                yield block

    def _read_numbers(self, text: str, columns: Sequence[int]) -> NDArray[np.float64] | None:
        """Return the rows of a block without quotes, or None if it needs a closer look."""
        content = np.frombuffer(text.encode("utf-8", "surrogateescape"), dtype=np.uint8)
        ends = np.flatnonzero(content == ord("\n"))
        delimiters = np.flatnonzero(content == ord(self._delimiter))
        fields = np.diff(np.searchsorted(delimiters, ends), prepend=0) + 1
        if (fields != self.n_columns).any() or text.startswith("\n") or "\n\n" in text:
            return None
        try:
            block: NDArray[np.float64] = np.loadtxt(
                _lines(text),
                dtype=np.float64,
                delimiter=self._delimiter,
                comments=None,
                usecols=columns,
                ndmin=2,
            )
        except ValueError:
            return None
        return block if len(block) == len(ends) and np.isfinite(block).all() else None

    def _read_fields(
        self, lines: Iterable[str], columns: Sequence[int], bad: BadRows
    ) -> Iterator[NDArray[np.float64]]:
        """Yield the rows of `lines`, which may need any care, and name the bad ones."""
        records = self._records(lines)
        rows: list[list[float]] = []
        before = self._line
        while True:
            place = f"line {before + records.line_num + 1}"
            try:
                record = next(records)
            except StopIteration:
                break
            except csv.Error as error:
                bad.add(place, f"is not a row of values: {error}")
                continue
            if not record:  # a blank line
                continue
            row = self._read_record(record, columns, place, bad)
            if row is not None:
                rows.append(row)
            if len(rows) == _ROWS:
                yield np.asarray(rows)
                rows = []
        self._line = before + records.line_num
        if rows:
            yield np.asarray(rows)

    def _records(self, lines: Iterable[str]) -> Any:
        """Return a reader of the fields of `lines`: none on a line of nothing but white space."""
        blank_lines = ("\n" if self._is_blank(line) else line for line in lines)
        return csv.reader(
            blank_lines, delimiter=self._delimiter, skipinitialspace=True, strict=True
        )

    def _is_blank(self, line: str) -> bool:
        return line.isspace() and self._delimiter not in line

    def _read_record(
        self, record: list[str], columns: Sequence[int], place: str, bad: BadRows
    ) -> list[float] | None:
        """Return the chosen numbers of one line, or None if it is a bad row."""
        if len(record) != self.n_columns:
            index = min(len(record), self.n_columns)
            token = record[index] if index < len(record) else None
            expectation = f"must have {self.n_columns} values, as the first line has"
            bad.add(place, expectation, position=index + 1, token=token)
            return None
        row = []
        for column in columns:
            try:
                row.append(parse_number(record[column]))
            except ValueError as error:
                bad.add(place, str(error), position=column + 1, token=record[column])
                return None
        return row

    def _whole_lines(self) -> Iterator[str]:
        """Yield the text in blocks that end with a line, every line ended by a newline."""
        rest = ""
        while True:
            with reading(self._path):
                chunk = self._text.read(_BLOCK)
            lines, newline, tail = chunk.rpartition("\n")
            if newline:
                yield f"{rest}{lines}\n"
                rest = tail
            elif chunk:
                rest += chunk
            else:
                break
            if len(rest) > _LONGEST_LINE:
                raise InputError(str(self._path), f"has a line of over {_LONGEST_LINE} characters")
        if rest:
            yield f"{rest}\n"

    def _read_heading(self) -> int:
        """Return how many fields the first line has, and keep them as names if it is a heading."""
        for text in self._blocks:
            records = self._records(_lines(text))
            try:
                first = next(filter(None, records), None)
            except csv.Error as error:
                place = f"{self._path} line {self._line + records.line_num}"
                raise InputError(place, f"is not a row of values: {error}") from None
            if first is None:
                self._line += records.line_num
                continue
            rest = text
            if any(map(str.strip, first)) and not any(map(looks_numeric, first)):
                self.names = tuple(map(str.strip, first))
                self._line += records.line_num
                rest = "".join(islice(_lines(text), records.line_num, None))
            self._blocks = chain([rest] if rest else [], self._blocks)
            return len(first)
        raise InputError(str(self._path), "holds no rows")


def _lines(text: str) -> Iterable[str]:
    """Return the lines of `text`: only a newline ends one, unlike for str.splitlines."""
    return io.StringIO(text)
