"""The command `calculate` as people run it, in processes of its own."""

from __future__ import annotations

import csv
import io
import json
import math
import re

import numpy as np
import pytest

from tests.commands import (
    COMMAND,
    WORKED,
    assert_refused,
    needs_jax,
    run,
    succeed,
    univariate,
)

X = [0.5, 1.2, 3.8]
EXPECTED = [univariate(x, [2, 6], [1, 1.5], [0.45, 0.55]) for x in X]
R = [row for row, _ in EXPECTED]
LOG_P = [log_p for _, log_p in EXPECTED]


@pytest.mark.parametrize("library", ["numpy", pytest.param("jax", marks=needs_jax)])
def test_the_worked_example_as_json(library):
    stdout = succeed("calculate", "--x", "0.5, 1.2, 3.8", *WORKED, "--json", "--backend", library)
    assert stdout.count("\n") == 1
    found = json.loads(stdout)
    assert set(found) == {
        "responsibilities",
        "log_likelihood",
        "per_observation_log_likelihood",
        "weights",
        "mean_max_responsibility",
        "n_observations",
        "n_components",
        "labels",
    }
    np.testing.assert_allclose(found["responsibilities"], R, rtol=1e-13)
    np.testing.assert_allclose(found["per_observation_log_likelihood"], LOG_P, rtol=1e-13)
    assert found["log_likelihood"] == pytest.approx(math.fsum(LOG_P), rel=1e-13)
    mean_max = math.fsum(max(row) for row in R) / 3
    assert found["mean_max_responsibility"] == pytest.approx(mean_max, rel=1e-13)
    assert found["weights"] == [0.45, 0.55]
    assert (found["n_observations"], found["n_components"]) == (3, 2)
    assert found["labels"] == [0, 0, 1]


def test_the_worked_example_as_csv():
    stdout = succeed("calculate", "--x", "0.5, 1.2, 3.8", *WORKED, "--csv")
    header, *rows = csv.reader(io.StringIO(stdout))
    assert header == ["x", "responsibility_0", "responsibility_1", "label", "log_likelihood"]
    assert [row[3] for row in rows] == ["0", "0", "1"]
    numbers = [[float(value) for value in row] for row in rows]
    expected = [[x, *r, r.index(max(r)), p] for x, r, p in zip(X, R, LOG_P, strict=True)]
    np.testing.assert_allclose(numbers, expected, rtol=1e-13)


def test_the_worked_example_as_text():
    assert succeed("calculate", "--x", "0.5, 1.2, 3.8", *WORKED) == (
        "Observations                3\n"
        "Components                  2\n"
        "Weights                     0.450000  0.550000\n"
        "\n"
        "  x  component 0  component 1  label\n"
        f"0.5     {R[0][0]:.6f}     {R[0][1]:.6f}      0\n"
        f"1.2     {R[1][0]:.6f}     {R[1][1]:.6f}      0\n"
        f"3.8     {R[2][0]:.6f}     {R[2][1]:.6f}      1\n"
        "\n"
        f"Average max responsibility  {math.fsum(max(row) for row in R) / 3:.6f}\n"
        f"Log-likelihood              {math.fsum(LOG_P):.6f}\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("--x", "-1 3", "--means", "-1,2", "--variances", "1,2"),
        ("--x=-1,3", "--means=-1,2", "--variances=1,2", "--weights=3 3"),
        ("--x", "\N{MINUS SIGN}1\n3", "--means", "\N{MINUS SIGN}1 2", "--variances", "1 2"),
    ],
)
def test_negative_numbers_and_equal_weights(arguments):
    found = json.loads(succeed("calculate", *arguments, "--json"))
    expected = [univariate(x, [-1, 2], [1, 2], [1, 1])[0] for x in (-1, 3)]
    np.testing.assert_allclose(found["responsibilities"], expected, rtol=1e-13)
    assert found["weights"] == [0.5, 0.5]


@pytest.mark.parametrize("stdin", [b"0.5, 1.2, 3.8", b"\xef\xbb\xbf0.5\r\n1.2\r\n3.8\r\n"])
def test_observations_from_standard_input(stdin):
    found = json.loads(succeed("calculate", "--x", "-", *WORKED, "--json", stdin=stdin))
    np.testing.assert_allclose(found["responsibilities"], R, rtol=1e-13)


def test_weights_are_normalised_without_overflow():
    options = ("--x", "0.5", "--means", "2,6", "--variances", "1,1.5", "--json")
    for weights in ("45, 55", "9e307, 1.1e308"):
        found = json.loads(succeed("calculate", *options, "--weights", weights))
        assert found["weights"] == pytest.approx([0.45, 0.55], rel=1e-15)
        np.testing.assert_allclose(found["responsibilities"], R[:1], rtol=1e-12)


@needs_jax
def test_numbers_that_only_jax_takes_for_zero():
    options = ("--x", "0.5", "--means", "2,6", "--backend", "jax", "--json")
    tiny = ("--variances", "1,1.5", "--weights", "4.5e-319, 5.5e-319")
    found = json.loads(succeed("calculate", *options, *tiny))
    np.testing.assert_allclose(found["responsibilities"], R[:1], rtol=1e-4)
    outcome = run("calculate", *options, "--variances", "1,1e-310")
    assert_refused(outcome, 2, "mixture: variances[1] is 1e-310; variances must be at least 2.22")


