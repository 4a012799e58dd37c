"""The command `fit` as people run it: each test looks at what a process leaves behind."""

from __future__ import annotations

import json
import math
import os
import re
import sys

import numpy as np
import pytest

import estep_xp as ex
from tests.commands import (
    COMMAND,
    FAITHFUL,
    bivariate,
    needs_jax,
    needs_pyarrow,
    run,
    succeed,
)
from tests.fit_commands import FULL, GEYSER, fit, write_large_data

FAMILIES = {
    "univariate": ex.UnivariateGaussian,
    "spherical": ex.SphericalGaussian,
    "diagonal": ex.DiagonalGaussian,
    "tied": ex.TiedGaussian,
    "full": ex.FullGaussian,
}


# By the covariances of that fit, divided by hand.
CORRELATIONS = """
Correlations
component  feature    eruptions  waiting
        0  eruptions     1.0000
           waiting       0.2850   1.0000
        1  eruptions     1.0000
           waiting       0.3800   1.0000
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return write_large_data(tmp_path_factory.mktemp("large"))


def figures(text):
    """Return the figures that stand above the table."""
    return dict(re.findall(r"^(\S.*?)  +(.+)$", text.partition("\n\n")[0], re.MULTILINE))


def test_old_faithful(tmp_path):
    out = tmp_path / "model.json"
    stdout = succeed("fit", "examples/data/faithful.csv", *FULL, "--output", str(out))
    model = json.loads(out.read_text())
    keys = ["format", "version", "feature_names", "family", "weights", "means", "covariances"]
    keys.append("precision_cholesky")
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
            mean, variance = model["means"][j][i], model["covariances"][j][i][i]
            numbers = f"{mean:>7.6g}  {variance:>9.6g}  {math.sqrt(variance):>18.6g}"
            rows.append(f"{first}  {feature:<9}  {numbers}\n")
    assert (
        stdout
        == (
            "Rows                        272\n"
            "Components                  2 full\n"
            "Iterations                  1, converged\n"
            f"Log-likelihood              {total:.6f}\n"
            f"BIC                         {bic:.6f}\n"
            f"Output                      {out}\n"
            "\n"
            "component    weight  feature       mean   variance  standard deviation\n"
            + "".join(rows)
        )
        + CORRELATIONS
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
    correlations = {}
    if family in ("tied", "full"):
        deviations = np.sqrt(np.diagonal(variances, axis1=-2, axis2=-1))
        scales = deviations[..., :, None] * deviations[..., None, :]
        correlations["correlations"] = pytest.approx(variances / scales, rel=1e-12)
        variances = deviations**2
    means = expected.mixture.components.means
    shape = (3, 1) if family == "spherical" else variances.shape
    variances = np.broadcast_to(variances.reshape(shape), means.shape)
    criteria = {
        name: pytest.approx(float(getattr(expected, name)(x)), rel=1e-12) for name in ("aic", "bic")
    } | {"icl": pytest.approx(float(ex.icl(x, expected.mixture)), rel=1e-12)}
    n_parameters = ex.n_parameters(expected.mixture)
    (row,) = found.pop("table")
    assert row["n_parameters"] == n_parameters
    assert {name: row[name] for name in criteria} == criteria
    found["correlations"] = np.asarray(found.get("correlations"))
    if not correlations:
        del found["correlations"]
    assert found == {
        "n_observations": 272,
        "n_components": 3,
        "n_features": 1 if columns else 2,
        "features": ["waiting"] if columns else ["eruptions", "waiting"],
        "family": family,
        "n_iter": expected.n_iter,
        "converged": True,
        "log_likelihood": pytest.approx(float(expected.log_likelihood), rel=1e-12),
        "n_parameters": n_parameters,
        **criteria,
        "criterion": "bic",
        "weights": expected.mixture.weights.tolist(),
        "means": means.tolist(),
        "variances": pytest.approx(variances, rel=1e-12),
        "standard_deviations": pytest.approx(np.sqrt(variances), rel=1e-12),
        **correlations,
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
        options = (*("--components", "3", "--family", "full", "--init", count), "--seed", "1")
        out = str(tmp_path / f"{count}.json")
        stdout = succeed("fit", FAITHFUL, *options, "--output", out, "--json")
        heights.append(json.loads(stdout)["log_likelihood"])
    assert heights[1] >= heights[0]


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
    slow = ("--components", "3", "--family", "full", "--tol", "0")
    arguments = ("fit", FAITHFUL, *slow, "--output", out, "--max-iter", "2", "--force")
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
