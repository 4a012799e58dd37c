"""The extras of the distribution: what each brings."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
EXTRAS = ("calculator", "cli", "dask", "jax", "parquet", "sklearn")


def brought_by(extra):
    """Return the names of the packages that an extra brings, those of extras in it too."""
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    names = set()
    for requirement in extras[extra]:
        if inner := re.fullmatch(r"estep_xp\[([\w,]+)\]", requirement):
            names |= set().union(*map(brought_by, inner[1].split(",")))
        else:
            names.add(re.match(r"[\w-]+", requirement)[0])
    return names


def test_parquet_brings_pyarrow_and_all_brings_everything():
    assert brought_by("parquet") == {"pyarrow"}
    every = set().union(*map(brought_by, EXTRAS))
    assert brought_by("all") == every


def test_lowest_versions_are_of_the_form_that_is_tested():
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    for extra in EXTRAS:
        for requirement in extras[extra]:
            assert re.fullmatch(r"estep_xp\[[\w,]+\]|[\w-]+(\[[\w,]+\])?>=[\d.]+", requirement), (
                requirement
            )
