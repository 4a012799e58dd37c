"""The command line in processes of its own, and what its results must be: for the tests of it."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import io
import math
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import warnings
from pathlib import Path
from unittest import mock

import pytest

from estep_xp.__main__ import main

ROOT = Path(__file__).parent.parent
DATA = ROOT / "examples" / "data"
FAITHFUL = str(DATA / "faithful.csv")
MODEL = str(DATA / "faithful.json")
WAITING = str(DATA / "faithful_waiting.json")
WORKED = ("--means", "2, 6", "--variances", "1, 1.5", "--weights", "0.45, 0.55")
CHANGES_WHAT_IS_SHOWN = ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM", "PYTHONUNBUFFERED")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in CHANGES_WHAT_IS_SHOWN},
    "PYTHONPATH": str(ROOT),
    # Other people's deprecations, of click's names by typer, say, are not what is tested here.
    "PYTHONWARNINGS": "error,ignore::DeprecationWarning",
    "JAX_PLATFORMS": "cpu",
}
COMMAND = [sys.executable, "-m", "estep_xp"]
# Limited by a shell: Python code between fork and exec would run beside JAX's threads.
ON_A_FULL_DISK = ("sh", "-c", 'ulimit -f 6; exec "$@"', "sh", *COMMAND)  # blocks of 512 bytes
needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed"
)
needs_pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed"
)


@contextlib.contextmanager
def default_signals():
    """Start processes that a signal ends, whatever pytest was told to ignore.

    A process inherits what its parent ignores, under nohup or in the background of a shell, but not
    what its parent handles.
    """
    ending = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    ignored = [number for number in ending if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def start(*arguments, folder=None, environment=None, command=COMMAND, **options):
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with default_signals():
        return subprocess.Popen(
            [*command, *arguments],
            cwd=folder or ROOT,
            env=ENVIRONMENT | (environment or {}),
            **streams | options,
        )


def run(*arguments, stdin=None, folder=None, **options):
    """Run the command and return its exit code, standard output and standard error.

    A process of its own takes a second to start. It is worth that where the environment, a shell
    or a stream matters, which `options` say: `command=COMMAND` asks for nothing else.
    """
    if not options:
        return _run_here(arguments, stdin or b"", folder or ROOT)
    options["folder"] = folder
    if stdin is not None:
        options["stdin"] = subprocess.PIPE
    process = start(*arguments, **options)
    stdout, stderr = process.communicate(stdin, timeout=120)
    return process.returncode, (stdout or b"").decode(), (stderr or b"").decode()


def _run_here(arguments, stdin, folder):
    """Run the command in this process, on files for its streams, with nobody else's settings."""
    with contextlib.ExitStack() as stack:
        given, out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write(stdin)
        given.seek(0)
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(mock.patch.dict(os.environ, ENVIRONMENT, clear=True))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        streams = {
            "stdin": io.TextIOWrapper(given, encoding="utf-8"),
            "stdout": io.TextIOWrapper(out, encoding="utf-8", write_through=True),
            "stderr": io.TextIOWrapper(err, encoding="utf-8", errors="backslashreplace"),
        }
        replaced = {"argv": ["estep-xp", *map(str, arguments)]} | streams
        for name, value in replaced.items():
            stack.enter_context(mock.patch.object(sys, name, value))
        code = main()
        written = []
        for name, file in (("stdout", out), ("stderr", err)):
            streams[name].flush()
            file.seek(0)
            written.append(file.read().decode())
        return code, *written


def succeed(*arguments, **options):
    """Run the command, which must succeed without a word on standard error; return its output."""
    code, stdout, stderr = run(*arguments, **options)
    assert (code, stderr) == (0, "")
    return stdout


def call(capsys, monkeypatch, *arguments):
    """Run the command in this process; return its exit code, standard output and error."""
    monkeypatch.setattr(sys, "argv", ["estep-xp", *map(str, arguments)])
    code = main()
    return code, *capsys.readouterr()


def assert_refused(outcome, code, message):
    """Check that a command said why on one line, and nothing else."""
    found, stdout, stderr = outcome
    assert (found, stdout) == (code, "")
    assert stderr.startswith(message)
    assert stderr.count("\n") == 1
    assert stderr.endswith("\n")
    assert "\x1b" not in stderr


