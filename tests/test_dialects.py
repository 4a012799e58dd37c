"""Texts as spreadsheets and other programs write them: separators, decimals, names."""

from __future__ import annotations

import gzip
import zipfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from estep_xp.cli.read import delimited
from estep_xp.cli.read.data import open_data
from estep_xp.cli.read.dialect import dialect_options, may_be_heading
from estep_xp.cli.read.rows import read_blocks
from estep_xp.files.errors import InputError
from tests.column_files import fit, run
from tests.commands import assert_refused

BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"


def read(path, **options):
    """Return the rows of a file, the names of its columns and the notes on it."""
    said = dialect_options(options.get("delimiter"), options.get("decimal"), options.get("header"))
    with ExitStack() as stack:
        source = open_data(path, None, stack, dialect=said)
        blocks = list(read_blocks(source, range(source.n_columns), path, 1000))
    return np.concatenate(blocks).tolist(), source.names, source.notes


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- separators and decimals --------------------------------------------------------------------

AB = ("a", "b")
READ = {
    "semicolons": ("a;b\n1.5;-2\n3;4\n", AB, [[1.5, -2], [3, 4]]),
    "semicolons, no header": ("1.5;-2\n3;4\n", None, [[1.5, -2], [3, 4]]),
    "decimal commas": ("a;b\n0,126;-1,007\n0,5;1,25\n", AB, [[0.126, -1.007], [0.5, 1.25]]),
    "decimal commas, no header": ("0,126;-1,007\n0,5;1,25\n", None, [[0.126, -1.007], [0.5, 1.25]]),
    "some decimal commas": ("a;b\n0,126;7\n12;1,25\n3;4\n", AB, [[0.126, 7], [12, 1.25], [3, 4]]),
    "exponents": ("a;b\n1,5E+03;2\n1e2;2,5e-1\n", AB, [[1500, 2], [100, 0.25]]),
    "quoted": ('"a";"b"\n"0,5";"1,25"\n"1,5";"2"\n', AB, [[0.5, 1.25], [1.5, 2]]),
    "CRLF and BOM": (f"{BOM}a;b\r\n0,5;1\r\n2;3\r\n", AB, [[0.5, 1], [2, 3]]),
    "tabs": ("a\tb\n1.5\t2\n3\t4\n", AB, [[1.5, 2], [3, 4]]),
    "tabs and decimal commas": ("a\tb\n1,5\t2\n3\t4\n", AB, [[1.5, 2], [3, 4]]),
    "commas and blanks": ("a, b\n1.5,\t2\n3, 4\n", AB, [[1.5, 2], [3, 4]]),
    "commas in names": ("a;b, in cm\n1,5;2\n3;4\n", ("a", "b, in cm"), [[1.5, 2], [3, 4]]),
    "blanks": ("1.5 2\n3 4\n", None, [[1.5, 2], [3, 4]]),
    "blanks, aligned": (" 1.5   2\n 3    40\n", None, [[1.5, 2], [3, 40]]),
    "sep=;": ("sep=;\na;b\n1,5;2\n3;4\n", AB, [[1.5, 2], [3, 4]]),
    "sep=,": ("sep=,\na,b\n1.5,2\n3,4\n", AB, [[1.5, 2], [3, 4]]),
    "sep=|": ("SEP=|\r\na|b\r\n1.5|2\r\n3|4\r\n", AB, [[1.5, 2], [3, 4]]),
    "sep= after BOM": (f"{BOM}sep=\t\na\tb\n1.5\t2\n", AB, [[1.5, 2]]),
    "sep=, no header": ("sep=;\n1,5;2\n3;4\n", None, [[1.5, 2], [3, 4]]),
}


@pytest.mark.parametrize("block", [1 << 21, 40])
@pytest.mark.parametrize("name", READ)
def test_what_is_unambiguous_is_read(tmp_path, monkeypatch, name, block):
    monkeypatch.setattr(delimited, "_BLOCK_SIZE", block)
    text, names, rows = READ[name]
    assert read(write(tmp_path / "x.csv", text)) == (rows, names, [])


