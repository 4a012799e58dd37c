"""Rows of text files, and which columns of a file are chosen."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

from estep_xp.cli.read import delimited, rows
from estep_xp.cli.read.data import open_data
from estep_xp.files.errors import InputError
from tests.data_files import AB, BOM, MINUS, read

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
        monkeypatch.setattr(delimited, "_BLOCK_SIZE", block)
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
    monkeypatch.setattr(delimited, "_BLOCK_SIZE", 8)
    path = tmp_path / "data.csv"
    path.write_bytes(b'a,t,b\n1,x,2\n3,"two\nlines, ""quoted""",4\n5,\xe9,6\n')
    assert read(path, "a,b") == ([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], ("a", "t", "b"))
    assert read(path, "2,a")[0] == [[2.0, 1.0], [4.0, 3.0], [6.0, 5.0]]


def test_every_way_of_reading_gives_the_same_floats(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK_SIZE", 1000)
    monkeypatch.setattr(delimited, "_BLOCK_ROWS", 7)
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
        monkeypatch.setattr(delimited, "_BLOCK_SIZE", block)
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
    monkeypatch.setattr(delimited, "_BLOCK_SIZE", block)
    path = tmp_path / "data.csv"
    path.write_text("\n1\n\n\n\n2\n\n")
    assert read(path, d=1)[0] == [[1.0], [2.0]]
    path.write_text("\n1\n\n\n\nx\n\n")
    with pytest.raises(InputError, match="line 6: value 1 is x"):
        read(path, d=1)


def test_nothing_is_computed_after_a_bad_row(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK_SIZE", 1)
    path = tmp_path / "data.csv"
    path.write_text("1,2\n3,4\nx,5\n6,7\ny,8\n")
    seen = []
    with ExitStack() as stack:
        source = open_data(path, None, stack)
        blocks = rows.read_blocks(source, [0, 1], path, 1)
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
    monkeypatch.setattr(delimited, "_BLOCK_SIZE", 10)
    monkeypatch.setattr(delimited, "_MAX_LINE_LENGTH", 100)
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