def start_on_terminal(*arguments, columns=80, stdout=True, environment=None):
    """Start the command on a pseudo-terminal; return the process and our end of the terminal.

    Standard error is the terminal, and so is standard output unless `stdout` is false.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = start(
        *arguments,
        environment={"TERM": "xterm"} | (environment or {}),
        stdout=theirs if stdout else subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    return process, ours


def read_terminal(ours, until=None):
    """Return what a terminal shows: up to some text, or else to the end, where it is closed."""
    shown = bytearray()
    deadline = time.monotonic() + 120
    with contextlib.suppress(OSError):  # how a terminal says that everybody has gone
        while piece := _read_before(deadline, ours):
            shown += piece
            if until is not None and until.encode() in shown:
                return shown.decode()
    os.close(ours)
    assert until is None, shown.decode()
    return shown.decode().replace("\r\n", "\n")


def _read_before(deadline, ours):
    """Return the next piece of what a terminal shows, which may not come too late."""
    ready, _, _ = select.select([ours], [], [], max(deadline - time.monotonic(), 0))
    assert ready, "the command neither shows what it should, nor ends"
    return os.read(ours, 1 << 16)


def on_terminal(*arguments, **options):
    """Run the command on a pseudo-terminal and return what it shows, and its other output."""
    process, ours = start_on_terminal(*arguments, **options)
    shown = read_terminal(ours)
    other, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return shown, (other or b"").decode()


@contextlib.contextmanager
def stalled(folder, command, *arguments):
    """Start a command on data.csv that has begun to write its output and waits for more data.

    The data come through a named pipe that is kept open, so no timing decides where it stands.
    """
    data = folder / "data.csv"
    os.mkfifo(data)
    process = start(command, str(data), *arguments)
    pipe = os.open(data, os.O_RDWR | os.O_NONBLOCK)
    try:
        content = memoryview(b"55.5\n" * 900_000)
        deadline = time.monotonic() + 60
        while content or not list(folder.glob(".estep_xp-*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            try:
                content = content[os.write(pipe, content) :]
            except BlockingIOError:
                time.sleep(0.001)
        yield process
    finally:
        os.close(pipe)
        process.kill()
        process.communicate()


def interrupt(process, name):
    """Send a signal until the process ends, as an impatient person does.

    It must not disturb the tidying up; and Python sees one that comes just before a read only when
    the read is over.
    """
    deadline = time.monotonic() + 60
    while process.poll() is None:
        assert time.monotonic() < deadline
        process.send_signal(getattr(signal, name))
        time.sleep(0.0005)


PROBE = """
import sys
import tempfile
from estep_xp.__main__ import main
{before}
sys.argv = ["estep-xp", *{arguments!r}]
code = main()
heavy = ("jax", "pyarrow", "plotly", "matplotlib", "matplotlib.pyplot", "torch", "dask", "scipy")
print([name for name in heavy if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


def probe(*arguments, before=""):
    """Run the command in a process that is prepared, and says what it has imported."""
    script = PROBE.format(arguments=arguments, before=before)
    return run(command=[sys.executable, "-c", script])


def univariate(x, means, variances, weights):
    """Return responsibilities and log-likelihood of one observation, from the formula."""
    total = math.fsum(weights)
    joint = [
        math.log(w / total) - 0.5 * (math.log(2 * math.pi * v) + (x - m) ** 2 / v)
        for m, v, w in zip(means, variances, weights, strict=True)
    ]
    top = max(joint)
    log_p = top + math.log(math.fsum(math.exp(value - top) for value in joint))
    return [math.exp(value - log_p) for value in joint], log_p


def bivariate(x, y, model):
    """Return responsibilities and log-likelihood of one row, from the formula for 2 x 2."""
    joint = []
    for w, (a, b), ((p, q), (_, r)) in zip(
        model["weights"], model["means"], model["covariances"], strict=True
    ):
        u, v, determinant = x - a, y - b, p * r - q * q
        squared = (r * u * u - 2 * q * u * v + p * v * v) / determinant
        joint.append(math.log(w) - math.log(2 * math.pi) - 0.5 * (math.log(determinant) + squared))
    top = max(joint)
    log_p = top + math.log(math.fsum(math.exp(value - top) for value in joint))
    log_p -= math.log(math.fsum(model["weights"]))
    shares = [math.exp(value - top) for value in joint]
    return [share / math.fsum(shares) for share in shares], log_p