def test_tab_separated_files_with_decimal_commas(tmp_path):
    path = write(tmp_path / "x.tsv", "a\tb\n0,5\t1\n2\t3,25\n")
    assert read(path) == ([[0.5, 1], [2, 3.25]], AB, [])


def test_text_beside_numbers(tmp_path):
    for text in ("name;x\nfoo;0,5\nbar, baz;1,5\n", "name;x\nfoo;0.5\nbar, baz;1.5\n"):
        path = write(tmp_path / "x.csv", text)
        with ExitStack() as stack:
            source = open_data(path, None, stack)
            assert source.names == ("name", "x")
            blocks = list(read_blocks(source, [1], path, 10))
            assert np.concatenate(blocks).tolist() == [[0.5], [1.5]]
    path = write(tmp_path / "x.csv", "x,tags;all\n1,a;b\n2,c;d\n")
    with ExitStack() as stack:
        assert open_data(path, None, stack).names == ("x", "tags;all")


SAID = {
    "one column": ("a\n0,126\n0,5\n", {"decimal": "comma"}, ("a",), [[0.126], [0.5]]),
    "no header": ("0,126\n0,5\n", {"decimal": ","}, None, [[0.126], [0.5]]),
    "quoted": ('a,b\n"0,5",1\n2,"1,5"\n', {"decimal": "comma"}, AB, [[0.5, 1], [2, 1.5]]),
    "all quoted": ('"0,5","1"\n"2","1,5"\n', {"decimal": "comma"}, None, [[0.5, 1], [2, 1.5]]),
    "semicolons": ("a;b\n1,5;2\n3;4\n", {"decimal": "comma"}, AB, [[1.5, 2], [3, 4]]),
    "late": ("a;b\n1;2\n3;4\n", {"decimal": "comma"}, AB, [[1, 2], [3, 4]]),
    "bars": ("a|b\n1.5|2\n", {"delimiter": "|"}, AB, [[1.5, 2]]),
    "bars and commas": ("a|b\n1,5|2\n", {"delimiter": "|"}, AB, [[1.5, 2]]),
    "words": ("a;b\n1;2\n", {"delimiter": "semicolon", "decimal": "point"}, AB, [[1, 2]]),
    "tab": ("a\tb\n1\t2\n", {"delimiter": "tab"}, AB, [[1, 2]]),
    "escaped": ("a\tb\n1\t2\n", {"delimiter": "\\t"}, AB, [[1, 2]]),
    "space": ("a b\n1  2\n", {"delimiter": "space"}, AB, [[1, 2]]),
    "comma": ("1,05\n2,10\n", {"delimiter": "comma"}, None, [[1, 5], [2, 10]]),
    "sep=, overruled": ("sep=,\n1;2\n", {"delimiter": ";"}, None, [[1, 2]]),
}


@pytest.mark.parametrize("name", SAID)
def test_what_a_person_says_holds(tmp_path, name):
    text, said, names, rows = SAID[name]
    assert read(write(tmp_path / "x.csv", text), **said) == (rows, names, [])


