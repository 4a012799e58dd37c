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
