"""Rows of NumPy's files and of Parquet; endings and paths that name no data."""

from __future__ import annotations

import math
import zipfile

import numpy as np
import pytest

from estep_xp.cli.read import arrays
from estep_xp.cli.system.files import translate_read_errors
from estep_xp.files.errors import InputError
from estep_xp.files.model import ModelFile
from tests.data_files import X, read


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
    monkeypatch.setattr(arrays, "_BLOCK_SIZE", block)
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
    monkeypatch.setattr(arrays, "_BLOCK_SIZE", 50)
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
            "; choose what is done about holes with --missing"
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


def read_model(path):
    with translate_read_errors(path):
        ModelFile(path, waits=True)


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".npz", ".json"])
def test_missing_files_and_directories(tmp_path, suffix):
    (tmp_path / f"folder{suffix}").mkdir()
    for name, message in (("none", "no such file"), ("folder", "must be a file, not a directory")):
        path = tmp_path / f"{name}{suffix}"
        with pytest.raises(InputError) as error:
            read_model(path) if suffix == ".json" else read(path)
        assert str(error.value) == f"{path}: {message}"