REFUSED = {
    "one column": (
        "a\n0,126\n0,5\n",
        "x.csv: has 1 name and 2 values a line, as if commas were dec",
    ),
    "pairs": (
        "a,b\n0,5,1,2\n3,5,1,7\n",
        "x.csv: has 2 names and 4 values a line, as if commas were",
    ),
    "zeros": (
        "1,05\n2,10\n",
        "x.csv: has lines as 2,10, as if commas were decimal commas; give --dec",
    ),
    "points and commas": (
        "a;b\n0,5;1.5\n",
        "x.csv: has decimal commas (0,5) and points (1.5); give",
    ),
    "quoted": (
        'a,b\n"0,5",1\n"1,5",2\n',
        "x.csv line 2: value 1 is 0,5; write decimals with a point",
    ),
    "late": (
        "a;b\n1;2\n3,5;4\n",
        "x.csv line 3: value 1 is 3,5; write decimals with a point (0.5), ",
    ),
    "thousands": (
        "a;b\n1,5;2\n1.234,5;4\n",
        "x.csv line 3: value 1 is 1.234,5; must have a decimal",
    ),
    "either": (
        "u;v,w\nx;y,z\nx;y,z\n",
        "x.csv: may have a comma or a semicolon between values; give",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_ambiguous_is_refused(tmp_path, monkeypatch, name):
    text, message = REFUSED[name]
    monkeypatch.chdir(tmp_path)
    if name in ("late", "thousands"):
        monkeypatch.setattr(delimited, "_SAMPLE_LINES", 2)
    with pytest.raises(InputError) as error:
        read(write(Path("x.csv"), text))
    assert str(error.value).startswith(message)
    assert "--" in str(error.value) or name == "pairs"


def test_a_column_of_tabbed_text_that_has_no_tab(tmp_path):
    path = write(tmp_path / "x.tsv", "a\n0,5\n1,5\n")
    with pytest.raises(
        InputError, match="lines as 0,5; give --decimal comma, or --delimiter comma"
    ):
        read(path)
    assert read(path, decimal="comma") == ([[0.5], [1.5]], ("a",), [])


def test_decimal_commas_are_exact(tmp_path):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2000, 3)) * 10.0 ** rng.integers(-30, 30, size=(2000, 3))
    text = "".join(";".join(map(repr, row)).replace(".", ",") + "\n" for row in x.tolist())
    assert read(write(tmp_path / "x.csv", text))[0] == x.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--delimiter", "a"),
            "--delimiter: is a; must be comma, semicolon, tab, space or another",
        ),
        (("--delimiter", ""), "--delimiter: is empty; must be comma"),
        (("--delimiter", ";;"), "--delimiter: is ';;'; must be comma"),
        (("--delimiter", "."), "--delimiter: is .; must be comma"),
        (("--delimiter", "-"), "--delimiter: is -; must be comma"),
        (("--delimiter", '"'), '--delimiter: is "; must be comma'),
        (("--delimiter", "§"), "--delimiter: is §; must be comma"),
        (("--decimal", ";"), "--decimal: is ';'; must be point or comma"),
        (("--decimal", "0"), "--decimal: is 0; must be point or comma"),
        (("--header", "maybe"), "--header: is maybe; must be one of yes, no, auto"),
    ],
)
def test_bad_options(cli, options, message):
    write(Path("x.csv"), "1,2\n3,4\n5,7\n")
    assert_refused(fit(cli, "x.csv", *options), 2, message)
    assert_refused(run(cli, "x.csv", *options), 2, message)


@pytest.mark.parametrize("option", ["--delimiter", "--decimal", "--header"])
def test_options_of_texts_are_for_texts(cli, option):
    np.save("x.npy", np.eye(3))
    value = "yes" if option == "--header" else ","
    found = fit(cli, "x.npy", option, value)
    assert_refused(found, 2, f"{option}: is for .csv and .tsv files; x.npy is none")
    assert fit(cli, "x.npy", "--header", "auto")[0] == 0


# --- headings -----------------------------------------------------------------------------------

RNG = np.random.default_rng(11)
NORMAL = RNG.normal(size=(60, 3)).round(4)
COUNTS = RNG.integers(40, 99, size=(60, 3))


def lines(first, rows):
    return "".join(",".join(map(str, row)) + "\n" for row in [first, *rows.tolist()])


HEADINGS = {
    "0, 1, 2": lines([0, 1, 2], NORMAL),
    "0": lines([0], NORMAL[:, :1]),
    "0, 1 over counts": lines([0, 1], COUNTS[:, :2]),
    "0, 1 over both": lines([0, 1], np.column_stack([COUNTS[:, 0], NORMAL[:, 0]])),
    "years": lines([2019, 2020, 2021], NORMAL),
    "years, backwards": lines([2021, 2020], NORMAL[:, :2]),
    "years, every tenth": lines([1990, 2000, 2010], COUNTS),
    "a year": lines([2024], NORMAL[:, :1]),
}


