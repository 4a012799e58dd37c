"""The command `fit` as people run it: every test starts a process and looks at what it leaves."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.cli.fitting import Choices, fit_rows
from estep_xp.cli.read.model import Model
from estep_xp.cli.text.errors import InputError
from tests.commands import (
    COMMAND,
    FAITHFUL,
    ON_A_FULL_DISK,
    assert_refused,
    bivariate,
    interrupt,
    needs_jax,
    needs_pyarrow,
    on_terminal,
    read_terminal,
    run,
    stalled,
    start,
    start_on_terminal,
    succeed,
)

GEYSER = np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)
FULL = ("--components", "2", "--family", "full")
FAMILIES = {
    "univariate": ex.UnivariateGaussian,
    "spherical": ex.SphericalGaussian,
    "diagonal": ex.DiagonalGaussian,
    "tied": ex.TiedGaussian,
    "full": ex.FullGaussian,
}


def fit(folder, *arguments, data=FAITHFUL, output="model.json", **options):
    """Fit two full components, or what the arguments say, and return the model's bytes."""
    path = folder / output
    defaults = () if "--family" in arguments else FULL
    succeed("fit", str(data), *defaults, *arguments, "--output", str(path), **options)
    return path.read_bytes()


def figures(text):
    """Return the figures that stand above the table."""
    return dict(re.findall(r"^(\S.*?)  +(.+)$", text.partition("\n\n")[0], re.MULTILINE))


# --- results ------------------------------------------------------------------------------------


def test_old_faithful(tmp_path):
    out = tmp_path / "model.json"
    stdout = succeed("fit", "examples/data/faithful.csv", *FULL, "--output", str(out))
    model = json.loads(out.read_text())
    keys = ["format", "version", "feature_names", "family", "weights", "means", "covariances"]
    assert list(model) == keys
    assert model["feature_names"] == ["eruptions", "waiting"]
    assert (model["format"], model["version"], model["family"]) == ("estep_xp.mixture", 1, "full")
    total = math.fsum(bivariate(x, y, model)[1] for x, y in GEYSER.tolist())
    assert total == pytest.approx(-1130.264, abs=1e-3)  # where everybody's EM ends
    bic = 11 * math.log(272) - 2 * total
    rows = []
    for j, weight in enumerate(model["weights"]):
        for i, feature in enumerate(("eruptions", "waiting")):
            first = f"{j:>9}  {weight:.6f}" if i == 0 else " " * 19
            mean, deviation = model["means"][j][i], math.sqrt(model["covariances"][j][i][i])
            rows.append(f"{first}  {feature:<9}  {mean:>7.6g}  {deviation:>18.6g}\n")
    assert stdout == (
        "Rows                        272\n"
        "Components                  2 full\n"
        "Iterations                  13, converged\n"
        f"Log-likelihood              {total:.6f}\n"
        f"BIC                         {bic:.6f}\n"
        f"Output                      {out}\n"
        "\n"
        "component    weight  feature       mean  standard deviation\n" + "".join(rows)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_run_reproduces_the_fit_of_every_family(tmp_path, family):
    model = str(tmp_path / "model.json")
    columns = ("--columns", "waiting") if family == "univariate" else ()
    options = (*columns, "--components", "3", "--family", family, "--seed", "2", "--init", "2")
    found = json.loads(
        succeed("fit", FAITHFUL, *options, "--output", model, "--json"),
        parse_constant=pytest.fail,
    )
    x = GEYSER[:, 1] if columns else GEYSER
    expected = ex.fit(x, ex.initialize(x, 3, FAMILIES[family], seed=2), n_init=2, seed=2)
    variances = expected.mixture.components.covariances
    if family in ("tied", "full"):
        variances = np.diagonal(variances, axis1=-2, axis2=-1)
    means = expected.mixture.components.means
    shape = (3, 1) if family == "spherical" else variances.shape
    assert found == {
        "n_observations": 272,
        "n_components": 3,
        "n_features": 1 if columns else 2,
        "features": ["waiting"] if columns else ["eruptions", "waiting"],
        "family": family,
        "n_iter": expected.n_iter,
        "converged": True,
        "log_likelihood": pytest.approx(float(expected.log_likelihood), rel=1e-12),
        "bic": pytest.approx(float(expected.bic(x)), rel=1e-12),
        "weights": expected.mixture.weights.tolist(),
        "means": means.tolist(),
        "standard_deviations": np.broadcast_to(
            np.sqrt(variances.reshape(shape)), means.shape
        ).tolist(),
        "output": model,
    }
    out = str(tmp_path / "out.npy")
    again = json.loads(
        succeed("run", FAITHFUL, *columns, "--model", model, "--output", out, "--json")
    )
    assert again["log_likelihood"] == pytest.approx(found["log_likelihood"], rel=1e-9)


@pytest.mark.parametrize(
    "suffix", [".tsv", ".npy", ".npz", pytest.param(".parquet", marks=needs_pyarrow)]
)
def test_every_format_gives_the_same_bytes(tmp_path, suffix):
    data = tmp_path / f"data{suffix}"
    if suffix == ".tsv":
        np.savetxt(data, GEYSER, delimiter="\t")
    elif suffix == ".npy":
        np.save(data, np.asfortranarray(GEYSER))
    elif suffix == ".npz":
        np.savez(data, x=GEYSER, other=GEYSER[:3])
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({"a": GEYSER[:, 0], "b": GEYSER[:, 1]}), data)
    options = ("--array", "x") if suffix == ".npz" else ()
    found = fit(tmp_path, *options, data=data)
    expected = fit(tmp_path, output="expected.json")
    assert b'  "feature_names": ["eruptions", "waiting"],\n' in expected
    names = b'  "feature_names": ["a", "b"],\n' if suffix == ".parquet" else b""
    assert found == expected.replace(b'  "feature_names": ["eruptions", "waiting"],\n', names)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file of so many rows that threads share them."""
    rng = np.random.default_rng(3)
    centres = rng.normal(scale=4, size=(5, 4))
    x = centres[rng.integers(0, 5, size=60_000)] + rng.normal(size=(60_000, 4))
    path = tmp_path_factory.mktemp("large") / "data.npy"
    np.save(path, x)
    return path


ON_ONE_PROCESSOR = """
import os, runpy
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
runpy.run_module("estep_xp", run_name="__main__")
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be confined")
def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads(tmp_path, large):
    options = ("--components", "5", "--family", "full", "--max-iter", "8", "--quiet")
    one = [sys.executable, "-c", ON_ONE_PROCESSOR]
    models = [
        fit(tmp_path, *options, data=large, output=f"{number}.json", command=command)
        for number, command in enumerate((COMMAND, COMMAND, one))
    ]
    assert models[0] == models[1] == models[2]
    other = fit(tmp_path, *options, "--seed", "1", data=large, output="other.json")
    assert other != models[0]


