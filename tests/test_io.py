"""Reading and writing of the command line's files and fields, piece by piece."""

from __future__ import annotations

import json
import math
import os
import signal
import warnings
import zipfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.cli.curves import density_curves
from estep_xp.cli.read import arrays, delimited, rows, table
from estep_xp.cli.read.data import choose_columns, open_data
from estep_xp.cli.read.inputs import read_inputs
from estep_xp.cli.read.model import Model, read_model, write_model
from estep_xp.cli.read.table import read_table
from estep_xp.cli.system.files import replacing
from estep_xp.cli.system.process import exit_code_of
from estep_xp.cli.text.errors import FaceError, InputError, SystemFailure, one_line, shown
from estep_xp.cli.text.numbers import parse_values
from estep_xp.cli.text.options import number_option, whole_option
from estep_xp.cli.write.results import Results, open_results

MINUS = "\N{MINUS SIGN}"
BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5, 1.2, 3.8", [0.5, 1.2, 3.8]),
        ("1,2,3", [1.0, 2.0, 3.0]),
        ("1 2\t3\n4\r\n5", [1.0, 2.0, 3.0, 4.0, 5.0]),
        ("1,2 3\n4", [1.0, 2.0, 3.0, 4.0]),
        ("1,2\n3,4\n", [1.0, 2.0, 3.0, 4.0]),
        (" 1 ,\n 2 ", [1.0, 2.0]),
        (f"{MINUS}1, +2, -3", [-1.0, 2.0, -3.0]),
        (f"1e{MINUS}3 1E+2", [1e-3, 100.0]),
        (".5 5. 0005", [0.5, 5.0, 5.0]),
        (f"{BOM}7", [7.0]),
        ("1,\N{NO-BREAK SPACE}2", [1.0, 2.0]),
        ("0,5", [0.0, 5.0]),
        ("0.1 1e-400 1.7976931348623157e308", [0.1, 0.0, 1.7976931348623157e308]),
    ],
)
def test_numbers_are_read(text, expected):
    assert parse_values("x", text).numbers == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x: value 1 is empty; must be a number"),
        (" \n", "x: value 1 is empty; must be a number"),
        ("1,,2", "x: value 2 is empty; must be a number"),
        ("1, 2,", "x: value 3 is empty; must be a number"),
        (",1", "x: value 1 is empty; must be a number"),
        ("1, abc", "x: value 2 is abc; must be a number"),
        ("1 nan", "x: value 2 is nan; must be a finite number"),
        ("-Infinity", "x: value 1 is -Infinity; must be a finite number"),
        ("1e400", "x: value 1 is 1e400; must be between -1.8e308 and 1.8e308"),
        ("0x10", "x: value 1 is 0x10; must be a number"),
        ("1_000", "x: value 1 is 1_000; must be a number"),
        ("1+2j", "x: value 1 is 1+2j; must be a number"),
        ("--1", "x: value 1 is --1; must be a number"),
        (f"1 {MINUS} 2", f"x: value 2 is {MINUS}; must be a number"),
        ("1.2.3", "x: value 1 is 1.2.3; must be a number"),
        ("1e", "x: value 1 is 1e; must be a number"),
        ("\N{FULLWIDTH DIGIT ONE}", "x: value 1 is \N{FULLWIDTH DIGIT ONE}; must be a number"),
        ("\N{ARABIC-INDIC DIGIT ONE}", "must be a number"),
        ("0,5; 1,2", "x: value 2 is '5;'; separate values by commas or white space, not semi"),
        ("1;2", "x: value 1 is '1;2'; separate values by commas or white space, not semicolons"),
        ("0,5 1,2", "x: value 1 is 0,5; write decimals with a point (0.5), not a comma"),
        ("3\n0,5 1,2", "x: value 2 is 0,5; write decimals with a point (0.5), not a comma"),
        ("2, 1,05", "x: value 2 is 1,05; write decimals with a point (0.5), not a comma"),
        ("1,000,000", "x: value 1 is 1,000,000; write decimals with a point"),
        ("1\x1b[31m", r"x: value 1 is 1\x1b[31m; must be a number"),
        ("1\x002", r"x: value 1 is 1\x002; must be a number"),
        ("1\x1f2", r"x: value 1 is 1\x1f2; must be a number"),
        ("\N{ZERO WIDTH SPACE}1", r"x: value 1 is \u200b1; must be a number"),
        ("\udcff", r"x: value 1 is \udcff; must be a number"),
        ("y" * 1000, f"x: value 1 is {'y' * 37}...; must be a number"),
    ],
)
def test_bad_numbers_are_named(text, message):
    with pytest.raises(InputError) as error:
        parse_values("x", text)
    assert message in str(error.value)
    assert one_line(str(error.value)) == str(error.value)


