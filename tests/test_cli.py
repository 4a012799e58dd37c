"""The command line's help, completion and version, and what it imports."""

from __future__ import annotations

import re
import shlex

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

COMMANDS = ("calculate", "run", "fit", "sample", "calculator")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_on_a_narrow_terminal(command):
    poor = {"GITHUB_ACTIONS": "true", "PYTHONIOENCODING": "ascii", "COLUMNS": "60"}
    stdout = succeed(*([command, "-h"] if command else []), environment=poor)
    assert "\x1b" not in stdout
    assert "..." not in stdout.replace("[ARGS]...", "")  # nothing is cut
    assert not re.search(r"<\w+>|[{}]", stdout)  # types are what people call them
    assert max(map(len, stdout.splitlines())) <= 60
    if not command:
        assert all(re.search(rf"^  {name} +\w", stdout, re.MULTILINE) for name in COMMANDS)


def test_options_are_grouped():
    text = succeed("fit", "--help")
    titles = ("Arguments", "Options", "Model", "Starts and iterations", "Reading DATA")
    assert all(f"\n{title}:\n" in text for title in titles)


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_can_be_pasted(command, tmp_path):
    example = succeed(command, "--help").partition("Example:")[2]
    assert max(map(len, example.splitlines())) <= 60
    program, *words = shlex.split(example.replace("\\\n", ""))  # as a shell continues a line
    assert (program, words[0]) == ("estep-xp", command)
    if "--output" in words:
        words[words.index("--output") + 1] = str(tmp_path / words[words.index("--output") + 1])
    if command != "calculator":  # which serves until it is stopped
        succeed(*words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("estep-xp ", {"calculate", "run", "fit"}),
        ("estep-xp ca", {"calculate"}),
        ("estep-xp sa", {"sample"}),
        ("estep-xp run x.csv --ke", {"--keep"}),
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