def test_more_starts_find_a_fit_at_least_as_good(tmp_path):
    heights = []
    for count in ("1", "6"):
        options = (*("--components", "5", "--family", "full", "--init", count), "--seed", "3")
        out = str(tmp_path / f"{count}.json")
        stdout = succeed("fit", FAITHFUL, *options, "--output", out, "--json")
        heights.append(json.loads(stdout)["log_likelihood"])
    assert heights[1] > heights[0] + 0.1


@needs_jax
def test_jax_fits_the_same(tmp_path):
    numpy, jax = (
        json.loads(fit(tmp_path, "--backend", name, output=f"{name}.json"))
        for name in ("numpy", "jax")
    )
    for key in ("weights", "means", "covariances"):
        np.testing.assert_allclose(jax[key], numpy[key], rtol=1e-9)


def test_a_fit_that_has_not_converged_says_so(tmp_path):
    out = str(tmp_path / "model.json")
    arguments = ("fit", FAITHFUL, *FULL, "--output", out, "--max-iter", "2", "--force")
    code, stdout, stderr = run(*arguments)
    assert code == 0
    assert figures(stdout)["Iterations"] == "2, not converged"
    assert stderr.startswith(f"warning: {FAITHFUL}: not converged after 2 iterations; raise --max")
    assert stderr.count("\n") == 1
    assert run(*arguments, "--quiet") == (0, stdout, "")
    code, stdout, stderr = run(*arguments, "--json", "--max-iter", "1")
    assert json.loads(stdout)["converged"] is False
    assert "after 1 iteration;" in stderr
    assert figures(run(*arguments, "--tol", "10")[1])["Iterations"] == "1, converged"