def test_an_error_carries_its_parts_for_the_page():
    with pytest.raises(InputError) as error:
        read_inputs("1", "2, 6", "1, -1")
    found = error.value
    assert (found.field, found.position, found.token) == ("variances", 2, "-1")
    assert found.expectation == "must be positive"
    assert found.reason == "value 2 is -1; must be positive"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("1", "2", "0"), "variances: value 1 is 0; must be positive"),
        (("1", "2, 6", "1"), "variances: value 2 is missing; there must be 2 values, one for each"),
        (("1", "2, 6", "1, 2, 3"), "variances: value 3 is 3; there must be 2 values, one for each"),
        (("1", "2, 6", "1, 2", "1"), "weights: value 2 is missing; there must be 2 values"),
        (("1", "2, 6", "1, 2", "1 1 9"), "weights: value 3 is 9; there must be 2 values"),
        (("1", "2, 6", "1, 2", "0.5, -0.5"), "weights: value 2 is -0.5; must not be negative"),
        (("1", "2, 6", "1, 2", "0, 0"), "weights: value 1 is 0; at least one weight must be pos"),
        (("1", "", "1"), "means: value 1 is empty; must be a number"),
    ],
)
def test_fields_must_fit_each_other(texts, message):
    with pytest.raises(InputError) as error:
        read_inputs(*texts)
    assert str(error.value).startswith(message)


def test_weights_left_out_are_equal():
    weights = read_inputs("1", "2, 6, 7", "1, 2, 3").weights
    assert len(weights) == 3
    assert len(set(weights)) == 1


@pytest.mark.parametrize(
    ("token", "expected"),
    [("", "empty"), (" ", "empty"), ("a;b", "'a;b'"), ("a\nb", r"a\nb"), ("\x7f", r"\x7f")],
)
def test_tokens_are_shown_safely(token, expected):
    assert shown(token) == expected


@pytest.mark.parametrize(("text", "expected"), [("3", 3), (" +3 ", 3), ("0", 0), ("007", 7)])
def test_whole_numbers_as_options(text, expected):
    assert whole_option("--seed", text, least=0) == expected


@pytest.mark.parametrize(
    "text", ["", "-1", "1.0", "1e3", "1_0", "x", "9" * 30, "\N{SUPERSCRIPT TWO}"]
)
def test_options_that_are_no_whole_number(text):
    at_most = ", of at most 18 digits" if len(text) > 18 else ""
    message = rf"^--seed: is .*; must be a whole number, 0 or more{at_most}$"
    with pytest.raises(InputError, match=message):
        whole_option("--seed", text, least=0)


@pytest.mark.parametrize(("text", "expected"), [("0", 0.0), ("1e-6", 1e-6), (" .5 ", 0.5)])
def test_numbers_as_options(text, expected):
    assert number_option("--tol", text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-1", "--tol: is -1; must not be negative"),
        ("inf", "--tol: is inf; must be a finite number"),
        ("", "--tol: is empty; must be a number"),
        ("1 2", "--tol: is 1 2; must be a number"),
    ],
)
def test_options_that_are_no_number(text, message):
    with pytest.raises(InputError) as error:
        number_option("--tol", text)
    assert str(error.value) == message


# --- data ---------------------------------------------------------------------------------------


def read(path: Path, columns=None, d=2, n_rows=3, array=None):
    """Return all rows of a file as one array, and the names of its columns."""
    with ExitStack() as stack:
        source = open_data(path, array, stack)
        chosen = choose_columns(source, path, columns, d)
        blocks = list(rows.good_blocks(source, chosen, path, n_rows))
        assert all(len(block) == n_rows for block in blocks[:-1])
        assert source.position == source.total
    return np.concatenate(blocks).tolist(), source.names


AB = ("a", "b")
GOOD_TEXTS = {
    "heading": ("a,b\n1,2\n3,4\n", AB),
    "no heading": ("1,2\n3,4\n", None),
    "no newline at the end": ("a,b\n1,2\n3,4", AB),
    "byte order mark": (f"{BOM}a,b\n1,2\n3,4\n", AB),
    "byte order mark, no heading": (f"{BOM}1,2\n3,4\n", None),
    "CRLF": ("a,b\r\n1,2\r\n3,4\r\n", AB),
    "CR": ("a,b\r1,2\r3,4\r", AB),
    "quotes": ('"a","b"\n"1","2"\n3,"4"\n', AB),
    "blank lines": ("\n\na,b\n\n1,2\n  \n3,4\n\n\n", AB),
    "blanks": (" a , b\n 1 , 2\n3 ,4 \n", AB),
    "blank before a quote": ('a, "b"\n1, "2"\n3,4\n', AB),
    "comma and newline in a name": ('a,"b,\nc"\n1,2\n3,4\n', ("a", "b,\nc")),
    "empty name": (',b\n1,2\n3,4\n', ("", "b")),
    "Unicode": ("ä,b\n1,+2\n3,4.\n", ("ä", "b")),
    "exponents": ("1e0,.2E1\n30e-1,4\n", None),
}  # fmt: skip


