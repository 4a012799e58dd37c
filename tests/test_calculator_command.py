"""The command `calculator`: signals, ports, missing packages."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

pytest.importorskip("starlette", reason="the page needs the extra calculator")
from tests.pages import COMMAND, END, ENVIRONMENT, ask, running, start


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signals_end_it_in_time_while_connections_are_open(name, code):
    with (
        running("--no-browser", "--port", "0") as (process, found),
        socket.create_connection(("127.0.0.1", urlsplit(found).port)) as idle,
    ):
        idle.sendall(b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx")
        ask(found, "GET", "/")
        process.send_signal(getattr(signal, name))
        stdout, stderr = process.communicate(timeout=END)
    assert (process.returncode, stdout) == (code, "")
    assert stderr == "Ctrl-C ends the calculator.\n"


def test_a_taken_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start("--no-browser", "--port", str(port))
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "")
    assert stderr.startswith(f"--port: {port} is taken; ")
    assert stderr.count("\n") == 1


def test_without_a_port_the_next_free_one_is_taken():
    with running("--no-browser") as (_, first), running("--no-browser") as (_, second):
        assert first != second
        assert ask(first, "GET", "/")[0] == ask(second, "GET", "/")[0] == 200


def test_help_has_an_example():
    done = subprocess.run([*COMMAND, "--help"], env=ENVIRONMENT, capture_output=True, check=True)
    assert b"estep-xp calculator --port 8000" in done.stdout


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "jinja2", "plotly"])
def test_missing_packages_are_named(missing):
    script = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['estep-xp', 'calculator']\n"
        "from estep_xp.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    message = f'needs {missing}, which is not installed; pip install "estep_xp[calculator]"'
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"calculator: {message}\n"
