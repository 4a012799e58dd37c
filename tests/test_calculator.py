"""The calculator's page: its parts, its answers over HTTP, and itself in a real browser."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pytest

import estep_xp as ex

pytest.importorskip("starlette", reason="the page needs the extra calculator")
from estep_xp.calculator import em, fields, picture, presets, recipe, sensitivity, sliders, view
from estep_xp.calculator.fields import WORKED, Fields
from estep_xp.calculator.textbook import textbook_responsibilities
from estep_xp.cli.read.inputs import Inputs
from tests.pages import COMMAND, DATA, ENVIRONMENT, ask, running, start

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SECONDS = 30_000  # ms that the browser waits for what must come
needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed"
)


def inputs(x, means, variances, weights=None):
    weights = [1.0] * len(means) if weights is None else weights
    return Inputs(*(np.asarray(values, float) for values in (x, means, variances, weights)))


def mixture(given):
    return ex.Mixture(given.weights, ex.UnivariateGaussian(given.means, given.variances))


EXAMPLE = inputs([0.5, 1.2, 3.8], [2, 6], [1, 1.5], [0.45, 0.55])

# --- parts --------------------------------------------------------------------------------------


def test_a_link_fills_the_fields():
    assert fields.fields_of({}) == WORKED
    assert fields.fields_of({"x": "7"}) == WORKED._replace(x="7")
    assert fields.fields_of({"means": "1,2,3"}) == WORKED._replace(means="1,2,3", weights="")
    typed = Fields("1, 2\n3", "−1 +2", '"&=<;', "")
    back = {name: text for name, (text,) in parse_qs(typed.query, keep_blank_values=True).items()}
    assert fields.fields_of(back) == typed


def test_every_bad_field_has_its_message():
    found, errors = fields.check(Fields("1, two", "2, 6", "1, -1.5", "1"))
    assert found is None
    assert errors == {
        "x": "value 2 is two; must be a number",
        "variances": "value 2 is -1.5; must be positive",
        "weights": "value 2 is missing; there must be 2 values, one for each of the means",
    }
    found, errors = fields.check(Fields("1", "2, 6", "1, 2", " \n"))
    assert errors == {}
    assert found.weights.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": "1 " * 20_001}, "has 20001 values; the page takes 20000 observations"),
        (
            {"means": "1 " * 51, "variances": "1 " * 51, "weights": ""},
            "has 51 values; the page takes 50 components",
        ),
    ],
)
def test_work_is_bounded(changes, message):
    found, errors = fields.check(WORKED._replace(**changes))
    assert found is None
    assert [text.partition(",")[0] for text in errors.values()] == [message]


def numerical_slopes(given):
    """Return central differences of the log-likelihood, parameter by parameter."""
    rows = []
    for field in ("means", "variances", "weights"):
        values = getattr(given, field)
        row = []
        for j in range(len(values)):
            step = np.zeros(len(values))
            step[j] = 1e-6 * max(1.0, abs(values[j]))
            up, down = (given._replace(**{field: values + sign * step}) for sign in (1, -1))
            rise = ex.log_likelihood(given.x, mixture(up)) - ex.log_likelihood(
                given.x, mixture(down)
            )
            row.append(rise / (2 * step[j]))
        rows.append(row)
    return rows


SLOPED = {
    "worked": EXAMPLE,
    "more": inputs(np.linspace(-3, 9, 100), [0, 4, 5], [1, 2, 0.5], [3, 1, 2]),
    "underflow": inputs([1, 4, 100], [2, 6], [1, 1.5], [0.45, 0.55]),
}


@pytest.mark.parametrize("name", SLOPED)
def test_slopes_are_those_of_the_log_likelihood(name):
    *slopes, how = sensitivity.by_statistics(SLOPED[name])
    np.testing.assert_allclose(slopes, numerical_slopes(SLOPED[name]), rtol=1e-5, atol=1e-5)
    assert "statistics" in how


@needs_jax
@pytest.mark.parametrize("name", [*SLOPED, "zero weight"])
def test_jax_gives_the_same_slopes(name):
    given = SLOPED.get(name, EXAMPLE._replace(weights=np.asarray([0.0, 1.0])))
    *closed, _ = sensitivity.by_statistics(given)
    *automatic, how = sensitivity.by_autodiff(given)
    np.testing.assert_allclose(automatic, closed, rtol=1e-9, atol=1e-12)
    assert "jax.grad" in how


def test_no_slopes_at_zero_density():
    *slopes, _ = sensitivity.by_statistics(inputs([0, 1e200], [0], [1]))
    assert np.isnan(slopes).all()


def test_one_em_step_is_the_librarys():
    climb = em.one_step(WORKED, EXAMPLE)
    expected = ex.m_step(ex.expected_statistics(EXAMPLE.x, mixture(EXAMPLE)))
    found, _ = fields.check(climb.fields)
    np.testing.assert_allclose(found.means, expected.components.means, rtol=1e-7)
    np.testing.assert_allclose(found.variances, expected.components.variances, rtol=1e-7)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-7)
    assert climb.fields.x == WORKED.x
    assert climb.heights == pytest.approx([-7.521123, ex.log_likelihood(EXAMPLE.x, expected)])


def test_em_converges_and_rises():
    geyser = presets.presets()[1].fields
    climb = em.to_convergence(geyser, fields.check(geyser)[0])
    assert climb.heights[-1] == pytest.approx(-1034.00175, abs=1e-4)
    assert (np.diff(climb.heights) > 0).all()
    assert climb.summary.startswith("Converged after ")
    found, _ = fields.check(climb.fields)
    np.testing.assert_allclose(found.means, [54.6149, 80.0911], rtol=1e-4)


def test_em_goes_on_where_patience_ended(monkeypatch):
    monkeypatch.setattr(em, "_PATIENCE", 0.0)
    geyser = presets.presets()[1].fields
    assert em.to_convergence(geyser, fields.check(geyser)[0]).summary.startswith(
        "Not there after 1 step, go on"
    )


def test_em_says_what_has_collapsed():
    climb = em.to_convergence(WORKED, EXAMPLE)
    assert "Component 1 has collapsed" in climb.summary


def test_examples_to_begin_with():
    for preset in presets.presets():
        given, errors = fields.check(preset.fields)
        assert errors == {}
        fails = np.isnan(textbook_responsibilities(given)).any()
        assert fails == (preset.name == "Underflow")
        assert np.isfinite(ex.log_likelihood(given.x, mixture(given)))


def test_the_textbooks_formula_where_it_works():
    step = ex.e_step(EXAMPLE.x, mixture(EXAMPLE))
    np.testing.assert_allclose(textbook_responsibilities(EXAMPLE), step.responsibilities)


LONG = np.random.default_rng(0).normal(4, 2, 1500).tolist()


@pytest.mark.parametrize("x", [[0.5, 1.2, 3.8], [1e-300, -1e22, 3], LONG[:300], LONG])
def test_the_python_lines_compute_what_is_shown(tmp_path, monkeypatch, capsys, x):
    given = inputs(x, [2, 6], [1, 1.5], [0.45, 0.55])
    (tmp_path / recipe.FILE).write_text("x,more\n" + "".join(f"{value!r},0\n" for value in x))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(recipe.recipe(given), names)
    expected = ex.e_step(given.x, mixture(given))
    for mine, theirs in zip(names["result"], expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    *_, mean_max, total = capsys.readouterr().out.split()
    assert float(mean_max) == expected.mean_max_responsibility
    assert float(total) == expected.total_log_likelihood


@pytest.mark.parametrize("given", [EXAMPLE, inputs([5], [5], [1e-9]), inputs([1e9], [0], [1e12])])
def test_sliders_reach_where_parameters_stand(given):
    found = sliders.sliders_of(given)
    assert len(found) == len(given.means)
    for component in found:
        for slider in component:
            lowest, highest, step, value = map(float, slider[2:])
            assert lowest <= value <= highest
            assert 0 < step <= (highest - lowest) / 100
        assert float(component[1].lowest) > 0


def test_extreme_numbers_have_no_sliders_and_no_picture():
    given = inputs([-1e308, 1e308], [0], [1e308])
    assert sliders.sliders_of(given) == []
    assert picture.picture_of(given, view.calculate(given).evaluation.results) is None


# --- over HTTP ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def address():
    with running("--no-browser", "--port", "0") as (process, found):
        yield found
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        assert stderr == "Ctrl-C ends the calculator.\n"  # and no complaint of any request


def answer(address, given, path="/answer"):
    status, _, text = ask(address, "POST", path, urlencode(given._asdict()))
    assert status == 200, text
    return json.loads(text)


def test_the_page_is_whole_without_scripts(address):
    status, headers, text = ask(address, "GET", "/?x=1,4&means=2,6&variances=1,1.5")
    total = ex.log_likelihood([1, 4], mixture(EXAMPLE._replace(weights=[1, 1])))
    assert status == 200
    assert f"<dd>{total:.4f}</dd>" in text
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", ""])
def test_other_names_are_refused(address, host):
    assert ask(address, "GET", "/", headers={"Host": host})[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/answer", b"x=" + b"1 " * 1_500_000, 413),
        ("POST", "/upload?name=a.csv", b"1\n" * 1_500_000, 413),
        ("POST", "/answer", b"\xff\xfe%zz&&&=", 200),
        ("POST", "/em/jump", b"", 404),
        ("POST", f"/upload?column={'9' * 9000}", b"a\xff\n1\n", 200),
        ("GET", "/static/../page.html", None, 404),
        ("GET", "/static/%2e%2e%2fpage.html", None, 404),
        ("GET", "/responsibilities.csv?x=a", None, 400),
        ("DELETE", "/", None, 405),
    ],
)
def test_odd_requests(address, method, path, body, status):
    with contextlib.suppress(ConnectionError):  # it may hang up before all has been sent
        assert ask(address, method, path, body)[0] == status


@pytest.mark.parametrize(
    "given",
    [
        Fields("1e308 -1e308", "1e308, -1e308", "5e-324, 1e308", "1e308 1e308"),
        Fields("1e16", "1e308", "1e308", "5e-324"),
        Fields("1e4 " * 5, "0", "1e-300", ""),
        Fields("0 " * 20_000, "1 " * 50, "1 " * 50, ""),
    ],
)
def test_extreme_numbers_are_answered(address, given):
    assert answer(address, given)["errors"] == {}
    assert "status" in answer(address, given, "/em/step")


def test_zero_density_is_a_warning_and_dashes(address):
    given = Fields("1, 1e200", "2, 6", "1, 1.5", "")
    results = answer(address, given)["results"]
    assert "1 of 2 observations has zero density under every component" in results
    assert re.findall(r"<td class=.share.[^>]*>(.*?)</td>", results)[2:] == ["–", "–"]
    assert "zero density" in answer(address, given, "/em/converge")["status"]


def test_sorting_is_the_servers(address):
    body = urlencode(WORKED._replace(x="3, 1, 2")._asdict() | {"sort": "-x"})
    results = json.loads(ask(address, "POST", "/answer", body)[2])["results"]
    assert re.findall(r'<th scope="row">(\d)</th>', results)[:3] == ["3", "2", "1"]


def test_the_file_is_that_of_the_command_line(address):
    _, headers, text = ask(address, "GET", f"/responsibilities.csv?{WORKED.query}")
    assert "attachment" in headers["content-disposition"]
    header, *rows = csv.reader(io.StringIO(text))
    assert header == ["x", "responsibility_0", "responsibility_1", "label", "log_likelihood"]
    step = ex.e_step(EXAMPLE.x, mixture(EXAMPLE))
    np.testing.assert_array_equal([row[1:3] for row in rows], step.responsibilities.astype(str))


def test_long_links_are_served(address):
    x = ",".join(f"{value:.15f}" for value in range(20_000))
    assert len(x) > 400_000
    status, _, text = ask(address, "GET", f"/?x={x}&means=2,6&variances=1,1")
    assert status == 200
    assert "<dd>20000</dd>" in text


def test_twenty_people_at_once_get_their_own_answers(address):
    def visit(person):
        given = Fields(f"{person}, 1.2, 3.8", f"{person / 10}, 6", "1, 1.5", "1, 1")
        found = []
        for _ in range(5):
            results = answer(address, given)["results"]
            found += re.findall(r"<dt>Log-likelihood</dt><dd>(.*?)</dd>", results)
            answer(address, given, "/sensitivity")
        checked, _ = fields.check(given)
        total = ex.log_likelihood(checked.x, mixture(checked))
        return found == [f"{total:.4f}"] * 5

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(visit, range(20)))


# --- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signals_end_it_in_time_while_connections_are_open(name, code):
    with (
        running("--no-browser", "--port", "0") as (process, found),
        socket.create_connection(("127.0.0.1", urlsplit(found).port)) as idle,
    ):
        idle.sendall(b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx")
        ask(found, "GET", "/")
        process.send_signal(getattr(signal, name))
        stdout, stderr = process.communicate(timeout=5)
    assert (process.returncode, stdout) == (code, "")
    assert stderr == "Ctrl-C ends the calculator.\n"


def test_a_taken_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start("--no-browser", "--port", str(port))
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "")
    assert stderr.startswith(f"--port: {port} is taken; ")
    assert stderr.count("\n") == 1


def test_without_a_port_the_next_free_one_is_taken():
    with running("--no-browser") as (_, first), running("--no-browser") as (_, second):
        assert first != second
        assert ask(first, "GET", "/")[0] == ask(second, "GET", "/")[0] == 200


def test_help_has_an_example():
    done = subprocess.run([*COMMAND, "--help"], env=ENVIRONMENT, capture_output=True, check=True)
    assert b"estep-xp calculator --port 8000" in done.stdout


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "jinja2", "plotly"])
def test_missing_packages_are_named(missing):
    script = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['estep-xp', 'calculator']\n"
        "from estep_xp.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    message = f'needs {missing}, which is not installed; pip install "estep_xp[calculator]"'
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"calculator: {message}\n"


# --- in a browser -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def visit(browser, address):
    """Open the page in a browser of one's own, and see that nothing goes wrong behind the scenes.

    Any request to another host, any error in a script or of the security policy, any dialog that a
    script opens, is a failure of the test.
    """
    contexts, trouble = [], []

    def open_page(query="", *, drawn=False, **options):
        context = browser.new_context(**{"accept_downloads": True} | options)
        context.set_default_timeout(SECONDS)
        contexts.append(context)
        page = context.new_page()

        def look_at(request):
            if not request.url.startswith((address, "data:", "blob:")):
                trouble.append(request.url)

        page.on("request", look_at)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
        page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
        if not drawn:  # the picture takes a second to come up, and the page does without
            page.route("**/plotly.min.js*", lambda route: route.fulfill(body=""))
        page.goto(f"{address}/{query}")
        if drawn:
            page.wait_for_selector("#picture .main-svg")
        return page

    open_page.trouble = trouble
    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []


def figure(page, name):
    return page.locator(".figures div", has_text=name).locator("dd")


def wait_for_figure(page, name, text):
    figure(page, name).filter(has_text=re.compile(f"^{re.escape(text)}$")).wait_for()


def responsibilities(page):
    rows = page.locator("#matrix tbody tr").all()
    return [row.locator("td.share").all_inner_texts() for row in rows]


def values_of(page):
    return [page.locator(f"#{name}").input_value() for name in Fields._fields]


def see(page, given):
    """Wait until the page shows the results of these numbers, and compare all of them."""
    step = ex.e_step(given.x, mixture(given))
    wait_for_figure(page, "Log-likelihood", f"{step.total_log_likelihood:.4f}")
    wait_for_figure(page, "Observations", str(len(given.x)))
    wait_for_figure(page, "Components", str(len(given.means)))
    mean_max = f"{step.mean_max_responsibility:.4f}"
    assert figure(page, "Average max").inner_text() == mean_max
    shares = given.weights / given.weights.sum()
    assert page.locator(".weights .swatch").all_inner_texts() == [f"{w:.4f}" for w in shares]
    np.testing.assert_allclose(
        np.asarray(responsibilities(page), float), step.responsibilities, atol=5.1e-7
    )


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
    assert figure(page, "Log-likelihood").inner_text() == "-7.5211"
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
        assert tab.locator("img, form script, form b, .error :is(*)").count() == 0


def test_the_picture_has_everything_and_tells_numbers(visit):
    page = visit(drawn=True)
    names = page.evaluate("document.getElementById('picture').data.map((trace) => trace.name)")
    assert names == ["component 0", "component 1", "mixture", "data"]
    drawn = page.evaluate("document.getElementById('picture').data.map((t) => [t.x, t.y])")
    grid, total = np.asarray(drawn[2], float)
    expected = np.exp(ex.e_step(grid, mixture(EXAMPLE)).log_likelihood)
    np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(np.asarray(drawn[0][1]) + drawn[1][1], total, rtol=1e-4, atol=1e-12)
    place = page.locator("#picture .nsewdrag").first.bounding_box()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    hover = page.locator("#picture .hoverlayer")
    hover.get_by_text("component 0").wait_for()
    assert re.search(r"mixture : 0\.\d+", hover.text_content())


def test_the_table_sorts_by_keyboard_and_keeps_the_focus(visit):
    page = visit()
    heading = page.locator("#sort-0")
    heading.focus()
    order = page.locator("th", has=heading)
    for state in ("descending", "ascending"):
        page.keyboard.press("Enter")
        page.locator(f"th[aria-sort={state}] #sort-0").wait_for()
        column = [float(row[0]) for row in responsibilities(page)]
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
    page.get_by_role("row", name="100 NaN, NaN 0.000000, 1.000000").wait_for()
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
        see(page, fields.check(Fields(*values_of(page)))[0])
        assert slider.evaluate("(element) => element === document.activeElement")
    assert values_of(page) != list(WORKED)


@needs_jax
def test_slopes_by_jax_appear(visit):
    page = visit()
    page.locator("#sensitivity", has_text="Computed by jax.grad").wait_for()
    cells = page.locator("#sensitivity td").all_inner_texts()
    *slopes, _ = sensitivity.by_statistics(EXAMPLE)
    np.testing.assert_allclose(np.asarray(cells, float), np.transpose(slopes).ravel(), rtol=1e-4)


def test_slopes_that_come_too_late_are_not_shown(visit):
    page = visit()
    held = []
    page.route("**/sensitivity", lambda route: held.append(route))
    with page.expect_request("**/sensitivity"):
        page.get_by_label("Weights").fill("0.4, 0.6")
    wait_for_figure(page, "Log-likelihood", "-7.7664")
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
    assert page.evaluate("navigator.clipboard.readText()") == recipe.recipe(EXAMPLE)


def test_a_lost_server_is_said_and_forgiven(visit):
    page = visit()
    page.route("**/answer", lambda route: route.abort())
    page.get_by_label("Observations").fill("1, 4")
    page.get_by_role("alert").filter(has_text="The server does not answer").wait_for()
    assert figure(page, "Observations").inner_text() == "3"
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
        stdout, stderr = process.communicate(timeout=5)
        context.close()
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
