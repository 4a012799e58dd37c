"""How a text file writes its rows: separators, decimals, names; told by a person or by the file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from estep_xp.cli.text.numbers import format_count, is_decimal_comma, looks_numeric
from estep_xp.files.errors import InputError, show_token

_WORDS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " ", "point": ".", "\\t": "\t"}
_CANDIDATES = (",", ";", "\t")
_WHOLE = re.compile(r"\d+", re.ASCII)
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?", re.ASCII)
_YEARS = range(1800, 2101)


class Dialect(NamedTuple):
    """The format of a text file as given by options; None where it is to be recognised.

    Attributes
    ----------
    delimiter : str or None
        What separates the values of a line.
    decimal : str or None
        What separates the digits of a number: "." or ",".
    header : bool or None
        Whether the first line holds names.
    """

    delimiter: str | None = None
    decimal: str | None = None
    header: bool | None = None


def dialect_options(delimiter: str | None, decimal: str | None, header: bool | None) -> Dialect:
    """Return what the options --delimiter and --decimal say; InputError if that is nothing."""
    if delimiter is not None:
        character = _WORDS.get(delimiter.strip().casefold(), delimiter)
        is_allowed = len(character) == 1 and character.isascii()
        if not is_allowed or character.isalnum() or character in "+-.\"'\\\n\r\0":
            raise InputError(
                "--delimiter",
                f"is {show_token(delimiter)}; must be comma, semicolon, tab, space or another "
                "character",
            )
        delimiter = character
    if decimal is not None:
        character = _WORDS.get(decimal.strip().casefold(), decimal)
        if character not in (".", ","):
            raise InputError("--decimal", f"is {show_token(decimal)}; must be point or comma")
        decimal = character
    return Dialect(delimiter, decimal, header)


def read_records(lines: Iterable[str], delimiter: str) -> Any:
    """Return a reader of the fields of `lines`: none on a line of nothing but white space."""
    separates = delimiter != " " and delimiter.isspace()
    blank_lines = (
        "\n" if line.isspace() and not (separates and delimiter in line) else line for line in lines
    )
    return csv.reader(blank_lines, delimiter=delimiter, skipinitialspace=True, strict=True)


def sample_records(lines: Iterable[str], delimiter: str) -> list[list[str]]:
    """Return the fields of `lines`, less those of blank lines and those after a bad quote."""

    def good() -> Iterator[list[str]]:
        try:
            yield from filter(None, read_records(lines, delimiter))
        except csv.Error:
            return

    return list(good())


def recognise_delimiter(
    path: Path, lines: Sequence[str], preferred: str, decimal: str | None
) -> str:
    """Return what separates the values of a file.

    Parameters
    ----------
    path : Path
        The file, for errors.
    lines : sequence of str
        Its first lines.
    preferred : str
        What its name's ending says.
    decimal : str or None
        What separates decimals, if an option gives it.

    Raises
    ------
    InputError
        If the file can be read in several ways.
    """
    candidates = _CANDIDATES if preferred == "," else (";", preferred)
    if decimal == "," and not any('"' in line for line in lines):
        candidates = (";", "\t")
        preferred = ";" if preferred == "," else preferred  # a single column has no separator
    fits = {
        candidate: fit
        for candidate in candidates
        if any(candidate in line for line in lines)
        and (fit := _score_delimiter(sample_records(lines, candidate), candidate)) is not None
    }
    if not fits:
        return " " if _score_delimiter(sample_records(lines, " "), " ") == 1 else preferred
    best = [candidate for candidate, fit in fits.items() if fit == max(fits.values())]
    if len(best) > 1:
        words = [_delimiter_word(candidate) for candidate in best]
        raise InputError(
            str(path),
            f"may have a {' or a '.join(words)} between values; give --delimiter "
            f"{' or --delimiter '.join(words)}",
        )
    return best[0]


def recognise_decimal(
    path: Path, records: Sequence[Sequence[str]], delimiter: str, *, given: bool
) -> str:
    """Return what separates the digits of a file's numbers.

    Parameters
    ----------
    path : Path
        The file, for errors.
    records : sequence of sequences of str
        The fields of its first lines.
    delimiter : str
        What separates its values.
    given : bool
        Whether an option gives the delimiter.

    Raises
    ------
    InputError
        If there are signs of both.
    """
    if delimiter == "," and given:
        return "."
    if delimiter == ",":
        _refuse_decimal_commas(path, records)
        return "."
    fields = [field.strip() for record in records for field in record]
    if not any(map(is_decimal_comma, fields)):
        return "."
    if max(map(len, records)) == 1 and not given:
        comma = next(filter(is_decimal_comma, fields))
        raise InputError(
            str(path),
            f"has lines as {show_token(comma)}; give --decimal comma, or --delimiter comma",
        )
    for field in fields:
        if _DECIMAL_POINT.fullmatch(field):
            comma = next(filter(is_decimal_comma, fields))
            raise InputError(
                str(path),
                f"has decimal commas ({show_token(comma)}) and points ({show_token(field)}); give "
                "--decimal comma or --decimal point",
            )
    return ","


def refuse_row_names(
    path: Path, lines: Sequence[str], delimiter: str, decimal: str, *, given: bool
) -> None:
    """Raise InputError if each line has one value more than the first one has names.

    So R writes a table: the names of its rows stand under no name.

    Parameters
    ----------
    path : Path
        The file, for the error.
    lines : sequence of str
        Its first lines.
    delimiter : str
        What separates its values, or the best guess.
    decimal : str
        What separates the digits of its numbers.
    given : bool
        Whether an option gives the delimiter.
    """
    if _score_delimiter(sample_records(lines, delimiter), delimiter) is not None:
        return
    candidates = (delimiter,) if given else (*_CANDIDATES, " ")
    for candidate in candidates:
        first, *others = sample_records(lines, candidate) or [[]]
        n_names = len(first)
        if (
            n_names
            and len(others) > 1  # a single line may just be a bad row
            and candidate != decimal
            and not any(map(_is_number, first))
            and {len(record) for record in others} == {n_names + 1}
            and any(record[-1] and any(map(_is_number, record[1:])) for record in others)
        ):
            raise InputError(
                str(path),
                f"has {format_count(n_names, 'name')} and {n_names + 1} values a line, as R writes "
                "the names of rows; give row.names = FALSE to write.table, or put a name for them "
                "in front of the first line",
            )


def is_heading(
    first: Sequence[str], others: Sequence[Sequence[str]], features: Sequence[str]
) -> bool:
    """Return whether the first line holds names: none of its fields is a number.

    Numbers are names, too, if they are the names of a model's features, or if they look like names
    and an index stands before them, whose name is empty as pandas writes it: ``,0,1``.

    Parameters
    ----------
    first : sequence of str
        The first line's fields.
    others : sequence of sequences of str
        Those of the lines below.
    features : sequence of str
        The names of a model's features; may be empty.
    """
    words = [field.strip() for field in first]
    others_hold_decimals = any(map(_DECIMAL_POINT.fullmatch, set(words).difference(features)))
    if features and set(features) <= set(words) and not others_hold_decimals:
        return True
    if len(words) > 1 and not words[0]:
        return any(words) and (
            not any(map(_is_number, words))
            or may_be_heading(words[1:], [row[1:] for row in others])
        )
    return any(words) and not any(map(_is_number, words))


def may_be_heading(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Return whether a first line of numbers looks like names: 0, 1, 2 ..., or years.

    It is a row where the lines below continue it: by whole numbers as large, or by counting on.
    The arguments are those of :func:`is_heading`.
    """
    words = list(map(str.strip, first))
    rows = [record for record in others if len(record) == len(words)]
    if not rows or not all(map(_WHOLE.fullmatch, words)):
        return False
    if words != [str(column) for column in range(len(words))]:
        steps = {int(b) - int(a) for a, b in pairwise(words)}
        are_years = all(len(word) == 4 and int(word) in _YEARS for word in words)
        if not are_years or (steps and min(steps) <= 0 <= max(steps)):
            return False
    return not all(
        _continues_below(word, [record[column].strip() for record in rows])
        for column, word in enumerate(words)
    )