@pytest.mark.parametrize("block", [1, 2, 5, 1 << 20])
@pytest.mark.parametrize("name", GOOD_TEXTS)
def test_texts_are_read(tmp_path, monkeypatch, name, block):
    text, names = GOOD_TEXTS[name]
    path = tmp_path / "data.csv"
    path.write_bytes(text.encode())
    if '"' not in text.partition("1")[0] or block > 20:  # a quoted heading must be in one block
        monkeypatch.setattr(delimited, "_BLOCK", block)
    assert read(path) == ([[1.0, 2.0], [3.0, 4.0]], names)


def test_minus_signs_in_data(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(f"1,{MINUS}2\n", encoding="utf-8")
    assert read(path) == ([[1.0, -2.0]], None)


def test_tab_separated(tmp_path):
    path = tmp_path / "DATA.TSV"
    path.write_text("a\tb\n1\t2\n3\t4\n")
    assert read(path) == ([[1.0, 2.0], [3.0, 4.0]], AB)


def test_text_in_columns_that_nobody_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK", 8)
    path = tmp_path / "data.csv"
    path.write_bytes(b'a,t,b\n1,x,2\n3,"two\nlines, ""quoted""",4\n5,\xe9,6\n')
    assert read(path, "a,b") == ([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], ("a", "t", "b"))
    assert read(path, "2,a")[0] == [[2.0, 1.0], [4.0, 3.0], [6.0, 5.0]]


def test_every_way_of_reading_gives_the_same_floats(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK", 1000)
    monkeypatch.setattr(delimited, "_ROWS", 7)
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200, 3)) * 10.0 ** rng.integers(-300, 300, size=(200, 3))
    path = tmp_path / "data.csv"
    for form in ("{!r}", '"{!r}"'):
        lines = (",".join(form.format(value) for value in row) for row in x.tolist())
        path.write_text("\n".join(lines))
        assert read(path, d=3, n_rows=64)[0] == x.tolist()


BAD_TEXTS = {
    "text": ("a,b\n1,2\n3,x\n", "line 3: value 2 is x; must be a number (1 bad row: line 3)"),
    "text in the first row": ("1,abc\n1,2\n", "line 1: value 2 is abc; must be a number"),
    "NaN": ("1,2\n3,nan\n", "line 2: value 2 is nan; must be a finite number"),
    "NaN in the first row": ("nan,inf\n1,2\n", "line 1: value 1 is nan; must be a finite number"),
    "too large": ("1,2\n1e400,2\n", "line 2: value 1 is 1e400; must be between"),
    "missing": ("a,b\n1,\n", "line 2: value 2 is empty; must be a number"),
    "nothing but commas": (",\n1,2\n", "line 1: value 1 is empty; must be a number"),
    "too few": ("a,b\n1\n", "line 2: value 2 is missing; must have 2 values"),
    "too many": ("a,b\n1,2,3\n", "line 2: value 3 is 3; must have 2 values"),
    "hexadecimal": ("a,b\n1,0x10\n", "line 2: value 2 is 0x10; must be a number"),
    "underscore": ("a,b\n1,1_0\n", "line 2: value 2 is 1_0; must be a number"),
    "decimal comma": ('a,b\n1,"0,5"\n', "line 2: value 2 is 0,5; write decimals with a point"),
    "bad quotes": ('a,b\n"1"2,3\n', "line 2: is not a row of values: ',' expected after '\"'"),
    "control characters": ("a,b\n1,\x1b[2J\n", r"line 2: value 2 is \x1b[2J; must be a number"),
    "blank lines count": ("\n\na,b\n\n1,x\n", "line 5: value 2 is x"),
    "lines in quotes count": ('"a\n",b\n1,2\n"\n3",x\n', "line 4: value 2 is x"),
    "seven": (
        "a,b\n1,2\nx,1\n1,2\n1\n1,2,3\n,1\nnan,1\n1,y\n1,z\n",
        "line 3: value 1 is x; must be a number "
        "(7 bad rows: line 3, line 5, line 6, line 7, line 8, ...)",
    ),
}


@pytest.mark.parametrize("block", [3, 1 << 20])
@pytest.mark.parametrize("name", BAD_TEXTS)
def test_bad_rows_are_named_by_line(tmp_path, monkeypatch, name, block):
    text, message = BAD_TEXTS[name]
    path = tmp_path / "data.csv"
    path.write_bytes(text.encode())
    if '"a' not in text:  # a quoted heading must be in one block
        monkeypatch.setattr(delimited, "_BLOCK", block)
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value).startswith(f"{path} {message}")


