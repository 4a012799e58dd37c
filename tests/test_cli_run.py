"""The command `run` as people run it: each test looks at what a process leaves behind."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.commands import (
    FAITHFUL,
    MODEL,
    WAITING,
    assert_refused,
    bivariate,
    needs_jax,
    needs_pyarrow,
    run,
    succeed,
    univariate,
)


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