def test_variance_floor(tmp_path):
    data = tmp_path / "x.csv"
    data.write_text("1\n1\n1\n7\n7\n")
    options = ("--components", "2", "--family", "univariate", "--variance-floor", "0.25", "--quiet")
    model = json.loads(fit(tmp_path, *options, data=data))
    assert model["covariances"] == pytest.approx([0.25, 0.25])
    assert sorted(model["means"]) == pytest.approx([1, 7])


def test_a_collapse_is_one_line_on_standard_error(tmp_path):
    """In the names of the command's options."""
    data = tmp_path / "x.csv"
    data.write_text("1\n1\n1\n7\n7.5\n8\n")
    options = ("--components", "2", "--family", "univariate", "--output", str(tmp_path / "m.json"))
    code, _, stderr = run("fit", str(data), *options)
    assert code == 0
    assert re.match(rf"warning: {re.escape(str(data))}: component [01] has collapsed: ", stderr)
    assert stderr.endswith("other starts (--init), or another --variance-floor\n")
    assert stderr.count("\n") == 1


def test_units_are_free(tmp_path):
    """Millionths are fitted as millions are; scientific notation, which a file may have."""
    x = np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)
    heights = []
    for units in (1.0, 1e-8):
        np.save(tmp_path / "x.npy", x * units)
        output = str(tmp_path / f"{units}.json")
        found = succeed("fit", str(tmp_path / "x.npy"), *FULL, "--output", output, "--json")
        heights.append(json.loads(found))
    one, other = heights
    assert one["n_iter"] == other["n_iter"]
    shift = x.size * math.log(1e-8)
    assert other["log_likelihood"] + shift == pytest.approx(one["log_likelihood"], rel=1e-9)


# --- what is refused ----------------------------------------------------------------------------

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
        (("fit", "x.csv", "--components", "2", "--output", "m.json"), "'--family'"),
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


def test_identical_rows_are_fitted(tmp_path):
    data = tmp_path / "x.csv"
    data.write_text("3,4\n" * 9)
    path = tmp_path / "model.json"
    code, _, stderr = run("fit", str(data), *FULL, "--output", str(path))
    assert code == 0
    assert stderr.startswith(f"warning: {data}: features 0 and 1 vary within no component")
    np.testing.assert_allclose(json.loads(path.read_bytes())["means"], [[3, 4], [3, 4]])


def test_covariances_that_run_would_refuse_are_not_written(monkeypatch):
    """Rounding can make them so; on which data, depends on the processor."""

    def refuse(_):
        raise ValueError("covariances[0] is not positive definite")

    monkeypatch.setattr(Model, "mixture", refuse)
    choices = Choices("full", 2, 0, 1, 1e-6, 100, 1e-6, "numpy")
    with pytest.raises(InputError) as error:
        fit_rows(GEYSER, "x.npy", choices, progress=False)
    assert str(error.value).startswith("x.npy: covariances are too close to singular to be written")
    assert "raise --variance-floor" in str(error.value)


