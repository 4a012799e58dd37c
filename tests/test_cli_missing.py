"""Holes in files, empty fields, NA and NaN: `fit --missing` and `run --missing`."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import estep_xp as ex
from tests.commands import assert_refused, needs_pyarrow, run, succeed

RNG = np.random.default_rng(5)
X = np.concatenate([RNG.normal(0, 1, (30, 2)), RNG.normal(6, 1, (30, 2))]).round(3)
X[3, 0], X[10, 1], X[40, 0] = [np.nan] * 3
X[50] = np.nan
COMPLETE = X[~np.isnan(X).any(axis=1)]
WORDS = ("", "NA", "NaN", " nan ", "null")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("holes")
    words = iter(WORDS * 2)
    lines = [
        ",".join(next(words) if np.isnan(value) else f"{value:g}" for value in row)
        for row in X.tolist()
    ]
    (path / "x.csv").write_text("\n".join(["a,b", *lines]) + "\n")
    np.save(path / "x.npy", X)
    return path


def fit(folder, data, *options):
    arguments = ("fit", data, "--components", "2", "--output", "m.json", "--force", "--json")
    code, stdout, stderr = run(*arguments, *options, folder=folder)
    assert code == 0
    return json.loads(stdout), ex.load(folder / "m.json"), stderr


@pytest.mark.parametrize("data", ["x.csv", "x.npy", pytest.param("x.parquet", marks=needs_pyarrow)])
def test_holes_are_integrated_out(folder, data):
    if data == "x.parquet":
        import pyarrow
        import pyarrow.parquet

        columns = {"a": pyarrow.array(X[:, 0], from_pandas=True), "b": X[:, 1]}
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / data)
    found, model, stderr = fit(folder, data, "--missing", "marginalize")
    start = ex.initialize(X, 2, ex.FullGaussian, missing=True)
    expected = ex.fit(X, start, missing=True).mixture
    assert stderr == ""
    assert found["n_observations"] == 60
    np.testing.assert_allclose(model.components.means, expected.components.means, rtol=1e-9)
    total = float(ex.log_likelihood(X, expected, missing=True))
    assert found["log_likelihood"] == pytest.approx(total, rel=1e-12)
    assert found["bic"] == pytest.approx(float(ex.bic(X, expected, missing=True)), rel=1e-12)
    options = ("--model", "m.json", "--output", "o.npy", "--missing", "marginalize", "--force")
    again = json.loads(succeed("run", data, *options, "--json", folder=folder))
    assert again["log_likelihood"] == pytest.approx(total, rel=1e-9)
    rows, step = np.load(folder / "o.npy"), ex.e_step(X, expected, missing=True)
    np.testing.assert_allclose(rows["responsibilities"], step.responsibilities, atol=1e-9)
    np.testing.assert_allclose(rows["log_likelihood"], step.log_likelihood, atol=1e-9)
    np.testing.assert_allclose(rows["responsibilities"][50], expected.weights, rtol=1e-9)


def test_rows_with_holes_are_left_out(folder):
    found, model, stderr = fit(folder, "x.csv", "--missing", "skip")
    note = "note: x.csv: 4 of 60 rows have holes and were left out\n"
    assert stderr == note
    assert found["n_observations"] == 56
    expected = ex.fit(COMPLETE, ex.initialize(COMPLETE, 2, ex.FullGaussian)).mixture
    np.testing.assert_allclose(model.components.means, expected.components.means, rtol=1e-9)
    options = ("--model", "m.json", "--output", "o.csv", "--missing", "skip", "--force", "--json")
    code, stdout, stderr = run("run", "x.csv", *options, folder=folder)
    assert (code, stderr) == (0, note)
    summary = json.loads(stdout)
    assert summary["n_observations"] == 60
    assert sum(summary["rows_per_component"]) == 56
    step = ex.e_step(COMPLETE, model)
    assert summary["log_likelihood"] == pytest.approx(float(step.total_log_likelihood))
    mean = float(step.mean_max_responsibility)
    assert summary["mean_max_responsibility"] == pytest.approx(mean)
    with (folder / "o.csv").open() as file:
        _, *rows = csv.reader(file)
    assert len(rows) == 60
    for index in (3, 10, 40, 50):
        assert rows[index] == ["nan", "nan", "-1", "nan"]
    assert float(rows[4][3]) == pytest.approx(float(step.log_likelihood[3]))


def test_holes_are_an_error_by_default(folder):
    message = "x.csv line 5: value 1 is empty; must be a number (4 bad rows: line 5, line 12, "
    arguments = ("--components", "2", "--output", "new.json")
    refusal = run("fit", "x.csv", *arguments, folder=folder)
    assert_refused(refusal, 2, message)
    assert refusal[2].endswith("); choose what is done about holes with --missing\n")
    options = ("--missing", "marginalise")
    message = "--missing: is marginalise; must be one of error, skip, marginalize"
    assert_refused(run("fit", "x.csv", *arguments, *options, folder=folder), 2, message)


REFUSED = {
    "infinity is none": (
        "a\n1\ninf\n2\n",
        ("--missing", "marginalize"),
        "x.csv line 3: value 1 is",
    ),
    "nor is a word": ("a\n1\nno\n2\n", ("--missing", "skip"), "x.csv line 3: value 1 is no; must "),
    "no row is whole": (
        "a,b\n1,\n,2\n3,\n",
        ("--missing", "skip"),
        "x.csv: has a hole in each row; --missing marginalize fits the others",
    ),
    "the rows that are left are too few": (
        "a,b\n1,\n4,2\n3,\n",
        ("--missing", "skip"),
        "--components: is 2; x.csv has 1 row, and there must be one for each",
    ),
    "support beside holes": (
        "a,b\n1,\n,0.5\n3,\n",
        ("--missing", "marginalize", "--family", "poisson"),
        "x.csv line 3: value 2 is 0.5; must be a count",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path, name):
    content, options, message = REFUSED[name]
    (tmp_path / "x.csv").write_text(content)
    arguments = ("fit", "x.csv", "--components", "2", "--output", "m.json", *options)
    assert_refused(run(*arguments, folder=tmp_path), 2, message)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_categories_with_holes(tmp_path):
    (tmp_path / "x.csv").write_text("a,n\n" + "0,1\n1,NA\nNA,3\n2,0\n" * 5)
    arguments = ("fit", "x.csv", "--parts", "categorical: a; poisson: n", "--components", "1")
    options = ("--missing", "marginalize", "--output", "m.json")
    succeed(*arguments, *options, folder=tmp_path)
    (kinds, counts) = ex.load(tmp_path / "m.json").components.parts
    np.testing.assert_allclose(kinds.probabilities, [[1 / 3] * 3], rtol=1e-3)
    np.testing.assert_allclose(counts.rates, [4 / 3], rtol=1e-3)


@pytest.mark.parametrize("word", ["#N/A", "\\N", "NULL"])
def test_words_of_workbooks_and_databases_are_holes(tmp_path, word):
    (tmp_path / "x.csv").write_text(f"a,b\n1,2\n3,{word}\n4,4\n5,4.5\n")
    arguments = ("fit", "x.csv", "--components", "1", "--output", "m.json", "--missing", "skip")
    code, _, stderr = run(*arguments, folder=tmp_path)
    assert (code, stderr) == (0, "note: x.csv: 1 of 4 rows has holes and was left out\n")
