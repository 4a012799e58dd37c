"""Columns of files: run finds those of the model by name, which MODEL.json keeps."""

from __future__ import annotations

import numpy as np
import pytest

from estep_xp.files import model, strict_json
from tests.column_files import (
    NAMED,
    RNG,
    A,
    B,
    dump,
    expected_total,
    fit,
    load,
    of,
    run,
    write,
    write_lines,
)
from tests.commands import MODEL, assert_refused

# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", NAMED)
@pytest.mark.parametrize("fitted", ["a,b", "b,a"])
def test_run_finds_the_columns_of_the_model(cli, data, fitted):
    names = fitted.split(",")
    write(data, of(*names))
    assert fit(cli, data)[0] == 0
    assert load("m.json")["feature_names"] == names
    expected = pytest.approx(expected_total(*names), rel=1e-9)
    for order in ("ab", "ba", "cab", "bca", "acb"):
        for name in ("y.csv", data):
            write(name, of(*order))
            assert run(cli, name) == (0, expected, "")


@pytest.mark.parametrize("data", NAMED)
def test_run_names_the_columns_that_a_file_lacks(cli, data):
    write(data, of("a", "b"))
    fit(cli, data)
    write(data, {"p": A, "q": B})
    message = f"{data}: has no columns a, b, which the model needs; it has p, q; "
    assert_refused(run(cli, data), 2, message)
    write(data, {"p": A, "b": B})
    assert_refused(run(cli, data), 2, f"{data}: has no column a, which the model needs; it has p, ")
    write(data, of("b"))
    assert_refused(run(cli, data), 2, f"{data}: has no column a, which the model needs; it has b; ")


def test_one_column_has_a_name_too(cli):
    write("x.csv", of("a", "b"))
    assert fit(cli, "x.csv", "--columns", "b", family="univariate")[0] == 0
    assert load("m.json")["feature_names"] == ["b"]
    code, total, _ = run(cli, "x.csv")
    assert (code, run(cli, "x.csv", "--columns", "1")[:2]) == (0, (0, total))
    write("x.csv", of("a"))
    assert_refused(run(cli, "x.csv"), 2, "x.csv: has no column b, which the model needs; it has a;")


@pytest.mark.parametrize("unnamed", ["x.npy", "x.npz", "no header"])
def test_what_has_no_names_goes_by_position(cli, unnamed):
    if unnamed == "no header":
        unnamed = "z.csv"
        np.savetxt("z.csv", np.column_stack([A, B]), delimiter=",")
    else:
        write(unnamed, of("a", "b"))
    write("x.csv", of("a", "b"))
    fit(cli, "x.csv")
    expected = pytest.approx(expected_total("a", "b"), rel=1e-9)
    assert run(cli, unnamed) == (0, expected, "")
    fit(cli, unnamed)
    assert "feature_names" not in load("m.json")
    assert run(cli, unnamed) == (0, expected, "")
    write("y.csv", {"p": A, "q": B})  # a model without names
    assert run(cli, "y.csv") == (0, expected, "")


def test_columns_that_a_person_chooses(cli):
    write("x.csv", of("a", "b", "c"))
    fit(cli, "x.csv", "--columns", "b,a")
    expected = pytest.approx(expected_total("b", "a"), rel=1e-9)
    for columns in ("b,a", "a,b", "1,0", "0,1"):  # names decide where they are the model's
        assert run(cli, "x.csv", "--columns", columns) == (0, expected, "")
    write("y.csv", {"p": A, "q": B, "a": A})
    code, total, note = run(cli, "y.csv", "--columns", "q,p")
    assert (code, total) == (0, expected)
    assert note == ("note: y.csv: columns stand for features of other names: q for b, p for a\n")
    code, total, note = run(cli, "y.csv", "--columns", "q,a")
    assert (code, total) == (0, expected)
    assert note == "note: y.csv: columns stand for features of other names: q for b\n"
    assert run(cli, "y.csv", "--columns", "q,p", "--quiet") == (0, expected, "")
    assert_refused(
        run(cli, "y.csv", "--columns", "a,q"),
        2,
        "--columns: value 1 is a; would stand for the model's feature b; the model's features are ",
    )
    assert_refused(run(cli, "x.csv", "--columns", "a"), 2, "--columns: has 1 column; the model has")


