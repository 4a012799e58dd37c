"""Options that take a number or one of a few words: parsers for typer, with errors of our words.

typer's own numbers (``min=``) and choices are refused in words that change with its version, never
name the value as it was typed, and let 1_000, digits of other scripts, nan and inf pass. A parser
that is handed to typer is called at the same time, and its :class:`OptionError` passes through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from estep_xp.cli.text.errors import OptionError
from estep_xp.cli.text.numbers import parse_number
from estep_xp.files.errors import show_token

_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_MAX_INTEGER = 10**18 - 1
_MAX_SIZES = 100  # numbers of components that are tried


def choice_parser(option: str, choices: Collection[str]) -> Callable[[str], str]:
    """Return a parser of an option that takes one of a few words.

    Parameters
    ----------
    option : str
        Its name, for the error.
    choices : collection of str
        The words.
    """

    def parse_choice(text: str) -> str:
        if text not in choices:
            raise OptionError(option, f"is {show_token(text)}; must be one of {', '.join(choices)}")
        return text

    return parse_choice


def integer_parser(
    option: str, *, minimum: int, maximum: int = _MAX_INTEGER
) -> Callable[[str], int]:
    """Return a parser of an option that takes a whole number.

    Parameters
    ----------
    option : str
        Its name, for the error.
    minimum, maximum : int
        The smallest and the largest number that are allowed.
    """

    def parse_integer(given: str | int) -> int:
        text = str(given)  # a default is a number already
        word = text.strip()
        if not _WHOLE.fullmatch(word) or not minimum <= int(word) <= maximum:
            bounds = f" from {minimum} to {maximum}"
            if maximum == _MAX_INTEGER:
                digits = ", of at most 18 digits" if len(word) > 18 and word.isdecimal() else ""
                bounds = f", {minimum} or more{digits}"
            raise OptionError(option, f"is {show_token(text)}; must be a whole number{bounds}")
        return int(word)

    return parse_integer


def choices_parser(option: str, choices: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Return a parser of an option that takes some of a few words, with commas between.

    Hyphens are read as underscores, and words that stand there twice count once.

    Parameters
    ----------
    option : str
        Its name, for the error.
    choices : collection of str
        The words.
    """
    parse_choice = choice_parser(option, choices)

    def parse_choices(given: str | tuple[str, ...]) -> tuple[str, ...]:
        if isinstance(given, tuple):  # a default is a list already
            return given
        words = (word.strip().replace("-", "_") for word in given.split(","))
        return tuple(dict.fromkeys(map(parse_choice, words)))

    return parse_choices


def sizes_parser(option: str) -> Callable[[str], tuple[int, ...]]:
    """Return a parser of an option that takes whole numbers from 1 on: 3, 2,4 or 1-8.

    Parameters
    ----------
    option : str
        Its name, for the error.
    """

    def parse_sizes(given: str | tuple[int, ...]) -> tuple[int, ...]:
        if isinstance(given, tuple):
            return given
        sizes: dict[int, None] = {}
        for word in map(str.strip, given.split(",")):
            ends = [int(end) for end in word.split("-") if _WHOLE.fullmatch(end.strip())]
            first, last = (ends[0], ends[-1]) if ends else (0, 0)
            if len(ends) != word.count("-") + 1 or len(ends) > 2 or not 1 <= first <= last:
                raise OptionError(
                    option,
                    f"is {show_token(given)}; must be a whole number, 1 or more, or several: "
                    "2,4 or 1-8, each of at most 18 digits",
                )
            if last - first >= _MAX_SIZES or len(sizes) >= _MAX_SIZES:
                raise OptionError(
                    option,
                    f"is {show_token(given)}; must be a whole number, or at most {_MAX_SIZES} of "
                    "them",
                )
            sizes |= dict.fromkeys(range(first, last + 1))
        return tuple(sizes)

    return parse_sizes


def float_parser(option: str) -> Callable[[str], float]:
    """Return a parser of an option that takes a finite number, 0 or more.

    Parameters
    ----------
    option : str
        Its name, for the error.
    """

    def parse_float(given: str | float) -> float:
        text = str(given)  # a default is a number already
        try:
            number = parse_number(text)
        except ValueError as error:
            raise OptionError(option, f"is {show_token(text)}; {error}") from None
        if number < 0:
            raise OptionError(option, f"is {show_token(text)}; must not be negative")
        return number

    return parse_float
