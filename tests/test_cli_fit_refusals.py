"""What the command `fit` refuses, and how it says so."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.commands import (
    assert_refused,
    run,
)
from tests.fit_commands import FULL

SINGULAR = "a,b\n1,1\n2,2\n3,3\n4,4\n"
BAD_FITS = {
    "no components": ({"--components": "0"}, 2, "--components: is 0; must be a whole number, 1"),
    "negative": ({"--components": "-2"}, 2, "--components: is -2; must be a whole number, 1 or mo"),
    "a fraction": ({"--components": "2.5"}, 2, "--components: is 2.5; must be a whole number"),
    "a word": ({"--components": "two"}, 2, "--components: is two; must be a whole number, 1 or mo"),
    "nothing": ({"--components": ""}, 2, "--components: is empty; must be a whole number"),
    "underscore": ({"--components": "1_0"}, 2, "--components: is 1_0; must be a whole number"),
    "huge": ({"--components": "9" * 50}, 2, f"--components: is {'9' * 37}...; must be a whole"),
    "escape": ({"--components": "\x1b[2J"}, 2, r"--components: is \x1b[2J; must be a whole number"),
    "too many": ({"--components": "4"}, 2, "--components: is 4; x.csv has 3 rows, and there must"),
    "too many of several": ({"--components": "1-4"}, 2, "--components: is 4; x.csv has 3 rows"),
    "downwards": ({"--components": "3-1"}, 2, "--components: is 3-1; must be a whole number, 1 "),
    "half a range": ({"--components": "1-"}, 2, "--components: is 1-; must be a whole number"),
    "a hole in a list": ({"--components": "1,,2"}, 2, "--components: is 1,,2; must be a whole"),
    "many sizes": (
        {"--components": "1-101"},
        2,
        "--components: is 1-101; must be a whole number, o",
    ),
    "criterion": ({"--criterion": "dic"}, 2, "--criterion: is dic; must be one of bic, aic, icl"),
    "a family of several": ({"--family": "full,fool"}, 2, "--family: is fool; must be one of univ"),
    "no factors": ({"--factors": "1"}, 2, "--factors: is for --family factor_analyzer"),
    "many factors": (
        {"--family": "factor-analyzer", "--factors": "3"},
        2,
        "--factors: is 3; must be at most the number of columns, 2 columns",
    ),
    "counts": (
        {"DATA": "half.csv", "--family": "poisson"},
        2,
        "half.csv line 3: value 2 is 0.5; must be a count: a whole number, not neg",
    ),
    "kinds": (
        {"DATA": "half.csv", "--family": "categorical", "--columns": "b"},
        2,
        "half.csv line 3: value 2 is 0.5; must be a kind: a whole number from 0 to",
    ),
    "numbers, no kinds": (
        {"DATA": "far.csv", "--family": "categorical", "--columns": "0"},
        2,
        "far.csv line 2: value 1 is 1e+200; must be a kind: a whole number from 0 ",
    ),
    "yes and no": (
        {"DATA": "half.csv", "--family": "bernoulli"},
        2,
        "half.csv line 3: value 2 is 0.5; must be 0 or 1",
    ),
    "positive": (
        {"DATA": "half.csv", "--family": "gamma"},
        2,
        "half.csv line 2: value 1 is 0; must be positive",
    ),
    "text of kinds": (
        {"DATA": "words.csv", "--family": "categorical", "--columns": "kind"},
        2,
        "words.csv column kind: holds text, red for example; must hold real numbers; choose",
    ),
    "one row": (
        {"DATA": "one.csv"},
        2,
        "--components: is 2; one.csv has 1 row, and there must be one for each",
    ),
    "family": ({"--family": "fool"}, 2, "--family: is fool; must be one of univariate, spherical"),
    "univariate": (
        {"--family": "univariate"},
        2,
        "x.csv: has 2 columns (a, b); --family univariate has 1 feature; choose with --columns",
    ),
    "univariate columns": (
        {"--family": "univariate", "--columns": "a,b"},
        2,
        "--columns: has 2 columns; --family univariate has 1 feature",
    ),
    "no such column": ({"--columns": "c"}, 2, "--columns: value 1 is c; must be a, b or a number"),
    "column twice": ({"--columns": "a,0"}, 2, "--columns: value 2 is 0; is there twice"),
    "no columns": ({"DATA": "none.npy"}, 2, "none.npy: has no columns"),
    "no rows": ({"DATA": "norows.npy"}, 2, "norows.npy: holds no rows"),
    "empty": ({"DATA": "empty.csv"}, 2, "empty.csv: holds no rows"),
    "header only": ({"DATA": "header.csv"}, 2, "header.csv: holds no rows"),
    "bad rows": (
        {"DATA": "bad.csv"},
        2,
        "bad.csv line 3: value 2 is x; must be a number "
        "(6 bad rows: line 3, line 4, line 6, line 7, line 8, ...)",
    ),
    "NaN": ({"DATA": "nan.npy"}, 2, "nan.npy row 1: value 2 is nan; must be a finite number (1 ba"),
    "objects": ({"DATA": "objects.npy"}, 2, "objects.npy: is an array of Python objects, which "),
    "cut": ({"DATA": "cut.npy"}, 2, "cut.npy: ends before its last row: the file is incomplete"),
    "complex": ({"DATA": "complex.npy"}, 2, "complex.npy: is an array of complex128; must hold"),
    "no data": ({"DATA": "missing.csv"}, 2, "missing.csv: no such file"),
    "no format": ({"DATA": "x.txt"}, 2, "x.txt: must end in one of .csv .tsv .npy .npz .parquet"),
    "array": ({"--array": "x"}, 2, "--array: is for .npz archives; x.csv is none"),
    "seed": ({"--seed": "-1"}, 2, "--seed: is -1; must be a whole number, 0 or more"),
    "starts": ({"--init": "0"}, 2, "--init: is 0; must be a whole number, 1 or more"),
    "negative tol": ({"--tol": "-1e-3"}, 2, "--tol: is -1e-3; must not be negative"),
    "nan tol": ({"--tol": "nan"}, 2, "--tol: is nan; must be a finite number"),
    "decimal comma": ({"--tol": "0,1"}, 2, "--tol: is 0,1; write decimals with a point (0.5)"),
    "no iteration": ({"--max-iter": "0"}, 2, "--max-iter: is 0; must be a whole number, 1 or more"),
    "floor": ({"--variance-floor": "-1"}, 2, "--variance-floor: is -1; must not be negative"),
    "degenerate": (
        {"DATA": "singular.csv", "--variance-floor": "0"},
        2,
        "singular.csv: covariances[0] is not positive definite; raise --variance-floor, or drop",
    ),
    "far apart": ({"DATA": "far.csv"}, 2, "far.csv: x varies too much: the variance of a feature"),
    "output has no format": ({"--output": "model.txt"}, 2, "model.txt: must end in .json, which"),
    "output is data": (
        {"DATA": "link.csv", "--output": "data.json"},
        2,
        "data.json: is link.csv itself; write the output to another file",
    ),
    "output exists": ({"--output": "old.json"}, 1, "old.json: exists; give --force to replace it"),
    "output is a directory": (
        {"--output": "folder.json", "--force": None},
        1,
        "folder.json: is not a file that could be replaced",
    ),
    "no directory": (
        {"--output": "none/model.json"},
        1,
        "none/model.json: No such file or directory",
    ),
    "no output": ({"--output": "", "--force": None}, 2, "--output: is empty; must be a file"),
}
FILES = {
    "x.csv": "a,b\n1,2\n3,4\n5,7\n",
    "one.csv": "1,2\n",
    "empty.csv": "",
    "header.csv": "a,b\n",
    "bad.csv": "a,b\n1,2\n3,x\n4,nan\n\n5\n6,7,8\n,1\n2,y\n",
    "singular.csv": SINGULAR,
    "far.csv": "1,2\n1e200,2\n3,5\n",
    "half.csv": "a,b\n0,1\n1,0.5\n1,0\n",
    "words.csv": "n,kind\n1,red\n2,blue\n3,red\n",
    "data.json": "1,2\n3,4\n5,6\n",
    "old.json": "old",
}
ARRAYS = {
    "none.npy": np.empty((3, 0)),
    "norows.npy": np.empty((0, 2)),
    "nan.npy": np.array([[1, 2], [3, math.nan]]),
    "objects.npy": np.array([[1, None]], dtype=object),
    "complex.npy": np.ones((3, 2), dtype=complex),
    "cut.npy": np.ones((3, 2)),
}


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    for name, array in ARRAYS.items():
        np.save(folder / name, array)
    (folder / "cut.npy").write_bytes((folder / "cut.npy").read_bytes()[:-8])
    (folder / "link.csv").symlink_to("data.json")
    (folder / "folder.json").mkdir()
    return folder


@pytest.mark.parametrize("name", BAD_FITS)
def test_fit_refuses(bad_files, name):
    changes, code, message = BAD_FITS[name]
    before = {file: file.read_bytes() for file in bad_files.iterdir() if file.is_file()}
    options = {"--components": "2", "--family": "full", "--output": "out.json"} | changes
    data = options.pop("DATA", "x.csv")
    arguments = [part for option in options.items() for part in option if part is not None]
    assert_refused(run("fit", data, *arguments, folder=bad_files), code, message)
    after = {file: file.read_bytes() for file in bad_files.iterdir() if file.is_file()}
    assert after == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("fit", "x.csv", "--family", "full", "--output", "m.json"), "'--components'"),
        (("fit", "x.csv", *FULL), "'--output'"),
        (("fit", *FULL, "--output", "m.json"), "DATA"),
        (("fit", "x.csv", "--frobnicate", *FULL, "--output", "m.json"), "--frobnicate"),
    ],
)
def test_usage_errors_are_one_line(arguments, named):
    outcome = run(*arguments)
    assert_refused(outcome, 2, "")  # the words are the parser's, and change with its version
    assert named in outcome[2]
    assert "; see estep-xp fit --help" in outcome[2]


PARTS = {
    "a, b": "--parts: part 1 is a, b; must be a family, a colon and columns, such as poisson: vi",
    "": "--parts: is empty; must be parts such as",
    "poisson: ": "--parts: part 1 is poisson:; must be a family, a colon and columns",
    "gauss: a": "--parts: part 1 is of gauss; must be gaussian, univariate, spherical, diagonal,",
    "poisson: a; von-mises: a, b": "--parts: part 2 has 2 columns; von_mises takes one: give a par",
    "poisson: a; gaussian: a": "--parts: value 2 is a; is there twice",
    "poisson: a; gaussian: c": "--parts: value 2 is c; must be a, b or a number from 0 to 1",
    'poisson: a; gaussian: "b': "--parts: is ",
    "gaussian: a; poisson: b": "half.csv line 3: value 2 is 0.5; must be a count",
}


@pytest.mark.parametrize("parts", PARTS)
def test_parts_are_refused(bad_files, parts):
    arguments = ("--components", "2", "--parts", parts, "--output", "out.json")
    assert_refused(run("fit", "half.csv", *arguments, folder=bad_files), 2, PARTS[parts])


@pytest.mark.parametrize("option", ["--family", "--columns"])
def test_parts_exclude_what_they_say(bad_files, option):
    arguments = ("--components", "2", "--parts", "full: a, b", "--output", "out.json")
    value = "full" if option == "--family" else "a,b"
    outcome = run("fit", "x.csv", *arguments, option, value, folder=bad_files)
    assert_refused(outcome, 2, f"{option}: excludes --parts, which says it; give one of them")


def test_identical_rows_are_fitted(tmp_path):
    data = tmp_path / "x.csv"
    data.write_text("3,4\n" * 9)
    path = tmp_path / "model.json"
    code, _, stderr = run("fit", str(data), *FULL, "--output", str(path))
    assert code == 0
    assert stderr.startswith(f"warning: {data}: features 0 and 1 vary within no component")
    np.testing.assert_allclose(json.loads(path.read_bytes())["means"], [[3, 4], [3, 4]])


def test_features_without_variance_are_called_by_their_names(cli):
    Path("x.csv").write_text("a,2,c;d,e\n" + "".join(f"7,{i},3,{i * i}\n" for i in range(9)))
    code, _, err = cli("fit", "x.csv", *FULL, "--output", "m.json", "--header", "yes")
    assert code == 0
    assert err.startswith("warning: x.csv: features a and 'c;d' vary within no component: ")
