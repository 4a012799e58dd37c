"""Numbers as options of a command: one each, refused by the option's name."""

from __future__ import annotations

import re

from estep_xp._io.errors import InputError, shown
from estep_xp._io.numbers import parse_number

_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)


def whole_option(option: str, text: str, *, least: int) -> int:
    """Return the whole number that was given for an option.

    Parameters
    ----------
    option : str
        Its name, for the error.
    text : str
        What was given.
    least : int
        The smallest number that is allowed.

    Raises
    ------
    InputError
        If it is no whole number, or a smaller one.
    """
    word = text.strip()
    if not _WHOLE.fullmatch(word) or int(word) < least:
        raise InputError(option, f"is {shown(text)}; must be a whole number, {least} or more")
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