def test_an_empty_quoted_field_is_a_missing_value_not_a_blank_line(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text('a\n1\n""\n\n3\n')
    with pytest.raises(InputError, match=r"line 3: value 1 is empty; .*\(1 bad row: line 3\)"):
        read(path, d=1)


@pytest.mark.parametrize("block", [1, 2, 100])
def test_blank_lines_in_a_single_column(tmp_path, monkeypatch, block):
    monkeypatch.setattr(delimited, "_BLOCK", block)
    path = tmp_path / "data.csv"
    path.write_text("\n1\n\n\n\n2\n\n")
    assert read(path, d=1)[0] == [[1.0], [2.0]]
    path.write_text("\n1\n\n\n\nx\n\n")
    with pytest.raises(InputError, match="line 6: value 1 is x"):
        read(path, d=1)


def test_nothing_is_computed_after_a_bad_row(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK", 1)
    path = tmp_path / "data.csv"
    path.write_text("1,2\n3,4\nx,5\n6,7\ny,8\n")
    seen = []
    with ExitStack() as stack:
        source = open_data(path, None, stack)
        blocks = rows.good_blocks(source, [0, 1], path, 1)
        with pytest.raises(InputError, match=r"\(2 bad rows: line 3, line 5\)"):
            seen.extend(block.tolist() for block in blocks)
        assert source.position == source.total
    assert seen == [[[1.0, 2.0]], [[3.0, 4.0]]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no rows"),
        (b"\n \n", "holds no rows"),
        (b"a,b\n", "holds no rows"),
        ("a,b\n1,2\n".encode("utf-16"), "is UTF-16 text; must be UTF-8"),
        (b"a\n1\n", "has 1 column (a); the model has 2 features"),
        (b"1,2,3\n", "has 3 columns; the model has 2 features; choose with --columns"),
        (b"a,b,c\n1,2,3\n", "has 3 columns (a, b, c); the model has 2 features; choose with"),
    ],
)
def test_bad_texts(tmp_path, content, message):
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_an_endless_line_is_refused_early(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK", 10)
    monkeypatch.setattr(delimited, "_LONGEST_LINE", 100)
    path = tmp_path / "data.csv"
    path.write_text("1," * 1000)
    with pytest.raises(InputError, match="line of over 100 characters"):
        read(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("b", "--columns: has 1 column; the model has 2 features"),
        ("b,d", "--columns: value 2 is d; must be a, b, c or a number from 0 to 2"),
        ("b,3", "--columns: value 2 is 3; must be a, b, c or a number from 0 to 2"),
        ("b,-1", "--columns: value 2 is -1; must be"),
        ("b,b", "--columns: value 2 is b; is there twice"),
        ("b,1", "--columns: value 2 is 1; is there twice"),
        ("b,", "--columns: value 2 is empty; must be"),
        ("", "--columns: "),
    ],
)
def test_columns_must_exist(tmp_path, columns, message):
    path = tmp_path / "data.csv"
    path.write_text("a,b,c\n1,2,3\n")
    with pytest.raises(InputError) as error:
        read(path, columns)
    assert str(error.value).startswith(message)


def test_columns_of_one_name_are_told_apart_by_number(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,a,c\n1,2,3\n")
    assert read(path, "1,c")[0] == [[2.0, 3.0]]
    with pytest.raises(InputError, match="several columns have this name"):
        read(path, "a,c")


X = np.arange(20.0).reshape(10, 2) / 7


@pytest.mark.parametrize("block", [1, 33, 1 << 20])
@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (X, X),
        (np.asfortranarray(X), X),
        (X.astype(">f8"), X),
        (X.astype(np.float32), X.astype(np.float32)),
        (X.astype(np.longdouble), X),
        (np.arange(20).reshape(10, 2), np.arange(20).reshape(10, 2)),
    ],
    ids=["rows", "columns", "big-endian", "float32", "long double", "integers"],
)
def test_arrays_are_read(tmp_path, monkeypatch, array, expected, block):
    monkeypatch.setattr(arrays, "_BLOCK", block)
    np.save(tmp_path / "x.npy", array)
    assert read(tmp_path / "x.npy")[0] == expected.tolist()
    assert read(tmp_path / "x.npy", "1", d=1)[0] == expected[:, 1:].tolist()
    assert read(tmp_path / "x.npy", "1,0")[0] == expected[:, ::-1].tolist()
    np.savez(tmp_path / "x.npz", array)
    assert read(tmp_path / "x.npz")[0] == expected.tolist()
    np.savez_compressed(tmp_path / "two.npz", a=array, b=array[:3])
    assert read(tmp_path / "two.npz", array="a")[0] == expected.tolist()
    assert read(tmp_path / "two.npz", array="b")[0] == expected[:3].tolist()


