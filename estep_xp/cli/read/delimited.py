"""Text files with one row a line: comma-separated and tab-separated values."""

from __future__ import annotations

import csv
import io
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path

import numpy as np

from estep_xp.cli.read.columns import find_index, find_text, is_hole, list_names, text_error
from estep_xp.cli.read.dialect import (
    Dialect,
    is_heading,
    may_be_heading,
    read_records,
    recognise_decimal,
    recognise_delimiter,
    refuse_row_names,
    sample_records,
)
from estep_xp.cli.read.lines import Lines
from estep_xp.cli.read.numbers import parse_numbers
from estep_xp.cli.read.rows import BadRows, Block
from estep_xp.cli.read.signatures import require_text
from estep_xp.cli.system.files import translate_read_errors
from estep_xp.cli.text.numbers import is_decimal_comma, looks_numeric, parse_number
from estep_xp.files.errors import InputError, show_token

_BLOCK_SIZE = 1 << 21  # characters
_MAX_LINE_LENGTH = 1 << 26
_BLOCK_ROWS = 1 << 14  # rows per block when parsing field by field
_SAMPLE_LINES = 1000
_SAMPLE_SIZE = 1 << 18  # characters
_SEPARATOR = re.compile(r'("?)sep=(.)\1\n', re.IGNORECASE)
_UNDECODED = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8
_SEPARATORS = re.compile(r"[,;|\s]")
_NOTHING_GIVEN = Dialect()


