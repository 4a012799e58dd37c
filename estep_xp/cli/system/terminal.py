"""Standard output and standard error: what they can show, and what happens when they end."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from estep_xp.cli.text.errors import SystemFailure
from estep_xp.files.errors import InputError, format_line


class StdoutClosed(BaseException):
    """The reader of standard output has closed it, as ``head`` does: the command ends quietly."""


def write_stdout(text: str) -> None:
    """Write `text` to standard output.

    Raises
    ------
    StdoutClosed
        If it is a pipe whose reader has closed it.
    SystemFailure
        If it cannot be written: the disk is full, say.
    """
    with _translate_stdout_errors() as stdout:
        stdout.write(text)


def flush_stdout() -> None:
    """Flush standard output, with the errors of :func:`write_stdout`."""
    if sys.stdout is not None:
        with _translate_stdout_errors() as stdout:
            stdout.flush()


class StdoutFile:
    """Standard output as a file of bytes, with the errors of :func:`write_stdout`."""

    def write(self, content: bytes) -> int:
        """Write `content` and return its length."""
        with _translate_stdout_errors() as stdout:
            stdout.flush()
            return stdout.buffer.write(content)


def open_stdin() -> io.BufferedReader:
    """Open standard input, which stays open, as a file of bytes; InputError if it is closed."""
    if sys.stdin is None:
        raise InputError("standard input", "is closed")
    return os.fdopen(os.dup(sys.stdin.fileno()), "rb")


def read_stdin() -> str:
    """Return all of standard input.

    Raises
    ------
    InputError
        If there is none.
    """
    if sys.stdin is None:
        raise InputError("standard input", "is closed")
    # In pieces: Python handles signals only between reads.
    stdin: Any = sys.stdin.buffer
    pieces: list[bytes] = []
    try:
        while piece := stdin.read1(1 << 16):
            pieces.append(piece)
        return b"".join(pieces).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise InputError("standard input", f"{error.strerror or error}") from error


@contextmanager
def _translate_stdout_errors() -> Iterator[Any]:
    if sys.stdout is None:
        raise SystemFailure("standard output: is closed")
    try:
        yield sys.stdout
    except OSError as error:
        # Discard the buffer: the interpreter would fail again when it flushes stdout at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        if isinstance(error, BrokenPipeError):
            raise StdoutClosed from None
        raise SystemFailure(f"standard output: {error.strerror or error}") from error


def write_stderr(message: str) -> None:
    """Write one line to standard error; errors are ignored."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(f"{format_line(message)}\n")
            sys.stderr.flush()


def write_stderr_lines(lines: Iterable[str]) -> None:
    """Write whole lines to standard error, after standard output; errors are ignored."""
    flush_stdout()
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.writelines(lines)
            sys.stderr.flush()


def escape_unencodable() -> None:
    """Make the standard streams write characters that their encoding lacks as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether `stream` is a terminal."""
    return stream is not None and stream.isatty()


def wants_colour(stream: TextIO | None) -> bool:
    """Return whether `stream` is a terminal, and neither a dumb one nor told to be plain."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not plain and is_terminal(stream)


def shows_progress(*, quiet: bool) -> bool:
    """Return whether a bar is welcome: on a terminal that can redraw a line, unless told not to."""
    return not quiet and is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"


def columns() -> int | None:
    """Return how many columns standard output has; None if lines may be of any length."""
    if is_terminal(sys.stdout) or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return None
