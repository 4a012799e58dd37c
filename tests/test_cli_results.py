"""Files of results, which appear when they are whole, and only then."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest

from estep_xp.cli.compute import results
from estep_xp.cli.compute.results import Results, result_fields, result_values
from estep_xp.cli.system.files import atomic_write
from estep_xp.cli.text.errors import SystemFailure
from estep_xp.cli.write.rows import open_rows
from tests.data_files import THIRD

RESULTS = Results(
    np.array([[THIRD, 1 - THIRD], [1e-300, 1.0], [math.nan, math.nan]]),
    np.array([1, 1, -1]),
    np.array([-0.1, -1e300, -math.inf]),
)


def write_results(path, *blocks):
    with open_rows(path, result_fields(2)) as writer:
        for block in blocks:
            writer.write(result_values(block))


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


def test_a_column_more_is_one_record_more(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    largest = results.Column(
        "largest", "largest", "<f4", False, lambda found: found.responsibilities.max(axis=1)
    )
    monkeypatch.setattr(results, "COLUMNS", (largest, *results.COLUMNS))
    for suffix in (".csv", ".npy", ".parquet"):
        write_results(tmp_path / f"out{suffix}", RESULTS)
    names = ["largest", "responsibility_0", "responsibility_1", "label", "log_likelihood"]
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == ",".join(names)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == names
    expected = RESULTS.responsibilities.max(axis=1).astype(np.float32)
    np.testing.assert_array_equal(table["largest"].to_numpy(), expected)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy")["largest"], expected)


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
        with open_rows(path, result_fields(2)) as writer:
            writer.write(result_values(RESULTS))
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
        with atomic_write(tmp_path / "out") as file:
            file.write(b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "folder" / "real")
    with atomic_write(tmp_path / "out") as file:
        file.write(b"new")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "folder" / "real").read_bytes() == b"new"


def test_a_directory_that_is_not_there(tmp_path):
    path = tmp_path / "none" / "out"
    with pytest.raises(SystemFailure) as error, atomic_write(path):
        pass
    assert str(error.value) == f"{path}: No such file or directory"
