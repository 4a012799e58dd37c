"""All rows of a file at once, mapped into memory or loaded."""

from __future__ import annotations

import math
from contextlib import ExitStack

import numpy as np
import pytest

from estep_xp.cli.read import table
from estep_xp.cli.read.data import choose_columns, open_data
from estep_xp.cli.read.table import read_table
from estep_xp.files.errors import InputError
from tests.data_files import X


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
    monkeypatch.setattr(table, "_BLOCK_SIZE", block)
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
