"""The page for people, in a real browser: in sight, in step, by keyboard, and EM to look at."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import estep_xp as ex

pytest.importorskip("starlette", reason="the page needs the extra calculator")
from estep_xp.calculator import fields
from estep_xp.calculator.fields import WORKED, Fields
from tests.browsing import figure, see, values_of, wait_for_figure
from tests.pages import DATA, EXAMPLE, inputs

DESKTOP = {"width": 1280, "height": 768}
PHONE = {"width": 390, "height": 844}
TRACES = "document.getElementById('picture').data.map((trace) => trace.name)"


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def shown(page):
    return fields.check_fields(Fields(*values_of(page)))[0]


def row_texts(page):
    rows = page.locator("#components .row:not(.heads)").all()
    return [[number.input_value() for number in row.locator("textarea").all()] for row in rows]


def test_on_a_desktop_nothing_is_lost_with_four_components(visit):
    page = visit(drawn=True, viewport=DESKTOP)
    press(page, "Galaxies")
    wait_for_figure(page, "Components", "4")
    page.locator("#weights-slider-3").wait_for()
    picture = page.locator("#picture").bounding_box()
    parts = ["#em-title", "#picture .xtitle", "#weights", *(f"#means-slider-{j}" for j in range(4))]
    for part in parts:
        box = page.locator(part).bounding_box()
        assert box["y"] + box["height"] <= DESKTOP["height"], part
        assert part.startswith(("#em", "#pic")) or box["x"] >= picture["x"] + picture["width"]
    page.get_by_label("Means").fill("10000, 20000.12345678901, 23000, 33000")
    page.locator("#means-number-1", has_text="20000.12345678901").wait_for()
    cut = "(all) => all.filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.id)"
    assert page.locator("main textarea").evaluate_all(cut) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP])
def test_any_slider_is_in_view_together_with_the_chart(visit, viewport):
    page = visit(drawn=True, viewport=viewport)
    press(page, "Galaxies")
    page.locator("#weights-slider-3").wait_for()
    for j in range(4):
        for name in ("means", "variances", "weights"):
            slider = page.locator(f"#{name}-slider-{j}")
            slider.evaluate("(element) => element.scrollIntoView({ block: 'center' })")
            box, chart = slider.bounding_box(), page.locator("#picture").bounding_box()
            assert chart["y"] >= 0
            assert max(chart["y"] + chart["height"], box["y"] + box["height"]) < viewport["height"]
            assert viewport is DESKTOP or box["y"] > chart["y"] + chart["height"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_rows_and_lists_are_in_step(visit):
    page = visit()
    assert row_texts(page) == [["2", "1", "0.45"], ["6", "1.5", "0.55"]]
    page.get_by_label("Component 1, mean").fill("5.5")
    see(page, EXAMPLE._replace(means=np.asarray([2, 5.5])))
    assert page.get_by_label("Means").input_value() == "2, 5.5"
    assert page.locator("#means-slider-1").input_value() == "5.5"
    page.get_by_label("Component 1, mean").fill("oops")
    page.locator("#means-error", has_text="value 2 is oops; must be a number").wait_for()
    trouble = page.locator("#row-trouble")
    assert trouble.inner_text() == "means: value 2 is oops; must be a number"
    assert page.get_by_label("Component 1, mean").get_attribute("aria-invalid") == "true"
    page.get_by_label("Component 1, mean").fill("5")
    trouble.wait_for(state="hidden")
    page.get_by_label("Means").fill("1 2 3")
    page.locator("#variances-error", has_text="value 3 is missing").wait_for()
    page.get_by_label("Variances").fill("1 1 2")
    page.get_by_label("Weights").fill("")
    see(page, inputs(EXAMPLE.x, [1, 2, 3], [1, 1, 2]))
    assert row_texts(page) == [["1", "1", "1"], ["2", "1", "1"], ["3", "2", "1"]]
    page.get_by_label("Weight 2").evaluate("(e) => e.focus()")
    page.keyboard.press("ArrowLeft")
    assert page.get_by_label("Weights").input_value().startswith("1, 1, 0.9")


def test_components_come_and_go_and_undo_brings_them_back(visit):
    page = visit()
    assert page.locator("#undo").is_disabled()
    press(page, "Add a component")
    wait_for_figure(page, "Components", "3")
    given = shown(page)
    assert given.means[:2].tolist() == [2, 6]
    step = ex.e_step(EXAMPLE.x, ex.Mixture([0.45, 0.55], ex.UnivariateGaussian([2, 6], [1, 1.5])))
    assert given.means[2] == EXAMPLE.x[np.argmin(step.log_likelihood)]
    see(page, given)
    page.get_by_role("button", name="Remove component 0").click()
    see(page, inputs(given.x, *(values[1:] for values in given[1:])))
    assert len(row_texts(page)) == 2
    press(page, "Undo")
    see(page, given)
    press(page, "Undo")
    see(page, EXAMPLE)
    assert page.locator("#undo").is_disabled()
    slider = page.get_by_label("Mean 0")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.get_by_label("Means").input_value() != "2, 6"
    press(page, "Undo")  # a drag is one change
    see(page, EXAMPLE)
    press(page, "Old Faithful")
    wait_for_figure(page, "Observations", "272")
    page.get_by_label("Means").fill("1, 2")
    press(page, "Reset")
    page.locator("#means-number-1", has_text="90").wait_for()
    assert page.get_by_label("Means").input_value() == "50, 90"
    for _ in range(2):
        press(page, "Undo")
    page.get_by_role("button", name="Remove component 1").click()
    wait_for_figure(page, "Components", "1")
    assert page.locator("#remove-0").is_disabled()


def test_a_start_from_the_data(visit):
    page = visit()
    page.locator("#count").fill("3")
    press(page, "Start from the data")
    wait_for_figure(page, "Components", "3")
    start = ex.initialize(EXAMPLE.x, 3, ex.UnivariateGaussian)
    given = shown(page)
    np.testing.assert_allclose(given.means, np.sort(start.components.means), rtol=1e-5)
    see(page, given)
    for count, message in (("13", "12 observations: too few"), ("0", "between 1 and 50")):
        page.locator("#count").fill(count)
        press(page, "Start from the data")
        page.locator("#start-status", has_text=message).wait_for()
    assert figure(page, "Components").inner_text() == "3"


COUNT_FRAMES = """() => {
  window.frames_seen = 0;
  const restyle = Plotly.restyle;
  Plotly.restyle = (...all) => { window.frames_seen += 1; return restyle(...all); };
}"""


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_em_shows_where_it_came_from(visit, motion):
    page = visit(drawn=True, reduced_motion=motion)
    page.evaluate(COUNT_FRAMES)
    old = page.evaluate("document.getElementById('picture').data[0].y")
    press(page, "One EM step")
    page.wait_for_function(f"({TRACES}).length === 8")  # where the curves have arrived
    names = page.evaluate(TRACES)
    assert names[:5] == ["before 0", "before 1", "component 0", "component 1", "mixture"]
    assert (page.evaluate("window.frames_seen") > 0) == (motion == "no-preference")
    assert page.evaluate("document.getElementById('picture').data[0].y") == old
    page.locator("#picture-note").get_by_text("Dashed: before EM.", exact=True).wait_for()
    means = page.evaluate("document.getElementById('picture').data[2]")
    peak = means["x"][int(np.argmax(means["y"]))]
    assert peak == pytest.approx(shown(page).means[0], abs=0.01)
    press(page, "One EM step")
    page.wait_for_function("document.getElementById('history').data[0].y.length === 3")
    heights = page.evaluate("document.getElementById('history').data[0].y")
    assert (np.diff(heights) > 0).all()
    page.get_by_label("Means").fill("2, 7")
    page.wait_for_function(f"({TRACES}).length === 6")
    page.wait_for_function("document.getElementById('picture-note').innerText === ''")


def test_what_went_wrong_is_said_in_words(visit):
    page = visit(drawn=True)
    press(page, "Collapse")
    wait_for_figure(page, "Observations", "3")
    press(page, "Run to convergence")
    alert = page.get_by_role("alert").filter(has_text="Component 1 has collapsed onto equal")
    alert.wait_for()
    page.locator("#picture-note", has_text="component 1 lies far above the picture").wait_for()
    top = page.evaluate("document.getElementById('picture').layout.yaxis.range[1]")
    assert 0.8 < top < 2  # the other component is still to be seen
    press(page, "Worked example")
    wait_for_figure(page, "Observations", "12")
    assert page.locator("#em-warning").is_hidden()
    press(page, "Run to convergence")
    page.locator("#em-status", has_text="Converged after").wait_for()
    assert page.locator("#em-warning").is_hidden()


def test_the_textbooks_formula_and_where_it_fails(visit):
    page = visit(drawn=True)
    press(page, "Underflow")
    cells = page.locator("#matrix tbody tr").nth(2).locator("td.share")
    cells.filter(has_text="< 0.000001").wait_for()
    assert cells.all_inner_texts() == ["< 0.000001", "1.000000"]
    assert page.locator("#matrix tfoot td").all_inner_texts()[1:3] == ["1.3393", "1.6607"]
    assert page.locator(".sums .swatch").all_inner_texts() == ["1.3393", "1.6607"]
    page.get_by_label("Textbook formula").check()
    cells.filter(has_text="NaN").first.wait_for()
    assert cells.all_inner_texts() == ["NaN", "NaN"]
    page.locator("#picture-note", has_text="the textbook's formula is 0 / 0, NaN").wait_for()
    red = page.evaluate("document.getElementById('picture').layout.shapes[0]")
    assert 40 < red["x0"] < 60
    assert red["x1"] == 100
    page.get_by_label("Textbook formula").uncheck()
    cells.filter(has_text="< 0.000001").wait_for()


def test_many_observations_have_a_histogram(visit):
    page = visit(drawn=True)
    assert "histogram" not in page.evaluate(TRACES)
    page.locator("input[type=file]").set_input_files(DATA / "faithful.csv")
    wait_for_figure(page, "Observations", "272")
    page.wait_for_function(f"({TRACES}).includes('histogram')")
    bars = page.evaluate("document.getElementById('picture').data[0]")
    assert np.dot(bars["y"], bars["width"]) == pytest.approx(1, abs=1e-4)


STOPS = """() => {
  const box = document.activeElement.getBoundingClientRect();
  const part = document.activeElement.closest(".presets, .stage, form, #results, #guide");
  return [part?.id || part?.className || "", box.top + scrollY, box.left];
}"""


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP])
def test_the_keyboards_order_is_that_of_sight(visit, viewport):
    page = visit(viewport=viewport, reduced_motion="reduce")
    stops = []
    for _ in range(46):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(STOPS))
    parts = list(dict.fromkeys(part for part, *_ in stops))
    assert parts[:5] == ["", "presets", "stage", "form", "results"]
    for part in ("presets", "stage", "form"):
        tops = [top for place, top, _ in stops if place == part]
        # In a row of components the slider is below its number, and the next number beside it.
        assert all(later > earlier - 40 for earlier, later in pairwise(tops))


def test_the_guide_stands_below(visit):
    page = visit(viewport=DESKTOP)
    page.get_by_role("link", name="Guide").click()
    assert page.locator("#guide h2").bounding_box()["y"] < 200
    formula = page.locator("#guide math[display=block]").first.bounding_box()
    assert formula["width"] > 100
    assert 20 < formula["height"] < 120
    assert page.evaluate("document.querySelector('#guide img').naturalWidth") > 100
    page.locator("#guide a", has_text="below").first.click()
    assert page.url.endswith("#from-the-e-step-to-em")
    page.go_back()
    assert values_of(page) == list(WORKED)
