"""How `fit` ends, early or not: files it replaces, signals, terminals."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from pathlib import Path

import pytest

from tests.commands import (
    FAITHFUL,
    ON_A_FULL_DISK,
    assert_refused,
    interrupt,
    on_terminal,
    read_terminal,
    run,
    stalled,
    start,
    start_on_terminal,
    succeed,
)
from tests.fit_commands import FULL, GEYSER, fit, write_large_data


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return write_large_data(tmp_path_factory.mktemp("large"))


def test_force_replaces_and_the_new_file_has_the_umasks_rights(tmp_path):
    out = tmp_path / "model.json"
    out.write_text("old")
    out.chmod(0o600)
    fit(tmp_path, "--force", umask=0o027)
    assert json.loads(out.read_text())["family"] == "full"
    assert out.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [out]


def test_a_full_disk(tmp_path, large):
    out = tmp_path / "model.json"
    out.write_text("old")
    options = ("--components", "40", "--family", "full", "--max-iter", "1", "--quiet", "--force")
    outcome = run("fit", str(large), *options, "--output", str(out), command=ON_A_FULL_DISK)
    assert_refused(outcome, 1, f"{out}: File too large")
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_the_model_is_whole_when_nobody_reads_the_summary(tmp_path):
    out = tmp_path / "model.json"
    process = start("fit", FAITHFUL, *FULL, "--output", str(out))
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141
    assert json.loads(out.read_text())["family"] == "full"
    out.unlink()
    with Path("/dev/full").open("wb") as full:
        outcome = run("fit", FAITHFUL, *FULL, "--output", str(out), stdout=full)
    assert_refused(outcome, 1, "standard output: No space left on device")
    assert json.loads(out.read_text())["family"] == "full"


@contextlib.contextmanager
def endless_fit(folder, data):
    """Start a fit that will not end by itself, and wait until it shows how high it has climbed."""
    out = folder / "model.json"
    out.write_text("old")
    process, ours = start_on_terminal(
        *("fit", str(data), "--components", "5", "--family", "full", "--output", str(out)),
        *("--force", "--tol", "0", "--max-iter", "1000000000"),
    )
    try:
        read_terminal(ours, until="log-likelihood -")
        assert len(list(folder.glob(".estep_xp-*"))) == 1
        assert out.read_text() == "old"
        yield process, ours, out
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_signals_end_a_fit_tidily(tmp_path, large, name, code):
    with endless_fit(tmp_path, large) as (process, ours, out):
        process.send_signal(getattr(signal, name))
        shown = read_terminal(ours)
        assert process.wait(60) == code
    assert "Traceback" not in shown
    assert "Error" not in shown
    assert shown.count("\n") <= 1  # the bar's own line
    assert shown.endswith("\x1b[?25h")  # the cursor is back
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_a_rerun_after_sigkill_works(tmp_path, large):
    with endless_fit(tmp_path, large) as (process, ours, out):
        process.kill()
        read_terminal(ours)
        assert process.wait(60) == -signal.SIGKILL
    assert out.read_text() == "old"
    assert json.loads(fit(tmp_path, "--force"))["family"] == "full"


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signals_while_data_are_read(tmp_path, name, code):
    options = ("--components", "2", "--family", "univariate")
    with stalled(tmp_path, "fit", *options, "--output", str(tmp_path / "m.json")) as process:
        interrupt(process, name)
        assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == code
    assert [file.name for file in tmp_path.iterdir()] == ["data.csv"]


def test_the_log_likelihood_is_live_on_terminals(tmp_path):
    out = str(tmp_path / "model.json")
    arguments = ("fit", FAITHFUL, *FULL, "--output", out, "--force")
    plain = succeed(*arguments)
    shown, summary = on_terminal(*arguments, stdout=False, columns=60)
    assert summary == plain
    assert "log-likelihood -1130.26396" in shown
    assert max(map(len, re.split(r"[\r\n]", re.sub(r"\x1b\[[\d;?]*\w", "", shown)))) <= 60
    for quiet in ({"--quiet": None}, {"TERM": "dumb"}):
        options = tuple(name for name in quiet if name.startswith("--"))
        environment = {} if options else quiet
        found = on_terminal(*arguments, *options, stdout=False, environment=environment)
        assert found == ("", plain)
    poor = {"NO_COLOR": "1", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    shown, _ = on_terminal(*arguments, stdout=False, environment=poor)
    assert shown.isascii()
    assert not re.search(r"\x1b\[[\d;]*m", shown)


def test_the_table_on_a_narrow_terminal_of_any_encoding(tmp_path):
    data = tmp_path / "x.csv"
    rows = "\n".join(f"{x},{y}" for x, y in GEYSER.tolist())
    data.write_text(f'"a name that is much longer than its column is wide","\x1b[2J"\n{rows}\n')
    arguments = ("fit", str(data), *FULL, "--output", str(tmp_path / "m.json"), "--force")
    poor = {"NO_COLOR": "1", "PYTHONIOENCODING": "ascii"}
    shown, _ = on_terminal(*arguments, columns=60, environment=poor)
    table = shown[shown.index("component ") :]
    assert table.isascii()
    assert "\x1b" not in table
    assert max(map(len, table.splitlines())) <= 60
    assert r"  \x1b[2J  " in table
    coloured, _ = on_terminal(*arguments)
    assert "\x1b[1mcomponent" in coloured
