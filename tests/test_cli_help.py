"""Help pages: the words of people, and examples that can be pasted at any width."""

from __future__ import annotations

import shlex

import pytest

from estep_xp.cli.commands import calculate, calculator, fit, run, sample
from estep_xp.cli.help_pages import break_command
from tests.commands import succeed

EXAMPLES = {
    name: module.EXAMPLE
    for name, module in {
        "calculate": calculate,
        "calculator": calculator,
        "fit": fit,
        "run": run,
        "sample": sample,
    }.items()
}


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("width", [None, 58, 40])
def test_examples_are_broken_where_a_shell_goes_on(name, width):
    lines = break_command(EXAMPLES[name], width)
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == shlex.split(EXAMPLES[name])
    assert width != 58 or max(map(len, lines)) <= 58


@pytest.mark.parametrize("name", ["fit", "run"])
def test_narrow_help(name):
    text = succeed(name, "--help", environment={"COLUMNS": "60"})
    lines = text.splitlines()
    assert max(map(len, lines)) <= 60
    example = text[text.index("Example:") + len("Example:") :]
    assert shlex.split(example.replace("\\\n", "")) == shlex.split(EXAMPLES[name])
    for word in ("<bool>", "<str>", "BOOLEAN", "TEXT", "..."):
        assert word not in text
    assert "FILE" in text


def test_options_are_grouped():
    text = succeed("fit", "--help", environment={"COLUMNS": "90"})
    places = [
        text.index(f"─ {title} ─")
        for title in ("Options", "Model", "Reading DATA", "Starts and iterations")
    ]
    assert places == sorted(places)