def test_an_array_of_one_axis_is_a_column(tmp_path):
    np.save(tmp_path / "x.npy", X[:, 0])
    assert read(tmp_path / "x.npy", d=1)[0] == X[:, :1].tolist()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (X.astype(complex), "is an array of complex128; must hold real numbers"),
        (X.astype(str), "must hold real numbers"),
        (X > 1, "is an array of bool; must hold real numbers"),
        (np.array([[1, None]], dtype=object), "Python objects, which are never loaded"),
        (np.array(1.0), "is an array of shape (); must have 1 or 2 axes"),
        (X[None], "is an array of shape (1, 10, 2); must have 1 or 2 axes"),
        (X[:0], "holds no rows"),
        (X[:, :1], "has 1 column; the model has 2 features"),
    ],
)
def test_bad_arrays(tmp_path, array, message):
    for name, save in (("x.npy", np.save), ("x.npz", np.savez)):
        save(tmp_path / name, array)
        with pytest.raises(InputError) as error:
            read(tmp_path / name)
        assert message in str(error.value)


def test_bad_rows_of_arrays_count_from_0(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "_BLOCK", 50)
    array = X.copy()
    array[[3, 5, 6, 7, 8, 9], 1] = math.nan
    array[4, 0] = -math.inf
    for stored in (array, np.asfortranarray(array)):
        np.save(tmp_path / "x.npy", stored)
        with pytest.raises(InputError) as error:
            read(tmp_path / "x.npy")
        assert str(error.value).endswith(
            "x.npy row 3: value 2 is nan; must be a finite number "
            "(7 bad rows: row 3, row 4, row 5, row 6, row 7, ...)"
        )


def test_bad_values_are_numbered_by_the_files_columns(tmp_path):
    np.save(tmp_path / "x.npy", [[1.0, 2.0, 3.0], [4.0, 5.0, math.inf]])
    with pytest.raises(InputError, match="row 1: value 3 is inf"):
        read(tmp_path / "x.npy", "2,0")
    assert read(tmp_path / "x.npy", "1,0")[0] == [[2.0, 1.0], [5.0, 4.0]]


def test_damaged_arrays(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X)
    content = path.read_bytes()
    for damaged in (b"", b"junk" * 50, content[:20], content[:10] + b"\xff" * 50 + content[60:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"is not a \.npy file"):
            read(path)
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match="ends before its last row"):
        read(path)


def test_archives_of_no_or_several_arrays(tmp_path):
    np.savez(tmp_path / "x.npz", a=X, b=X)
    with pytest.raises(InputError, match=r"holds 2 arrays \(a, b\); choose one with --array"):
        read(tmp_path / "x.npz")
    with pytest.raises(InputError, match=r"--array: there is no c in .*; it holds a, b"):
        read(tmp_path / "x.npz", array="c")
    with pytest.raises(InputError, match=r"--array: is for \.npz archives"):
        read(tmp_path / "x.csv", array="c")
    np.savez(tmp_path / "none.npz")
    with pytest.raises(InputError, match="holds no array"):
        read(tmp_path / "none.npz")


def test_damaged_archives(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"junk")
    with pytest.raises(InputError, match=r"is not a \.npz archive"):
        read(path)
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=(1000, 2)))
    content = path.read_bytes()
    path.write_bytes(content[:500] + bytes(500) + content[1000:])
    with pytest.raises(InputError, match="is damaged"):
        read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"junk")
    with pytest.raises(InputError, match=r"is not a \.npy file"):
        read(path)


def test_parquet_is_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    table = {"a": X[:, 0], "t": ["text"] * 10, "b": np.arange(10)}
    parquet.write_table(pyarrow.table(table), path, row_group_size=4)
    expected = np.column_stack([X[:, 0], np.arange(10)]).tolist()
    assert read(path, "a,b") == (expected, ("a", "t", "b"))
    with pytest.raises(InputError, match="column t: holds string; must hold real numbers"):
        read(path, "a,t")
    parquet.write_table(pyarrow.table({"a": [1.0, None, 3.0], "b": [1, 2, None]}), path)
    with pytest.raises(InputError, match=r"row 1: value 1 is nan; .*\(2 bad rows: row 1, row 2\)"):
        read(path)
    path.write_bytes(b"junk")
    with pytest.raises(InputError, match="is no whole Parquet file"):
        read(path)


@pytest.mark.parametrize("name", ["x", "x.txt", "x.csv.gz", ".csv"])
def test_unknown_formats(tmp_path, name):
    with pytest.raises(InputError, match=r"must end in one of \.csv \.tsv \.npy \.npz \.parquet"):
        read(tmp_path / name)


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".npz", ".json"])
def test_missing_files_and_directories(tmp_path, suffix):
    (tmp_path / f"folder{suffix}").mkdir()
    for name, message in (("none", "no such file"), ("folder", "must be a file, not a directory")):
        path = tmp_path / f"{name}{suffix}"
        with pytest.raises(InputError) as error:
            read_model(path) if suffix == ".json" else read(path)
        assert str(error.value) == f"{path}: {message}"


# --- whole tables -------------------------------------------------------------------------------


