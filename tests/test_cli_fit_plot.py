"""`fit --plot`: the picture that it leaves, drawn from the model that it writes."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.cli.compute.families import Wish
from estep_xp.cli.write import plot_fit
from tests.commands import FAITHFUL, assert_refused, run, succeed
from tests.fit_commands import GEYSER

pytest.importorskip("matplotlib", reason="pictures need matplotlib")
# Other people's deprecations, of pyparsing's names by an older matplotlib, are not tested here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TWO = ("--components", "2")
MIXTURE = ex.fit(GEYSER, ex.initialize(GEYSER, 2, ex.FullGaussian)).mixture


def picture(rows, family, model, missing=False, lengths=None):
    names = [f"n{i}" for i in range(rows.shape[1])]
    return plot_fit.FitPicture(rows, Wish(family), model, lengths, names, missing)


def test_the_picture_comes_beside_the_model(tmp_path):
    plain = ("fit", FAITHFUL, *TWO, "--output", "m.json", "--force")
    expected = succeed(*plain, folder=tmp_path)
    model = (tmp_path / "m.json").read_bytes()
    assert succeed(*plain, "--plot", "fit.png", folder=tmp_path) == expected
    assert (tmp_path / "m.json").read_bytes() == model
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert {path.name for path in tmp_path.iterdir()} == {"m.json", "fit.png"}


def test_an_svg_is_the_same_whenever_it_is_drawn(tmp_path):
    arguments = ("fit", FAITHFUL, *TWO, "--output", "m.json", "--plot", "fit.SVG", "--force")
    contents = []
    for _ in range(2):
        succeed(*arguments, folder=tmp_path)
        contents.append((tmp_path / "fit.SVG").read_text())
    assert contents[0] == contents[1]
    for words in ("272 rows, 2 full components; ellipses at 2 standard", "waiting", "0: 0.356"):
        assert words in contents[0]


def test_one_column_has_a_histogram_and_densities():
    x = GEYSER[:, 1]
    model = ex.fit(x, ex.initialize(x, 2, ex.UnivariateGaussian)).mixture
    (axes,) = plot_fit._draw_column(picture(x[:, None], "univariate", model)).axes
    total, *parts = axes.lines
    grid, height = total.get_data()
    np.testing.assert_allclose(height, np.exp(ex.log_density(grid, model)), rtol=1e-12)
    assert len(parts) == 2
    np.testing.assert_allclose(sum(part.get_ydata() for part in parts), height, rtol=1e-9)
    area = sum(bar.get_width() * bar.get_height() for bar in axes.patches)
    assert area == pytest.approx(1.0)
    assert axes.get_ylim()[1] > max(height.max(), *(bar.get_height() for bar in axes.patches))


def test_ellipses_are_two_standard_deviations_from_the_means():
    figure = plot_fit._draw_matrix(picture(GEYSER, "full", MIXTURE))
    pair = next(axes for axes in figure.axes if axes.collections and len(axes.lines) == 6)
    np.testing.assert_array_equal(pair.collections[0].get_offsets(), GEYSER)
    for j in range(2):
        mean, covariance = MIXTURE.components.means[j], MIXTURE.components.covariances[j]
        z = np.column_stack(pair.lines[3 * j + 1].get_data()) - mean
        distances = np.einsum("ni,ij,nj->n", z, np.linalg.inv(covariance), z)
        np.testing.assert_allclose(distances, 4.0, rtol=1e-9)
        centre = np.ravel(pair.lines[3 * j + 2].get_data())
        np.testing.assert_allclose(centre, mean)


def test_what_is_not_drawn_is_said():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(3000, 8))
    model = ex.Mixture([1.0], ex.SphericalGaussian(np.zeros((1, 8)), [1.0]))
    model = ex.fit(rows, model).mixture
    figure = plot_fit._draw_matrix(picture(rows, "spherical", model))
    assert len(figure.axes) == 36
    (points,) = (c for c in figure.axes[6].collections if len(c.get_offsets()) > 1)
    assert len(points.get_offsets()) == 2000
    assert figure.get_suptitle() == (
        "3000 rows, 1 spherical component; 2000 rows drawn at random; the first 6 of 8 columns; "
        "ellipses at 2 standard deviations"
    )


RNG = np.random.default_rng(1)
COUNTS = RNG.poisson(4.0, 60)
COLUMNS = "n,yes,angle,time,a\n" + "".join(
    f"{n},{i % 2},{RNG.vonmises(3.0, 4.0):.3f},{RNG.exponential():.3f},{RNG.normal():.3f}\n"
    for i, n in enumerate(COUNTS)
)
DRAWN = {
    "counts": ("--family", "poisson", "--columns", "n"),
    "several counts": ("--family", "poisson", "--columns", "n,yes"),
    "yes and no": ("--family", "bernoulli", "--columns", "yes"),
    "kinds": ("--family", "categorical", "--columns", "n"),
    "angles": ("--family", "von-mises", "--columns", "angle"),
    "times": ("--family", "gamma", "--columns", "time"),
    "tails": ("--family", "student-t", "--columns", "angle,a"),
    "parts": ("--parts", "full: time, a; poisson: n; von-mises: angle"),
    "a chain": ("--model", "hmm", "--columns", "n,a"),
    "a full column": ("--family", "full", "--columns", "a"),
    "equal rows": ("--columns", "yes", "--components", "1", "--variance-floor", "1e-20"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_family_is_drawn(tmp_path, name):
    (tmp_path / "x.csv").write_text(COLUMNS)
    options = ("--quiet", "--output", "m.json", "--plot", "fit.svg", "--tol", "1e-2")
    succeed("fit", "x.csv", *TWO, *DRAWN[name], *options, folder=tmp_path)
    assert (tmp_path / "fit.svg").stat().st_size > 10_000


def test_rows_with_holes_are_drawn_where_both_values_are_there():
    rows = GEYSER.copy()
    rows[:100, 0] = np.nan
    figure = plot_fit._draw_matrix(picture(rows, "full", MIXTURE, missing=True))
    sizes = [len(c.get_offsets()) for axes in figure.axes for c in axes.collections]
    assert 172 in sizes


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--plot", "fit.pdf"), 2, "fit.pdf: must end in .png or .svg, which is the format of the"),
        (("--plot", ""), 2, "--plot: is empty; must be a file"),
        (("--plot", "old.png"), 1, "old.png: exists; give --force to replace it"),
        (("--plot", "none/fit.png"), 1, "none/fit.png: No such file or directory"),
    ],
)
def test_pictures_that_cannot_be(tmp_path, options, code, message):
    (tmp_path / "old.png").write_bytes(b"old")
    arguments = ("fit", FAITHFUL, *TWO, "--output", "m.json", *options)
    assert_refused(run(*arguments, folder=tmp_path), code, message)
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]