@pytest.mark.parametrize("name", HEADINGS)
def test_a_heading_of_numbers(cli, name):
    write(Path("x.csv"), HEADINGS[name])
    first = HEADINGS[name].partition("\n")[0]
    code, found, warnings = fit(cli, "x.csv", family="diagonal")
    assert (code, found["n_observations"], found["features"]) == (0, 61, None)
    warning, *others = warnings.splitlines(keepends=True)
    assert warning == (
        f"warning: x.csv: the first line ({first}) was read as a row of numbers; give --header yes "
        "if it holds names, or --header no\n"
    )
    assert all("component 1 has collapsed" in other for other in others)  # onto that line
    assert fit(cli, "x.csv", "--quiet", family="diagonal")[2] == warning
    code, found, warnings = fit(cli, "x.csv", "--header", "no", family="diagonal")
    assert (code, found["n_observations"], found["features"]) == (0, 61, None)
    assert warnings == "".join(others)
    code, _, warning = run(cli, "x.csv")
    assert (code, warning[:8]) == (0, "warning:")
    assert run(cli, "x.csv", "--quiet")[2] == ""
    assert run(cli, "x.csv", "--header", "no")[2] == ""
    code, found, warnings = fit(cli, "x.csv", "--header", "yes", family="diagonal")
    assert (code, found["n_observations"]) == (0, 60)
    # Nothing about the heading; two components for 60 rows of one cluster may collapse.
    assert all("has collapsed" in other for other in warnings.splitlines())
    assert found["features"] == first.split(",")
    code, total, note = run(cli, "x.csv")  # the model knows these names
    assert (code, total) == (0, pytest.approx(found["log_likelihood"], rel=1e-9))
    assert note.startswith(
        f"note: x.csv: the first line ({first}) was read as names; give --header"
    )
    assert run(cli, "x.csv", "--header", "yes") == (0, total, "")


