"""How `run` and `calculate` end early: signals, full disks, closed pipes; and little memory."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.commands import (
    COMMAND,
    FAITHFUL,
    MODEL,
    ON_A_FULL_DISK,
    WAITING,
    WORKED,
    assert_refused,
    interrupt,
    needs_pyarrow,
    run,
    stalled,
    start,
    succeed,
)


@contextlib.contextmanager
def stalled_run(folder, suffix=".csv"):
    """Start a run that has written a part of its results and waits for more data."""
    out = folder / f"out{suffix}"
    out.write_text("old")
    arguments = ("--model", WAITING, "--output", str(out), "--force")
    with stalled(folder, "run", *arguments) as process:
        yield process, out


@pytest.mark.parametrize(
    ("name", "code", "suffix"),
    [
        ("SIGINT", 130, ".csv"),
        ("SIGTERM", 143, ".npy"),
        pytest.param("SIGHUP", 129, ".parquet", marks=needs_pyarrow),
    ],
)
def test_signals_end_a_run_tidily(tmp_path, name, code, suffix):
    with stalled_run(tmp_path, suffix) as (process, out):
        assert out.read_text() == "old"
        interrupt(process, name)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (code, b"", b"")
    assert out.read_text() == "old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data.csv", out.name]


def test_a_rerun_after_sigkill_works(tmp_path):
    with stalled_run(tmp_path) as (process, out):
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert out.read_text() == "old"
    succeed("run", FAITHFUL, "--model", MODEL, "--output", str(out), "--force")
    assert len(out.read_text().splitlines()) == 273


@pytest.mark.parametrize("suffix", [".csv", ".npy", pytest.param(".parquet", marks=needs_pyarrow)])
def test_a_full_disk(tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    out.write_text("old")
    arguments = ("run", FAITHFUL, "--model", MODEL, "--output", str(out), "--force")
    assert_refused(run(*arguments, command=ON_A_FULL_DISK), 1, f"{out}: File too large")
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("form", [(), ("--csv",)])
def test_head_ends_it_quietly(form):
    process = start(*("calculate", "--x", "-", *WORKED, *form), stdin=subprocess.PIPE, bufsize=0)
    process.stdin.write(b"0.5\n" * 100_000)
    process.stdin.close()
    assert process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signals_while_observations_are_read(name, code):
    process = start("calculate", "--x", "-", *WORKED, stdin=subprocess.PIPE, bufsize=0)
    process.stdin.write(b"0.5 " * 100_000)  # more than the pipe holds: somebody reads it
    interrupt(process, name)
    assert process.stdout.read() + process.stderr.read() == b""
    assert process.returncode == code
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_run_of_two_million_rows_needs_little_memory(tmp_path):
    data, model = tmp_path / "x.npy", tmp_path / "model.json"
    rng = np.random.default_rng(1)
    x = np.lib.format.open_memmap(data, mode="w+", dtype=np.float64, shape=(2_000_000, 8))
    x[:] = rng.normal(size=(100_000, 8))[np.arange(2_000_000) % 100_000]
    del x
    unit = [[float(i == j) for i in range(8)] for j in range(8)]
    record = {"family": "full", "weights": [1, 1, 1], "means": unit[:3], "covariances": [unit] * 3}
    model.write_text(json.dumps(record))
    out = tmp_path / "out.npy"
    process = start("run", str(data), "--model", str(model), "--output", str(out), "--json")
    peak = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = max(peak, *map(int, re.findall(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)), 0)
        time.sleep(0.001)
    stdout, stderr = process.communicate()
    assert stderr == b""
    assert json.loads(stdout)["n_observations"] == 2_000_000
    assert 10_000 < peak < 400_000  # kB
    out.unlink()
    data.unlink()


def test_a_full_or_closed_standard_output():
    arguments = ("calculate", "--x", "0.5", *WORKED)
    with Path("/dev/full").open("wb") as full:
        assert_refused(run(*arguments, stdout=full), 1, "standard output: No space left on device")
    closed = ["bash", "-c", 'exec "$@" >&-', "-", *COMMAND]
    assert_refused(run(*arguments, command=closed), 1, "standard output: is closed")
