"""Columns that are no features: a data frame's index is left out, a column of text is named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from estep_xp.cli.read import delimited
from tests.column_files import (
    COLUMNS,
    NAMED,
    RNG,
    A,
    B,
    dump,
    expected_total,
    fit,
    load,
    of,
    run,
    write,
    write_lines,
    write_parquet,
)
from tests.commands import assert_refused, needs_pyarrow, succeed

# --- a data frame's index -----------------------------------------------------------------------

INDEX = {
    "counts": np.arange(40),
    "counts from 1": np.arange(1, 41),
    "filtered": np.flatnonzero(RNG.random(90) < 0.6)[:40],
}
NAMES = ["", "Unnamed: 0", "Unnamed: 0.1", "__index_level_0__"]


@pytest.mark.parametrize(("name", "values"), [*zip(NAMES, [*INDEX, "counts"], strict=True)])
@pytest.mark.parametrize("data", NAMED)
def test_an_index_is_left_out(cli, data, name, values):
    write("x.csv", of("a", "b"))
    fit(cli, "x.csv")
    model = Path("m.json").read_text()
    write(data, {name: INDEX[values], **of("a", "b")})
    code, found, note = fit(cli, data)
    assert (code, found["features"]) == (0, ["a", "b"])
    assert Path("m.json").read_text() == model
    label = name or "0 (without a name)"
    assert note == (
        f"note: {data}: column {label} was left out as a data frame's index; choose it with "
        "--columns if it is data\n"
    )
    assert fit(cli, data, "--quiet")[2] == ""
    assert run(cli, data) == (0, pytest.approx(expected_total("a", "b"), rel=1e-9), "")
    assert fit(cli, data, "--columns", "0,1,2")[1]["n_features"] == 3
    # A model without names
    write("x.npy", of("a", "b"))
    fit(cli, "x.npy")
    code, total, again = run(cli, data)
    assert (code, total) == (0, pytest.approx(expected_total("a", "b"), rel=1e-9))
    assert again == note


def test_an_index_need_not_come_first_if_it_is_called_one(cli):
    write("x.csv", {**of("a", "b"), "__index_level_0__": np.arange(40)})
    assert fit(cli, "x.csv")[1]["features"] == ["a", "b"]


def test_two_indices(cli):
    write("x.csv", {"": np.arange(40), "Unnamed: 0": np.arange(3, 43), **of("a", "b")})
    code, found, note = fit(cli, "x.csv")
    assert (code, found["features"]) == (0, ["a", "b"])
    assert note == (
        "note: x.csv: columns 0 (without a name), Unnamed: 0 were left out as a data frame's "
        "index; choose them with --columns if they are data\n"
    )


@pytest.mark.parametrize(
    "values", [RNG.permutation(40), np.r_[0:20, 0:20], RNG.integers(0, 5, size=40)]
)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", NAMED)
def test_what_may_be_an_index_or_data_is_refused(cli, data, name, values):
    write(data, {name: values, **of("a", "b")})
    label = re.escape(name or "0 (without a name)")
    _, _, error = found = fit(cli, data)
    assert_refused(found, 2, f"{data} column ")
    assert re.match(rf"{data} column {label}: holds whole numbers, which may be data or", error)
    assert fit(cli, data, "--columns", "1,2")[1]["features"] == ["a", "b"]
    assert run(cli, data)[0] == 0


@pytest.mark.parametrize("data", NAMED)
def test_a_column_without_a_name_that_is_no_index_is_data(cli, data):
    write(data, {"": COLUMNS["c"], **of("a", "b")})
    code, found, note = fit(cli, data)
    assert (code, found["features"]) == (0, ["", "a", "b"])
    assert note == (
        f"note: {data}: column 0 (without a name) is read as data; leave it out with --columns if "
        "it is none\n"
    )
    assert run(cli, data)[0] == 0


@pytest.mark.parametrize("name", ["id", "index", "0", "Unnamed", "x0"])
def test_named_columns_that_count_are_data(cli, name):
    write("x.csv", {name: np.arange(40), **of("a")})
    if name == "0":  # a heading, since not all of it are numbers
        code, found, note = fit(cli, "x.csv", "--header", "yes")
    else:
        code, found, note = fit(cli, "x.csv")
    assert (code, found["features"], note) == (0, [name, "a"], "")


def test_a_file_of_nothing_but_an_index(cli):
    write("x.csv", {"Unnamed: 0": np.arange(40)})
    message = (
        "x.csv: has nothing but column Unnamed: 0, a data frame's index; choose with --columns"
    )
    assert_refused(fit(cli, "x.csv", family="univariate"), 2, message)


@pytest.mark.parametrize("last", ["7", "-1", "41.5", "5000"])
def test_an_index_is_one_to_the_end(cli, monkeypatch, last):
    monkeypatch.setattr(delimited, "_SAMPLE_LINES", 11)
    monkeypatch.setattr(delimited, "_BLOCK_SIZE", 64)
    index = [*range(39), last]
    write("x.csv", {"": index, **of("a", "b")})
    write("y.csv", of("a", "b"))
    fit(cli, "y.csv")
    record = load("m.json")
    del record["feature_names"]
    dump("m.json", record)
    for found in (fit(cli, "x.csv"), run(cli, "x.csv")):
        if last == "5000":
            assert found[0] == 0
        else:
            message = "x.csv column 0 (without a name): begins like a data frame's index, whole num"
            assert_refused(found, 2, message)


@needs_pyarrow
def test_pandas_says_which_columns_are_its_index(cli):
    metadata = {"pandas": json.dumps({"index_columns": ["when", {"kind": "range"}]})}
    when = [f"day {day}" for day in range(40)]
    write_parquet("x.parquet", {**of("a", "b"), "when": when}, metadata)
    code, found, note = fit(cli, "x.parquet")
    assert (code, found["features"]) == (0, ["a", "b"])
    assert "column when was left out as a data frame's index" in note
    write_parquet("x.parquet", {**of("a", "b"), "when": RNG.permutation(40)}, metadata)
    assert fit(cli, "x.parquet")[1]["features"] == ["a", "b"]
    assert fit(cli, "x.parquet", "--columns", "when,a")[1]["features"] == ["when", "a"]
    for junk in (
        "",
        "[]",
        "{}",
        '{"index_columns": 7}',
        '{"index_columns": [null, {}]}',
        "[" * 9999,
    ):
        write_parquet("x.parquet", of("a", "b"), {"pandas": junk})
        assert fit(cli, "x.parquet")[0] == 0


@needs_pyarrow
def test_frames_as_pandas_writes_them(cli):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(of("a", "b"))
    for chosen in (frame, frame[frame.a > -0.5], frame.sort_values("b")):
        chosen.to_parquet("x.parquet")
        assert fit(cli, "x.parquet")[1]["features"] == ["a", "b"]
    frame.to_csv("x.csv")
    assert fit(cli, "x.csv")[1]["features"] == ["a", "b"]
    pandas.read_csv("x.csv").to_csv("y.csv")
    assert fit(cli, "y.csv")[1]["features"] == ["a", "b"]
    pandas.DataFrame(np.column_stack([A, B])).to_csv("x.csv")  # ,0,1
    code, found, note = fit(cli, "x.csv")
    assert (code, found["features"], found["n_observations"]) == (0, ["0", "1"], 40)
    assert note.count("\n") == 2
    assert run(cli, "x.csv")[:2] == (0, pytest.approx(expected_total("a", "b"), rel=1e-9))


def test_a_model_that_wants_as_many_columns_takes_them_all(cli):
    write("x.npy", of("a", "b"))
    fit(cli, "x.npy")
    write("x.csv", {"": np.arange(5, 45), **of("b")})
    code, _, note = run(cli, "x.csv")
    assert code == 0
    assert "column 0 (without a name) is read as data" in note
    write("x.csv", {"": np.arange(40), **of("b")})
    message = "x.csv: has 1 column (b) beside a data frame's index; the model has 2 features"
    assert_refused(run(cli, "x.csv"), 2, message)


# --- columns of text ----------------------------------------------------------------------------

TEXTS = {
    "words": ["setosa", "virginica"],
    "dates": ["2024-01-01", "2024-01-02"],
    "times": ["2024-01-01T10:00:00", "2024-01-02T10:00:00"],
    "truth": ["TRUE", "FALSE"],
    "truths": ["True", "False"],
    "money": ["$5", "$7"],
    "percent": ["5%", "7%"],
    "gaps": ["NA", "setosa"],
}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("command", ["fit", "run"])
def test_a_column_of_text_is_named(cli, text, command):
    values = TEXTS[text] * 20
    write("y.csv", of("a", "b"))
    if command == "run":
        fit(cli, "y.csv", "--columns", "b,a")
    for position in range(3):
        columns = list(of("a", "b").items())
        columns.insert(position, ("kind", values))
        write("x.csv", dict(columns))
        if command == "run":
            model = load("m.json") | {"feature_names": ["b", "kind"]}
            dump("m2.json", model)
            found = run(cli, "x.csv", model="m2.json")
        else:
            found = fit(cli, "x.csv")
        example = next(value for value in values if value != "NA")
        message = (
            f"x.csv column kind: holds text, {example} for example; must hold real numbers; choose "
            "others, say --columns a,b\n"
        )
        assert_refused(found, 2, message)
        assert fit(cli, "x.csv", "--columns", "a,b")[0] == 0


def test_text_without_names_and_nothing_at_all(cli):
    write_lines("x.csv", (f"{a},{kind}\n" for a, kind in zip(A, ["x", "y"] * 20, strict=True)))
    message = (
        "x.csv column 1: holds text, x for example; must hold real numbers; choose others, say"
    )
    assert_refused(fit(cli, "x.csv"), 2, message)
    write("x.csv", {**of("a", "b"), "": [""] * 40})
    message = "x.csv column 2 (without a name): holds nothing; must hold real numbers; choose other"
    assert_refused(fit(cli, "x.csv"), 2, message)
    write("x.csv", {"": [f"row {i}" for i in range(40)], **of("a", "b")})
    message = "x.csv column 0 (without a name): holds text, row 0 for example; must hold real numbe"
    assert_refused(fit(cli, "x.csv"), 2, message)


def test_a_single_bad_field_is_still_a_bad_row(cli):
    write("x.csv", {"a": [*A[:39], "x"], "b": B})
    assert_refused(fit(cli, "x.csv"), 2, "x.csv line 41: value 1 is x; must be a number (1 bad row")
    write_lines("x.csv", ["a,1\n", *(f"{a},{b}\n" for a, b in zip(A, B, strict=True))])
    assert fit(cli, "x.csv")[2] == (
        "x.csv line 1: value 1 is a; must be a number (1 bad row: line 1); give --header yes if "
        "the first line holds names\n"
    )


@needs_pyarrow
@pytest.mark.parametrize("values", [["x", "y"] * 20, [True, False] * 20, [None] * 40])
def test_a_column_of_parquet_that_holds_no_numbers(cli, values):
    write("x.parquet", {**of("a", "b"), "kind": values})
    _, _, error = found = fit(cli, "x.parquet")
    assert_refused(found, 2, "x.parquet column kind: holds ")
    assert error.endswith("; must hold real numbers; choose others, say --columns a,b\n")


def test_plain_files_say_nothing(tmp_path):
    np.savetxt(
        tmp_path / "x.csv", np.column_stack([A, B]), delimiter=",", header="a,b", comments=""
    )
    out = str(tmp_path / "m.json")
    data = str(tmp_path / "x.csv")
    succeed("fit", data, "--components", "2", "--family", "full", "--output", out)
    succeed("run", data, "--model", out, "--output", str(tmp_path / "o.csv"))
