"""The command line's help, completion and version, and what it imports."""

from __future__ import annotations

import re

import pytest

from tests.commands import (
    COMMAND,
    FAITHFUL,
    MODEL,
    ROOT,
    WORKED,
    probe,
    succeed,
)


@pytest.mark.parametrize(
    ("arguments", "example"),
    [
        ((), "estep-xp calculate --x"),
        (("calculate", "-h"), "estep-xp calculate --x"),
        (("run", "--help"), "estep-xp run examples/data/faithful.csv --model"),
        (("fit", "--help"), "estep-xp fit examples/data/faithful.csv --components"),
    ],
)
def test_help_has_an_example(arguments, example):
    stdout = succeed(*arguments, environment={"GITHUB_ACTIONS": "true"})
    assert example in stdout
    assert "\x1b" not in stdout
    poor = {"PYTHONIOENCODING": "ascii", "COLUMNS": "60"}
    assert max(map(len, succeed(*arguments, environment=poor).splitlines())) <= 60


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("estep-xp ", {"calculate", "run", "fit"}),
        ("estep-xp ca", {"calculate"}),
        ("estep-xp fit --fam", {"--family"}),
        ("estep-xp fit x.csv --family ", {"univariate", "spherical", "diagonal", "tied", "full"}),
    ],
)
def test_completion_of_commands_options_and_choices(words, expected):
    position = str(len(words.split(" ")) - 1)
    asked = {"_ESTEP_XP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": position}
    assert expected <= set(succeed(environment=asked).split())


def test_the_script_that_makes_a_shell_complete():
    script = succeed(environment={"_ESTEP_XP_COMPLETE": "source_bash"})
    assert "complete -o default -F _estep_xp_completion estep-xp" in script
    assert "_ESTEP_XP_COMPLETE=complete_bash" in script
    shown = succeed("--show-completion", command=["bash", "-c", '"$@"; exit $?', "-", *COMMAND])
    assert shown.strip() == script.strip()
    assert "estep-xp --install-completion" in succeed("--help")


def test_version():
    assert re.fullmatch(r"estep-xp \d+\.\d+\.\d+\n", succeed("--version"))


def test_plain_use_imports_nothing_heavy():
    code, _, stderr = probe("calculate", "--x", "1", *WORKED)
    assert (code, stderr) == (0, "[]\n")


@pytest.mark.parametrize(
    ("missing", "arguments", "message"),
    [
        ("typer", ("--help",), 'estep-xp: needs typer, which is not installed; pip install "estep'),
        (
            "jax",
            ("calculate", "--x", "1", *WORKED, "--backend", "jax"),
            '--backend jax: needs jax, which is not installed; pip install "estep_xp[jax]"',
        ),
        (
            "pyarrow",
            ("run", "x.parquet", "--model", MODEL, "--output", "o.csv"),
            'x.parquet: needs pyarrow, which is not installed; pip install "estep_xp[parquet]"',
        ),
        (
            "pyarrow",
            ("run", FAITHFUL, "--model", MODEL, "--output", "o.parquet"),
            'o.parquet: needs pyarrow, which is not installed; pip install "estep_xp[parquet]"',
        ),
    ],
)
def test_missing_packages_are_named(missing, arguments, message):
    code, stdout, stderr = probe(*arguments, before=f"sys.modules[{missing!r}] = None")
    lines = stderr.splitlines()
    assert (code, stdout, len(lines)) == (1, "", 2)  # the second line is the probe's
    assert lines[0].startswith(message)
    assert not list(ROOT.glob(".estep_xp-*"))
