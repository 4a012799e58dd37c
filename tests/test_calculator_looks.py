"""What the page shows, without a browser: colours, bars, starts, small responsibilities."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import estep_xp as ex

pytest.importorskip("starlette", reason="the page needs the extra calculator")
from estep_xp.calculator import em, fields, picture, presets, shares, sliders, starts, view
from estep_xp.calculator.fields import WORKED, Fields
from estep_xp.cli.write.palette import GREY, PALETTE
from tests.pages import EXAMPLE, inputs

STATIC = Path(picture.__file__).parent / "static"
CSS = (STATIC / "page.css").read_text(encoding="utf-8")


def luminance(colour):
    channels = np.asarray([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(first, second):
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("scheme", "shade"), [(0, "light"), (1, "dark")], ids=["light", "dark"])
def test_contrast(scheme, shade):
    rules = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[scheme]
    named = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", rules))
    grounds = [named[name] for name in ("ground", "card", "field")]
    for ground in grounds:
        for colour in (named["edge"], *(getattr(colour, shade) for colour in (*PALETTE, GREY))):
            assert contrast(colour, ground) >= 3, (colour, ground)
        for name in ("text", "soft", "accent", "bad"):
            assert contrast(named[name], ground) >= 4.5, (name, ground)
    assert contrast(named["warn"], named["warn-ground"]) >= 4.5
    assert contrast(named["bad"], named["bad-ground"]) >= 4.5


def test_blended_points_are_seen_too():
    step = ex.e_step(EXAMPLE.x, ex.Mixture([1, 1], ex.UnivariateGaussian([2, 6], [1, 1.5])))
    light, dark = (
        picture._blend_colours(step.responsibilities, palette, grey)
        for palette, grey in (
            ([PALETTE[0].light, PALETTE[1].light], GREY.light),
            ([PALETTE[0].dark, PALETTE[1].dark], GREY.dark),
        )
    )
    assert all(contrast(colour, "#ffffff") >= 3 for colour in light)
    assert all(contrast(colour, "#181d23") >= 3 for colour in dark)


def test_scripts_are_short():
    for script in STATIC.glob("*.js"):
        text = script.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 400
        assert "innerHTML" not in text or script.name == "page.js"


@pytest.mark.parametrize(
    ("share", "possible", "text"),
    [
        (0.5, True, "0.500000"),
        (1e-6, True, "0.000001"),
        (9.9e-7, True, "< 0.000001"),
        (5e-324, True, "< 0.000001"),
        (0.0, True, "< 0.000001"),
        (0.0, False, "0.000000"),
        (np.nan, True, "–"),
        (1.0, True, "1.000000"),
    ],
)
def test_small_responsibilities_are_not_zero(share, possible, text):
    assert shares.format_share(share, possible) == text


def drawn(given, **options):
    return picture.make_picture(given, view.calculate(given).evaluation.results, **options)


def test_the_histogram_has_the_area_of_the_density():
    for preset in presets.presets():
        given, _ = fields.check_fields(preset.fields)
        bars = drawn(given)["histogram"]
        assert (bars is None) == (len(given.x) < 40)
        if bars:
            assert np.dot(bars["heights"], bars["widths"]) == pytest.approx(1, abs=1e-4)
            counts = np.multiply(bars["heights"], bars["widths"]) * len(given.x)
            np.testing.assert_allclose(counts, counts.round(), atol=1e-2)


@pytest.mark.parametrize(
    "x",
    [
        np.full(50, 3.0),
        np.linspace(1, 1 + 1e-15, 60),
        np.append(np.zeros(50), [1e300, 1e200]),
        np.append(np.linspace(0, 1, 50), [1e308, -1e308]),
        np.linspace(0, 5e-322, 50),
    ],
    ids=["equal", "close", "far", "too far", "subnormal"],
)
def test_extreme_numbers_have_bars_of_finite_height_or_none(x):
    bars = picture._make_histogram(x)
    assert bars is None or np.isfinite(bars["heights"]).all()


def test_the_strip_is_the_responsibilities_along_x():
    found = drawn(EXAMPLE)
    mixture = ex.Mixture(EXAMPLE.weights, ex.UnivariateGaussian(EXAMPLE.means, EXAMPLE.variances))
    expected = ex.e_step(np.asarray(found["grid"]), mixture).responsibilities
    np.testing.assert_allclose(np.transpose(found["strip"]), expected, atol=5.1e-5)
    assert found["failing"] == []


def test_the_textbooks_gaps():
    found = drawn(EXAMPLE._replace(x=np.asarray([1.0, 4, 100])), textbook=True)
    ((first, last),) = found["failing"]
    # exp underflows to 0 below -745.13; the second component is the wider one.
    assert first == pytest.approx(6 + np.sqrt(2 * 1.5 * 745.13), abs=0.3)
    assert last == 100
    gap = np.asarray(found["grid"]) >= first - 1e-6
    assert [share is None for share in found["strip"][0]] == gap.tolist()


def test_a_peak_of_another_order_does_not_press_the_others_down():
    collapsed = inputs([0.5, 1.2, 3.8], [0.85, 3.8], [0.12, 2e-6], [2, 1])
    found = drawn(collapsed)
    assert found["beyond"] == [1]
    assert max(found["weighted"][0]) < found["top"] < 3 * max(found["weighted"][0])
    assert drawn(EXAMPLE)["beyond"] == []


def test_a_start_is_the_librarys_in_order():
    record = starts.start_from_data(WORKED, " 3 ")
    given, errors = fields.check_fields(Fields(**record["fields"]))
    assert errors == {}
    start = ex.initialize(EXAMPLE.x, 3, ex.UnivariateGaussian)
    order = np.argsort(start.components.means)
    np.testing.assert_allclose(given.means, start.components.means[order], rtol=1e-5)
    np.testing.assert_allclose(given.variances, start.components.variances[order], rtol=1e-5)
    np.testing.assert_allclose(given.weights, start.weights[order], rtol=1e-5)
    assert record["fields"]["x"] == WORKED.x


@pytest.mark.parametrize(
    ("x", "count", "message"),
    [
        (WORKED.x, "0", "between 1 and 50"),
        (WORKED.x, "51", "between 1 and 50"),
        (WORKED.x, "two", "between 1 and 50"),
        ("1", "2", "1 observation: too few for 2 components."),
        ("1e308, -1e308", "2", "No start can be found: x varies too much"),
        ("oops", "2", "Correct the observations first."),
    ],
)
def test_no_start(x, count, message):
    record = starts.start_from_data(WORKED._replace(x=x), count)
    assert "fields" not in record
    assert message in record["status"]


def test_a_component_more_keeps_what_was_typed():
    typed = Fields("1\n2, 30", "2 , 6.50", "1,\n1.5", "")
    record = starts.add_component(typed)
    assert (
        record["fields"]
        == typed._replace(means="2 , 6.50, 30", variances="1,\n1.5, 1.25")._asdict()
    )
    many = Fields("1", "1 " * 50, "1 " * 50, "")
    assert "fields" not in starts.add_component(many)
    assert starts.add_component(WORKED._replace(x=""))["errors"].keys() == {"x"}


def test_rows_have_all_digits_and_sliders_where_these_can_be():
    rows = sliders.make_rows(EXAMPLE._replace(means=np.asarray([0.1 + 0.2, 6])))
    assert [parameter.text for parameter in rows[0]] == ["0.30000000000000004", "1", "0.45"]
    assert all(parameter.slider for row in rows for parameter in row)
    extreme = sliders.make_rows(inputs([-1e308, 1e308], [0], [1e308]))
    assert [parameter.slider for parameter in extreme[0]] == [None] * 3


def test_a_lost_component_is_said():
    far = WORKED._replace(means="2, 1e6")
    climb = em.run_to_convergence(far, fields.check_fields(far)[0])
    assert "Component 1 has lost all observations." in climb.warning
