"""`calculate --plot`: the picture that it leaves, drawn from the numbers that it prints."""

from __future__ import annotations

import json
import math
import struct
from itertools import pairwise

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.cli.compute.results import Results
from estep_xp.cli.write import plot
from estep_xp.cli.write.figure import STYLE
from tests.commands import (
    ON_A_FULL_DISK,
    WORKED,
    assert_refused,
    probe,
    run,
    succeed,
    univariate,
)

pytest.importorskip("matplotlib", reason="pictures need matplotlib")
# Other people's deprecations, of pyparsing's names by an older matplotlib, are not tested here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

X = ("--x", "0.5, 1.2, 3.8")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",)])
def test_the_picture_comes_beside_what_is_printed(tmp_path, form):
    plain = succeed("calculate", *X, *WORKED, *form)
    out = tmp_path / "out.png"
    assert succeed("calculate", *X, *WORKED, *form, "--plot", str(out)) == plain
    content = out.read_bytes()
    assert content.startswith(PNG)
    width, height = struct.unpack(">II", content[16:24])
    assert width >= 1000
    assert height >= 600
    assert list(tmp_path.iterdir()) == [out]


def test_an_svg_is_the_same_whenever_it_is_drawn(tmp_path):
    out = tmp_path / "out.SVG"
    arguments = ("calculate", *X, *WORKED, "--plot", str(out), "--force")
    succeed(*arguments)
    content = out.read_text()
    assert content.startswith("<?xml")
    for words in (
        "3 observations, log-likelihood \N{MINUS SIGN}7.521123",
        "0:  0.45 N(2, 1)",
        "1:  0.55 N(6, 1.5)",
        "mixture density",
        "observations",
        "responsibility",
    ):
        assert f"<!-- {words} -->" in content  # what the paths of its letters spell
    succeed(*arguments)
    assert out.read_text() == content


def picture(x, means, variances, weights, title="title"):
    components = ex.UnivariateGaussian(
        *(np.asarray(values, float) for values in (means, variances))
    )
    mixture = ex.Mixture(np.asarray(weights, float), components)
    with np.errstate(all="ignore"):
        rows = [univariate(value, means, variances, weights) for value in x]
    responsibilities = np.array([row for row, _ in rows])
    labels = responsibilities.argmax(axis=1)
    results = Results(responsibilities, labels, np.array([log_p for _, log_p in rows]))
    return plot.Picture(np.asarray(x, float), mixture, results, title)


def test_what_is_drawn_are_the_densities_and_the_responsibilities():
    x, means, variances, weights = [0.5, 1.2, 3.8], [2, 6], [1, 1.5], [0.45, 0.55]
    figure = plot._draw(picture(x, means, variances, weights))
    above, below = figure.axes
    total, *curves, mark = above.get_lines()
    assert len(curves) == 2
    density = {}
    for curve, w, m, v in zip(curves, weights, means, variances, strict=True):
        at, height = curve.get_data()
        expected = w * np.exp(-((at - m) ** 2) / (2 * v)) / np.sqrt(2 * math.pi * v)
        np.testing.assert_allclose(height, expected, rtol=1e-12)
        assert at.min() < m - 3.5 * math.sqrt(v)
        assert at.max() > m + 3.5 * math.sqrt(v)
        assert height.max() == pytest.approx(w / math.sqrt(2 * math.pi * v))  # at the mean itself
        density |= {value: density.get(value, 0) + h for value, h in zip(at, height, strict=True)}
    both = [(value, h) for value, h in zip(*total.get_data(), strict=True) if value in density]
    np.testing.assert_allclose([h for _, h in both], [density[v] for v, _ in both], rtol=2e-4)

    (ticks,) = (lines for lines in above.collections if hasattr(lines, "get_segments"))
    assert sorted(segment[0][0] for segment in ticks.get_segments()) == x
    bars = [lines.get_segments() for lines in below.collections if hasattr(lines, "get_segments")]
    for i, value in enumerate(x):
        r, _ = univariate(value, means, variances, weights)
        assert [bars[j][i][0][0] for j in (0, 1)] == [value, value]
        edges = [bars[j][i][end][1] for j in (0, 1) for end in (0, 1)]
        assert edges == pytest.approx([0, r[0], r[0], 1])
    assert mark.get_data()[0].size == 0  # a sample for the legend
    assert above.get_title(loc="left") == "title"
    assert below.get_ylim() == (0, 1)


def test_each_component_has_its_own_look():
    k = 25
    figure = plot._draw(picture([1.0], list(range(k)), [1] * k, [1] * k))
    curves = figure.axes[0].get_lines()[1:-1]
    assert len({(curve.get_color(), curve.get_linestyle()) for curve in curves}) == k
    (legend,) = figure.legends
    assert legend.get_title().get_text().endswith("and 13 more")
    assert len(legend.get_texts()) == 12 + 2


@pytest.mark.parametrize(
    ("x", "means", "variances"),
    [
        ("0.5", "2", "1"),
        ("1 2 500 1e6", "0 1e6 300", "1 1e4 5"),
        (" ".join(map(str, range(300))), "100 200", "400 400"),
        ("1 1 1", " ".join(map(str, range(10))), " ".join("1" * 10)),
    ],
    ids=["one", "spread", "many", "ten"],
)
def test_nothing_lies_outside_of_the_picture_or_on_something_else(x, means, variances):
    matplotlib = pytest.importorskip("matplotlib")
    numbers = [list(map(float, text.split())) for text in (x, means, variances)]
    with matplotlib.rc_context(STYLE):
        figure = plot._draw(picture(*numbers, [1] * len(numbers[1])))
        figure.draw_without_rendering()
        renderer = figure._get_renderer()
        above, below = figure.axes
        (legend,) = figure.legends
        boxes = [legend.get_window_extent(renderer), below.get_tightbbox(renderer)]
        boxes.append(above.get_tightbbox(renderer))
        whole = figure.bbox
    for lower, upper in pairwise(boxes):
        assert lower.y1 < upper.y0
    for box in boxes:
        assert box.x0 >= 0
        assert box.x1 <= whole.width
        assert box.y0 >= 0
        assert box.y1 <= whole.height


