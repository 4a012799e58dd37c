"""Signals that a command was started to ignore: under nohup, or in the background of a script."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
from urllib.request import urlopen

import pytest

from tests.commands import COMMAND, WORKED, start

ENDING = ("SIGHUP", "SIGINT", "SIGTERM")
needs_page = pytest.mark.skipif(
    importlib.util.find_spec("starlette") is None, reason="the page needs the extra calculator"
)


def ignoring(name):
    """Return the command in a shell that ignores a signal, which the command inherits."""
    return ["sh", "-c", f'trap "" {name.removeprefix("SIG")}; exec "$@"', "sh", *COMMAND]


@pytest.mark.parametrize("name", ENDING)
def test_an_ignored_signal_does_not_end_a_command(name):
    arguments = ("calculate", "--x", "-", *WORKED, "--csv")
    process = start(*arguments, command=ignoring(name), stdin=subprocess.PIPE, bufsize=0)
    process.stdin.write(b"0.5 " * 100_000)  # more than the pipe holds: the command reads
    process.send_signal(getattr(signal, name))
    stdout, stderr = process.communicate(b"0.5", timeout=60)
    assert (process.returncode, stderr) == (0, b"")
    assert stdout.count(b"\n") == 100_002


@needs_page
@pytest.mark.parametrize("name", ENDING)
def test_an_ignored_signal_does_not_end_the_page(name):
    process = start("calculator", "--no-browser", "--port", "0", command=ignoring(name))
    try:
        address = process.stdout.readline().decode().strip()
        for _ in range(2):
            with urlopen(address, timeout=60) as response:
                assert response.status == 200
            process.send_signal(getattr(signal, name))
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
        for other in ENDING:  # of which one is ignored, and the others still end it
            process.send_signal(getattr(signal, other))
        _, stderr = process.communicate(timeout=30)
        assert process.returncode in (129, 130, 143)
        assert stderr == b"Ctrl-C ends the calculator.\n"
    finally:
        process.kill()
        process.communicate()
