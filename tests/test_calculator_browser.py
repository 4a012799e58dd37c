"""The calculator's page in a real browser."""

from __future__ import annotations

import io
import re
import signal
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import estep_xp as ex

pytest.importorskip("starlette", reason="the page needs the extra calculator")
from estep_xp.calculator import fields, recipe, sensitivity
from estep_xp.calculator.fields import WORKED, Fields
from tests.browsing import figure, responsibilities, see, values_of, wait_for_figure
from tests.commands import needs_jax
from tests.pages import DATA, END, EXAMPLE, inputs, mixture, running


def test_the_worked_example_stands_there(visit):
    page = visit(drawn=True)
    assert page.title() == "E-step calculator"
    assert values_of(page) == list(WORKED)
    see(page, EXAMPLE)
    for label in ("Observations", "Means", "Variances", "Weights"):
        assert page.get_by_label(label).count() == 1
    query = parse_qs(urlsplit(page.url).query)
    assert query == {name: [text] for name, text in WORKED._asdict().items()}


@pytest.mark.parametrize(
    "given",
    [
        inputs([1, 2.5, 4, 5.5, 7], [2, 6], [1, 1.5], [9, 11]),
        inputs([-1, 0, 100], [-2, 0, 3], [1, 0.5, 2], [0.2, 0.3, 0.5]),
        inputs([5], [4], [3], [2]),
    ],
)
def test_results_follow_the_keys_and_the_link_reproduces_them(visit, given):
    page = visit()
    for label, values in zip(("Observations", "Means", "Variances", "Weights"), given, strict=True):
        page.get_by_label(label).fill("\n".join(map(str, values.tolist())).replace("-", "−"))
    see(page, given)
    again = visit(urlsplit(page.url)._replace(scheme="", netloc="").geturl().removeprefix("/"))
    see(again, given)
    assert values_of(again) == values_of(page)


@pytest.mark.parametrize(
    ("label", "name", "text", "message"),
    [
        ("Observations", "x", "1, two", "value 2 is two; must be a number"),
        ("Observations", "x", "0,5; 1,2", "value 2 is '5;'; separate values by commas or white"),
        ("Observations", "x", "", "value 1 is empty; must be a number"),
        ("Observations", "x", "1e400", "value 1 is 1e400; must be between"),
        ("Means", "means", "2, nan", "value 2 is nan; must be a finite number"),
        ("Variances", "variances", "1, -1.5", "value 2 is -1.5; must be positive"),
        ("Variances", "variances", "1", "value 2 is missing; there must be 2 values"),
        ("Weights", "weights", "0, 0", "value 1 is 0; at least one weight must be positive"),
        ("Weights", "weights", "1, -1", "value 2 is -1; must not be negative"),
    ],
)
def test_bad_input_is_named_beside_its_field_and_results_stay(visit, label, name, text, message):
    page = visit()
    field = page.get_by_label(label)
    field.fill(text)
    error = page.locator(f"#{name}-error", has_text=message)
    error.wait_for()
    assert f"{name}-error" in field.get_attribute("aria-describedby")
    assert field.get_attribute("aria-invalid") == "true"
    box, place = field.bounding_box(), error.bounding_box()
    assert 0 <= place["y"] - (box["y"] + box["height"]) < 40
    assert page.locator(".error:not(:empty)").count() == 1
    assert page.locator("#results.stale").count() == 1
    assert figure(page, "Log-likelihood").inner_text() == "-25.8771"
    field.fill(dict(zip(("x", "means", "variances", "weights"), WORKED, strict=True))[name])
    page.locator("#results:not(.stale)").wait_for()
    assert field.get_attribute("aria-invalid") is None
    assert page.locator(".error:not(:empty)").count() == 0


def test_a_link_with_bad_input_opens_and_can_be_mended(visit):
    page = visit("?x=oops&means=2,6&variances=1,1.5")
    page.get_by_text("Correct the marked field, and results appear here.").wait_for()
    assert page.locator("#x-error").inner_text() == "value 1 is oops; must be a number"
    page.get_by_label("Observations").fill("1, 4")
    see(page, inputs([1, 4], [2, 6], [1, 1.5]))


NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'></textarea><b>"


def test_nothing_typed_is_executed(visit):
    page = visit()
    for name in Fields._fields:
        page.locator(f"#{name}").fill(NASTY)
        page.locator(f"#{name}-error:not(:empty)").wait_for()
    opened = visit(urlsplit(page.url)._replace(scheme="", netloc="").geturl().removeprefix("/"))
    assert values_of(opened) == [NASTY] * 4
    for tab in (page, opened):
        assert tab.locator("main img, main script, form b, .error :is(*)").count() == 0


