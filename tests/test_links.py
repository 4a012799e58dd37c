"""Symbolic links that lead to themselves: refused by the path, wherever a command meets one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.column_files import of, write
from tests.commands import MODEL, assert_refused

CIRCLE = "Too many levels of symbolic links\n"


@pytest.fixture
def circles(cli):
    """The command in a folder with links in circles."""
    write("x.csv", of("a", "b"))
    Path("m.json").write_bytes(Path(MODEL).read_bytes().replace(b'"feature_names"', b'"names"'))
    for suffix in ("", ".csv", ".json", ".npy", ".npz", ".png", ".svg", ".tsv"):
        Path(f"loop{suffix}").symlink_to(f"loop{suffix}")
    Path("one.csv").symlink_to("two.csv")
    Path("two.csv").symlink_to("one.csv")
    return cli


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize(
    "name", ["loop.csv", "loop.npy", "one.csv", "loop/out.csv", "loop/a/b.csv"]
)
def test_the_output_of_run(circles, name, force):
    options = ("--force",) if force else ()
    found = circles("run", "x.csv", "--model", "m.json", "--output", name, *options)
    if force or "/" in name:
        assert_refused(found, 1, f"{name}: {CIRCLE}")
    else:
        assert_refused(found, 1, f"{name}: ")
    assert not list(Path().glob(".estep_xp-*"))


@pytest.mark.parametrize("name", ["loop.json", "loop/m.json"])
def test_the_output_of_fit(circles, name):
    found = circles(
        *("fit", "x.csv", "--components", 2, "--family", "full", "--output", name, "--force")
    )
    assert_refused(found, 1, f"{name}: {CIRCLE}")


@pytest.mark.parametrize("name", ["loop.png", "loop.svg", "loop/p.png"])
def test_pictures(circles, name):
    pytest.importorskip("matplotlib")
    numbers = ("--x", "1", "--means", "1", "--variances", "1")
    found = circles("calculate", *numbers, "--plot", name, "--force")
    assert_refused(found, 1, f"{name}: {CIRCLE}")


@pytest.mark.parametrize("name", ["loop.csv", "loop.tsv", "loop.npy", "loop.npz", "loop/x.csv"])
def test_data(circles, name):
    found = circles("run", name, "--model", "m.json", "--output", "out.csv")
    assert_refused(found, 1, f"{name}: {CIRCLE}")
    found = circles("fit", name, "--components", 2, "--family", "full", "--output", "new.json")
    assert_refused(found, 1, f"{name}: {CIRCLE}")


@pytest.mark.parametrize("name", ["loop.json", "loop/m.json"])
def test_models(circles, name):
    found = circles("run", "x.csv", "--model", name, "--output", "out.csv")
    assert_refused(found, 1, f"{name}: {CIRCLE}")


def test_a_link_to_a_file_that_is_not_there_yet(circles):
    Path("link.csv").symlink_to("new.csv")
    assert circles("run", "x.csv", "--model", "m.json", "--output", "link.csv", "--force")[0] == 0
    assert Path("link.csv").is_symlink()
    assert Path("new.csv").read_text().startswith("responsibility_0,")
