"""One table, as pandas, Excel, R, databases and NumPy write it: all give the same fit."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from tests.commands import assert_refused, needs_pyarrow, run

RNG = np.random.default_rng(8)
N = 60
SIZES = np.round(np.r_[RNG.normal(2, 0.3, 30), RNG.normal(4.3, 0.4, 30)], 3)
WAITS = np.round(np.r_[RNG.normal(54, 6, 30), RNG.normal(80, 6, 30)], 2)
NAMES = ["Größe", "wait (min)"]
ROWS = list(zip(SIZES.tolist(), WAITS.tolist(), strict=True))
WORDS = [[repr(value) for value in row] for row in ROWS]
COMMAS = [[word.replace(".", ",") for word in row] for row in WORDS]


def lines(names, rows, separator=",", end="\n", quote="", quote_values=False):
    mark = quote if quote_values else ""
    heading = separator.join(f"{quote}{name}{quote}" for name in names)
    body = [separator.join(f"{mark}{word}{mark}" for word in row) for row in rows]
    return "".join(f"{line}{end}" for line in [heading, *body])


def counted(rows, start, quote=""):
    return [[f"{quote}{i}{quote}", *row] for i, row in enumerate(rows, start)]


def by_csv_module(**options):
    text = io.StringIO()
    writer = csv.writer(text, **options)
    writer.writerows([NAMES, *ROWS])
    return text.getvalue()


def by_pandas(encoding="utf-8", **options):
    pandas = pytest.importorskip("pandas")
    text = pandas.DataFrame(dict(zip(NAMES, [SIZES, WAITS], strict=True))).to_csv(**options)
    return text.encode(encoding)


TEXTS = {
    "plain": lines(NAMES, WORDS),
    "no newline at the end": lines(NAMES, WORDS).rstrip("\n"),
    "old Macintosh": lines(NAMES, WORDS, end="\r"),
    "blank lines": lines(NAMES, WORDS, end="\n\n"),
    "csv module": by_csv_module(),
    "csv module, all quoted": by_csv_module(quoting=csv.QUOTE_ALL),
    "Excel, English, UTF-8": "\ufeff" + lines(NAMES, WORDS, end="\r\n"),
    "Excel, English, ANSI": lines(NAMES, WORDS, end="\r\n").encode("cp1252"),
    "Excel, German, UTF-8": "\ufeff" + lines(NAMES, COMMAS, ";", "\r\n"),
    "Excel, German, ANSI": lines(NAMES, COMMAS, ";", "\r\n").encode("cp1252"),
    "Excel, with its sep= line": "sep=;\r\n" + lines(NAMES, COMMAS, ";", "\r\n"),
    "Excel, as tabs": lines(NAMES, WORDS, "\t", "\r\n"),
    "R, write.csv": lines(["", *NAMES], counted(WORDS, 1, '"'), quote='"'),
    "R, write.csv without row names": lines(NAMES, WORDS, quote='"'),
    "R, write.csv2": lines(["", *NAMES], counted(COMMAS, 1, '"'), ";", quote='"'),
    "R, write.table": lines(NAMES, WORDS, " ", quote='"'),
    "R, write_csv of readr with row numbers": lines(["...1", *NAMES], counted(WORDS, 1)),
    "PostgreSQL, COPY CSV HEADER": lines(NAMES, WORDS),
    "MySQL, batch": lines(NAMES, WORDS, "\t"),
    "SQLite, .mode csv": lines(NAMES, WORDS, end="\r\n", quote='"'),
    "SQL Server, semicolons and points": "\ufeff" + lines(NAMES, WORDS, ";", "\r\n"),
}
PANDAS = {
    "to_csv": {},
    "without index": {"index": False},
    "all quoted": {"quoting": csv.QUOTE_ALL},
    "names quoted": {"quoting": csv.QUOTE_NONNUMERIC, "index": False},
    "semicolons, decimal commas": {"sep": ";", "decimal": ","},
    "tabs": {"sep": "\t", "index": False},
    "for Excel": {"encoding": "utf-8-sig", "lineterminator": "\r\n"},
    "Latin-1": {"encoding": "latin-1", "index": False},
}


def fit(folder, data):
    """Return the model of a file, as bytes, and what was said on standard error."""
    arguments = ("--components", "2", "--family", "full", "--output", "m.json", "--force")
    code, _, stderr = run("fit", data, *arguments, folder=folder)
    assert code == 0, stderr
    return (folder / "m.json").read_bytes(), stderr


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    (folder / "x.csv").write_text(TEXTS["plain"], encoding="utf-8")
    model, stderr = fit(folder, "x.csv")
    assert stderr == ""
    assert json.loads(model)["feature_names"] == NAMES
    return model


@pytest.mark.parametrize("name", TEXTS)
def test_texts(tmp_path, expected, name):
    text = TEXTS[name]
    content = text.encode() if isinstance(text, str) else text
    (tmp_path / "x.csv").write_bytes(content)
    model, stderr = fit(tmp_path, "x.csv")
    assert model == expected
    notes = ["index"] * name.startswith(("R, write.csv2", "R, write_csv")) + ["Latin-1"] * (
        "ANSI" in name
    )
    notes = ["index"] if name == "R, write.csv" else notes
    assert len(stderr.splitlines()) == len(notes)
    assert all(note in stderr for note in notes)


@pytest.mark.parametrize("name", PANDAS)
def test_frames_of_pandas(tmp_path, expected, name):
    (tmp_path / "x.csv").write_bytes(by_pandas(**PANDAS[name]))
    assert fit(tmp_path, "x.csv")[0] == expected


@needs_pyarrow
def test_frames_as_parquet_and_arrays(tmp_path, expected):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(dict(zip(NAMES, [SIZES, WAITS], strict=True)))
    for index in (True, False):
        frame.to_parquet(tmp_path / "x.parquet", index=index)
        assert fit(tmp_path, "x.parquet")[0] == expected
    np.save(tmp_path / "x.npy", frame.to_numpy())
    record = json.loads(expected)
    del record["feature_names"]
    assert json.loads(fit(tmp_path, "x.npy")[0]) == record


BAD_CELLS = {
    "NULL": "x.csv line 4: value 1 is NULL; must be a number",
    "\\N": "x.csv line 4: value 1 is \\N; must be a number",
    "NA": "x.csv line 4: value 1 is NA; must be a number",
    "#N/A": "x.csv line 4: value 1 is #N/A; must be a number",
    "": "x.csv line 4: value 1 is empty; must be a number",
    "NaN": "x.csv line 4: value 1 is NaN; must be a finite number",
}


@pytest.mark.parametrize("word", BAD_CELLS)
def test_words_for_missing_values_are_named(tmp_path, word):
    rows = [list(row) for row in WORDS]
    rows[2][0] = word
    (tmp_path / "x.csv").write_text(lines(NAMES, rows), encoding="utf-8")
    arguments = ("--components", "2", "--family", "full", "--output", "m.json")
    assert_refused(run("fit", "x.csv", *arguments, folder=tmp_path), 2, BAD_CELLS[word])


@pytest.mark.parametrize("truth", [("TRUE", "FALSE"), ("True", "False"), ("t", "f")])
def test_a_column_of_truth_values_is_named(tmp_path, truth):
    rows = [[*row, truth[i % 2]] for i, row in enumerate(WORDS)]
    (tmp_path / "x.csv").write_text(lines([*NAMES, "ok"], rows), encoding="utf-8")
    arguments = ("--components", "2", "--family", "full", "--output", "m.json")
    message = f"x.csv column ok: holds text, {truth[0]} for example; must hold real numbers; "
    assert_refused(run("fit", "x.csv", *arguments, folder=tmp_path), 2, message)


def test_decimal_commas_in_quotes_may_be_thousands(tmp_path, expected):
    text = lines(NAMES, COMMAS, quote='"', quote_values=True)
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    arguments = ("fit", "x.csv", "--components", "2", "--family", "full", "--output", "m.json")
    found = run(*arguments, folder=tmp_path)
    assert_refused(found, 2, "x.csv line 2: value 1 is ")
    assert "or give --decimal comma" in found[2]
    assert run(*arguments, "--decimal", "comma", folder=tmp_path)[0] == 0
    assert (tmp_path / "m.json").read_bytes() == expected


def test_workbooks_say_what_to_do(tmp_path):
    arguments = ("--components", "2", "--family", "full", "--output", "m.json")
    for name in ("x.xlsx", "x.csv"):
        (tmp_path / name).write_bytes(b"PK\x03\x04rest")
        found = run("fit", name, *arguments, folder=tmp_path)
        assert_refused(found, 2, f"{name}: is an Excel workbook")
        assert "save it as CSV" in found[2]