def test_the_picture_has_everything_and_tells_numbers(visit):
    page = visit(drawn=True)
    names = page.evaluate("document.getElementById('picture').data.map((trace) => trace.name)")
    strips = ["responsibility 0", "responsibility 1"]
    assert names == ["component 0", "component 1", "mixture", "data", *strips]
    drawn = page.evaluate("document.getElementById('picture').data.map((t) => [t.x, t.y])")
    grid, total = np.asarray(drawn[2], float)
    expected = np.exp(ex.e_step(grid, mixture(EXAMPLE)).log_likelihood)
    np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(np.asarray(drawn[0][1]) + drawn[1][1], total, rtol=1e-4, atol=1e-12)
    shares = ex.e_step(grid, mixture(EXAMPLE)).responsibilities
    np.testing.assert_allclose([drawn[4][1], drawn[5][1]], shares.T, rtol=1e-3)
    place = page.locator("#picture .nsewdrag").first.bounding_box()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    hover = page.locator("#picture .hoverlayer")
    hover.get_by_text("component 0").wait_for()
    assert re.search(r"responsibility 0\.\d+.*mixture : 0\.\d+", hover.text_content())


def test_the_table_sorts_by_keyboard_and_keeps_the_focus(visit):
    page = visit()
    heading = page.locator("#sort-0")
    heading.focus()
    order = page.locator("th", has=heading)
    for state in ("descending", "ascending"):
        page.keyboard.press("Enter")
        page.locator(f"th[aria-sort={state}] #sort-0").wait_for()
        column = [float(row[0].removeprefix("< ")) for row in responsibilities(page)]
        assert column == sorted(column, reverse=state == "descending")
        assert page.evaluate("document.activeElement.id") == "sort-0"
    assert order.get_attribute("aria-sort") == "ascending"


