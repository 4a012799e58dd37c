"""What the command line shows on terminals: colour, width, progress, encodings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.commands import (
    FAITHFUL,
    MODEL,
    WORKED,
    assert_refused,
    on_terminal,
    run,
    succeed,
    univariate,
)


def test_colour_only_on_terminals_that_want_it():
    arguments = ("calculate", "--x", "0.5, 1.2, 3.8", *WORKED)
    plain = succeed(*arguments)
    assert "\x1b" not in plain
    shown, _ = on_terminal(*arguments)
    assert "\x1b[1m" in shown
    assert re.sub(r"\x1b\[\d+m", "", shown) == plain
    assert on_terminal(*arguments, environment={"NO_COLOR": "1"})[0] == plain
    assert on_terminal(*arguments, environment={"TERM": "dumb"})[0] == plain


def test_many_components_on_a_narrow_terminal():
    k = 12
    means = list(range(k))
    arguments = ("calculate", "--x", "0.5 3.8", "--means", " ".join(map(str, means)))
    arguments = (*arguments, "--variances", " ".join(["1"] * k))
    narrow = {"NO_COLOR": "1", "PYTHONIOENCODING": "ascii"}
    shown, _ = on_terminal(*arguments, columns=60, environment=narrow)
    assert shown.isascii()
    assert max(map(len, shown.splitlines())) <= 60
    for x in (0.5, 3.8):
        rows = re.findall(rf"^{x} +(.*?) +\d$", shown, re.MULTILINE)
        found = [float(number) for row in rows for number in row.split()]
        expected, _ = univariate(x, means, [1] * k, [1] * k)
        assert found == pytest.approx(expected, abs=6e-7)
    wide = succeed(*arguments)
    assert len(re.findall(r"^0\.5 .*$", wide, re.MULTILINE)) == 1
    same = succeed(*arguments, environment={"COLUMNS": "60"})
    assert same == shown


def test_progress_is_for_terminals(tmp_path):
    out = str(tmp_path / "out.csv")
    arguments = ("run", FAITHFUL, "--model", MODEL, "--output", out, "--force")
    assert run(*arguments)[2] == ""
    shown, summary = on_terminal(*arguments, stdout=False)
    assert "100%" in shown
    assert "rows/s" in shown
    assert summary.startswith("Rows                        272\n")
    for plain in ((*arguments, "--quiet"), arguments):
        environment = {} if "--quiet" in plain else {"TERM": "dumb"}
        assert on_terminal(*plain, stdout=False, environment=environment) == ("", summary)
    shown, _ = on_terminal(
        *arguments, stdout=False, environment={"NO_COLOR": "1", "PYTHONIOENCODING": "ascii"}
    )
    assert shown.isascii()
    assert not re.search(r"\x1b\[[\d;]*m", shown)


def test_a_terminal_of_nothing_but_ascii():
    poor = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    shown, _ = on_terminal("calculate", "--help", columns=60, environment=poor)
    assert shown.isascii()
    assert max(map(len, re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines())) <= 60
    plain = succeed("calculate", "--x", "0.5", *WORKED)
    assert succeed("calculate", "--x", "0.5", *WORKED, environment=poor) == plain


def test_characters_that_a_stream_cannot_show_are_escaped(tmp_path):
    environment = {"PYTHONIOENCODING": "ascii"}
    outcome = run("calculate", "--x", "é", *WORKED, environment=environment)
    assert_refused(outcome, 2, r"x: value 1 is \xe9; must be a number")
    out = str(tmp_path / "é.csv")
    arguments = ("run", FAITHFUL, "--model", MODEL, "--output", out)
    assert r"\xe9.csv" in succeed(*arguments, environment=environment)
    assert Path(out).exists()
