"""Files with named columns, and the command on them in a folder of its own: for tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.commands import needs_pyarrow

RNG = np.random.default_rng(7)
A = np.r_[RNG.normal(0, 1, 20), RNG.normal(8, 1, 20)].round(3)
B = (2 * A + RNG.normal(size=40)).round(3)
COLUMNS = {"a": A, "b": B, "c": RNG.normal(size=40).round(3)}


def load(name):
    return json.loads(Path(name).read_text(encoding="utf-8"))


def dump(name, record):
    Path(name).write_text(json.dumps(record), encoding="utf-8")


def write_lines(name, lines):
    Path(name).write_text("".join(lines), encoding="utf-8")


def write_csv(name, columns, delimiter=","):
    lines = [columns, *zip(*columns.values(), strict=True)]
    write_lines(name, (delimiter.join(map(str, line)) + "\n" for line in lines))


def write_parquet(name, columns, metadata=None):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table(columns)
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), name)


def write(name, columns):
    if name.endswith(".parquet"):
        write_parquet(name, columns)
    elif name.endswith((".npy", ".npz")):
        save = np.save if name.endswith(".npy") else np.savez
        save(name, np.column_stack(list(columns.values())))
    else:
        write_csv(name, columns, "\t" if name.endswith(".tsv") else ",")


def of(*names):
    return {name: COLUMNS[name] for name in names}


def fit(cli, data, *options, family="full"):
    arguments = ("--components", 2, "--family", family, "--output", "m.json", "--force", "--json")
    code, out, err = cli("fit", data, *arguments, *options)
    return (code, json.loads(out) if code == 0 else out, err)


def run(cli, data, *options, model="m.json"):
    code, out, err = cli(
        "run", data, "--model", model, "--output", "out.npy", "--force", "--json", *options
    )
    return (code, json.loads(out)["log_likelihood"] if code == 0 else out, err)


def expected_total(*names):
    """Return the log-likelihood of the columns under m.json, from the formula."""
    model = load("m.json")
    x = np.column_stack([COLUMNS[name] for name in names])
    total = np.zeros(len(x))
    for w, mean, covariance in zip(
        model["weights"], model["means"], model["covariances"], strict=True
    ):
        r = x - mean
        squared = (r @ np.linalg.inv(covariance) * r).sum(axis=1)
        total += w * np.exp(-squared / 2) / np.sqrt(np.linalg.det(2 * np.pi * np.array(covariance)))
    return float(np.log(total).sum())


NAMED = ["x.csv", "x.tsv", pytest.param("x.parquet", marks=needs_pyarrow)]
