"""The page's server: clients that come to nothing, and the browser that it opens."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode, urlsplit

import pytest

pytest.importorskip("starlette", reason="the page needs the extra calculator")
pytest.importorskip("uvicorn", reason="the page needs the extra calculator")
from estep_xp.calculator.fields import WORKED
from estep_xp.calculator.patience import PatientProtocol
from tests.pages import END, ask, running

IMPATIENT = """
import sys
from estep_xp.calculator.patience import PatientProtocol
from estep_xp.__main__ import main
PatientProtocol.patience = float(sys.argv.pop(1))
sys.argv[1:1] = ["calculator", "--no-browser", "--port", "0"]
sys.exit(main())
"""
HEADING = b"POST /upload?name=a.csv HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


def impatient(seconds):
    """Return a server that drops connections after so many seconds."""
    return running(str(seconds), command=[sys.executable, "-c", IMPATIENT])


def connect(address):
    return contextlib.closing(
        socket.create_connection(("127.0.0.1", urlsplit(address).port), timeout=60)
    )


def assert_silent_end(process):
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=END)
    assert (process.returncode, stdout) == (130, "")
    assert stderr == "Ctrl-C ends the calculator.\n"


# --- half-open connections ----------------------------------------------------------------------

HALVES = {
    "nothing": b"",
    "half a heading": b"GET / HTTP/1.1\r\nHost: loc",
    "no body": HEADING % 5000,
    "half a body": HEADING % 5000 + b"a,b\n1,2\n",
    "most of a body": HEADING % 5000 + b"1\n" * 2499,
    "half a chunk": b"POST /answer HTTP/1.1\r\nHost: localhost\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n10\r\nx=1",
    "half a second heading": b"GET /static/page.css HTTP/1.1\r\nHost: localhost\r\n\r\nGET",
}


def until_the_end(connection):
    """Return what is still to be read."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            received += piece
    return received


def test_half_open_connections_are_dropped():
    with impatient(1.5) as (process, address), contextlib.ExitStack() as stack:
        connections = {name: stack.enter_context(connect(address)) for name in HALVES}
        opened = time.monotonic()
        for name, content in HALVES.items():
            connections[name].sendall(content)
        for name, connection in connections.items():
            assert until_the_end(connection) == b"" or name == "half a second heading"
            assert 1.4 < time.monotonic() - opened < 30
        assert ask(address, "GET", "/")[0] == 200
        assert_silent_end(process)


@pytest.mark.parametrize("before", [b"GET / HTTP/1.1\r\nX: ", HEADING % 5000])
def test_a_byte_now_and_then_keeps_no_connection_open(before):
    with impatient(2) as (process, address), connect(address) as connection:
        connection.sendall(before)
        deadline = time.monotonic() + 30
        connection.settimeout(0.3)
        with contextlib.suppress(ConnectionError):
            while True:
                assert time.monotonic() < deadline
                connection.sendall(b"1")
                with contextlib.suppress(TimeoutError):
                    assert connection.recv(1) == b""
                    break
        assert_silent_end(process)


def test_who_reads_nothing_is_dropped():
    script = b"GET /static/plotly.min.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with impatient(1) as (process, address), connect(address) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.sendall(script * 5)
        whole = len(ask(address, "GET", "/static/plotly.min.js")[2].encode())
        time.sleep(4)
        assert len(until_the_end(connection)) < 5 * whole
        assert_silent_end(process)


def test_a_slow_upload_is_not_cut():
    content = b"1,2\n" * 500
    with impatient(2) as (process, address), connect(address) as connection:
        connection.sendall(HEADING % len(content))
        for start in range(0, len(content), 100):
            connection.sendall(content[start : start + 100])
            time.sleep(0.25)
        assert b"column" in connection.recv(1 << 16)
        assert_silent_end(process)


def test_a_slow_reader_is_not_cut():
    request = b"GET /static/plotly.min.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with impatient(2.5) as (process, address):
        whole = len(ask(address, "GET", "/static/plotly.min.js")[2].encode())
        with connect(address) as connection:
            connection.sendall(request)
            received = 0
            for _ in range(8):  # Linux lets the server go on after a third of a few megabytes
                received += len(connection.recv(1 << 19))
                time.sleep(0.4)
            assert received + len(until_the_end(connection)) > whole
        assert_silent_end(process)


