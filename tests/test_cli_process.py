"""How a process ends: exit codes, signals, and errors of one line."""

from __future__ import annotations

import signal
import warnings

import pytest

from estep_xp.cli.system.process import run_to_exit_code
from estep_xp.cli.text.errors import SystemFailure
from estep_xp.files.errors import InputError


@pytest.fixture
def handlers():
    """The signals that end a process, handled as Python does where its parent ignores none."""
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield usual
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("first", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_repeated_signals_do_not_disturb_the_tidying_up(handlers, first, code):
    tidied = []

    def command():
        try:
            signal.raise_signal(getattr(signal, first))
        finally:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            tidied.append(True)
        return 0

    assert run_to_exit_code(command) == code
    assert tidied == [True]
    # Nor the end of the process, which is at hand.
    assert {signal.getsignal(number) for number in handlers} == {signal.SIG_IGN}


def test_without_a_signal_all_handlers_are_as_before(handlers):
    assert run_to_exit_code(lambda: 0) == 0
    assert {number: signal.getsignal(number) for number in handlers} == handlers


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("x", "must\nbe"), 2, "x: must be"),
        (SystemFailure("full"), 1, "full"),
        (MemoryError(), 1, "out of memory"),
        (OSError(5, "Input/output error", "disk"), 1, "disk: Input/output error"),
        (ZeroDivisionError("division by zero"), 1, "internal error, please report it: ZeroDivisio"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(capsys, error, code, message):
    def command():
        raise error

    assert run_to_exit_code(command) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_warnings_are_one_line(capsys):
    def command():
        warnings.warn("mind\nthe gap", UserWarning, stacklevel=1)
        return 0

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert run_to_exit_code(command) == 0
    assert capsys.readouterr().err == "warning: mind the gap\n"
