"""Parquet files as data bases and others write them: names that repeat, decimals."""

from __future__ import annotations

from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from estep_xp.cli.read.data import open_data
from estep_xp.cli.read.rows import BadRows
from tests.column_files import A, B, expected_total, fit, load, run, write_parquet
from tests.commands import assert_refused, needs_pyarrow

pytestmark = needs_pyarrow


def write_repeated(names, columns):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_arrays([pyarrow.array(column) for column in columns], names=names)
    pyarrow.parquet.write_table(table, "x.parquet")


def test_names_that_repeat_where_nobody_asked(cli):
    write_repeated(["c", "b", "c", "a"], [B, B, ["text"] * 40, A])
    message = "x.parquet: 2 columns are called c; give them names of their own, or choose others"
    assert_refused(fit(cli, "x.parquet", "--columns", "2,3"), 2, "x.parquet column c: holds string")
    assert_refused(fit(cli, "x.parquet", "--columns", "c"), 2, "--columns: value 1 is c; several")
    assert fit(cli, "x.parquet", "--columns", "a,b")[0] == 0
    assert load("m.json")["feature_names"] == ["a", "b"]
    assert run(cli, "x.parquet") == (0, pytest.approx(expected_total("a", "b"), rel=1e-9), "")
    write_repeated(["c", "a", "c"], [B, A, A])
    assert_refused(fit(cli, "x.parquet"), 2, message)


def test_columns_of_one_name_are_read_by_their_number(cli):
    write_repeated(["a", "c", "a", "a"], [B, B, B + 7, A])
    assert fit(cli, "x.parquet", "--columns", "3,1")[0] == 0
    dumped = load("m.json")
    assert dumped["feature_names"] == ["a", "c"]
    np.testing.assert_allclose(
        np.dot(dumped["weights"], dumped["means"]), [A.mean(), B.mean()], rtol=1e-9
    )


@pytest.mark.parametrize("kind", ["decimal128", "decimal256"])
def test_decimals_are_numbers(cli, kind):
    import pyarrow

    make = getattr(pyarrow, kind)
    columns = {
        name: pyarrow.array([Decimal(str(value)) for value in column], make(12, 3))
        for name, column in {"a": A, "b": B}.items()
    }
    write_parquet("x.parquet", columns)
    assert fit(cli, "x.parquet")[0] == 0
    assert run(cli, "x.parquet") == (0, pytest.approx(expected_total("a", "b"), rel=1e-9), "")
    with ExitStack() as stack:
        path = Path("x.parquet")
        source = open_data(path, None, stack)
        (block,) = source.blocks([0, 1], BadRows(path))
    np.testing.assert_array_equal(block.x, np.stack([A, B], axis=1))  # as Python rounds decimals
    columns["a"] = pyarrow.array([None, *columns["a"].to_pylist()[1:]], make(12, 3))
    write_parquet("x.parquet", columns)
    assert_refused(fit(cli, "x.parquet"), 2, "x.parquet row 0: value 1 is nan; must be a finite")