def test_time_to_compute_does_not_count():
    given = WORKED._replace(x="0 " * 20_000, means="1 " * 9, variances="1 " * 9, weights="")
    with impatient(0.05) as (process, address), ThreadPoolExecutor(2) as pool:
        body = urlencode(given._asdict())
        answers = pool.map(lambda _: ask(address, "POST", "/answer", body), range(2))
        assert [status for status, *_ in answers] == [200] * 2
        assert_silent_end(process)


def test_more_connections_than_files_may_be_open():
    few = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", sys.executable, "-c", IMPATIENT]
    with running("1.5", command=few) as (process, address), contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(address))
        assert ask(address, "GET", "/")[0] == 200
        assert_silent_end(process)


def test_the_usual_time_is_half_a_minute():
    assert PatientProtocol.patience == 30


def test_it_ends_in_time_while_connections_are_half_open():
    with (
        running("--no-browser", "--port", "0") as (process, address),
        contextlib.ExitStack() as stack,
    ):
        for content in list(HALVES.values()) * 10:
            stack.enter_context(connect(address)).sendall(content)
        assert ask(address, "GET", "/")[0] == 200
        assert_silent_end(process)


# --- requests given up half way -----------------------------------------------------------------


def leave(connection):
    connection.close()


def stop_sending(connection):
    connection.shutdown(socket.SHUT_WR)
    until_the_end(connection)


def reset(connection):
    at_once = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    connection.close()


@pytest.mark.parametrize("give_up", [leave, stop_sending, reset])
def test_a_request_given_up_half_way_is_no_error(give_up):
    with running("--no-browser", "--port", "0") as (process, address):
        for path in (b"/upload?name=a.csv", b"/answer", b"/em/step", b"/sensitivity"):
            for sent in (b"", b"a,b\n", b"1\n" * 100_000):
                with connect(address) as connection:
                    connection.sendall(
                        b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n%s"
                        % (path, sent)
                    )
                    time.sleep(0.02)
                    give_up(connection)
        for _ in range(3):  # or the answer is given up
            with connect(address) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
                give_up(connection)
        assert ask(address, "GET", "/")[0] == 200
        assert_silent_end(process)


# --- the browser --------------------------------------------------------------------------------

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="displays have no variable elsewhere")
NO_DISPLAY = {"DISPLAY": "", "WAYLAND_DISPLAY": ""}


@pytest.fixture
def opener(tmp_path):
    """Return a program that stands for a browser, and the file that it writes the address to."""
    seen, program = tmp_path / "seen", tmp_path / "opener"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > "{seen}.part"\nmv "{seen}.part" "{seen}"\n')
    program.chmod(0o755)
    return program, seen


@on_linux
@pytest.mark.parametrize(
    ("form", "display"),
    [
        *((form, {"DISPLAY": ":77"}) for form in ("{}", "{} %s", "no-such-browser:{}", "'::{}")),
        ("{}", {"WAYLAND_DISPLAY": "w"}),
        ("{} %s", {}),
    ],
)
def test_the_browser_that_was_asked_for_opens(opener, display, form):
    program, seen = opener
    environment = NO_DISPLAY | display | {"BROWSER": form.format(program)}
    with running("--port", "0", environment=environment) as (_, address):
        deadline = time.monotonic() + 30
        while not seen.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert seen.read_text() == address


@on_linux
@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("--no-browser",), NO_DISPLAY),
        (("--no-browser",), {"DISPLAY": ":77"}),
        ((), NO_DISPLAY | {"BROWSER": ""}),
    ],
)
def test_no_browser_opens(opener, arguments, environment):
    program, seen = opener
    (program.parent / "w3m").symlink_to(program)  # one that would show the page in the terminal
    given = {
        "BROWSER": str(program),
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "TERM": "xterm",
    }
    with running("--port", "0", *arguments, environment=given | environment) as (process, address):
        ask(address, "GET", "/")
        time.sleep(0.5)
        assert_silent_end(process)
    assert not seen.exists()


@on_linux
@pytest.mark.parametrize(
    ("browser", "display"),
    [
        *((browser, ":77") for browser in ("/no/such/browser", "'", " ", "%s", "false", "/", "\\")),
        ("/no/such/browser", ""),
    ],
)
def test_a_broken_browser_does_no_harm(tmp_path, display, browser):
    environment = NO_DISPLAY | {"BROWSER": browser, "DISPLAY": display, "PATH": str(tmp_path)}
    with running("--port", "0", environment=environment) as (process, address):
        assert ask(address, "GET", "/")[0] == 200
        assert_silent_end(process)