@pytest.mark.parametrize("library", ["numpy", pytest.param("jax", marks=needs_jax)])
def test_zero_density_is_null_and_one_warning(library):
    options = ("--x", "0.5 1e200", *WORKED, "--backend", library)
    code, stdout, stderr = run("calculate", *options, "--json")
    assert code == 0
    found = json.loads(stdout, parse_constant=pytest.fail)
    assert found["responsibilities"][1] == [None, None]
    np.testing.assert_allclose(found["responsibilities"][0], R[0], rtol=1e-13)
    assert found["per_observation_log_likelihood"][1] is None
    assert found["log_likelihood"] is found["mean_max_responsibility"] is None
    assert stderr.count("\n") == 1
    assert stderr.startswith("warning: x: 1 of 2 observations has zero density")
    assert "the first is value 2" in stderr
    code, stdout, _ = run("calculate", *options)
    assert code == 0
    assert re.search(r"^1e\+200 +nan +nan +-$", stdout, re.MULTILINE)


BAD = {
    "semicolons": (("--x", "0,5; 1,2"), "x: value 2 is '5;'; separate values by commas"),
    "decimal commas": (("--x", "0,5 1,2"), "x: value 1 is 0,5; write decimals with a point"),
    "nothing": (("--x", ""), "x: value 1 is empty; must be a number"),
    "white space": (("--x", " \n"), "x: value 1 is empty; must be a number"),
    "empty item": (("--x", "1,,2"), "x: value 2 is empty; must be a number"),
    "comma at the end": (("--x", "1,2,"), "x: value 3 is empty; must be a number"),
    "comma at the beginning": (("--x", ",1"), "x: value 1 is empty; must be a number"),
    "letters": (("--x", "1, abc"), "x: value 2 is abc; must be a number"),
    "nan": (("--x", "nan"), "x: value 1 is nan; must be a finite number"),
    "inf": (("--x", "1 -inf"), "x: value 2 is -inf; must be a finite number"),
    "too large": (("--x", "1e400"), "x: value 1 is 1e400; must be between -1.8e308 and 1.8e308"),
    "hexadecimal": (("--x", "0x10"), "x: value 1 is 0x10; must be a number"),
    "underscores": (("--x", "1_000"), "x: value 1 is 1_000; must be a number"),
    "complex": (("--x", "1j"), "x: value 1 is 1j; must be a number"),
    "control characters": (("--x", "\x1b[31mred"), r"x: value 1 is \x1b[31mred; must be a number"),
    "not UTF-8": (("--x", "\udcff"), r"x: value 1 is \udcff; must be a number"),
    "long": (("--x", "y" * 10_000), f"x: value 1 is {'y' * 37}...; must be a number"),
    "mean": (("--means", "2, six"), "means: value 2 is six; must be a number"),
    "minus alone": (("--means", "-"), "means: value 1 is -; must be a number"),
    "negative variance": (("--variances", "1, -1"), "variances: value 2 is -1; must be positive"),
    "zero variance": (("--variances", "0, 1"), "variances: value 1 is 0; must be positive"),
    "tiny variance": (("--variances", "1, 1e-400"), "variances: value 2 is 1e-400; must be posi"),
    "too few variances": (("--variances", "1"), "variances: value 2 is missing; there must be 2"),
    "too many variances": (("--variances", "1 2 3"), "variances: value 3 is 3; there must be 2"),
    "negative weight": (("--weights", "1, -1"), "weights: value 2 is -1; must not be negative"),
    "no weight": (("--weights", "0, 0"), "weights: value 1 is 0; at least one weight must be pos"),
    "too few weights": (("--weights", "1"), "weights: value 2 is missing; there must be 2 values"),
    "too many weights": (("--weights", "1 1 1"), "weights: value 3 is 1; there must be 2 values"),
    "empty weights": (("--weights", ""), "weights: value 1 is empty; must be a number"),
    "JSON": (("--x", "[1, 2]"), "x: value 1 is [1; must be a number"),
    "percent": (("--means", "50%, 6"), "means: value 1 is 50%; must be a number"),
    "NaN variance": (("--variances", "1, nan"), "variances: value 2 is nan; must be a finite num"),
    "infinite weight": (("--weights", "1, inf"), "weights: value 2 is inf; must be a finite numb"),
    "two forms": (("--json", "--csv"), "--csv: excludes --json; give one of them"),
}


@pytest.mark.parametrize("name", BAD)
def test_calculate_refuses(name):
    changes, message = BAD[name]
    options = {"--x": "1", "--means": "2, 6", "--variances": "1, 1.5"}
    if changes[0] in options:
        options |= dict([changes])
        changes = ()
    arguments = [part for option in options.items() for part in option]
    assert_refused(run("calculate", *arguments, *changes), 2, message)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("calculate", "--x", "1", "--means", "1"), "'--variances'"),
        (("calculate", "--x", "1", *WORKED, "--frobnicate"), "--frobnicate"),
        (("calculate", "--x", "1", *WORKED, "extra"), "extra"),
        (("calculate", "--x", "1", "--means"), "--means"),
        (("run", "x.csv", "--model", "m.json"), "'--output'"),
        (("run", "--model", "m.json", "--output", "o.csv"), "DATA"),
        (("nonsense\n\x1b[2J",), r"nonsense\n\x1b[2J"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_usage_errors_are_one_line(arguments, named):
    outcome = run(*arguments)
    assert_refused(outcome, 2, "")  # the words are the parser's, and change with its version
    assert named in outcome[2]
    assert "; see estep-xp" in outcome[2]


def test_standard_input_can_be_bad_or_closed():
    arguments = ("calculate", "--x", "-", *WORKED)
    assert_refused(run(*arguments, stdin=b"1 two"), 2, "x: value 2 is two; must be a number")
    assert_refused(run(*arguments, stdin=b""), 2, "x: value 1 is empty; must be a number")
    closed = ["bash", "-c", 'exec "$@" <&-', "-", *COMMAND]
    assert_refused(run(*arguments, command=closed), 2, "standard input: is closed")