def table_of(path, columns=None, array=None):
    with ExitStack() as stack:
        source = open_data(path, array, stack)
        chosen = choose_columns(source, path, columns, None)
        counts = []
        found = read_table(source, chosen, path, counts.append)
        assert counts[-1] == len(found)
    return found


@pytest.mark.parametrize("block", [1, 33, 1 << 20])
@pytest.mark.parametrize(
    ("stored", "columns", "is_mapped"),
    [
        (X, None, True),
        (np.asfortranarray(X), None, True),
        (X[:, 0], None, True),
        (X, "0,1", True),
        (X, "1,0", False),
        (X, "1", False),
        (X.astype(">f8"), None, False),
        (np.arange(20).reshape(10, 2), None, False),
    ],
)
def test_tables_of_arrays_are_mapped_where_they_can_be(
    tmp_path, monkeypatch, stored, columns, is_mapped, block
):
    monkeypatch.setattr(table, "_BLOCK", block)
    expected = stored.reshape(10, -1)
    if columns is not None:
        expected = expected[:, list(map(int, columns.split(",")))]
    np.save(tmp_path / "x.npy", stored)
    found = table_of(tmp_path / "x.npy", columns)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float64
    assert isinstance(found, np.memmap) is is_mapped
    np.savez(tmp_path / "x.npz", a=stored)
    found = table_of(tmp_path / "x.npz", columns)
    np.testing.assert_array_equal(found, expected)
    assert not isinstance(found, np.memmap)


def test_tables_of_texts(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,2\n3,4\n" * 1000)
    assert table_of(path).tolist() == [[1, 2], [3, 4]] * 1000
    assert table_of(path, "b").tolist() == [[2], [4]] * 1000


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1, 2], [3, math.nan]]), "row 1: value 2 is nan; must be a finite number"),
        (X[:0], "holds no rows"),
        (np.empty((3, 0)), "has no columns"),
    ],
)
def test_bad_tables(tmp_path, array, message):
    for name, save in (("x.npy", np.save), ("x.npz", np.savez)):
        save(tmp_path / name, array)
        with pytest.raises(InputError, match=message):
            table_of(tmp_path / name)
    np.save(tmp_path / "x.npy", X)
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content[:-1])
    with pytest.raises(InputError, match="ends before its last row"):
        table_of(tmp_path / "x.npy")


# --- MODEL.json ---------------------------------------------------------------------------------

THIRD = 1 / 3
MODELS = {
    "univariate": ([0.1, -2e-300], [THIRD, 5e-324]),
    "spherical": ([[0.1, 1e300], [2.0, 3.0]], [THIRD, 7.0]),
    "diagonal": ([[0.1, 1e300], [2.0, 3.0]], [[THIRD, 7.0], [1e-9, 2.0]]),
    "tied": ([[0.1, 1e300], [2.0, 3.0]], [[THIRD, 0.1], [0.1, 2.0]]),
    "full": (
        [[0.1, 1e300], [2.0, 3.0]],
        [[[THIRD, 0.1], [0.1, 2.0]], [[1e-9, 0.0], [0.0, 1e9]]],
    ),
}


def a_record(family="full", **changes):
    means, covariances = MODELS[family]
    record = {"format": "estep_xp.mixture", "version": 1, "family": family}
    return record | {"weights": [0.1, 0.2], "means": means, "covariances": covariances} | changes


@pytest.mark.parametrize("family", MODELS)
def test_models_round_trip_exactly(tmp_path, family):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(a_record(family)))
    model = read_model(path)
    assert model.weights.tolist() == [0.1, 0.2]
    assert (model.means.tolist(), model.covariances.tolist()) == MODELS[family]
    again = tmp_path / "again.json"
    write_model(again, model)
    assert json.loads(again.read_text()) == a_record(family)
    written = again.read_bytes()
    write_model(again, read_model(again))
    assert again.read_bytes() == written


@pytest.mark.parametrize("family", MODELS)
def test_models_come_from_mixtures_and_go_back(tmp_path, family):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(a_record(family)))
    model = read_model(path)
    again = Model.from_mixture(model.mixture())
    assert again.family == family
    assert (again.n_components, again.n_features) == (2, 1 if family == "univariate" else 2)
    np.testing.assert_array_equal(again.means, model.means)
    np.testing.assert_allclose(again.covariances, model.covariances, rtol=1e-14)


def test_format_version_and_byte_order_mark_are_optional(tmp_path):
    path = tmp_path / "model.json"
    record = a_record("diagonal", notes="other keys are for other readers")
    del record["format"], record["version"]
    for mark in ("", BOM):
        path.write_text(mark + json.dumps(record), encoding="utf-8")
        assert read_model(path).family == "diagonal"