def test_what_is_printed_is_what_run_finds(tmp_path):
    """Also where rounding of the covariances costs more than EM's last step."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=60)  # the second feature is three times the first but for its last digits
    np.save(tmp_path / "x.npy", np.column_stack([z, 3 * z]) + 1e-6 * rng.normal(size=(60, 2)))
    options = ("--variance-floor", "1e-16", "--max-iter", "20", "--quiet")
    arguments = ("x.npy", *FULL, *options, "--output", "m.json", "--json")
    found = json.loads(succeed("fit", *arguments, folder=tmp_path))
    arguments = ("run", "x.npy", "--model", "m.json", "--output", "out.npy", "--json")
    again = json.loads(succeed(*arguments, folder=tmp_path))
    assert again["log_likelihood"] == pytest.approx(found["log_likelihood"], rel=1e-12)


# --- the file that is written -------------------------------------------------------------------


def test_force_replaces_and_the_new_file_has_the_umasks_rights(tmp_path):
    out = tmp_path / "model.json"
    out.write_text("old")
    out.chmod(0o600)
    fit(tmp_path, "--force", umask=0o027)
    assert json.loads(out.read_text())["family"] == "full"
    assert out.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [out]


def test_a_full_disk(tmp_path, large):
    out = tmp_path / "model.json"
    out.write_text("old")
    options = ("--components", "40", "--family", "full", "--max-iter", "1", "--quiet", "--force")
    outcome = run("fit", str(large), *options, "--output", str(out), command=ON_A_FULL_DISK)
    assert_refused(outcome, 1, f"{out}: File too large")
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_the_model_is_whole_when_nobody_reads_the_summary(tmp_path):
    out = tmp_path / "model.json"
    process = start("fit", FAITHFUL, *FULL, "--output", str(out))
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141
    assert json.loads(out.read_text())["family"] == "full"
    out.unlink()
    with Path("/dev/full").open("wb") as full:
        outcome = run("fit", FAITHFUL, *FULL, "--output", str(out), stdout=full)
    assert_refused(outcome, 1, "standard output: No space left on device")
    assert json.loads(out.read_text())["family"] == "full"


# --- signals and terminals ----------------------------------------------------------------------


@contextlib.contextmanager
def endless_fit(folder, data):
    """Start a fit that will not end by itself, and wait until it shows how high it has climbed."""
    out = folder / "model.json"
    out.write_text("old")
    process, ours = start_on_terminal(
        *("fit", str(data), "--components", "5", "--family", "full", "--output", str(out)),
        *("--force", "--tol", "0", "--max-iter", "1000000000"),
    )
    try:
        read_terminal(ours, until="log-likelihood -")
        assert len(list(folder.glob(".estep_xp-*"))) == 1
        assert out.read_text() == "old"
        yield process, ours, out
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_signals_end_a_fit_tidily(tmp_path, large, name, code):
    with endless_fit(tmp_path, large) as (process, ours, out):
        process.send_signal(getattr(signal, name))
        shown = read_terminal(ours)
        assert process.wait(60) == code
    assert "Traceback" not in shown
    assert "Error" not in shown
    assert shown.count("\n") <= 1  # the bar's own line
    assert shown.endswith("\x1b[?25h")  # the cursor is back
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_a_rerun_after_sigkill_works(tmp_path, large):
    with endless_fit(tmp_path, large) as (process, ours, out):
        process.kill()
        read_terminal(ours)
        assert process.wait(60) == -signal.SIGKILL
    assert out.read_text() == "old"
    assert json.loads(fit(tmp_path, "--force"))["family"] == "full"


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signals_while_data_are_read(tmp_path, name, code):
    options = ("--components", "2", "--family", "univariate")
    with stalled(tmp_path, "fit", *options, "--output", str(tmp_path / "m.json")) as process:
        interrupt(process, name)
        assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == code
    assert [file.name for file in tmp_path.iterdir()] == ["data.csv"]


def test_the_log_likelihood_is_live_on_terminals(tmp_path):
    out = str(tmp_path / "model.json")
    arguments = ("fit", FAITHFUL, *FULL, "--output", out, "--force")
    plain = succeed(*arguments)
    shown, summary = on_terminal(*arguments, stdout=False, columns=60)
    assert summary == plain
    assert "log-likelihood -1130.263962" in shown
    assert max(map(len, re.split(r"[\r\n]", re.sub(r"\x1b\[[\d;?]*\w", "", shown)))) <= 60
    for quiet in ({"--quiet": None}, {"TERM": "dumb"}):
        options = tuple(name for name in quiet if name.startswith("--"))
        environment = {} if options else quiet
        found = on_terminal(*arguments, *options, stdout=False, environment=environment)
        assert found == ("", plain)
    poor = {"NO_COLOR": "1", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    shown, _ = on_terminal(*arguments, stdout=False, environment=poor)
    assert shown.isascii()
    assert not re.search(r"\x1b\[[\d;]*m", shown)


def test_the_table_on_a_narrow_terminal_of_any_encoding(tmp_path):
    data = tmp_path / "x.csv"
    rows = "\n".join(f"{x},{y}" for x, y in GEYSER.tolist())
    data.write_text(f'"a name that is much longer than its column is wide","\x1b[2J"\n{rows}\n')
    arguments = ("fit", str(data), *FULL, "--output", str(tmp_path / "m.json"), "--force")
    poor = {"NO_COLOR": "1", "PYTHONIOENCODING": "ascii"}
    shown, _ = on_terminal(*arguments, columns=60, environment=poor)
    table = shown[shown.index("component ") :]
    assert table.isascii()
    assert "\x1b" not in table
    assert max(map(len, table.splitlines())) <= 60
    assert r"  \x1b[2J  " in table
    coloured, _ = on_terminal(*arguments)
    assert "\x1b[1mcomponent" in coloured
