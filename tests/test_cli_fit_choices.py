"""The command `fit` with several families or numbers of components: its choice, and the table."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import estep_xp as ex
from tests.commands import FAITHFUL, on_terminal, run, succeed
from tests.fit_commands import GEYSER

CANDIDATES = ("--components", "1-3", "--family", "full,diagonal")


def choose(folder, *options, data=FAITHFUL):
    """Return what the command says to machines of a choice, and to people, and the model."""
    out = folder / "model.json"
    arguments = ("fit", str(data), *options, "--output", str(out), "--force")
    return (
        json.loads(succeed(*arguments, "--json"), parse_constant=pytest.fail),
        succeed(*arguments),
        ex.load(out),
    )


@pytest.mark.parametrize("criterion", ["bic", "aic", "icl"])
def test_the_best_by_a_criterion(tmp_path, criterion):
    found, text, model = choose(tmp_path, *CANDIDATES, "--criterion", criterion)
    families = {"full": ex.FullGaussian, "diagonal": ex.DiagonalGaussian}
    expected = ex.select(GEYSER, list(families.values()), range(1, 4), criterion=criterion)
    names = {family.__name__: name for name, family in families.items()}
    assert [(row["family"], row["n_components"]) for row in found["table"]] == [
        (names[row.family], row.n_components) for row in expected.table
    ]
    for row, other in zip(found["table"], expected.table, strict=True):
        figures = ("log_likelihood", "n_parameters", "aic", "bic", "icl", "n_iter", "converged")
        assert [row[name] for name in figures] == pytest.approx(
            [getattr(other, name) for name in figures], rel=1e-12
        )
    np.testing.assert_array_equal(model.weights, expected.best.mixture.weights)
    best = found["table"][0]
    assert (found["family"], found["n_components"]) == (best["family"], best["n_components"])
    assert (found["criterion"], found[criterion]) == (criterion, best[criterion])
    lines = text.partition("\n\n")[0].splitlines()
    assert lines[0].split() == [
        "family",
        "components",
        "parameters",
        "log-likelihood",
        criterion.upper(),
    ]
    assert [line.split() for line in lines[1:]] == [
        [
            row["family"],
            str(row["n_components"]),
            str(row["n_parameters"]),
            f"{row['log_likelihood']:.2f}",
            f"{row[criterion]:.2f}",
        ]
        for row in found["table"]
    ]
    chosen = f"{best['n_components']} {best['family']}, of 6 fits the best by {criterion.upper()}"
    assert f"\nComponents                  {chosen}\n" in text
    assert f"\n{criterion.upper():<28}{best[criterion]:.6f}\n" in text


def test_the_family_may_be_left_out(tmp_path):
    """Then it is full, and univariate for one column."""
    found, _, _ = choose(tmp_path, "--components", "2,1,2")
    assert [(row["family"], row["n_components"]) for row in found["table"]] == [
        ("full", 2),
        ("full", 1),
    ]
    found, _, model = choose(tmp_path, "--components", "2", "--columns", "waiting")
    assert found["family"] == "univariate"
    assert isinstance(model.components, ex.UnivariateGaussian)


def test_a_choice_is_the_model_that_a_fit_of_its_own_gives(tmp_path):
    out = [str(tmp_path / f"{name}.json") for name in ("chosen", "again", "alone")]
    for name in out[:2]:
        succeed("fit", FAITHFUL, *CANDIDATES, "--seed", "3", "--output", name)
    alone = ("--components", "2", "--family", "full", "--seed", "3")
    succeed("fit", FAITHFUL, *alone, "--output", out[2])
    first, *others = [(tmp_path / name).read_bytes() for name in out]
    assert others == [first, first]


def test_fits_that_collapse_come_last_and_failures_are_named(tmp_path):
    data = tmp_path / "x.csv"
    data.write_text("a\n" + "1\n" * 5 + "7\n7.5\n8\n9\n8.5\n")
    arguments = ("fit", str(data), "--components", "1-2", "--output", str(tmp_path / "m.json"))
    code, stdout, stderr = run(*arguments)
    assert (code, stderr) == (0, "")
    table = stdout.partition("\n\n")[0].splitlines()
    assert table[0].endswith("  note")
    assert table[1].split()[1] == "1"
    assert re.fullmatch(r"univariate +2 .* collapsed", table[2])
    code, stdout, stderr = run(*arguments, "--variance-floor", "0", "--force")
    assert (code, stderr.count("\n")) == (0, 1)
    assert stderr.startswith(f"warning: {data}: univariate with 2 components is left out: ")
    assert "raise --variance-floor" in stderr


def test_the_live_bar_counts_fits(tmp_path):
    out = str(tmp_path / "m.json")
    options = ("--components", "1-2", "--family", "tied,spherical", "--output", out)
    shown, _ = on_terminal("fit", FAITHFUL, *options, columns=100)
    assert "4 fits" in shown
    assert "4/4" in shown


def test_narrow_terminals(tmp_path):
    options = ("--components", "1-2", "--family", "full,factor-analyzer", "--output", "m.json")
    environment = {"COLUMNS": "60"}
    text = succeed("fit", FAITHFUL, *options, folder=tmp_path, environment=environment)
    assert max(map(len, text.splitlines())) <= 60
    assert "factor_analyzer" in text.partition("\n\n")[0]
    assert "..." not in text
