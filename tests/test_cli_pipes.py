"""``-`` for DATA and OUT: standard input and standard output."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.commands import (
    COMMAND,
    FAITHFUL,
    MODEL,
    assert_refused,
    interrupt,
    on_terminal,
    run,
    start,
    succeed,
)

CONTENT = Path(FAITHFUL).read_bytes()
TO_STDOUT = ("--model", MODEL, "--output", "-")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "out.csv"
    return succeed("run", FAITHFUL, "--model", MODEL, "--output", str(out)), out.read_text()


def test_rows_go_to_standard_output_and_the_summary_to_standard_error(tmp_path, expected):
    summary, rows = expected
    code, stdout, stderr = run("run", FAITHFUL, *TO_STDOUT, folder=tmp_path)
    assert (code, stdout) == (0, rows)
    assert stderr.splitlines()[:5] == summary.splitlines()[:5]
    assert stderr.splitlines()[5] == "Output                      standard output"
    assert succeed("run", FAITHFUL, *TO_STDOUT, "--quiet") == rows
    code, stdout, stderr = run("run", FAITHFUL, *TO_STDOUT, "--json")
    assert (code, stdout) == (0, rows)
    assert json.loads(stderr)["n_observations"] == 272
    assert not list(tmp_path.iterdir())


def test_rows_come_from_standard_input(tmp_path, expected):
    assert succeed("run", "-", *TO_STDOUT, "--quiet", stdin=CONTENT) == expected[1]
    tabs = CONTENT.replace(b",", b"\t").replace(b"\n", b"\r\n")
    assert succeed("run", "-", *TO_STDOUT, "--quiet", stdin=tabs) == expected[1]
    options = ("--components", "2", "--family", "full")
    fit = ("--output", str(tmp_path / "m.json"), "--force", *options)
    told = succeed("fit", FAITHFUL, *fit)
    model = (tmp_path / "m.json").read_bytes()
    assert succeed("fit", "-", *fit, stdin=CONTENT) == told
    assert (tmp_path / "m.json").read_bytes() == model


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "standard input: holds no rows"),
        (b"a,b\n1,2\n3,x\n", "standard input line 3: value 2 is x; must be a number (1 bad row"),
        (b"\x93NUMPY\x01\x00", "standard input: is a NumPy array, not text; its name must end in"),
        (b"PK\x03\x04", "standard input: is an Excel workbook (.xlsx) or another ZIP archive, not"),
        (b"a,b,c\n1,2,3\n", "standard input: has 3 columns (a, b, c); the model has 2 features"),
    ],
)
def test_bad_standard_input(content, message):
    arguments = ("run", "-", *TO_STDOUT)
    assert_refused(run(*arguments, stdin=content), 2, message)


def test_closed_streams():
    closed = ["bash", "-c", 'exec "$@" <&-', "-", *COMMAND]
    assert_refused(run("run", "-", *TO_STDOUT, command=closed), 2, "standard input: is closed")
    closed = ["bash", "-c", 'exec "$@" >&-', "-", *COMMAND]
    found = run("run", FAITHFUL, *TO_STDOUT, command=closed)
    assert_refused(found, 1, "standard output: is closed")
    with Path("/dev/full").open("wb") as full:
        found = run("run", FAITHFUL, *TO_STDOUT, stdout=full)
    assert_refused(found, 1, "standard output: No space left on device")


def test_head_ends_a_run_quietly():
    process = start("run", "-", *TO_STDOUT, stdin=subprocess.PIPE)
    first = []

    def read_a_little():
        first.append(process.stdout.readline())
        process.stdout.close()

    process.stdin.write(CONTENT + CONTENT.partition(b"\n")[2] * 100)
    process.stdin.close()
    read_a_little()
    assert first[0].startswith(b"responsibility_0,")
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signals_while_rows_are_awaited(name):
    process = start("run", "-", *TO_STDOUT, stdin=subprocess.PIPE, bufsize=0)
    process.stdin.write(CONTENT * 100)  # more than the pipe holds: somebody reads it
    interrupt(process, name)
    assert process.stdout.read() + process.stderr.read() == b""
    assert process.returncode == 128 + getattr(signal, name)
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()


def test_rows_on_a_terminal_have_no_progress_bar_among_them():
    shown, _ = on_terminal("run", FAITHFUL, *TO_STDOUT)
    assert "rows/s" not in shown
    lines = shown.splitlines()
    assert lines[0].startswith("responsibility_0,")
    assert all(re.fullmatch(r"[\d.e,-]+", line) for line in lines[1:273])
    assert lines[273].startswith("Rows ")


def test_force_and_files_called_minus(tmp_path):
    (tmp_path / "-").write_text("keep me")
    rows = succeed("run", FAITHFUL, *TO_STDOUT, "--quiet", folder=tmp_path)
    assert rows == succeed("run", FAITHFUL, *TO_STDOUT, "--quiet", "--force", folder=tmp_path)
    assert (tmp_path / "-").read_text() == "keep me"
