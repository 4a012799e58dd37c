"""What the command says of files that are almost right."""

from __future__ import annotations

from pathlib import Path

import pytest

from estep_xp.calculator.upload import read_upload
from tests.column_files import dump, fit, load, of, run, write, write_lines
from tests.commands import assert_refused

TEXT = "a,b,Ort\n1,2,Köln\n3,5,Köln\n"


# --- letters beyond ASCII -----------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_letters_are_shown_as_they_were_written(cli, encoding):
    Path("x.csv").write_bytes(TEXT.encode(encoding))
    code, _, message = fit(cli, "x.csv")
    assert code == 2
    assert "x.csv column Ort: holds text, Köln for example; must hold real" in message
    Path("x.csv").write_bytes("Höhe,b\nü,2\nö,2\n3,5\n".encode(encoding))
    assert_refused(fit(cli, "x.csv", "--header", "no"), 2, "x.csv line 1: value 1 is Höhe; must be")


# --- lines --------------------------------------------------------------------------------------


R_TABLES = {
    "blanks": '"a" "b"\n"1" 1.5 2\n"2" 3 4.5\n"3" 5 7\n',
    "blanks, without quotes": "a b\n1 1.5 2\n2 3 4.5\n3 5 7\n",
    "commas": '"a","b"\n"Mazda RX4",1.5,2\n"Datsun",3,4.5\n"Fiat",5,7\n',
    "tabs": "a\tb\nx\t1.5\t2\ny\t3\t4.5\nz\t5\t7\n",
    "tabs, names that count": "a\tb\n1\t1.5\t2\n2\t3\t4.5\n3\t5\t7\n",
    "commas, text last": "a,b\n1,1.5,setosa\n2,3,setosa\n",
    "commas, one column": '"a"\n"1",1.5\n"2",3\n"3",5\n',
}


@pytest.mark.parametrize("name", R_TABLES)
def test_row_names_of_r_are_told(cli, name):
    write_lines("x.csv", R_TABLES[name])
    write_lines("x.tsv", R_TABLES[name])
    for path in ("x.csv", "x.tsv"):
        count = "1 name and 2" if "one column" in name else "2 names and 3"
        assert_refused(
            fit(cli, path),
            2,
            f"{path}: has {count} values a line, as R writes the names of rows; give row.names = "
            "FALSE to write.table, or put a name for them in front of the first line\n",
        )


def test_what_is_no_row_name(cli):
    write_lines("x.csv", "name,a\nrow 1,5\nrow 2,6\nrow 3,8\n")
    assert fit(cli, "x.csv", "--columns", "a", family="univariate")[0] == 0
    write_lines("x.csv", "1 2\n1 2 3\n2 4 5\n")
    assert "row.names" not in fit(cli, "x.csv")[2]
    write_lines("x.csv", "a,b\n1,2,\n2,4,\n")
    assert_refused(fit(cli, "x.csv"), 2, "x.csv line 2: value 3 is empty; must have 2 values, as")
    write_lines("x.csv", "a\n1,5\n2,5\n4,0\n")
    assert fit(cli, "x.csv", "--decimal", "comma")[0] == 0
    message = "x.csv: has 1 name and 2 values a line, as if commas were decimal commas; give --dec"
    assert_refused(fit(cli, "x.csv"), 2, message)
    write_lines("x.csv", "a|b\n1|2|3\n4|5|7\n")
    message = "x.csv: has 2 names and 3 values a line, as R writes the names of rows; give row.nam"
    assert_refused(fit(cli, "x.csv", "--delimiter", "|"), 2, message)
    code, _, message = fit(cli, "x.csv", "--delimiter", "|", "--header", "no")
    assert (code, "row.names" in message) == (2, False)


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_a_line_that_tells_the_separator(cli, first):
    write_lines("x.csv", f"{first}\na,b;c\n1;2\n3;5\n4;7\n")
    assert fit(cli, "x.csv")[1]["features"] == ["a,b", "c"]


# --- columns ------------------------------------------------------------------------------------