class DelimitedFile:
    """A text file of rows; see :class:`~estep_xp.cli.read.rows.Source`.

    The first line is a heading if none of its fields is a number. A byte order mark, any line
    ends, quotes and blank lines are fine. What separates values and decimals is what the first
    lines tell.

    Parameters
    ----------
    path : Path
        The file's name, for errors.
    file : BufferedReader or BufferedRandom
        The file.
    dialect : Dialect, optional
        Its format, as far as options give it.
    preferred : str, optional
        What separates the fields of a line by the name's ending.
    features : sequence of str, optional
        The names of a model's features: a line that holds them is a heading.
    """

    def __init__(
        self,
        path: Path,
        file: io.BufferedReader | io.BufferedRandom,
        dialect: Dialect = _NOTHING_GIVEN,
        *,
        preferred: str = ",",
        features: Sequence[str] = (),
    ) -> None:
        self._path = path
        self._file = file
        status = os.fstat(file.fileno())
        self.total = status.st_size if stat.S_ISREG(status.st_mode) else None
        require_text(path, file.peek(8))
        # Unused columns may hold text that is not UTF-8.
        self._text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape")
        self._line = 0  # lines already consumed
        self._lines = Lines()  # of good rows
        self._blocks: Iterator[str] = self._whole_lines()
        self._delimiter = preferred
        self._decimal = "."
        self._sample: list[list[str]] = []  # fields of the first rows
        self._hint = ""  # appended to the error about bad rows
        self.names: tuple[str, ...] | None = None
        self.notes: list[str] = []
        self.index: list[int] = []
        self.n_columns = self._read_heading(dialect, features)

    @property
    def position(self) -> int:
        """How many bytes have been read."""
        return 0 if self.total is None else self._file.tell()

    def blocks(
        self, columns: Sequence[int], bad: BadRows, kept: Sequence[int] = ()
    ) -> Iterator[Block]:
        """Yield the chosen columns of all rows, block by block, less the rows added to `bad`."""
        self._refuse_text(columns)
        bad.hint = self._hint
        for text in self._blocks:
            if '"' in text:  # a quoted newline: this block may end within a field
                lines = (
                    line for block in chain([text], self._blocks) for line in _split_lines(block)
                )
                yield from self._read_fields(lines, columns, bad, kept)
                return
            numbers = parse_numbers(text, self._delimiter, self._decimal, self.n_columns, columns)
            if numbers is None:
                yield from self._read_fields(_split_lines(text), columns, bad, kept)
            else:
                self._lines.add(self._line + 1, len(numbers))
                self._line += len(numbers)
                records = read_records(_split_lines(text), self._delimiter) if kept else ()
                yield Block(numbers, self._keep(records, kept))

    def _read_fields(
        self, lines: Iterable[str], columns: Sequence[int], bad: BadRows, kept: Sequence[int]
    ) -> Iterator[Block]:
        """Parse `lines` field by field, yield the good rows and add the others to `bad`."""
        records = read_records(lines, self._delimiter)
        rows: list[list[float]] = []
        good: list[list[str]] = []  # the records of these rows, if something of them is kept
        before = self._line
        while True:
            line = before + records.line_num + 1
            place = f"line {line}"
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
                self._lines.add(line)
                good += [record] if kept else []
            if len(rows) == _BLOCK_ROWS:
                yield Block(np.asarray(rows), self._keep(good, kept))
                rows, good = [], []
        self._line = before + records.line_num
        if rows:
            yield Block(np.asarray(rows), self._keep(good, kept))

    def _keep(
        self, records: Iterable[Sequence[str]], kept: Sequence[int]
    ) -> list[tuple[list[str], ...]]:
        """Return some columns of `records` as the words that stand there, in one piece."""
        if not kept:
            return []
        words = list(zip(*map(itemgetter(*kept, kept[0]), records), strict=True))[:-1]
        return [tuple(map(_decode_all, words))]

    def _read_record(
        self, record: list[str], columns: Sequence[int], place: str, bad: BadRows
    ) -> list[float] | None:
        """Return the chosen numbers of one line, or None if it is a bad row."""
        if len(record) != self.n_columns:
            index = min(len(record), self.n_columns)
            token = _decode(record[index]) if index < len(record) else None
            expectation = f"must have {self.n_columns} values, as the first line has"
            bad.add(place, expectation, position=index + 1, token=token)
            return None
        row = []
        for column in columns:
            if bad.holes and is_hole(record[column]):
                row.append(math.nan)
                continue
            try:
                row.append(self._parse(record[column]))
            except ValueError as error:
                bad.add(place, str(error), position=column + 1, token=_decode(record[column]))
                return None
        return row

    def _parse(self, field: str) -> float:
        """Return the number in a field; ValueError, which says what was expected, if it is none."""
        if self._decimal == ".":
            try:
                return parse_number(field)
            except ValueError as error:
                hint = "; or give --decimal comma" if is_decimal_comma(field) else ""
                raise ValueError(f"{error}{hint}") from None
        if "." in field:
            raise ValueError("must have a decimal comma, as others have; or give --decimal point")
        return parse_number(field.replace(",", "."))

    def place_of(self, row: int) -> str:
        """Return where a row stands: the line that it begins on."""
        return f"line {self._lines.line_of(row)}"

    def find_index(self) -> dict[int, int | None]:
        """Return the columns that a data frame has written its index into."""
        return find_index(self._path, self.names or (), self._first_values)

    def _first_values(self, column: int) -> list[str]:
        return [record[column] for record in self._sample]

    def _refuse_text(self, columns: Sequence[int]) -> None:
        """Raise InputError if one of the columns holds nothing but text."""
        for column in columns:
            found = find_text(self._first_values(column))
            if found is not None:
                others = [
                    other
                    for other in range(self.n_columns)
                    if find_text(self._first_values(other)) is None
                ]
                what = f"text, {show_token(_decode(found))} for example" if found else "nothing"
                if self.n_columns == 1 and _SEPARATORS.search(found):
                    hint = "give --delimiter if it holds several values"
                    raise text_error(self._path, self.names, column, what, others, hint)
                raise text_error(self._path, self.names, column, what, others)

    def _whole_lines(self) -> Iterator[str]:
        """Yield the text in blocks that end with a line, every line ended by a newline."""
        rest = ""
        while True:
            with translate_read_errors(self._path):
                chunk = self._text.read(_BLOCK_SIZE)
            lines, newline, tail = chunk.rpartition("\n")
            if newline:
                yield f"{rest}{lines}\n"
                rest = tail
            elif chunk:
                rest += chunk
            else:
                break
            if len(rest) > _MAX_LINE_LENGTH:
                raise InputError(
                    str(self._path), f"has a line of over {_MAX_LINE_LENGTH} characters"
                )
        if rest:
            yield f"{rest}\n"

    def _read_heading(self, dialect: Dialect, features: Sequence[str]) -> int:
        """Return how many fields the first line has, and keep them as names if it is a heading."""
        for text in self._blocks:
            if separator := _SEPARATOR.match(text):  # Excel's separator line
                self._line += 1
                text = text[separator.end() :]
                dialect = dialect._replace(delimiter=dialect.delimiter or separator[2])
            if not text.strip("\n "):
                self._line += text.count("\n")
                continue
            if "\0" in text:
                raise InputError(str(self._path), "holds zero bytes; must be UTF-8 text")
            lines = _first_lines(text)
            self._recognise(lines, dialect)
            records = read_records(_split_lines(text), self._delimiter)
            try:
                first = next(filter(None, records), None)
            except csv.Error as error:
                place = f"{self._path} line {self._line + records.line_num}"
                raise InputError(place, f"is not a row of values: {error}") from None
            if first is None:
                self._line += records.line_num
                continue
            rest = text
            self._sample = sample_records(lines, self._delimiter)
            if self._is_heading(first, dialect.header, features):
                self.names = self._decode_names(first)
                self._line += records.line_num
                rest = "".join(islice(_split_lines(text), records.line_num, None))
                self._sample = self._sample[1:]
            self._sample = [record for record in self._sample if len(record) == len(first)]
            self._blocks = chain([rest] if rest else [], self._blocks)
            return len(first)
        raise InputError(str(self._path), "holds no rows")

    def _recognise(self, lines: Sequence[str], dialect: Dialect) -> None:
        """Set delimiter and decimal: as given by options, or else recognised from the lines."""
        delimiter, decimal = dialect.delimiter, dialect.decimal
        given = delimiter is not None
        if delimiter is None:
            delimiter = recognise_delimiter(self._path, lines, self._delimiter, decimal)
        if decimal is None:
            decimal = "."
            records = sample_records(lines, delimiter)
            if records:
                decimal = recognise_decimal(self._path, records, delimiter, given=given)
        if dialect.header is not False:
            refuse_row_names(self._path, lines, delimiter, decimal, given=given)
        self._delimiter, self._decimal = delimiter, decimal

    def _is_heading(self, first: list[str], given: bool | None, features: Sequence[str]) -> bool:
        """Return whether the first line holds names, and note where that could be otherwise."""
        if given is not None:
            return given
        others = self._sample[1:]
        found = is_heading(first, others, features)
        line = show_token(_decode(self._delimiter.join(first)))
        if found and any(map(looks_numeric, first)):
            self.notes.append(
                f"note: {self._path}: the first line ({line}) was read as names; give --header no "
                "if it is a row"
            )
        elif not found and may_be_heading(first, others):
            self.notes.append(
                f"warning: {self._path}: the first line ({line}) was read as a row of numbers; "
                "give --header yes if it holds names, or --header no"
            )
        elif not found and not all(map(looks_numeric, filter(str.strip, first))):
            self._hint = "; give --header yes if the first line holds names"
        return found

    def _decode_names(self, first: Sequence[str]) -> tuple[str, ...]:
        """Return the fields of a heading as names; what is not UTF-8 is read as Windows-1252."""
        words = [word.strip() for word in first]
        if any(map(_is_undecoded, words)):
            words = list(map(_decode_windows, words))
            self.notes.append(
                f"note: {self._path}: the names are not UTF-8; they were read as Latin-1 "
                f"(Windows-1252): {list_names(words)}"
            )
        return tuple(words)