PLAIN = {
    "decimals": NORMAL,
    "counts": COUNTS,
    "small counts": np.r_[[[0, 1]], RNG.poisson(2, size=(60, 2))],
    "bits": np.r_[[[0, 1]], RNG.integers(0, 2, size=(60, 2))],
    "a bit": np.r_[[[0]], RNG.integers(0, 2, size=(60, 1))],
    "all whole numbers": np.arange(60).reshape(20, 3),
    "a grid": np.arange(60)[:, None] / 8,
    "two grids": np.column_stack([np.arange(60), 1 + np.arange(60) / 8]),
    "years": np.column_stack([np.arange(1960, 2020), RNG.integers(1900, 2100, size=60)]),
    "a column of years": np.arange(1960, 2020)[:, None],
    "years in any order": RNG.integers(1900, 2030, size=(60, 1)),
    "a year and a number": np.column_stack([np.arange(1960, 2020), NORMAL[:, 0]]),
    "like years": RNG.integers(1500, 2500, size=(60, 3)),
    "one row": np.array([[0, 1]]),
    "0.0, 1.0": np.r_[[[0.0, 1.0]], NORMAL[:, :2]],
    "1, 2, 3": np.r_[[[1, 2, 3]], COUNTS],
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_data_give_no_warning(tmp_path, name):
    rows = PLAIN[name].tolist()
    text = "".join(",".join(map(repr, row)) + "\n" for row in rows)
    assert read(write(tmp_path / "x.csv", text)) == (rows, None, [])


def test_a_first_line_like_any_other_is_no_heading():
    # What a writer drops that writes 0 for 0.0, and 1 for 1.0
    assert not may_be_heading(["0", "1"], [["0.5", "1.5"], ["1", "0"], ["0.25", "1"]])
    assert may_be_heading(["0", "1"], [["0.5", "1.5"], ["1.5", "0.5"], ["0.25", "1.5"]])


def test_a_row_that_holds_what_a_feature_is_called_is_a_row(cli):
    write(Path("x.csv"), lines([0, 1], NORMAL[:, :2]))
    fit(cli, "x.csv", "--header", "yes", "--columns", "0", family="univariate")
    write(Path("x.csv"), lines([0, 0.5], NORMAL[:, :2]))
    assert_refused(run(cli, "x.csv"), 2, "x.csv: has 2 columns; the model has 1 feature")
    code, _, note = run(cli, "x.csv", "--columns", "0")
    assert (code, note) == (0, "")


def test_header_no_of_a_file_with_names(cli):
    write(Path("x.csv"), "a,b\n1,2\n3,4\n5,7\n")
    assert_refused(fit(cli, "x.csv", "--header", "no"), 2, "x.csv line 1: value 1 is a; must be a")


# --- encodings, and what is no text -------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";"])
def test_names_in_latin_1(cli, separator):
    text = f"Länge{separator}Größe\n" + "".join(f"{a}{separator}{a * a}\n" for a in range(1, 40))
    write(Path("x.csv"), text.encode("latin-1"))
    code, found, note = fit(cli, "x.csv")
    assert (code, found["features"]) == (0, ["Länge", "Größe"])
    assert note == (
        "note: x.csv: the names are not UTF-8; they were read as Latin-1 (Windows-1252): Länge, "
        "Größe\n"
    )
    assert fit(cli, "x.csv", "--columns", "Größe")[1]["features"] == ["Größe"]
    fit(cli, "x.csv", "--columns", "Größe,Länge")
    code, total, _ = run(cli, "x.csv")
    write(Path("x.csv"), text)
    assert run(cli, "x.csv") == (0, total, "")


def test_names_in_windows_1252_and_beyond(tmp_path):
    path = write(tmp_path / "x.csv", b"\x80 in \x96,\x81,ok\n1,2,3\n")
    assert read(path)[1] == ("€ in –", "\x81", "ok")


def test_text_in_latin_1_is_shown_as_text(cli):
    write(Path("x.csv"), "a,Maß\n1,für\n2,über\n".encode("latin-1"))
    assert_refused(fit(cli, "x.csv"), 2, "x.csv column Maß: holds text, für for example; must hold")


OTHERS = {
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "is UTF-16 text; must be UTF-8"),
    "UTF-16 without a mark": (
        "a,b\n1,2\n".encode("utf-16-le"),
        "holds zero bytes; must be UTF-8 tex",
    ),
    "gzip": (gzip.compress(b"a,b\n1,2\n"), "is packed by gzip; unpack it first"),
    "Parquet": (b"PAR1\x15\x04", "is a Parquet file, not text; its name must end in .parquet"),
    "NumPy": (b"\x93NUMPY\x01\x00", "is a NumPy array, not text; its name must end in .npy"),
    "a picture": (b"\x89PNG\r\n\x1a\n", "is a picture (PNG), not text"),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Excel workbook (.xls)"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_what_is_no_text_is_told(tmp_path, name, suffix):
    content, message = OTHERS[name]
    path = write(tmp_path / f"x{suffix}", content)
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_an_excel_workbook(tmp_path):
    path = tmp_path / "x.csv"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(InputError, match=r"is an Excel workbook \(\.xlsx\) or another ZIP archive"):
        read(path)


def test_a_file_that_lies_elsewhere_is_called_by_its_name(tmp_path):
    place = write(tmp_path / "upload", "a,b\n1,2\n3,x\n")
    with ExitStack() as stack:
        source = open_data(Path("mine.csv"), None, stack, place=place)
        assert source.names == AB
        with pytest.raises(InputError, match=r"^mine\.csv line 3: value 2 is x"):
            list(read_blocks(source, [0, 1], Path("mine.csv"), 10))
