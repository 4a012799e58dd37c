"""What the recipe for conda-forge and CITATION.cff say is what pyproject.toml says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import estep_xp as ex

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Names under which conda-forge has the packages without their optional parts.
CONDA_NAMES = {"dask": "dask-core", "matplotlib": "matplotlib-base"}
FOR_DEVELOPERS = {"all", "bench", "dev", "docs", "test"}  # extras that no user needs


@pytest.fixture(scope="module")
def recipe():
    yaml = pytest.importorskip("yaml", reason="the recipe is YAML, which Dask reads, too")
    return yaml.safe_load((ROOT / ".ci" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))


def conda_requirement(requirement):
    """Write `name[extra]>=1.0` as conda does, `name >=1.0`."""
    name, bound = re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?(>=[\d.]+)", requirement).groups()
    return f"{CONDA_NAMES.get(name, name)} {bound}"


def test_recipe_has_the_version(recipe):
    assert recipe["context"]["version"] == ex.__version__


def test_recipe_has_the_oldest_python(recipe):
    assert f">={recipe['context']['python_min']}" == PROJECT["requires-python"]


def test_recipe_has_the_dependencies(recipe):
    _, *run = recipe["requirements"]["run"]
    assert run == [conda_requirement(each) for each in PROJECT["dependencies"]]


def test_recipe_bounds_what_extras_need(recipe):
    wanted = [
        conda_requirement(each)
        for extra, requirements in PROJECT["optional-dependencies"].items()
        for each in requirements
        if extra not in FOR_DEVELOPERS and not each.startswith("estep_xp[")
    ]
    assert sorted(recipe["requirements"]["run_constraints"]) == sorted(wanted)


def test_recipe_names_the_command(recipe):
    (entry,) = recipe["build"]["python"]["entry_points"]
    name, _, target = entry.partition(" = ")
    assert PROJECT["scripts"] == {name: target}


def test_recipe_says_what_it_is(recipe):
    assert recipe["about"]["summary"] == PROJECT["description"]
    assert recipe["about"]["license"] == PROJECT["license"]


def test_citation_has_version_and_license():
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {ex.__version__}" in lines
    assert f"license: {PROJECT['license']}" in lines
