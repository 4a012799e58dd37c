"""Numbers as people write them, one or a list of them, and as people read them."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from estep_xp.files.errors import InputError

# What float() accepts beyond this is refused: 1_000, digits of other scripts, infinity, nan.
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?", re.ASCII)
# "1,05" and "1,000": a number that begins with a superfluous zero, right after a digit and a comma.
_COMMA_AND_ZERO = re.compile(r"(?<=\d),0\d", re.ASCII)
_BLANKS = re.compile(r"[^\S\x1c-\x1f]+")  # white space; Python counts four control codes as such
_POINT = "write decimals with a point (0.5), not a comma"


class Values(NamedTuple):
    """A list of numbers with the words that were written for them.

    Attributes
    ----------
    field : str
        Where they were written, for error messages.
    numbers : list of float
        The numbers.
    tokens : list of str
        The words.
    """

    field: str
    numbers: list[float]
    tokens: list[str]

    def error(self, index: int, expectation: str) -> InputError:
        """Return the error that the value at `index` (from 0) is not what was expected."""
        token = self.tokens[index] if index < len(self.tokens) else None
        return InputError(self.field, expectation, position=index + 1, token=token)


def parse_number(token: str) -> float:
    """Return the number that `token` writes.

    Parameters
    ----------
    token : str
        One decimal number; a Unicode minus is read as a minus.

    Raises
    ------
    ValueError
        If it is not a finite decimal number; the text says what was expected.
    """
    word = token.strip().replace("\N{MINUS SIGN}", "-")
    if not _DECIMAL.fullmatch(word):
        raise ValueError(_expectation(word))
    number = float(word)
    if math.isinf(number):
        raise ValueError("must be between -1.8e308 and 1.8e308, the range of a 64-bit float")
    return number


def looks_numeric(token: str) -> bool:
    """Return whether `token` was meant as a number: it may be none that :func:`parse_number` takes.

    Parameters
    ----------
    token : str
        A field of a file's first line, say, which might be a heading.
    """
    try:
        float(token.strip().replace("\N{MINUS SIGN}", "-"))
    except ValueError:
        return False
    return True


def is_decimal_comma(token: str) -> bool:
    """Return whether `token` is a number with a decimal comma: "0,5"."""
    return _DECIMAL_COMMA.fullmatch(token.strip()) is not None


def parse_values(field: str, text: str) -> Values:
    """Return the numbers in `text`, separated by commas, white space or newlines.

    Parameters
    ----------
    field : str
        What they are, for error messages.
    text : str
        The list.

    Raises
    ------
    InputError
        If there is none, an item is empty or no finite decimal number, or commas look like decimal
        commas.
    """
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")  # a file's byte order mark
    tokens = [word for item in text.split(",") for word in _split_words(item)]
    numbers = []
    for index, token in enumerate(tokens):
        try:
            numbers.append(parse_number(token))
        except ValueError as error:
            raise InputError(field, str(error), position=index + 1, token=token) from None
    _refuse_decimal_commas(field, text)
    return Values(field, numbers, tokens)


def format_exact(number: float) -> str:
    """Return `number` with the fewest digits that read back as the same float: 2, not 2.0."""
    return repr(number).removesuffix(".0")


def format_decimal(number: float, digits: int = 6) -> str:
    """Return `number` with `digits` decimals, or as short as possible if it is beyond those."""
    return f"{number:.{digits}f}" if abs(number) < 1e15 else repr(number)


def format_count(count: int, noun: str) -> str:
    """Return a count and what is counted: 1 column, 2 columns."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def require_positive(values: Values) -> None:
    """Raise InputError unless every number is positive."""
    for index, number in enumerate(values.numbers):
        if not number > 0:
            raise values.error(index, "must be positive")


def require_weights(values: Values) -> None:
    """Raise InputError unless the numbers are weights: none negative, and not all zero."""
    for index, number in enumerate(values.numbers):
        if number < 0:
            raise values.error(index, "must not be negative")
    if not any(values.numbers):
        raise values.error(0, "at least one weight must be positive")


def require_as_many(values: Values, model: Values) -> None:
    """Raise InputError unless there is one number for each number of `model`."""
    count = len(model.numbers)
    if len(values.numbers) != count:
        extra = min(len(values.numbers), count)
        raise values.error(
            extra, f"there must be {count} values, one for each of the {model.field}"
        )


def _split_words(item: str) -> list[str]:
    """Return the words of one item between commas; an empty item is an empty word."""
    return [word for word in _BLANKS.split(item) if word] or [""]


def _expectation(word: str) -> str:
    """Return what was expected in place of `word`, which is not a decimal number."""
    if ";" in word:
        return f"separate values by commas or white space, not semicolons; {_POINT}"
    if _DECIMAL_COMMA.fullmatch(word):
        return _POINT
    if word.lstrip("+-").casefold() in ("nan", "inf", "infinity"):
        return "must be a finite number"
    return "must be a number"


def _refuse_decimal_commas(field: str, text: str) -> None:
    """Raise InputError where commas are more likely to be decimal commas than separators.

    Every list of whole numbers with commas could be read either way. Two signs tell: a line of
    several words that are all of the form "0,5", and a zero that only decimals have, as in "1,05".
    """
    position = 1
    for line in text.splitlines():
        words = line.split()
        all_alike = len(words) > 1 and all(_DECIMAL_COMMA.fullmatch(word) for word in words)
        for word in words:
            if all_alike or _COMMA_AND_ZERO.search(word):
                raise InputError(
                    field,
                    f"{_POINT}, or a space after a comma between values",
                    position=position,
                    token=word,
                )
            position += sum(1 for token in word.split(",") if token)
