"""``run --keep``: columns of DATA stand in OUT as they stand in DATA, row for row."""

from __future__ import annotations

import csv
import datetime
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from estep_xp.cli.commands import run as command
from estep_xp.cli.read import delimited, parquet
from tests.commands import FAITHFUL, assert_refused, needs_pyarrow, run, succeed
from tests.commands import MODEL as UNNAMED

MODEL = "m.json"
RESULTS = ["responsibility_0", "responsibility_1", "label", "log_likelihood"]
RNG = np.random.default_rng(5)
N = 23
X = np.stack([RNG.uniform(1.6, 5, N), RNG.integers(43, 96, N)], axis=1)
WORDS = ["a", "", "é", 'say "hi"', "one, two", "two\nlines", "007", "NA", "2024-01-01", " x", "x "]
NOTES = [WORDS[i % len(WORDS)] for i in range(N)]


@pytest.fixture
def folder(tmp_path):
    """A folder with a model that knows its columns by name."""
    record = json.loads(Path(UNNAMED).read_text()) | {"feature_names": ["eruptions", "waiting"]}
    (tmp_path / MODEL).write_text(json.dumps(record))
    return tmp_path


def keep(folder, data, chosen, *options, out="out.csv", **kwargs):
    arguments = ("--model", MODEL, "--output", out, "--force", "--keep", chosen)
    return succeed("run", data, *arguments, *options, folder=folder, **kwargs)


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few rows, wherever there are blocks."""
    monkeypatch.setattr(command, "rows_per_block", lambda d, k: 5)
    monkeypatch.setattr(delimited, "_BLOCK_SIZE", 40)
    monkeypatch.setattr(delimited, "_BLOCK_ROWS", 3)
    monkeypatch.setattr(parquet, "_BLOCK_ROWS", 4)


def write_text(path, notes, encoding="utf-8"):
    with path.open("w", newline="", encoding=encoding) as file:
        rows = csv.writer(file, lineterminator="\n\n")  # blank lines are none
        rows.writerow(["note", "waiting", "id", "eruptions"])
        rows.writerows(zip(notes, X[:, 1].astype(int), range(N), X[:, 0].tolist(), strict=True))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("notes", [NOTES, [f"n{i}" for i in range(N)]])
def test_columns_of_a_text(folder, notes):
    write_text(folder / "x.csv", notes)
    keep(folder, "x.csv", "note,2")
    found = table(folder / "out.csv")
    assert list(found) == ["note", "id", *RESULTS]
    assert found["note"] == [note.lstrip(" ") for note in notes]  # as csv readers skip blanks
    assert found["id"] == list(map(str, range(N)))
    succeed("run", "x.csv", "--model", MODEL, "--output", "plain.csv", folder=folder)
    plain = table(folder / "plain.csv")
    assert {name: found[name] for name in RESULTS} == plain
    keep(folder, "x.csv", "all")
    assert list(table(folder / "out.csv")) == ["note", "waiting", "id", "eruptions", *RESULTS]


@pytest.mark.usefixtures("small_blocks")
def test_texts_that_are_not_utf_8_are_read_as_latin_1(folder):
    notes = ["Zoë", "b"] * 11 + ["ü"]
    write_text(folder / "x.csv", notes, "latin-1")
    keep(folder, "x.csv", "note")
    assert table(folder / "out.csv")["note"] == notes


@needs_pyarrow
@pytest.mark.usefixtures("small_blocks")
def test_texts_become_text_in_parquet(folder):
    import pyarrow.parquet

    write_text(folder / "x.csv", NOTES)
    keep(folder, "x.csv", "note,id", out="out.parquet")
    found = pyarrow.parquet.read_table(folder / "out.parquet")
    assert found.column_names == ["note", "id", *RESULTS]
    assert found["note"].to_pylist() == [note.lstrip(" ") for note in NOTES]
    assert found["id"].to_pylist() == list(map(str, range(N)))


@needs_pyarrow
@pytest.mark.usefixtures("small_blocks")
def test_columns_of_parquet_keep_their_types(folder):
    import pyarrow as pa
    import pyarrow.parquet

    day = datetime.date(2024, 2, 29)
    times = [datetime.datetime(2024, 1, 1, 12, 0, i) for i in range(N)]
    kinds = pa.array(["red", "blue", None] * 7 + ["red", "red"]).dictionary_encode()
    columns = {
        "eruptions": pa.array(X[:, 0]),
        "kind": kinds,
        "day": pa.array([day, None] * 11 + [day]),
        "time": pa.array(times, pa.timestamp("us")),
        "waiting": pa.array(X[:, 1]),
        "price": pa.array([Decimal("1.20")] * N, pa.decimal128(9, 2)),
        "ok": pa.array([True, None] * 11 + [False]),
        "tags": pa.array([["a", "b"]] * N),
    }
    pyarrow.parquet.write_table(pa.table(columns), folder / "x.parquet", row_group_size=7)
    keep(folder, "x.parquet", "all", out="out.parquet")
    found = pyarrow.parquet.read_table(folder / "out.parquet")
    assert found.column_names == [*columns, *RESULTS]
    for name, column in columns.items():
        if name == "kind":
            column = column.dictionary_decode()
        assert found[name].type == column.type
        assert found[name].to_pylist() == column.to_pylist()
    keep(folder, "x.parquet", "kind,day,time,price,ok,tags,waiting")
    text = table(folder / "out.csv")
    assert text["kind"][:3] == ["red", "blue", ""]
    assert text["day"][:2] == ["2024-02-29", ""]
    assert text["time"][1] == "2024-01-01 12:00:01"
    assert text["price"][0] == "1.20"
    assert text["ok"][:2] == ["True", ""]
    assert text["tags"][0] == "['a', 'b']"
    assert text["waiting"] == [str(value) for value in X[:, 1].tolist()]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2", "<i8", np.longdouble])
@pytest.mark.parametrize("order", ["C", "F"])
def test_columns_of_arrays_are_called_by_their_numbers(folder, dtype, order):
    array = np.asarray(np.column_stack([X, np.arange(N)]), dtype=dtype, order=order)
    np.save(folder / "x.npy", array)
    keep(folder, "x.npy", "2,0", "--columns", "0,1")
    found = table(folder / "out.csv")
    assert list(found) == ["column_2", "column_0", *RESULTS]
    assert list(map(float, found["column_2"])) == list(range(N))
    assert list(map(float, found["column_0"])) == array[:, 0].astype(float).tolist()
    parquet = pytest.importorskip("pyarrow.parquet")
    keep(folder, "x.npy", "all", "--columns", "0,1", out="out.parquet")
    kept = parquet.read_table(folder / "out.parquet")
    assert kept.column_names[:3] == ["column_0", "column_1", "column_2"]
    np.testing.assert_array_equal(kept["column_0"].to_numpy(), array[:, 0].astype(float))


def test_an_index_and_a_column_without_a_name(folder):
    rows = [f"{i},{a},{b}" for i, (a, b) in enumerate(X.tolist())]
    (folder / "x.csv").write_text("\n".join([",eruptions,waiting", *rows]))
    keep(folder, "x.csv", "0")
    assert table(folder / "out.csv")["column_0"] == list(map(str, range(N)))


BAD = {
    "no such column": (("--keep", "nobody"), "--keep: value 1 is nobody; must be eruptions, waiti"),
    "twice": (("--keep", "waiting,1"), "--keep: value 2 is 1; is there twice"),
    "nothing": (("--keep", ""), "--keep: value 1 is empty; must be eruptions, waiting or a numb"),
    "an array": (
        ("--keep", "all", "--output", "out.npy"),
        "--keep: is for tables; out.npy is an array of results alone: write .csv or .parquet",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_kept(folder, name):
    options, message = BAD[name]
    arguments = ("--model", MODEL, "--output", "out.csv", *options)
    assert_refused(run("run", FAITHFUL, *arguments, folder=folder), 2, message)
    assert [file.name for file in folder.iterdir()] == [MODEL]


@pytest.mark.parametrize("chosen", ["label", "all"])
def test_a_name_that_results_have_is_refused(folder, chosen):
    (folder / "x.csv").write_text("eruptions,waiting,label\n3,70,x\n")
    arguments = ("--model", MODEL, "--output", "out.csv", "--keep", chosen)
    position = 3 if chosen == "all" else 1
    message = f"--keep: value {position} is label; results have a column of that name; rename it in"
    assert_refused(run("run", "x.csv", *arguments, folder=folder), 2, message)


def test_two_columns_of_one_name_are_refused(folder):
    (folder / "x.csv").write_text("eruptions,waiting,n,n\n3,70,x,y\n")
    arguments = ("--model", MODEL, "--output", "out.csv", "--keep")
    for chosen, message in {
        "all": "--keep: value 4 is n; another column is called so; rename it",
        "n": "--keep: value 1 is n; several columns have this name; give its number",
    }.items():
        assert_refused(run("run", "x.csv", *arguments, chosen, folder=folder), 2, message)
    keep(folder, "x.csv", "3")
    assert table(folder / "out.csv")["n"] == ["y"]
