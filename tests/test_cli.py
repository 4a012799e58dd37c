"""The command line as people run it: every test starts a process and looks at what it leaves."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
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
    ROOT,
    WAITING,
    WORKED,
    assert_refused,
    bivariate,
    interrupt,
    needs_jax,
    needs_pyarrow,
    on_terminal,
    probe,
    run,
    stalled,
    start,
    succeed,
    univariate,
)

# --- calculate ----------------------------------------------------------------------------------

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


# --- help, version, what is imported ------------------------------------------------------------


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


# --- run ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["numpy", pytest.param("jax", marks=needs_jax)])
def test_faithful_as_csv(tmp_path, library):
    out = tmp_path / "out.csv"
    stdout = succeed(
        *("run", "examples/data/faithful.csv", "--model", "examples/data/faithful.json"),
        *("--output", str(out), "--backend", library),
    )
    model = json.loads(Path(MODEL).read_text())
    data = [
        tuple(map(float, row))
        for row in list(csv.reader(Path(FAITHFUL).read_text().splitlines()))[1:]
    ]
    expected = [bivariate(x, y, model) for x, y in data]
    header, *rows = csv.reader(out.read_text().splitlines())
    assert header == ["responsibility_0", "responsibility_1", "label", "log_likelihood"]
    assert len(rows) == 272
    for row, (r, log_p) in zip(rows, expected, strict=True):
        assert [float(row[0]), float(row[1])] == pytest.approx(r, rel=1e-11)
        assert row[2] == str(r.index(max(r)))
        assert float(row[3]) == pytest.approx(log_p, rel=1e-12)
    labels = [r.index(max(r)) for r, _ in expected]
    mean_max = math.fsum(max(r) for r, _ in expected) / 272
    total = math.fsum(log_p for _, log_p in expected)
    assert stdout == (
        "Rows                        272\n"
        "Components                  2\n"
        f"Rows per component          {labels.count(0)}  {labels.count(1)}\n"
        f"Average max responsibility  {mean_max:.6f}\n"
        f"Log-likelihood              {total:.6f}\n"
        f"Output                      {out}\n"
    )


def test_one_column_as_npy_and_summary_as_json(tmp_path):
    out = tmp_path / "out.npy"
    arguments = ("run", FAITHFUL, "--model", WAITING, "--columns", "waiting", "--output", str(out))
    found = json.loads(succeed(*arguments, "--json"))
    model = json.loads(Path(WAITING).read_text())
    data = [float(row[1]) for row in list(csv.reader(Path(FAITHFUL).read_text().splitlines()))[1:]]
    expected = [univariate(x, model["means"], model["covariances"], model["weights"]) for x in data]
    result = np.load(out)
    np.testing.assert_allclose(result["responsibilities"], [r for r, _ in expected], rtol=1e-12)
    np.testing.assert_allclose(result["log_likelihood"], [p for _, p in expected], rtol=1e-12)
    labels = [r.index(max(r)) for r, _ in expected]
    assert result["label"].tolist() == labels
    assert found == {
        "n_observations": 272,
        "n_components": 2,
        "rows_per_component": [labels.count(0), labels.count(1)],
        "mean_max_responsibility": pytest.approx(
            math.fsum(max(r) for r, _ in expected) / 272, rel=1e-12
        ),
        "log_likelihood": pytest.approx(math.fsum(p for _, p in expected), rel=1e-12),
        "output": str(out),
    }


@pytest.mark.parametrize(
    "suffix", [".tsv", ".npy", ".npz", pytest.param(".parquet", marks=needs_pyarrow)]
)
def test_every_format_gives_the_same(tmp_path, suffix):
    succeed("run", FAITHFUL, "--model", MODEL, "--output", str(tmp_path / "expected.csv"))
    x = np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)
    data = tmp_path / f"data{suffix}"
    if suffix == ".tsv":
        np.savetxt(data, x, delimiter="\t", header="a\tb", comments="")
    elif suffix == ".npy":
        np.save(data, x)
    elif suffix == ".npz":
        np.savez(data, x=x, other=x[:3])
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({"a": x[:, 0], "b": x[:, 1]}), data)
    options = ("--array", "x") if suffix == ".npz" else ()
    out = tmp_path / "out.csv"
    succeed("run", str(data), "--model", MODEL, "--output", str(out), *options)
    assert out.read_bytes() == (tmp_path / "expected.csv").read_bytes()


@needs_pyarrow
def test_parquet_output(tmp_path):
    import pyarrow.parquet

    for suffix in (".parquet", ".npy"):
        succeed("run", FAITHFUL, "--model", MODEL, "--output", str(tmp_path / f"out{suffix}"))
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    array = np.load(tmp_path / "out.npy")
    names = ["responsibility_0", "responsibility_1", "label", "log_likelihood"]
    assert table.column_names == names
    columns = [*array["responsibilities"].T, array["label"], array["log_likelihood"]]
    for name, column in zip(names, columns, strict=True):
        np.testing.assert_array_equal(table[name].to_numpy(), column)


def test_rows_of_zero_density(tmp_path):
    (tmp_path / "x.csv").write_text("a\n55\n1e200\n80\n-1e200\n")
    arguments = ("run", "x.csv", "--model", WAITING, "--output", "out.csv", "--json")
    code, stdout, stderr = run(*arguments, folder=tmp_path)
    found = json.loads(stdout, parse_constant=pytest.fail)
    assert code == 0
    assert found["rows_per_component"] == [1, 1]
    assert found["log_likelihood"] is found["mean_max_responsibility"] is None
    assert stderr.startswith("warning: x.csv: 2 of 4 rows have zero density under every component")
    assert "the first is row 1, counted from 0" in stderr
    assert stderr.count("\n") == 1
    rows = (tmp_path / "out.csv").read_text().splitlines()
    assert rows[2] == rows[4] == "nan,nan,-1,-inf"
    assert run(*arguments, "--force", "--quiet", folder=tmp_path)[2] == ""


BAD_RUNS = {
    "bad rows": (
        {"x.csv": "a,b\n1,2\n3,x\n4,nan\n\n5\n6,7,8\n,1\n2,y\n"},
        {},
        2,
        "x.csv line 3: value 2 is x; must be a number "
        "(6 bad rows: line 3, line 4, line 6, line 7, line 8, ...)",
    ),
    "no header beside a number": (
        {"x.csv": "a,1\n1,2\n"},
        {},
        2,
        "x.csv line 1: value 1 is a; must be a number (1 bad row: line 1)",
    ),
    "empty": ({"x.csv": ""}, {}, 2, "x.csv: holds no rows"),
    "header only": ({"x.csv": "a,b\n"}, {}, 2, "x.csv: holds no rows"),
    "one column": ({"x.csv": "a\n1\n"}, {}, 2, "x.csv: has 1 column (a); the model has 2 feat"),
    "three columns": ({"x.csv": "1,2,3\n"}, {}, 2, "x.csv: has 3 columns; the model has 2 featur"),
    "NaN": ({"x.csv": "1,2\nnan,4\n"}, {}, 2, "x.csv line 2: value 1 is nan; must be a finite nu"),
    "a URL": ({}, {"DATA": "http://x.org/x.csv"}, 2, "http:/x.org/x.csv: no such file"),
    "data is a directory": ({}, {"DATA": "folder.csv"}, 2, "folder.csv: must be a file, not a dir"),
    "model is a directory": ({}, {"--model": "."}, 2, ".: must be a file, not a directory"),
    "output is the model": (
        {"m.csv": "{}"},
        {"--model": "m.csv", "--output": "m.csv", "--force": None},
        2,
        "m.csv: is m.csv itself; write the output to another file",
    ),
    "no such column": ({}, {"--columns": "a,z"}, 2, "--columns: value 2 is z; must be a, b or a"),
    "too few columns": ({}, {"--columns": "a"}, 2, "--columns: has 1 column; the model has 2 fea"),
    "array": ({}, {"--array": "x"}, 2, "--array: is for .npz archives; x.csv is none"),
    "no data": ({}, {"DATA": "none.csv"}, 2, "none.csv: no such file"),
    "no format": ({}, {"DATA": "x.txt"}, 2, "x.txt: must end in one of .csv .tsv .npy .npz"),
    "not numpy's": ({"x.npy": "junk"}, {"DATA": "x.npy"}, 2, "x.npy: is not a .npy file"),
    "no archive": ({"x.npz": "junk"}, {"DATA": "x.npz"}, 2, "x.npz: is not a .npz archive"),
    "no model": ({}, {"--model": "none.json"}, 2, "none.json: no such file"),
    "model is data": ({}, {"--model": "x.csv"}, 2, "x.csv line 1: is not JSON"),
    "model": ({"m.json": "{}"}, {"--model": "m.json"}, 2, "m.json: family is missing"),
    "covariance": (
        {
            "m.json": '{"family": "full", "weights": [1], "means": [[0, 0]], '
            '"covariances": [[[1, 2], [2, 1]]]}'
        },
        {"--model": "m.json"},
        2,
        "m.json: covariances[0] is not positive definite",
    ),
    "output is data": ({}, {"--output": "x.csv"}, 2, "x.csv: is x.csv itself; write the output"),
    "output is a link to data": ({}, {"--output": "link.csv"}, 2, "link.csv: is x.csv itself"),
    "output is data's other name": ({}, {"--output": "hard.csv"}, 2, "hard.csv: is x.csv itself"),
    "output has no format": ({}, {"--output": "out.txt"}, 2, "out.txt: must end in one of .csv"),
    "output exists": ({}, {"--output": "old.csv"}, 1, "old.csv: exists; give --force to replace"),
    "no directory": ({}, {"--output": "none/out.csv"}, 1, "none/out.csv: No such file or director"),
    "output is a directory": (
        {},
        {"--output": "folder.csv", "--force": None},
        1,
        "folder.csv: is not a file that could be replaced",
    ),
}


@pytest.mark.parametrize("name", BAD_RUNS)
def test_run_refuses(tmp_path, name):
    files, changes, code, message = BAD_RUNS[name]
    for file, text in ({"x.csv": "a,b\n1,2\n", "old.csv": "old"} | files).items():
        (tmp_path / file).write_text(text)
    (tmp_path / "link.csv").symlink_to("x.csv")
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "x.csv")
    (tmp_path / "folder.csv").mkdir()
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    options = {"--model": MODEL, "--output": "out.csv"} | changes
    data = options.pop("DATA", "x.csv")
    arguments = [part for option in options.items() for part in option if part is not None]
    assert_refused(run("run", data, *arguments, folder=tmp_path), code, message)
    after = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    assert after == before


def test_force_replaces_and_the_new_file_has_the_umasks_rights(tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("old")
    out.chmod(0o600)
    arguments = ("run", FAITHFUL, "--model", MODEL, "--output", str(out), "--force")
    succeed(*arguments, umask=0o022)
    assert len(out.read_text().splitlines()) == 273
    assert out.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [out]


# --- signals, full disks, closed pipes, terminals -----------------------------------------------


@contextlib.contextmanager
def stalled_run(folder, suffix=".csv"):
    """Start a run that has written a part of its results and waits for more data."""
    out = folder / f"out{suffix}"
    out.write_text("old")
    arguments = ("--model", WAITING, "--output", str(out), "--force")
    with stalled(folder, "run", *arguments) as process:
        yield process, out


@pytest.mark.parametrize("suffix", [".csv", ".npy", pytest.param(".parquet", marks=needs_pyarrow)])
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
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
