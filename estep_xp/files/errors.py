"""What is wrong with an input, in one line that a person can act on, and how it quotes values."""

from __future__ import annotations

import re

_MAX_TOKEN_LENGTH = 40
_MAX_MESSAGE_LENGTH = 500


class InputError(ValueError):
    """Bad input, named as precisely as possible.

    Parameters
    ----------
    field : str
        What holds the bad value: ``x``, ``means``, ``variances``, ``weights``, or a file and its
        line.
    expectation : str
        What was expected there.
    position : int, optional
        Which value of the field, counted from 1.
    token : str, optional
        The value as it was written; None where a value is missing.
    """

    def __init__(
        self, field: str, expectation: str, *, position: int | None = None, token: str | None = None
    ) -> None:
        self.field = field
        self.position = position
        self.token = token
        self.expectation = expectation
        super().__init__(field, expectation)

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"

    @property
    def reason(self) -> str:
        """The message without its field, as a page shows it beside the field."""
        if self.position is None:
            return self.expectation
        found = "missing" if self.token is None else show_token(self.token)
        return f"value {self.position} is {found}; {self.expectation}"


def show_token(token: str) -> str:
    """Return `token` as an error message shows it: cut, and with control characters escaped."""
    if not token.strip():
        return "empty"
    text = cut(escape(token[: _MAX_TOKEN_LENGTH + 1]))
    return f"'{text}'" if ";" in text else text


def cut(word: str) -> str:
    """Return `word` as it is, or its beginning if it is long."""
    return word if len(word) <= _MAX_TOKEN_LENGTH else f"{word[: _MAX_TOKEN_LENGTH - 3]}..."


def escape(text: str) -> str:
    r"""Return `text` with what a terminal would not print, or would obey, written as ``\x1b``."""
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in text
    )


def format_line(message: str) -> str:
    """Return `message` on one line of reasonable length, whatever it quotes."""
    line = escape(re.sub(r"\s*\n\s*", " ", message.strip()))
    return line if len(line) <= _MAX_MESSAGE_LENGTH else f"{line[: _MAX_MESSAGE_LENGTH - 3]}..."