def _is_number(word: str) -> bool:
    return looks_numeric(word) or is_decimal_comma(word)


def _continues_below(word: str, below: Sequence[str]) -> bool:
    """Return whether a column whose first value is `word` goes on with values of the same kind."""
    try:
        values = sorted(map(float, below))
        first, second, *third = float(word), *map(float, below[:2])
    except ValueError:
        return False
    if third and abs(third[0] - 2 * second + first) <= 1e-9 * abs(third[0] - first):
        return True  # 0, 0.1, 0.2 ...
    if not any(map(_WHOLE.fullmatch, below)):
        return False
    gap = max((b - a for a, b in pairwise(values)), default=0.0)
    return values[0] - gap <= first <= values[-1] + gap


def _score_delimiter(records: Sequence[Sequence[str]], delimiter: str) -> float | None:
    """Return how well a delimiter explains some lines: from -1 to 1, None if it does not.

    It does if most lines have as many fields as the first one, at least two. A number speaks for
    it, a field in which another delimiter is left speaks against it.
    """
    if not records or len(records[0]) < 2:
        return None
    alike = [record for record in records if len(record) == len(records[0])]
    if 2 * len(alike) <= len(records):
        return None
    rest = [other for other in _CANDIDATES if other != delimiter]
    fields = [field.strip() for record in alike[1:] or alike for field in record]

    def vote(field: str) -> int:
        if looks_numeric(field) or (delimiter != "," and is_decimal_comma(field)):
            return 1
        return -1 if any(other in field for other in rest) else 0

    return sum(map(vote, fields)) / len(fields)


def _refuse_decimal_commas(path: Path, records: Sequence[Sequence[str]]) -> None:
    """Raise InputError where commas seem to be decimal commas.

    Two signs tell: names for half of the values, and two whole numbers a line of which the second
    has a zero in front that only decimals have, as in "1,05".
    """
    first, others = records[0], records[1:]
    halves = [field.strip() for record in others for field in record[1::2]]
    if not halves or not all(map(_WHOLE.fullmatch, halves)):
        return
    n_names, n_values = len(first), len(others[0])
    if any(len(record) != n_values for record in others):
        return
    if n_values == 2 * n_names:
        found = f"has {format_count(n_names, 'name')} and {n_values} values a line"
    elif (
        n_values == n_names == 2
        and all(map(looks_numeric, first))
        and any(re.match(r"0\d", half) for half in [first[1], *halves])
    ):
        found = f"has lines as {show_token(','.join(others[0]))}"
    else:
        return
    hint = "give --decimal comma, or --delimiter comma" if n_values == 2 else "write points"
    raise InputError(str(path), f"{found}, as if commas were decimal commas; {hint}")


def _delimiter_word(delimiter: str) -> str:
    return next(word for word, character in _WORDS.items() if character == delimiter)