BAD_MODELS = [
    ({"format": "other"}, ': format: is "other"; must be estep_xp.mixture'),
    ({"version": 2}, ": version: is 2; must be 1"),
    ({"version": "1"}, ': version: is "1"; must be 1'),
    ({"family": "fool"}, ': family: is "fool"; must be one of univariate, spherical, diagonal'),
    ({"family": ["full"]}, ": family: is a list of length 1; must be one of"),
    ({"weights": [1]}, ": weights: has length 1; must have length 2"),
    ({"weights": [1, -1]}, ": weights: value 2 is -1; must not be negative"),
    ({"weights": [0, 0]}, ": weights: value 1 is 0; at least one weight must be positive"),
    ({"weights": [1, True]}, ": weights: value 2 is true; must be a number"),
    ({"weights": [1, None]}, ": weights: value 2 is null; must be a number"),
    ({"weights": [1, "2"]}, ': weights: value 2 is "2"; must be a number'),
    ({"weights": "1, 2"}, ': weights: is "1, 2"; must be a list of length 2'),
    ({"weights": [1, math.nan]}, ": weights: value 2 is NaN; must be a finite number"),
    ({"weights": [1, 10**400]}, ": weights: value 2 is 1000000000"),
    ({"means": []}, ": means: is a list of length 0; must be a list of numbers, one at least"),
    ({"means": [[], []]}, ": means[0]: is a list of length 0; must be a list of numbers"),
    ({"means": [1, 2]}, ": means[0]: is 1; must be a list of numbers, one at least"),
    ({"means": None}, ": means: is null; must be a list of numbers"),
    ({"means": [[1, 2], [3]]}, ": means[1]: has length 1; must have length 2"),
    ({"means": [[1, 2], [3, {}]]}, ": means[1]: value 2 is an object; must be a number"),
    ({"means": [[1, 2], [3, -math.inf]]}, ": means[1]: value 2 is -Infinity; must be a finite"),
    ({"covariances": [[1, 2], [3, 4]]}, ": covariances[0][0]: is 1; must be a list of length 2"),
    ({"covariances": [[[1, 0], [0, 1]]]}, ": covariances: has length 1; must have length 2"),
    ({"covariances": [[[1, 2], [2, 1]]] * 2}, ": covariances[0] is not positive definite"),
    ({"covariances": [[[1, 0.2], [0.3, 1]]] * 2}, ": covariances[0] is not symmetric"),
    ({"family": "tied", "covariances": [[1, 2], [2, 1]]}, "not positive definite"),
    ({"family": "diagonal", "covariances": [[1, 2], [2, -1]]}, ": covariances[1]: value 2 is -1; "),
    ({"family": "spherical", "covariances": [1, 0]}, ": covariances: value 2 is 0; must be positi"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_MODELS)
def test_bad_models(tmp_path, changes, message):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(a_record() | changes))
    with pytest.raises(InputError) as error:
        read_model(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


@pytest.mark.parametrize("key", ["family", "weights", "means", "covariances"])
def test_models_need_every_part(tmp_path, key):
    path = tmp_path / "model.json"
    record = a_record()
    del record[key]
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=f"{key} is missing"):
        read_model(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", " line 1: is not JSON: "),
        (b'{\n"family": "full"\n"weights": [1]}', " line 3: is not JSON: "),
        (b"[1, 2]", ": must hold a JSON object"),
        (b"\xff\xfe{", ": is not JSON: it must be UTF-8 text"),
        (b"[" * 100_000, ": is not a mixture: its lists are nested too deeply"),
        (b'{"means": [1], "means": [2]}', ": has means twice"),
        (b"9" * 5000, ": must hold a JSON object"),
    ],
    ids=range(7),
)
def test_files_that_are_no_model(tmp_path, content, message):
    path = tmp_path / "model.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_model(path)
    assert str(error.value).startswith(f"{path}{message}")


# --- results ------------------------------------------------------------------------------------

RESULTS = Results(
    np.array([[THIRD, 1 - THIRD], [1e-300, 1.0], [math.nan, math.nan]]),
    np.array([1, 1, -1]),
    np.array([-0.1, -1e300, -math.inf]),
)


def write_results(path, *blocks):
    with open_results(path, 2) as writer:
        for block in blocks:
            writer.write(block)


def test_results_as_csv(tmp_path):
    path = tmp_path / "out.csv"
    write_results(path, RESULTS, RESULTS)
    rows = [
        "0.3333333333333333,0.6666666666666667,1,-0.1",
        "1e-300,1.0,1,-1e+300",
        "nan,nan,-1,-inf",
    ]
    heading = "responsibility_0,responsibility_1,label,log_likelihood"
    assert path.read_text().splitlines() == [heading, *rows, *rows]


def test_results_as_a_structured_array(tmp_path):
    path = tmp_path / "out.npy"
    write_results(path, *[RESULTS] * 1000)
    out = np.load(path)
    assert out.shape == (3000,)
    assert out.dtype.names == ("responsibilities", "label", "log_likelihood")
    for field, expected in zip(out.dtype.names, RESULTS, strict=True):
        np.testing.assert_array_equal(out[field], np.concatenate([expected] * 1000))


