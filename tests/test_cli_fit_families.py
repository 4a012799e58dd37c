"""The command `fit` with families other than Gaussians: the model, what is printed, and `run`."""

from __future__ import annotations

import json

import numpy as np
import pytest

import estep_xp as ex
from tests.commands import succeed

N = 240
RNG = np.random.default_rng(11)
KIND = RNG.integers(0, 2, N)
TABLE = {
    "height": np.where(KIND, 180, 164) + 6 * RNG.normal(size=N).round(2),
    "weight": np.where(KIND, 81, 60) + 7 * RNG.normal(size=N).round(2),
    "visits": RNG.poisson(np.where(KIND, 2, 9)),
    "children": RNG.poisson(np.where(KIND, 3, 1)),
    "smoker": RNG.random(N) < np.where(KIND, 0.8, 0.2),
    "married": RNG.random(N) < np.where(KIND, 0.3, 0.9),
    "region": np.where(KIND, RNG.integers(0, 3, N), RNG.integers(2, 5, N)),
    "hours": RNG.exponential(np.where(KIND, 1.0, 5.0)).round(3) + 0.001,
    "days": RNG.gamma(np.where(KIND, 2.0, 5.0)).round(3) + 0.001,
    "angle": RNG.vonmises(np.where(KIND, 0.0, 2.0), 4.0).round(4),
}
X = {name: np.asarray(values, dtype=np.float64) for name, values in TABLE.items()}

# Family, columns, what `initialize` takes, and headings of what is printed.
FITS = {
    "poisson": ("visits", ex.Poisson, ["rate"]),
    "poisson of two": ("visits,children", ex.Poisson, ["feature", "rate"]),
    "exponential": ("hours", ex.Exponential, ["rate", "mean"]),
    "gamma of two": ("hours,days", ex.Gamma, ["feature", "shape", "rate", "mean"]),
    "bernoulli of two": ("smoker,married", ex.Bernoulli, ["feature", "probability"]),
    "bernoulli": ("smoker", ex.Bernoulli, ["probability"]),
    "categorical": ("region", ex.Categorical(np.ones((1, 5))), ["kind", "probability"]),
    "von-mises": ("angle", ex.VonMises, ["location", "concentration"]),
    "student-t": (
        "height,weight",
        ex.StudentT,
        ["degrees", "feature", "mean", "scale", "variance", "standard", "deviation"],
    ),
    "factor-analyzer": (
        "height,weight,days",
        ex.FactorAnalyzer(np.zeros((1, 3)), np.zeros((1, 3, 1)), np.ones((1, 3))),
        ["feature", "mean", "variance", "standard", "deviation", "noise", "variance"],
    ),
}


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    path = tmp_path_factory.mktemp("survey") / "survey.csv"
    rows = np.column_stack(list(X.values())).tolist()
    lines = [",".join(X), *(",".join(f"{value:g}" for value in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path, columns):
    """Return columns of the file as it was written."""
    places = [list(X).index(name) for name in columns]
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=places)


def same(found, expected):
    """Check that models are of one kind and equal but for rounding."""
    assert type(found.components) is type(expected.components)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-9)
    assert repr(found.components) == repr(expected.components)


@pytest.mark.parametrize("name", FITS)
def test_every_family(tmp_path, survey, name):
    columns, family, headings = FITS[name]
    out = str(tmp_path / "m.json")
    options = ("--family", name.split()[0], "--columns", columns, "--components", "2")
    options += ("--tol", "1e-4")  # a smaller one takes hundreds of iterations for degrees
    arguments = ("fit", str(survey), *options, "--output", out)
    text = succeed(*arguments)
    x = read(survey, columns.split(","))
    if isinstance(family, type) and family is ex.Bernoulli and x.ndim == 1:
        x = x[:, None]
    same(ex.load(out), ex.fit(x, ex.initialize(x, 2, family), tol=1e-4).mixture)
    (line,) = (line for line in text.splitlines() if line.startswith("component    weight"))
    assert line.split() == ["component", "weight", *headings]
    found = json.loads(succeed(*arguments, "--json", "--force"), parse_constant=pytest.fail)
    described = json.loads((tmp_path / "m.json").read_text())
    for key in set(described) - {"format", "version", "feature_names"}:
        assert found[key] == described[key]
    again = ("run", str(survey), "--model", out, "--output", str(tmp_path / "o.csv"), "--json")
    total = json.loads(succeed(*again))["log_likelihood"]
    assert total == pytest.approx(found["log_likelihood"], rel=1e-12)


def test_parts_of_several_families(tmp_path, survey):
    """Columns of several kinds, in the order of the parts."""
    parts = "gaussian: height, weight; poisson: children; bernoulli: smoker, married; gaussian: "
    parts += "days; categorical: region; von-mises: angle"
    out = str(tmp_path / "m.json")
    arguments = ("fit", str(survey), "--parts", parts, "--components", "1-2", "--output", out)
    text = succeed(*arguments)
    columns = ["height", "weight", "children", "smoker", "married", "days", "region", "angle"]
    assert ex.feature_names(out) == tuple(columns)
    x = read(survey, columns)
    ones = np.ones((1, 2))
    template = ex.Product(
        (
            ex.FullGaussian(ones, np.eye(2)[None]),
            ex.Poisson(ones[:, 0]),
            ex.Bernoulli(0.5 * ones),
            ex.UnivariateGaussian(ones[:, 0], ones[:, 0]),
            ex.Categorical(np.ones((1, 5))),
            ex.VonMises(ones[:, 0], ones[:, 0]),
        )
    )
    same(ex.load(out), ex.fit(x, ex.initialize(x, 2, template)).mixture)
    for title in ("full: height, weight", "bernoulli: smoker, married", "categorical: region"):
        assert f"\n\n{title}\ncomponent" in text
    found = json.loads(succeed(*arguments, "--json", "--force"), parse_constant=pytest.fail)
    assert [part["family"] for part in found["parts"]] == [
        "full",
        "poisson",
        "bernoulli",
        "univariate",
        "categorical",
        "von_mises",
    ]


def test_parts_may_name_columns_by_number_and_in_quotes(tmp_path):
    data = tmp_path / "x.csv"
    data.write_text('"a;b","c, d"\n' + "".join(f"{i % 5},{i}\n" for i in range(20)))
    out = str(tmp_path / "m.json")
    parts = 'poisson: 0; univariate: "c, d"'
    succeed("fit", str(data), "--parts", parts, "--components", "1", "--output", out)
    assert ex.feature_names(out) == ("a;b", "c, d")
    lines = ("--parts", 'diagonal: 0,\n "c, d"\n', "--components", "1", "--force")
    succeed("fit", str(data), *lines, "--output", out)
    assert ex.feature_names(out) == ("a;b", "c, d")


def test_the_same_seed_gives_the_same_bytes(tmp_path, survey):
    contents = []
    for name in ("a.json", "b.json"):
        options = ("--parts", "full: height, weight; categorical: region", "--seed", "4")
        out = tmp_path / name
        succeed("fit", str(survey), *options, "--components", "1-2", "--output", str(out))
        contents.append(out.read_bytes())
    assert contents[0] == contents[1]
