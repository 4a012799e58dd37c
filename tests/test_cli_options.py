"""Options that take a number or one of a few words: nonsense is shown, cut and escaped."""

from __future__ import annotations

import pytest

from tests.commands import MODEL, WORKED, assert_refused, run

OPTIONS = {
    "calculate": ("--backend",),
    "run": ("--header", "--delimiter", "--decimal", "--backend"),
    "fit": (
        *("--components", "--family", "--seed", "--init", "--tol", "--max-iter"),
        *("--variance-floor", "--header", "--delimiter", "--decimal", "--backend"),
    ),
    "calculator": ("--port",),
}
NEEDED = {
    "calculate": ("--x", "1", *WORKED),
    "run": ("x.csv", "--model", MODEL, "--output", "out.csv"),
    "fit": ("x.csv", "--components", "2", "--family", "full", "--output", "m.json"),
    "calculator": ("--no-browser",),
}
NONSENSE = {
    "nothing": ("", "empty"),
    "a sentence": ("one or two; or so", "'one or two; or so'"),
    "control characters": ("\x1b[2J\n7", r"\x1b[2J\n7"),
    "another script": ("８０００", "８０００"),
}


@pytest.mark.parametrize(
    ("command", "option"), [(command, name) for command in OPTIONS for name in OPTIONS[command]]
)
def test_every_option_shows_nonsense(command, option, tmp_path):
    arguments = (*NEEDED[command], option, "\x1b" + "x" * 100)  # the last one counts
    outcome = run(command, *arguments, folder=tmp_path)
    assert_refused(outcome, 2, rf"{option}: is \x1b{'x' * 33}...; must be ")


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("option", ["--port", "--tol", "--family"])
def test_any_nonsense_is_shown(option, nonsense, tmp_path):
    token, shown = NONSENSE[nonsense]
    command = "calculator" if option == "--port" else "fit"
    outcome = run(command, *NEEDED[command], option, token, folder=tmp_path)
    assert_refused(outcome, 2, f"{option}: is {shown}; ")


@pytest.mark.parametrize("port", ["-1", "65536", "99999", "80.5", "1e3", "8_000"])
def test_a_port_is_a_whole_number_up_to_65535(port):
    message = f"--port: is {port}; must be a whole number from 0 to 65535\n"
    assert_refused(run("calculator", "--no-browser", "--port", port), 2, message)


@pytest.mark.parametrize("option", ["--seed", "--components"])
def test_a_number_with_too_many_digits_is_told_so(option):
    outcome = run("fit", *NEEDED["fit"], option, "1" * 19)
    assert_refused(outcome, 2, f"{option}: is {'1' * 19}; must be a whole number")
    assert outcome[2].endswith("of at most 18 digits\n")


@pytest.mark.parametrize(
    "arguments", [(f"--{'x' * 100}",), ("x" * 100,), ("calculator", "x" * 100)]
)
def test_words_that_the_parser_does_not_know_are_cut(arguments):
    outcome = run(*arguments)
    assert_refused(outcome, 2, "")  # the words are the parser's, and change with its version
    assert "x" * 34 in outcome[2]
    assert "x..." in outcome[2]
    assert "x" * 40 not in outcome[2]
    assert "; see estep-xp" in outcome[2]
