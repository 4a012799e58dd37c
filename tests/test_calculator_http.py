"""The calculator's answers over HTTP."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import numpy as np
import pytest

import estep_xp as ex

pytest.importorskip("starlette", reason="the page needs the extra calculator")
from estep_xp.calculator import fields
from estep_xp.calculator.fields import WORKED, Fields
from tests.pages import EXAMPLE, answer, ask, mixture, serve_page


@pytest.fixture(scope="module")
def address():
    with serve_page() as found:
        yield found


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
            figures = answer(address, given)["figures"]
            found += re.findall(r"<dt>Log-likelihood</dt><dd>(.*?)</dd>", figures)
            answer(address, given, "/sensitivity")
        checked, _ = fields.check_fields(given)
        total = ex.log_likelihood(checked.x, mixture(checked))
        return found == [f"{total:.4f}"] * 5

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(visit, range(20)))
