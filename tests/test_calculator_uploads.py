"""Uploads to the page: what is read as on the command line, and what is named and refused."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import zipfile
from urllib.parse import quote

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the page needs the extra calculator")
from estep_xp.calculator import upload
from tests.commands import needs_pyarrow
from tests.pages import ENVIRONMENT, ask, running

UPLOADS = {
    "one column": (b"v\n1\n2.5\n", None, (["v"], 0, "1, 2.5", "")),
    "no heading": (b"1\n2\n", None, (["column 0"], 0, "1, 2", "")),
    "chosen": (b"a,b\n1,2\n3,4\n", 1, (["a", "b"], 1, "2, 4", "")),
    "first of numbers": (b"a,b\nu,2\nv,4\n", None, (["a", "b"], 1, "2, 4", "")),
    "no such column": (b"a\n1\n", 7, (["a"], 7, "", "f.csv: has no column 7")),
    "empty": (b"", None, ([], 0, "", "f.csv: holds no rows")),
    "bad row": (
        b"1\nx\n",
        None,
        (["column 0"], 0, "", "f.csv line 2: value 1 is x; must be a number (1 bad row: line 2)"),
    ),
    "decimal commas": (b"0,5;1\n", None, (["column 0", "column 1"], 0, "0.5", "")),
    "semicolons": (b"a;b\n1;0,5\n2;1,5\n", 1, (["a", "b"], 1, "0.5, 1.5", "")),
    "Latin-1": (b"L\xe4nge,b\n1,2\n", None, (["Länge", "b"], 0, "1", "")),
    "Windows-1252": (b"\x80,b\n1,2\n", None, (["€", "b"], 0, "1", "")),
    "an index without a name": (b",b\n0,5\n1,6\n", None, (["column 0", "b"], 1, "5, 6", "")),
    "an index that was asked for": (b",b\n0,5\n1,6\n", 0, (["column 0", "b"], 0, "0, 1", "")),
    "pandas' name of an index": (
        b"Unnamed: 0,b\n0,5\n1,6\n",
        None,
        (["Unnamed: 0", "b"], 1, "5, 6", ""),
    ),
    "text": (
        b"a,b\nu,v\nw,x\n",
        None,
        (["a", "b"], 0, "", "f.csv column a: holds text, u for example; must hold real numbers"),
    ),
    "too wide": (
        b"1," * 1000 + b"1\n",
        None,
        ([], 0, "", "f.csv: has 1001 columns; at most 1000 are taken"),
    ),
    "too long": (
        b"1\n" * 20_001,
        None,
        (["column 0"], 0, "", "f.csv: has 20001 rows; the page takes 20000 observations"),
    ),
}


@pytest.mark.parametrize("name", UPLOADS)
def test_uploads(name):
    content, column, expected = UPLOADS[name]
    assert upload.read_upload(content, "f.csv", column)[:4] == expected


def test_uploads_with_tabs():
    assert upload.read_upload(b"a\tb\n1\t2\n", "f.tsv", 1).x == "2"


@pytest.mark.parametrize("name", ["f.csv", "f.txt", "f.TXT", "f.dat", "f", ""])
def test_uploads_of_text_by_any_name(name):
    assert upload.read_upload(b"v\n1\n2\n", name, None) == (["v"], 0, "1, 2", "", "")


# --- other formats ------------------------------------------------------------------------------


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npz(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def parquet(**columns):
    pyarrow = pytest.importorskip("pyarrow")
    file = io.BytesIO()
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), file)
    return file.getvalue()


def archive(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as members:
        for name in names:
            members.writestr(name, "content")
    return file.getvalue()


def header(shape):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00\x76\x00" + text.ljust(117).encode() + b"\n"


TABLE = np.asarray([[0.1, 2], [3, 4], [5, 1e-300]])
ARRAYS = {
    "values": (npy(TABLE[:, 0]), None, (["column 0"], 0)),
    "rows": (npy(TABLE), 1, (["column 0", "column 1"], 1)),
    "columns": (npy(np.asfortranarray(TABLE)), 1, (["column 0", "column 1"], 1)),
    "an archive": (npz(a=TABLE), 0, (["column 0", "column 1"], 0)),
    "an archive of several": (npz(a=np.ones(2), b=TABLE), 2, (["a column 0", "b column 0"], 2)),
    "one that holds no rows": (npz(a=np.ones((2, 2, 2)), b=TABLE), None, (["b column 0"], 0)),
}


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv", "dat"])
@pytest.mark.parametrize("name", ARRAYS)
def test_uploads_of_arrays(name, suffix):
    content, column, (columns, read) = ARRAYS[name]
    found = upload.read_upload(content, f"f.{suffix}", column)
    assert found.columns[: len(columns)] == columns
    assert (found.column, found.error) == (read, "")
    number = int(found.columns[read][-1])
    assert [float(word) for word in found.x.split(", ")] == TABLE[:, number].tolist()


@needs_pyarrow
@pytest.mark.parametrize("name", ["f.parquet", "f.csv"])
def test_uploads_of_parquet(name):
    content = parquet(who=["u", "v"], x=[0.5, 2], __index_level_0__=[7, 8])
    found = upload.read_upload(content, name, None)
    assert found[:4] == (["who", "x", "__index_level_0__"], 1, "0.5, 2", "")
    assert "__index_level_0__ was left out as a data frame's index" in found.note
    refused = upload.read_upload(content, name, 0)
    assert refused.error == f"{name} column who: holds string; must hold real numbers"


FOREIGN = {
    "an Excel workbook": (
        archive("[Content_Types].xml", "xl/workbook.xml"),
        "is an Excel workbook (.xlsx) or another ZIP archive, not text; save it as CSV",
    ),
    "an old Excel workbook": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        "is an Excel workbook (.xls) or other Office file, not text; save it as CSV",
    ),
    "PNG": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is a picture (PNG), not text"),
    "JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01", "is a picture (JPEG), not text"),
    "GIF": (b"GIF89a\x01\0\x01\0", "is a picture (GIF), not text"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3", "is a PDF document, not text"),
    "gzip": (gzip.compress(b"1,2\n"), "is packed by gzip; unpack it first"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "is UTF-16 text; must be UTF-8"),
    "UTF-16 without a mark": ("a,b\n1,2\n".encode("utf-16-be"), "is not text"),
    "noise": (np.random.default_rng(0).integers(1, 256, 99, np.uint8).tobytes(), "is not text"),
    "zero bytes": (b"a,b\n" + b"1,2\n" * 300 + b"1,\0\n", "holds zero bytes; must be UTF-8"),
}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt", "xlsx", "npy", "npz", "parquet"])
@pytest.mark.parametrize("name", FOREIGN)
def test_what_cannot_be_read_is_named(name, suffix):
    content, message = FOREIGN[name]
    if (name == "zero bytes" or "is not text" in message) and suffix in ("npy", "npz", "parquet"):
        message = {"npy": "is not a .npy f", "npz": "is not a .npz a", "parquet": ""}[suffix]
    found = upload.read_upload(content, f"f.{suffix}", None)
    assert found[:3] == ([], 0, "")
    assert found.error.startswith(f"f.{suffix}: {message}")


BROKEN = {
    "f.npy": {
        "empty": (b"", "is not a .npy file"),
        "cut": (npy(np.zeros(99))[:200], "ends before its last row"),
        "objects": (npy(np.asarray([1, "a"], object)), "is an array of Python objects, which are"),
        "complex": (npy(np.asarray([1j])), "is an array of complex128; must hold real numbers"),
        "3 axes": (npy(np.zeros((2, 2, 2))), "is an array of shape (2, 2, 2); must have 1 or 2"),
        "NaN": (npy(np.asarray([1, np.nan])), "row 1: value 1 is nan; must be a finite number"),
        "too many rows": (npy(np.zeros(20_001)), "has 20001 rows; the page takes 20000 observ"),
        "too many columns": (npy(np.zeros((1, 1001))), "has 1001 columns; at most 1000"),
        "a header of many columns": (header("(1, 1000000000)"), "ends before its last row"),
        "a header of many rows": (header("(1000000000000, 1)"), "ends before its last row"),
        "a header of truth": (header("(True, 2)"), "is an array of impossible shape (True, 2)"),
    },
    "f.npz": {
        "objects": (npz(a=np.asarray([None])), "is an array of Python objects, which are"),
        "packed rows": (npz(a=np.zeros(20_000_000)), "has 20000000 rows; the page takes 20000"),
        "packed columns": (npz(a=np.zeros((1, 20_000_000))), "has 20000000 columns; at most 1000"),
        "no rows of numbers": (
            npz(a=np.asarray([None]), b=np.asarray(["b"])),
            "holds no array of rows of numbers",
        ),
    },
}


@pytest.mark.parametrize(
    ("file", "name"), [(file, name) for file in BROKEN for name in BROKEN[file]]
)
def test_broken_arrays_are_refused(file, name):
    content, message = BROKEN[file][name]
    found = upload.read_upload(content, file, None)
    assert found.x == ""
    assert found.error.startswith((f"{file}: {message}", f"{file} {message}"))


def test_many_packed_rows_of_parquet_are_refused():
    content = parquet(x=np.zeros(1_000_000))
    assert len(content) < upload.MAX_BYTES
    error = "f.parquet: has 1000000 rows; the page takes 20000 observations"
    assert upload.read_upload(content, "f.parquet", None).error == error


def test_without_pyarrow_the_page_says_what_to_install():
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from estep_xp.calculator.upload import read_upload\n"
        "print(read_upload(b'PAR1', 'f.parquet', None).error)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == (
        'f.parquet: needs pyarrow, which is not installed; pip install "estep_xp[parquet]"\n'
    )


def test_the_page_has_no_options_to_speak_of():
    for content in (b"2019,2020\n1.5,2\n3,5\n", b",\n0,5\n1,6\n", b"a\n0,5\n1,5\n", b"a\nb\nc\n"):
        found = upload.read_upload(content, "f.csv", None)
        assert found.error or found.note
        assert "--" not in found.error + found.note


def test_uploads_over_http():
    contents = [npy(TABLE[:, 0]), npz(a=TABLE[:, 0]), archive("a")]
    with running("--no-browser", "--port", "0") as (process, address):
        found = []
        for content in contents:
            query = f"name={quote('Zähler & Co.npy')}"
            status, _, text = ask(address, "POST", f"/upload?{query}", content)
            assert status == 200
            found.append(json.loads(text))
        process.terminate()
        assert process.communicate(timeout=30)[1] == "Ctrl-C ends the calculator.\n"
    assert [answer["x"] for answer in found[:2]] == ["0.1, 3, 5"] * 2
    assert found[2]["error"].startswith(
        "Zähler & Co.npy: is an Excel workbook (.xlsx) or another ZIP"
    )


def test_notes_stand_one_a_line():
    text = ",Länge\n0,1.5\n1,2.5\n2,4\n"
    first, second = upload.read_upload(text.encode("cp1252"), "x.csv", None).note.split("\n")
    assert first.startswith("note: x.csv: the names are not UTF-8")
    assert second.startswith("note: x.csv: column 0 (without a name) was left out")
