"""How a command ends: its exit code after an error, a signal, or a reader who has left."""

from __future__ import annotations

import math
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from estep_xp.cli.system.terminal import (
    StdoutClosed,
    escape_unencodable,
    flush_stdout,
    write_stderr,
)
from estep_xp.cli.text.errors import OptionError, SystemFailure
from estep_xp.files.errors import InputError, cut

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_CLEANUP_TIME = 2.0  # seconds during which repeated signals are ignored
_SIGPIPE_CODE = 141  # a shell's exit code for a command killed by SIGPIPE


class Interrupted(BaseException):
    """A signal asked the command to end: everything unwinds, temporary files go."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(signum)


def run_to_exit_code(command: Callable[[], int]) -> int:
    """Run `command` to its end, whatever that is, and return the exit code of the process.

    An error becomes one line on standard error, never a traceback; only Python's development mode,
    ``python -X dev -m estep_xp``, shows where a bug is.

    Parameters
    ----------
    command : callable
        What to run; it returns an exit code.
    """
    escape_unencodable()
    try:
        with _raise_on_signals(), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return _run_reporting_errors(command)
    except Interrupted as interruption:
        # Ignore repeated signals from here on, also while the interpreter shuts down: they would
        # replace this exit code.
        _ignore_signals()
        return 128 + interruption.signum
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _run_reporting_errors(command: Callable[[], int]) -> int:
    """Return the exit code of `command`, its errors reported."""
    try:
        code = command()
        flush_stdout()
    except StdoutClosed:
        return _SIGPIPE_CODE
    except Exception as error:
        message, code = _describe_error(error)
        write_stderr(message)
    return code


def _describe_error(error: Exception) -> tuple[str, int]:
    """Return what to say about `error`, and the exit code."""
    if isinstance(error, (InputError, OptionError)):
        return str(error), 2
    if isinstance(error, SystemFailure):
        return str(error), 1
    if hasattr(error, "format_message"):  # an exception of typer, or of click
        command = getattr(getattr(error, "ctx", None), "command_path", "estep-xp")
        message = error.format_message().removesuffix(".").replace("Value error, ", "")
        message = re.sub(r"^Invalid value for '(\S+)': ", r"\1: ", message)
        message = re.sub(r"\S+", lambda word: cut(word[0]), message)
        return f"{message}; see {command} --help", getattr(error, "exit_code", 2)
    if isinstance(error, MemoryError):
        return "out of memory", 1
    if isinstance(error, OSError):
        return f"{error.filename or 'system'}: {error.strerror or error}", 1
    if sys.flags.dev_mode:
        raise error
    return f"internal error, please report it: {type(error).__name__}: {error}", 1


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    write_stderr(f"warning: {message}")


@contextmanager
def _raise_on_signals() -> Iterator[None]:
    """Raise Interrupted on the signals that end a process, so that temporary files go."""
    last = -math.inf

    def interrupt(signum: int, _frame: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > _CLEANUP_TIME:
            last = now
            raise Interrupted(signum)

    # Ignored signals stay ignored: nohup and background jobs of shells rely on it.
    previous = {number: signal.getsignal(number) for number in _signal_numbers()}
    heeded = [number for number, handler in previous.items() if handler is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        if last == -math.inf:  # after a signal, run_to_exit_code decides
            for number in heeded:
                signal.signal(number, previous[number])


def _ignore_signals() -> None:
    for number in _signal_numbers():
        signal.signal(number, signal.SIG_IGN)


def _signal_numbers() -> list[int]:
    """Return the numbers of the signals that end a process, as far as the system knows them."""
    return [number for name in _SIGNALS if (number := getattr(signal, name, None)) is not None]
