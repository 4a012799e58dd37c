"""The guide on the calculator's page: the same as the documentation's, whole, and at home."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "estep_xp/calculator/templates/guide.html").read_text(encoding="utf-8")
SOURCE = (ROOT / "docs/guide.md").read_text(encoding="utf-8")
AGAIN = "write it again: python docs/write_guide.py"


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("docutils", "0.22", reason="the guide is written with the extra docs")
    pytest.importorskip("myst_parser", reason="the guide is written with the extra docs")
    spec = importlib.util.spec_from_file_location("write_guide", ROOT / "docs/write_guide.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_what_the_script_writes(script):
    assert script.write_guide() == GUIDE, AGAIN


def test_it_is_in_step_with_the_documentation():
    """The same without the extra docs: the first line says what it was written from."""
    picture = (ROOT / "docs/pictures/guide_responsibilities.svg").read_text(encoding="utf-8")
    digest = hashlib.sha256((SOURCE + picture).encode()).hexdigest()
    assert digest in GUIDE.partition("\n")[0], AGAIN
    assert GUIDE.count("<math ") > 20
    headings = re.findall(r"<h[234]>(.*?)</h[234]>", GUIDE)
    assert [h for h in headings if f"# {h}\n" not in SOURCE] == []


def test_it_asks_nobody_for_anything():
    addresses = re.findall(r'(?:src|href)="([^"]*)"', GUIDE)
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "<script" not in GUIDE
    assert "$" not in re.sub(r"<pre.*?</pre>|base64,[^\"]*", "", GUIDE, flags=re.DOTALL)


def test_its_links_lead_somewhere():
    for place in re.findall(r'href="#([^"]+)"', GUIDE):
        assert f'id="{place}"' in GUIDE