def test_results_as_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "out.parquet"
    write_results(path, RESULTS, RESULTS)
    table = parquet.read_table(path)
    names = ["responsibility_0", "responsibility_1", "label", "log_likelihood"]
    assert table.column_names == names
    columns = [*RESULTS.responsibilities.T, RESULTS.labels, RESULTS.log_likelihood]
    for name, expected in zip(names, columns, strict=True):
        np.testing.assert_array_equal(table[name].to_numpy(), np.tile(expected, 2))


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_ends_early_leaves_no_trace(tmp_path, suffix, error):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"out{suffix}"
    path.write_text("old")

    def write_and_fail():
        with open_results(path, 2) as writer:
            writer.write(RESULTS)
            assert path.read_text() == "old"
            assert len(list(tmp_path.iterdir())) == 2
            raise error

    with pytest.raises(error):
        write_and_fail()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "old"


def test_new_files_have_the_rights_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "out") as file:
            file.write(b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "folder" / "real")
    with replacing(tmp_path / "out") as file:
        file.write(b"new")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "folder" / "real").read_bytes() == b"new"


def test_a_directory_that_is_not_there(tmp_path):
    path = tmp_path / "none" / "out"
    with pytest.raises(SystemFailure) as error, replacing(path):
        pass
    assert str(error.value) == f"{path}: No such file or directory"
    assert isinstance(error.value, FaceError)
    assert error.value.exit_code == 1


# --- curves -------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 500])
def test_curves_show_every_component_and_observation(k):
    means = np.linspace(-1e6, 1e6, k)
    mixture = ex.Mixture(np.arange(k) + 1.0, ex.UnivariateGaussian(means, np.full(k, 1e-4)))
    curves = density_curves(mixture, np.array([-3e6, 5.0]))
    assert (np.diff(curves.x) > 0).all()
    assert curves.x[0] == -3e6
    assert np.isin(means, curves.x).all()
    peaks = (np.arange(k) + 1) / (k * (k + 1) / 2) / math.sqrt(2 * math.pi * 1e-4)
    np.testing.assert_allclose(curves.weighted.max(axis=1), peaks, rtol=1e-12)
    np.testing.assert_allclose(curves.total, curves.weighted.sum(axis=0), rtol=1e-12)
    shares = curves.responsibilities[np.searchsorted(curves.x, means)]
    np.testing.assert_allclose(shares, np.eye(k), atol=1e-12)


def test_curves_of_the_widest_mixture():
    means = np.array([-1.7e308, 1.7e308])
    mixture = ex.Mixture([1.0, 0.0], ex.UnivariateGaussian(means, np.ones(2)))
    curves = density_curves(mixture, np.zeros(1))
    assert np.isfinite(curves.x).all()
    assert np.isfinite(curves.weighted).all()
    assert not curves.weighted[1].any()


# --- the end of a process -----------------------------------------------------------------------


@pytest.fixture
def handlers():
    """The signals that end a process, handled as Python does where its parent ignores none."""
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield usual
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("first", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_repeated_signals_do_not_disturb_the_tidying_up(handlers, first, code):
    tidied = []

    def command():
        try:
            signal.raise_signal(getattr(signal, first))
        finally:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            tidied.append(True)
        return 0

    assert exit_code_of(command) == code
    assert tidied == [True]
    # Nor the end of the process, which is at hand.
    assert {signal.getsignal(number) for number in handlers} == {signal.SIG_IGN}


def test_without_a_signal_all_handlers_are_as_before(handlers):
    assert exit_code_of(lambda: 0) == 0
    assert {number: signal.getsignal(number) for number in handlers} == handlers


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("x", "must\nbe"), 2, "x: must be"),
        (SystemFailure("full"), 1, "full"),
        (MemoryError(), 1, "out of memory"),
        (OSError(5, "Input/output error", "disk"), 1, "disk: Input/output error"),
        (ZeroDivisionError("division by zero"), 1, "internal error, please report it: ZeroDivisio"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(capsys, error, code, message):
    def command():
        raise error

    assert exit_code_of(command) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_warnings_are_one_line(capsys):
    def command():
        warnings.warn("mind\nthe gap", UserWarning, stacklevel=1)
        return 0

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert exit_code_of(command) == 0
    assert capsys.readouterr().err == "warning: mind the gap\n"


def test_the_example_models_are_fits_of_the_example_data():
    folder = Path(__file__).parent.parent / "examples" / "data"
    for name, columns, expected in (
        ("faithful.json", None, -1130.264),
        ("faithful_waiting.json", "waiting", -1034.002),
    ):
        model = read_model(folder / name)
        x, _ = read(folder / "faithful.csv", columns, d=model.n_features)
        data = np.asarray(x) if model.n_features > 1 else np.asarray(x)[:, 0]
        assert float(ex.log_likelihood(data, model.mixture())) == pytest.approx(expected, abs=2e-3)