def test_what_has_no_name_is_called_by_its_number(cli):
    write("x.csv", of("a", "b"))
    fit(cli, "x.csv")
    dump("m.json", load("m.json") | {"feature_names": ["a", ""]})
    message = "x.csv: has no column 1 (without a name), which the model needs; it has a, b; "
    assert_refused(run(cli, "x.csv"), 2, message)
    write("x.csv", {"": range(40), "b": of("b")["b"]} | of("a"))
    write_lines("y.csv", Path("x.csv").read_text(encoding="utf-8").replace(",b,", ",,"))
    write("z.csv", of("a", "b", "c"))
    fit(cli, "z.csv")
    dump("m.json", {key: part for key, part in load("m.json").items() if key != "feature_names"})
    message = "y.csv: has 2 columns (1 (without a name), a) beside a data frame's index; the model"
    assert_refused(run(cli, "y.csv", "--header", "yes"), 2, message)


@pytest.mark.parametrize("heading", ["", "a\n"])
@pytest.mark.parametrize(
    ("delimiter", "row"),
    [("tab", "1,2,3"), ("|", "1;2"), ("comma", "1 2"), ("comma", "1\t2"), ("semicolon", "1|2")],
)
def test_a_wrong_delimiter_is_told(cli, delimiter, row, heading):
    write_lines("x.csv", [heading, f"{row}\n{row}5\n{row}2\n"])
    code, _, message = fit(cli, "x.csv", "--delimiter", delimiter, "--header", "yes")
    assert code == 2
    assert message.endswith(
        "; must hold real numbers; give --delimiter if it holds several values\n"
    )


# --- other formats ------------------------------------------------------------------------------

PAGE = "is a web page (HTML), not text in rows; save its table as CSV"
JSON = "is JSON, not text in rows; save it as CSV"
OTHERS = {
    "a page": ("<!DOCTYPE html>\n<html><body>", PAGE),
    "a page after blanks": ("\ufeff\n <html lang=en>\n", PAGE),
    "a table": ("<TABLE>\n<tr><td>1</td></tr>", PAGE),
    "XML": ('<?xml version="1.0"?>\n<a>1</a>', "is XML, not text in rows; save it as CSV"),
    "objects": ('[\n  {"a": 1, "b": 2}\n]', JSON),
    "an object": ('{"a": [1, 2], "b": [3, 4]}', JSON),
    "lists": ("[[1, 2],\n [3, 4]]", JSON),
    "lines of objects": ('{"a": 1, "b": 2}\n{"a": 3, "b": 4}\n', JSON),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_table_of_text_is_told(cli, name):
    content, message = OTHERS[name]
    write_lines("x.csv", [content])
    assert_refused(fit(cli, "x.csv"), 2, f"x.csv: {message}\n")
    for name in ("x.csv", "x.html", "x.json"):
        found = read_upload(content.encode(), name, None)
        assert (found.columns, found.error) == ([], f"{name}: {message}")


def test_names_in_brackets(cli):
    write_lines("x.csv", "[a],{b}\n1,2\n3,5\n4,4\n")
    assert fit(cli, "x.csv")[1]["features"] == ["[a]", "{b}"]
    write_lines("x.csv", "<a>,b\n1,2\n3,5\n4,4\n")
    assert fit(cli, "x.csv")[1]["features"] == ["<a>", "b"]


# --- names of files -----------------------------------------------------------------------------


def test_what_names_no_file(cli):
    write("x.csv", of("a", "b"))
    fit(cli, "x.csv")
    fitted = ("fit", "x.csv", "--components", 1, "--family", "full", "--output")
    ran = ("run", "x.csv", "--model", "m.json", "--output")
    assert_refused(cli(*fitted, "n.json/"), 2, "--output: is n.json/, a folder; must be a file\n")
    assert_refused(cli(*ran, "out.csv/"), 2, "--output: is out.csv/, a folder; must be a file\n")
    for command in (fitted, ran):
        assert_refused(cli(*command, ""), 2, "--output: is empty; must be a file\n")
    assert_refused(cli("run", "x.csv/", *ran[2:], "o.csv"), 2, "DATA: is x.csv/, a folder; must be")
    assert_refused(cli("fit", "", *fitted[2:], "n.json"), 2, "DATA: is empty; must be a file\n")
    assert_refused(cli("run", "x.csv", "--model", "", "--output", "o.csv"), 2, "--model: is empty;")
    assert sorted(path.name for path in Path().iterdir()) == ["m.json", "x.csv"]
