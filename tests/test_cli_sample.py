"""The command `sample`: rows drawn from a model's file, in every format, the same for a seed."""

from __future__ import annotations

import json

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.cli.compute import draw
from tests.commands import MODEL, assert_refused, needs_pyarrow, run, start, succeed

HMM = ex.HMM(
    [1.0, 0.0, 0.0],
    [[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.5, 0.0, 0.5]],
    ex.UnivariateGaussian([0.0, 10.0, 20.0], [1.0, 1.0, 1.0]),
)
MODELS = {
    "poisson": ex.Mixture([0.3, 0.7], ex.Poisson([2.0, 9.0])),
    "categorical": ex.Mixture([0.3, 0.7], ex.Categorical([[0.5, 0.5, 0], [0.1, 0.2, 0.7]])),
    "student_t": ex.Mixture(
        [0.5, 0.5],
        ex.StudentT.from_scales([[0.0, 1.0], [4.0, 5.0]], np.stack([np.eye(2)] * 2), [9.0, 9.0]),
    ),
    "product": ex.Mixture(
        [0.5, 0.5],
        ex.Product((ex.UnivariateGaussian([0.0, 5.0], [1.0, 1.0]), ex.Gamma([2.0, 3.0], [1, 1]))),
    ),
    "hmm": HMM,
}


def drawn(folder, *options, n=2000, model="m.json", out="out.csv"):
    arguments = ("--n", str(n), "--output", out, "--force", *options)
    return succeed("sample", model, *arguments, folder=folder)


def read(path):
    names, *rows = path.read_text().splitlines()
    return names.split(","), np.array([row.split(",") for row in rows], dtype=float)


@pytest.mark.parametrize("name", MODELS)
def test_rows_are_those_of_the_library(tmp_path, name):
    ex.save(tmp_path / "m.json", MODELS[name])
    summary = drawn(tmp_path, "--seed", "7")
    names, rows = read(tmp_path / "out.csv")
    expected = ex.sample(MODELS[name], 2000, seed=7)
    d = expected.x.shape[1] if expected.x.ndim == 2 else 1
    assert names == (["x"] if expected.x.ndim == 1 else [f"x_{j}" for j in range(d)]) + ["label"]
    np.testing.assert_array_equal(rows[:, :-1], expected.x.reshape(2000, d))
    np.testing.assert_array_equal(rows[:, -1], expected.labels)
    counts = "  ".join(map(str, np.bincount(expected.labels)))
    noun = "state" if name == "hmm" else "component"
    assert f"{f'Rows per {noun}':<28}{counts}\n" in summary


def test_a_seed_gives_the_same_bytes_and_another_one_others(tmp_path):
    drawn(tmp_path, "--seed", "3", model=MODEL)
    first = (tmp_path / "out.csv").read_bytes()
    for seed, alike in (("3", True), ("4", False)):
        drawn(tmp_path, "--seed", seed, model=MODEL)
        assert ((tmp_path / "out.csv").read_bytes() == first) is alike
    arguments = ("sample", MODEL, "--n", "2000", "--seed", "3", "--output", "-", "--quiet")
    assert succeed(*arguments).encode() == first
    code, stdout, stderr = run(*arguments[:-1])
    assert (code, stdout.encode()) == (0, first)
    assert stderr.startswith("Rows                        2000\n")


def test_a_chain_goes_on_from_block_to_block(tmp_path, monkeypatch):
    monkeypatch.setattr(draw, "_BLOCK_SIZE", 7 * 4)  # 7 rows of 1 feature and 3 states
    ex.save(tmp_path / "m.json", HMM)
    drawn(tmp_path, n=3000)
    _, rows = read(tmp_path / "out.csv")
    labels = rows[:, 1].astype(int)
    assert len(labels) == 3000
    assert labels[0] == 0
    steps = np.zeros((3, 3))
    np.add.at(steps, (labels[:-1], labels[1:]), 1)
    assert (steps[np.asarray(HMM.transitions) == 0] == 0).all()  # none at the seams either
    found = steps / steps.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, HMM.transitions, atol=0.06)


def test_blocks_of_a_mixture_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(draw, "_BLOCK_SIZE", 10 * 4)
    drawn(tmp_path, n=105, model=MODEL)
    _, rows = read(tmp_path / "out.csv")
    assert len(np.unique(rows[:, 0])) == 105


