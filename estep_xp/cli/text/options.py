"""Numbers and choices as options of a command: one each, refused by the option's name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from estep_xp.cli.text.errors import InputError, shown
from estep_xp.cli.text.numbers import parse_number

_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_LARGEST = 10**18 - 1


def require_choice(option: str, text: str, choices: Sequence[str]) -> None:
    """Raise InputError unless `text`, given for an option, is one of its choices."""
    if text not in choices:
        raise InputError(option, f"is {shown(text)}; must be one of {', '.join(choices)}")


def whole_option(option: str, text: str, *, least: int, most: int = _LARGEST) -> int:
    """Return the whole number that was given for an option.

    Parameters
    ----------
    option : str
        Its name, for the error.
    text : str
        What was given.
    least, most : int
        The smallest and the largest number that are allowed.

    Raises
    ------
    InputError
        If it is no whole number, or one that is not allowed.
    """
    word = text.strip()
    if not _WHOLE.fullmatch(word) or not least <= int(word) <= most:
        bounds = f" from {least} to {most}"
        if most == _LARGEST:
            digits = ", of at most 18 digits" if len(word) > 18 and word.isdecimal() else ""
            bounds = f", {least} or more{digits}"
        raise InputError(option, f"is {shown(text)}; must be a whole number{bounds}")
    return int(word)


def number_option(option: str, text: str) -> float:
    """Return the number, 0 or more, that was given for an option.

    Parameters
    ----------
    option : str
        Its name, for the error.
    text : str
        What was given.

    Raises
    ------
    InputError
        If it is no finite number, or a negative one.
    """
    try:
        number = parse_number(text)
    except ValueError as error:
        raise InputError(option, f"is {shown(text)}; {error}") from None
    if number < 0:
        raise InputError(option, f"is {shown(text)}; must not be negative")
    return number