def test_columns_of_one_name(cli):
    rows = [("a", "a", "b"), *zip(A, A, B, strict=True)]
    write_lines("x.csv", (f"{a},{b},{c}\n" for a, b, c in rows))
    message = "x.csv: 2 columns are called a; give them names of their own, or choose others with"
    assert_refused(fit(cli, "x.csv"), 2, message)
    assert fit(cli, "x.csv", "--columns", "0,2")[0] == 0
    assert_refused(run(cli, "x.csv"), 2, message)
    assert run(cli, "x.csv", "--columns", "0,2")[0] == 0
    rows = [("a", "b"), *zip(A, B, strict=True)]
    write_lines("x.csv", (f"{a},{b},{a}\n" for a, b in rows))
    write("y.csv", of("b"))
    fit(cli, "y.csv", family="univariate")
    assert run(cli, "x.csv")[0] == 0  # nobody needs a


def test_names_may_be_anything(cli):
    names = ["a b", 'c"d', "e,f", "ü", " "]
    columns = RNG.normal(size=(40, 5)).round(3)
    quoted = ",".join('"' + name.replace('"', '""') + '"' for name in names)
    write_lines("x.csv", [quoted + "\n", *(",".join(map(str, row)) + "\n" for row in columns)])
    code, found, _ = fit(cli, "x.csv", "--columns", '"e,f",a b,"c""d",ü', family="diagonal")
    assert (code, found["features"]) == (0, ["e,f", "a b", 'c"d', "ü"])
    assert run(cli, "x.csv") == run(cli, "x.csv", "--columns", "2,0,1,3")
    assert run(cli, "x.csv")[0] == 0
    assert_refused(fit(cli, "x.csv", "--columns", "a\nb"), 2, "--columns: ")


# --- MODEL.json ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (None, "is null; must be a list of 2 names in quotes"),
        ("a, b", 'is "a, b"; must be a list of 2 names in quotes'),
        (["a"], "has length 1; must have length 2"),
        (["a", "b", "c"], "has length 3; must have length 2"),
        (["a", 7], "value 2 is 7; must be a name in quotes"),
        ([None, "b"], "value 1 is null; must be a name in quotes"),
        (["a", ["b"]], "value 2 is a list of length 1; must be a name in quotes"),
        (["a", "a"], 'value 2 is "a"; is there twice'),
    ],
)
def test_bad_names_in_a_model(cli, names, message):
    write("x.csv", of("a", "b"))
    record = load(MODEL)
    dump("m.json", record | {"feature_names": names})
    assert_refused(run(cli, "x.csv"), 2, f"m.json: feature_names: {message}")


def test_models_of_other_versions_of_the_package(cli):
    record = load(MODEL)
    record.pop("feature_names", None)
    dump("m.json", record)
    write("x.csv", {"p": A, "q": B})
    code, total, err = run(cli, "x.csv")
    assert (code, err) == (0, "")
    assert total == pytest.approx(expected_total("a", "b"), rel=1e-9)


def test_a_mismatch_with_a_large_model_is_seen_early(cli, monkeypatch):
    monkeypatch.setattr(strict_json, "_parse_number", None)  # no number is looked at by itself
    monkeypatch.setattr(model, "read_components", None)  # and no matrix is factorised
    write("x.csv", of("a", "b", "c"))
    record = {"family": "full", "weights": [1] * 99, "means": [[0, 0]] * 99}
    dump("m.json", record | {"covariances": [[[1, 0], [0, 1]]] * 99})
    found = run(cli, "x.csv")
    assert_refused(found, 2, "x.csv: has 3 columns (a, b, c); the model has 2 features")