def _is_undecoded(word: str) -> bool:
    """Return whether `word` holds bytes that are not UTF-8."""
    return _UNDECODED.search(word) is not None


def _decode(word: str) -> str:
    """Return `word` as text: what is not UTF-8 is read as Windows-1252."""
    return _decode_windows(word) if _is_undecoded(word) else word


def _decode_all(words: Sequence[str]) -> list[str]:
    """Return words as text; a look at all of them at once is a hundred times as fast."""
    together = "".join(words)
    is_text = together.isascii() or not _UNDECODED.search(together)
    return list(words) if is_text else list(map(_decode, words))


def _decode_windows(word: str) -> str:
    content = word.encode("utf-8", "surrogateescape")
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:  # five bytes are undefined in cp1252
        return content.decode("latin-1")


def _first_lines(text: str) -> list[str]:
    """Return the first lines of `text`, enough of them to tell how the file is written."""
    lines: list[str] = []
    size = 0
    for line in islice(_split_lines(text), _SAMPLE_LINES):
        lines.append(line)
        size += len(line)
        if size > _SAMPLE_SIZE and len(lines) > 2:
            break
    return lines


def _split_lines(text: str) -> Iterable[str]:
    """Return the lines of `text`: only a newline ends one, unlike for str.splitlines."""
    return io.StringIO(text)
