"""The page in a real browser: fixtures, which conftest.py hands on, and what tests look at."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

import estep_xp as ex
from tests.pages import mixture, serve_page

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
BROWSER_TIMEOUT = 30_000  # ms
FIELDS = ("x", "means", "variances", "weights")


@pytest.fixture(scope="module")
def page_address():
    with serve_page() as found:
        yield found


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
def visit(browser, page_address):
    """Open the page in a browser of one's own, and see that nothing goes wrong behind the scenes.

    Any request to another host, any error in a script or of the security policy, any dialog that a
    script opens, is a failure of the test.
    """
    contexts, trouble = [], []

    def open_page(query="", *, drawn=False, **options):
        context = browser.new_context(**{"accept_downloads": True} | options)
        context.set_default_timeout(BROWSER_TIMEOUT)
        contexts.append(context)
        page = context.new_page()

        def look_at(request):
            if not request.url.startswith((page_address, "data:", "blob:")):
                trouble.append(request.url)

        page.on("request", look_at)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
        page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
        if not drawn:  # the picture takes a second to come up, and the page does without
            page.route("**/plotly.min.js*", lambda route: route.fulfill(body=""))
        page.goto(f"{page_address}/{query}")
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
    return [page.locator(f"#{name}").input_value() for name in FIELDS]


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
    shown = [[cell.replace("< 0.000001", "0") for cell in row] for row in responsibilities(page)]
    np.testing.assert_allclose(np.asarray(shown, float), step.responsibilities, atol=1e-6)