def test_all_of_it_works_by_keyboard(visit):
    page = visit()
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.innerText"))
    for stop in (*Fields._fields, "file", "sort-x", "download", "copy", "means-slider-0"):
        assert stop in seen
    for button in ("Old Faithful", "One EM step", "Run to convergence"):
        assert button in seen
    page.get_by_label("Means").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("1 7")
    see(page, EXAMPLE._replace(means=np.asarray([1.0, 7.0])))
    page.get_by_role("button", name="Old Faithful").focus()
    page.keyboard.press("Space")
    wait_for_figure(page, "Observations", "272")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_in_light_and_dark(visit, scheme):
    page = visit(drawn=True, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.get_by_role("button", name="Galaxies").click()
    wait_for_figure(page, "Components", "4")
    page.get_by_role("button", name="Run to convergence").click()
    page.locator("#history .main-svg").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = page.evaluate("getComputedStyle(document.body).color")
    luminance = [sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in (ground, ink)]
    assert (luminance[0] > 200 > 60 > luminance[1]) == (scheme == "light")
    assert (luminance[0] < 60 < 200 < luminance[1]) == (scheme == "dark")


def test_download_and_upload(visit, tmp_path):
    page = visit()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.read_text().startswith("x,responsibility_0,responsibility_1,label,log_likelihood\n")
    page.locator("input[type=file]").set_input_files(DATA / "faithful.csv")
    wait_for_figure(page, "Observations", "272")
    assert page.get_by_label("Observations").input_value().startswith("3.6, 1.8, ")
    page.locator("#column").select_option("waiting")
    page.locator("#matrix tbody th", has_text="79").first.wait_for()
    assert page.get_by_label("Observations").input_value().startswith("79, 54, ")
    page.locator("input[type=file]").set_input_files(
        {"name": "big.csv", "mimeType": "text/csv", "buffer": b"1\n" * 1_000_001}
    )
    page.locator("#file-error", has_text="big.csv has 2000002 bytes; at most 2000000").wait_for()
    assert page.get_by_label("Observations").input_value().startswith("79, 54, ")
    page.go_back()
    page.locator("#matrix tbody th", has_text="3.6").first.wait_for()


def test_uploads_of_other_formats(visit):
    page = visit()
    array = io.BytesIO()
    np.save(array, np.asarray([1.5, 3, 4, 5]))
    for name, content, x in (
        ("x.npy", array.getvalue(), "1.5, 3, 4, 5"),
        ("l.csv", b",L\xe4nge\n0,5\n1,7\n", "5, 7"),
    ):
        file = {"name": name, "mimeType": "", "buffer": content}
        page.locator("input[type=file]").set_input_files(file)
        wait_for_figure(page, "Observations", str(len(x.split(","))))
        assert page.get_by_label("Observations").input_value() == x
    assert page.locator("#column option:checked").inner_text() == "Länge"
    page.locator("#file-note", has_text="left out as a data frame's index").wait_for()
    picture = {"name": "p.csv", "mimeType": "", "buffer": b"\x89PNG\r\n\x1a\n\0\0"}
    page.locator("input[type=file]").set_input_files(picture)
    page.locator("#file-error", has_text="p.csv: is a picture (PNG), not text").wait_for()
    assert page.locator("#file-note").inner_text() == ""
    assert page.get_by_label("Observations").input_value() == "5, 7"


def test_examples_and_em(visit):
    page = visit(drawn=True)
    page.get_by_role("button", name="Old Faithful").click()
    wait_for_figure(page, "Log-likelihood", "-1183.9392")
    page.get_by_role("button", name="One EM step").click()
    wait_for_figure(page, "Log-likelihood", "-1039.4681")
    page.get_by_role("button", name="Run to convergence").click()
    wait_for_figure(page, "Log-likelihood", "-1034.0018")
    page.get_by_role("status").filter(has_text="Converged after").wait_for()
    heights = page.evaluate("document.getElementById('history').data[0].y")
    assert heights[0] == pytest.approx(-1183.93917, abs=1e-5)
    assert (np.diff(heights) > -1e-9).all()
    assert page.get_by_label("Means").input_value().startswith("54.61")
    assert "54.61" in page.url
    page.get_by_role("button", name="Underflow").click()
    page.get_by_role("row", name="100 NaN, NaN < 0.000001, 1.000000").wait_for()
    see(page, EXAMPLE._replace(x=np.asarray([1.0, 4.0, 100.0])))


def test_sliders_move_field_results_and_address(visit):
    page = visit()
    for field, label in (("means", "Mean 1"), ("variances", "Variance 0"), ("weights", "Weight 1")):
        slider = page.get_by_label(label)
        slider.focus()
        page.keyboard.press("ArrowRight")
        value = slider.input_value()
        texts = page.locator(f"#{field}").input_value().split(", ")
        assert texts[int(label[-1])] == value
        assert parse_qs(urlsplit(page.url).query)[field] == [", ".join(texts)]
        see(page, fields.check_fields(Fields(*values_of(page)))[0])
        assert slider.evaluate("(element) => element === document.activeElement")
    assert values_of(page) != list(WORKED)


@needs_jax
def test_slopes_by_jax_appear(visit):
    page = visit()
    page.locator("#sensitivity", has_text="Computed by jax.grad").wait_for()
    cells = page.locator("#sensitivity td").all_inner_texts()
    *slopes, _ = sensitivity.gradient_by_statistics(EXAMPLE)
    np.testing.assert_allclose(np.asarray(cells, float), np.transpose(slopes).ravel(), rtol=1e-4)


def test_slopes_that_come_too_late_are_not_shown(visit):
    page = visit()
    held = []
    page.route("**/sensitivity", lambda route: held.append(route))
    with page.expect_request("**/sensitivity"):
        page.get_by_label("Weights").fill("0.4, 0.6")
    wait_for_figure(page, "Log-likelihood", "-25.9691")
    page.get_by_label("Observations").fill("1, 4")
    see(page, inputs([1, 4], [2, 6], [1, 1.5], [0.4, 0.6]))
    before = page.locator("#sensitivity").inner_text()
    with page.expect_request("**/sensitivity"):  # the next one goes out when this one is done with
        held[0].fulfill(json={"html": "late"})
    assert page.locator("#sensitivity").inner_text() == before


def test_the_lines_are_copied(visit):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == recipe.write_recipe(EXAMPLE)


def test_a_lost_server_is_said_and_forgiven(visit):
    page = visit()
    page.route("**/answer", lambda route: route.abort())
    page.get_by_label("Observations").fill("1, 4")
    page.get_by_role("alert").filter(has_text="The server does not answer").wait_for()
    assert figure(page, "Observations").inner_text() == "12"
    page.unroute("**/answer")
    see(page, EXAMPLE._replace(x=np.asarray([1.0, 4.0])))
    assert page.locator("#trouble").is_hidden()
    visit.trouble[:] = [t for t in visit.trouble if "net::ERR_FAILED" not in t]


def test_it_ends_in_time_while_a_page_is_open(browser):
    with running("--no-browser", "--port", "0") as (process, found):
        context = browser.new_context()
        page = context.new_page()
        page.goto(found)
        page.locator("#sensitivity td").first.wait_for()
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=END)
        context.close()
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