@needs_pyarrow
def test_all_formats_hold_the_same_and_columns_have_the_features_names(tmp_path):
    import pyarrow.parquet

    ex.save(tmp_path / "m.json", ex.load(MODEL), feature_names=["eruptions", "waiting, min"])
    for out in ("out.csv", "out.npy", "out.parquet"):
        drawn(tmp_path, n=50, out=out)
    array = np.load(tmp_path / "out.npy")
    assert array.dtype.names == ("x", "label")
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["eruptions", "waiting, min", "label"]
    assert table["label"].type == "int64"
    np.testing.assert_array_equal(table["label"].to_numpy(), array["label"])
    np.testing.assert_array_equal(table["waiting, min"].to_numpy(), array["x"][:, 1])
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == 'eruptions,"waiting, min",label'
    assert lines[1].split(",")[:2] == list(map(repr, array["x"][0].tolist()))
    # What was drawn is what run takes: it finds the columns by name.
    summary = succeed("run", "out.csv", "--model", "m.json", "--output", "r.csv", folder=tmp_path)
    assert summary.startswith("Rows                        50\n")


def test_json(tmp_path):
    found = json.loads(drawn(tmp_path, "--json", n=10, model=MODEL))
    assert found["n_observations"] == sum(found["rows_per_component"]) == 10
    assert (found["n_components"], found["output"]) == (2, "out.csv")


BAD = {
    "no number": (("--n", "many"), 2, "--n: is many; must be a whole number, 1 or more"),
    "no rows": (("--n", "0"), 2, "--n: is 0; must be a whole number, 1 or more"),
    "a seed": (("--seed", "-1"), 2, "--seed: is -1; must be a whole number, 0 or more"),
    "no format": (("--output", "x.json"), 2, "x.json: must end in one of .csv .npy .parquet"),
    "it exists": (("--output", "old.csv"), 1, "old.csv: exists; give --force to replace it"),
    "no folder": (("--output", "none/x.csv"), 1, "none/x.csv: No such file or directory"),
}


@pytest.mark.parametrize("name", BAD)
def test_sample_refuses(tmp_path, name):
    options, code, message = BAD[name]
    (tmp_path / "old.csv").write_text("old")
    arguments = ("sample", MODEL, "--n", "5", "--output", "out.csv", *options)
    assert_refused(run(*arguments, folder=tmp_path), code, message)
    assert [file.name for file in tmp_path.iterdir()] == ["old.csv"]


def test_models_that_cannot_be_sampled(tmp_path):
    arguments = ("--n", "5", "--output", "-")
    assert_refused(run("sample", "none.json", *arguments), 2, "none.json: no such file")
    named = tmp_path / "m.json"
    ex.save(named, ex.load(MODEL), feature_names=["eruptions", "label"])
    message = f"{named}: feature_names: name two columns of the output alike"
    assert_refused(run("sample", str(named), *arguments), 2, message)
    changing = HMM._replace(transitions=np.stack([np.asarray(HMM.transitions)] * 5))
    ex.save(named, changing)
    message = f"{named}: transitions: differ from row to row; must be one matrix"
    assert_refused(run("sample", str(named), *arguments), 2, message)


def test_head_ends_it_quietly():
    process = start("sample", MODEL, "--n", "10000000", "--output", "-")
    assert process.stdout.readline() == b"x_0,x_1,label\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141


@pytest.mark.parametrize(
    "out", ["out.csv", "out.npy", pytest.param("out.parquet", marks=needs_pyarrow)]
)
def test_counts_and_kinds_are_whole_numbers(tmp_path, out):
    parts = (
        ex.Poisson([2.0, 9.0]),
        ex.UnivariateGaussian([0.0, 5.0], [1.0, 1.0]),
        ex.Bernoulli([[0.5, 0.2], [0.1, 0.9]]),
    )
    for name, model, kinds in (
        ("mixed", ex.Mixture([0.5, 0.5], ex.Product(parts)), "ifiii"),
        ("kinds", MODELS["categorical"], "ii"),
    ):
        ex.save(tmp_path / "m.json", model)
        drawn(tmp_path, n=50, out=out)
        expected = ex.sample(model, 50, seed=0).x.reshape(50, -1)
        if out.endswith(".csv"):
            _, *lines = (tmp_path / out).read_text().splitlines()
            columns = list(zip(*(line.split(",") for line in lines), strict=True))
            found = "".join("f" if "." in "".join(column) else "i" for column in columns)
            x = np.array(columns[:-1], dtype=float).T
        elif out.endswith(".npy"):
            array = np.load(tmp_path / out)
            found, x = array["x"].dtype.kind, array["x"].reshape(50, -1)
            kinds = "f" if name == "mixed" else "i"
        else:
            table = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / out)
            found = "".join("f" if str(kind) == "double" else "i" for kind in table.schema.types)
            x = np.column_stack([column.to_numpy() for column in table.columns[:-1]])
        assert found == kinds
        np.testing.assert_array_equal(x, expected)
