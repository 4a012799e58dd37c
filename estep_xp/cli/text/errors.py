"""Errors that are no bad value in an input: one line each that a person can act on."""

from __future__ import annotations


class SystemFailure(Exception):
    """The system refused: an unwritable file, a missing package, an output that exists."""


class OptionError(Exception):
    """An option does not take the value that was given, whatever else is right.

    It is no ValueError, for which typer has words of its own.
    """

    def __init__(self, option: str, expectation: str) -> None:
        super().__init__(f"{option}: {expectation}")