ODD = {
    "zero weight": ("1 2", "0 4 30", "1 1 20", "1 0 2"),
    "one point": ("1e16", "1e16", "1e-20", "1"),
    "tiny variance": ("0", "0", "5e-324", "1"),
    "huge variance": ("1 2 3", "1 2", "1e308 1e-308", "1 1"),
    "far away": ("1e150", "0 1", "1 1", "1 1"),
    "far apart": ("1", "0 -1e299", "1 1", "1 1"),
    "many observations": (" ".join(map(str, range(3000))), "1000 2000", "9e4 9e4", "1 1"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_numbers_are_drawn_without_a_word(tmp_path, name):
    x, *model = ODD[name]
    named = zip(("--means", "--variances", "--weights"), model, strict=True)
    options = [part for option in named for part in option]
    out = tmp_path / "out.svg"
    succeed("calculate", "--x", x, *options, "--plot", str(out))
    assert out.stat().st_size < 1_000_000


def test_observations_of_zero_density_are_left_out(tmp_path):
    out = tmp_path / "out.svg"
    code, _, stderr = run("calculate", "--x", "1 1e200", *WORKED, "--plot", str(out))
    assert code == 0
    assert stderr.startswith("warning: x: 1 of 2 observations has zero density")
    assert stderr.count("\n") == 1
    assert "<!-- 2 observations, 1 of zero density not shown -->" in out.read_text()


def test_settings_of_the_user_change_nothing(tmp_path):
    expected = tmp_path / "expected.svg"
    succeed("calculate", *X, *WORKED, "--plot", str(expected))
    (tmp_path / "matplotlibrc").write_text(
        "lines.linewidth: 9\ntext.usetex: True\nbackend: tkagg\n"
    )
    environment = {"MPLBACKEND": "nonsense", "MATPLOTLIBRC": str(tmp_path), "DISPLAY": ""}
    out = tmp_path / "out.svg"
    succeed("calculate", *X, *WORKED, "--plot", str(out), environment=environment)
    assert out.read_bytes() == expected.read_bytes()


def test_no_window_is_near(tmp_path):
    code, _, stderr = probe("calculate", *X, *WORKED, "--plot", str(tmp_path / "out.png"))
    assert code == 0
    assert "'matplotlib'" in stderr
    assert "pyplot" not in stderr


BAD_PLOTS = {
    "pdf": ("out.pdf", (), 2, "out.pdf: must end in .png or .svg, which is the format of the pic"),
    "no suffix": (
        "out",
        (),
        2,
        "out: must end in .png or .svg, which is the format of the picture",
    ),
    "nothing": ("", (), 2, "--plot: is empty; must be a file"),
    "exists": ("old.png", (), 1, "old.png: exists; give --force to replace it"),
    "directory": (
        "folder.svg",
        ("--force",),
        1,
        "folder.svg: is not a file that could be replaced",
    ),
    "nowhere": ("none/out.png", (), 1, "none/out.png: No such file or directory"),
    "bad value": ("out.png", ("--x", "1 two"), 2, "x: value 2 is two; must be a number"),
    "too far apart": (
        "out.png",
        ("--means", "1e308,-1e308"),
        2,
        "--plot: the values lie between -1e+308 and 1e+308: too far apart",
    ),
    "two forms": ("out.png", ("--json", "--csv"), 2, "--csv: excludes --json; give one of them"),
}


@pytest.mark.parametrize("name", BAD_PLOTS)
def test_plot_refuses(tmp_path, name):
    out, changes, code, message = BAD_PLOTS[name]
    (tmp_path / "old.png").write_text("old")
    (tmp_path / "folder.svg").mkdir()
    outcome = run("calculate", *X, *WORKED, *changes, "--plot", out, folder=tmp_path)
    assert_refused(outcome, code, message)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder.svg", "old.png"]
    assert (tmp_path / "old.png").read_text() == "old"


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_full_disk(tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    out.write_text("old")
    arguments = ("calculate", *X, *WORKED, "--plot", str(out), "--force")
    assert_refused(run(*arguments, command=ON_A_FULL_DISK), 1, f"{out}: File too large")
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_matplotlib_missing(tmp_path):
    arguments = ("calculate", *X, *WORKED, "--plot", str(tmp_path / "out.png"))
    code, stdout, stderr = probe(*arguments, before="sys.modules['matplotlib'] = None")
    assert (code, stdout) == (1, "")
    message = '--plot: needs matplotlib, which is not installed; pip install "estep_xp[cli]"'
    assert stderr.splitlines()[0] == message
    assert list(tmp_path.iterdir()) == []


def test_numbers_come_from_the_backend_that_was_asked_for(tmp_path):
    pytest.importorskip("jax", reason="jax is not installed")
    out = tmp_path / "out.svg"
    arguments = ("calculate", *X, *WORKED, "--backend", "jax", "--json", "--plot", str(out))
    total = -json.loads(succeed(*arguments))["log_likelihood"]
    assert f"log-likelihood \N{MINUS SIGN}{total:.6f} -->" in out.read_text()
