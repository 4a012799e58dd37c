"""Hidden Markov models on the command line: `fit --model hmm`, and `run` on such a model."""

from __future__ import annotations

import json

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.cli.read.lines import Lines
from tests.commands import FAITHFUL, assert_refused, run, succeed
from tests.fit_commands import GEYSER

LENGTHS = [40, 1, 59]
NAMES = ["no. 1", "b", "c"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sequences")
    components = ex.DiagonalGaussian([[0.0, 1.0], [4.0, -2.0]], [[1.0, 1.0], [1.0, 2.0]])
    truth = ex.HMM([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], components)
    x = np.asarray(ex.sample(truth, sum(LENGTHS)).x).round(4)
    np.save(path / "x.npy", x)
    labels = np.repeat(NAMES, LENGTHS).tolist()
    lines = [f"{a!r},{name},{b!r}" for (a, b), name in zip(x.tolist(), labels, strict=True)]
    (path / "x.csv").write_text("\n".join(["a,who,b", *lines]) + "\n")
    return path


def fit(folder, *options, data="x.csv"):
    arguments = ("fit", data, "--model", "hmm", "--states", "2", "--output", "m.json", "--force")
    return succeed(*arguments, *options, folder=folder), ex.load(folder / "m.json")


def expect(x, lengths):
    start = ex.HMM.from_mixture(ex.initialize(x, 2, ex.FullGaussian))
    return ex.fit(x, start, lengths=lengths).mixture


def test_sequences_of_a_column(folder):
    text, model = fit(folder, "--sequence", "who")
    x = np.load(folder / "x.npy")
    expected = expect(x, LENGTHS)
    for name in ("initial", "transitions"):
        np.testing.assert_allclose(getattr(model, name), getattr(expected, name), rtol=1e-9)
    assert ex.feature_names(folder / "m.json") == ("a", "b")
    total = float(ex.log_likelihood(x, expected, lengths=LENGTHS))
    bic = float(ex.bic(x, expected, lengths=LENGTHS))
    assert "\nStates                      2 full\n" in text
    assert (
        f"\nLog-likelihood              {total:.6f}\nBIC                         {bic:.6f}" in text
    )
    assert "\nstate   initial  feature" in text
    matrix = "".join(
        f"{i:>10}  {row[0]:.6f}  {row[1]:.6f}\n"
        for i, row in enumerate(expected.transitions.tolist())
    )
    assert text.endswith(f"\n\nTransitions\nfrom state      to 0      to 1\n{matrix}")
    found = json.loads(fit(folder, "--sequence", "1", "--json")[0], parse_constant=pytest.fail)
    assert found["transitions"] == model.transitions.tolist()
    assert found["initial"] == model.initial.tolist()
    assert (found["icl"], found["bic"]) == (None, pytest.approx(bic, rel=1e-12))


@pytest.mark.parametrize("decode", [False, True])
def test_run(folder, decode):
    _, model = fit(folder, "--sequence", "who")
    x = np.load(folder / "x.npy")
    step, past = (verb(x, model, lengths=LENGTHS) for verb in (ex.e_step, ex.filtered))
    labels = ex.decode(x, model, lengths=LENGTHS).labels if decode else step.labels
    arguments = ("run", "x.csv", "--model", "m.json", "--sequence", "who", "--output", "o.npy")
    options = ("--decode",) if decode else ()
    text = succeed(*arguments, "--force", "--json", *options, folder=folder)
    rows = np.load(folder / "o.npy")
    np.testing.assert_allclose(rows["responsibilities"], step.responsibilities, atol=1e-12)
    np.testing.assert_allclose(rows["log_likelihood"], past.log_likelihood, rtol=1e-9)
    np.testing.assert_array_equal(rows["label"], labels)
    total = float(ex.log_likelihood(x, model, lengths=LENGTHS))
    assert json.loads(text)["log_likelihood"] == pytest.approx(total, rel=1e-12)
    text = succeed(*arguments, "--force", *options, folder=folder)
    assert "\nStates                      2\nRows per state " in text


def test_columns_are_kept_beside_the_label(folder):
    fit(folder, "--sequence", "who")
    arguments = ("run", "x.csv", "--model", "m.json", "--sequence", "who", "--keep", "b,who")
    succeed(*arguments, "--output", "o.csv", "--force", folder=folder)
    lines = (folder / "o.csv").read_text().splitlines()
    assert lines[0].startswith("b,who,responsibility_0,")
    assert lines[41].split(",")[1] == "b"


def test_one_sequence_without_a_column(tmp_path):
    """Old Faithful's eruptions, short ones after long ones; chosen among numbers of states."""
    out = tmp_path / "m.json"
    options = ("--model", "hmm", "--components", "1-2", "--columns", "eruptions")
    found = json.loads(succeed("fit", FAITHFUL, *options, "--output", str(out), "--json"))
    assert [row["n_components"] for row in found["table"]] == [2, 1]
    x = GEYSER[:, 0]
    expected = ex.HMM.from_mixture(ex.initialize(x, 2, ex.UnivariateGaussian))
    expected = ex.fit(x, expected).mixture
    np.testing.assert_allclose(ex.load(out).transitions, expected.transitions, rtol=1e-9)


def test_the_table_of_fits_speaks_of_states(tmp_path):
    out = str(tmp_path / "m.json")
    options = ("--model", "hmm", "--states", "1,2", "--columns", "eruptions", "--output", out)
    heading = succeed("fit", FAITHFUL, *options).splitlines()[0]
    assert heading.split() == ["family", "states", "parameters", "log-likelihood", "BIC"]


def test_the_same_seed_gives_the_same_bytes(folder):
    contents = []
    for _ in range(2):
        fit(folder, "--sequence", "who", "--init", "2", "--seed", "3")
        contents.append((folder / "m.json").read_bytes())
    assert contents[0] == contents[1]


REFUSED = {
    "no column": (
        ("--sequence", "when"),
        "--sequence: value 1 is when; must be a, who, b or a num",
    ),
    "two columns": (("--sequence", "who,a"), "--sequence: is who,a; must be one column"),
    "a column of the model": (
        ("--sequence", "who", "--columns", "a,who"),
        "--columns: lists who, which --sequence names; leave it out",
    ),
    "skipped rows": (("--missing", "skip"), "--missing: is skip, but a chain cannot spare rows be"),
    "icl": (("--criterion", "icl"), "--criterion: is icl, which is for mixtures; must be bic or a"),
    "a mixture": (
        ("--model", "mixture", "--sequence", "who"),
        "--sequence: is for hidden Markov models; rows of a mixture have no order",
    ),
    "neither": (("--model", "markov"), "--model: is markov; must be one of mixture, hmm"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_fit_refuses(folder, name):
    options, message = REFUSED[name]
    arguments = ("fit", "x.csv", "--states", "2", "--output", "new.json", "--model", "hmm")
    assert_refused(run(*arguments, *options, folder=folder), 2, message)


@pytest.mark.parametrize("command", ["fit", "run"])
def test_a_label_that_comes_back(folder, command):
    fit(folder, "--sequence", "who")
    lines = (folder / "x.csv").read_text().splitlines()
    (folder / "bad.csv").write_text("\n".join([*lines, lines[1], ""]))
    options = {
        "fit": ("--model", "hmm", "--states", "2", "--output", "new.json"),
        "run": ("--model", "m.json", "--output", "new.csv"),
    }[command]
    message = "bad.csv line 102: column who is no. 1 again, after c; rows of one "
    outcome = run(command, "bad.csv", *options, "--sequence", "who", folder=folder)
    assert_refused(outcome, 2, message)


def test_rows_without_a_label(folder):
    """The line is named, past a blank one."""
    (folder / "bad.csv").write_text("a,who,b\n1,x,2\n\n2,,3\n3,x,3\n")
    options = ("--model", "hmm", "--states", "1", "--output", "new.json", "--sequence", "who")
    message = "bad.csv line 4: column who is empty; must name the row's sequence"
    assert_refused(run("fit", "bad.csv", *options, folder=folder), 2, message)


def test_lines_of_rows():
    """Rows of two lines, blank lines, and values in quotes that hold a line's end."""
    lines = Lines()
    for line, count in ((2, 3), (5, 1), (7, 1), (8, 2), (20, 1)):
        lines.add(line, count)
    assert [lines.line_of(row) for row in range(8)] == [2, 3, 4, 5, 7, 8, 9, 20]


def test_a_value_that_a_family_cannot_have_is_named_by_its_line(folder):
    (folder / "counts.csv").write_text('a,who\n1,"x\ny"\n\n2.5,z\n')
    options = ("--family", "poisson", "--components", "1", "--output", "new.json")
    outcome = run("fit", "counts.csv", "--columns", "a", *options, folder=folder)
    assert_refused(outcome, 2, "counts.csv line 5: value 1 is 2.5; must be a count")


@pytest.mark.parametrize("option", [("--decode",), ("--sequence", "eruptions")])
def test_mixtures_have_no_order(tmp_path, option):
    arguments = ("run", FAITHFUL, "--model", "examples/data/faithful.json")
    outcome = run(*arguments, "--output", str(tmp_path / "o.csv"), *option)
    assert_refused(outcome, 2, f"{option[0]}: is for hidden Markov models; rows of a mixture have")
