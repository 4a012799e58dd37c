"""The README's recipes, run as they stand: what it shows is what they print."""

from __future__ import annotations

import code
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import estep_xp as ex
from tests.quick_xla import quick_environment

ROOT = Path(__file__).parent.parent
SETTINGS = {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "COLUMNS": "80"}
README = (ROOT / "README.md").read_text(encoding="utf-8")
# The pages that the README lists. Each can be pasted alone: it imports and makes what it uses.
PAGES = [ROOT / page for page in dict.fromkeys(re.findall(r"\]\((docs/\w+\.md)\)", README))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
BLOCKS = {
    page.name: BLOCK.findall(page.read_text(encoding="utf-8"))
    for page in (ROOT / "README.md", *PAGES)
}
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *PAGES))

# Runs a page's blocks of Python in order, in one namespace. Blocks with prompts are doctests. In
# the README, where code is copied as it stands, there are no prompts, and lines that begin with
# "# " are what the block prints.
RUN_BLOCKS = """
import contextlib, doctest, io, json, sys

page, names = sys.argv[1], {"__name__": "page"}
runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
for number, block in enumerate(json.load(sys.stdin), start=1):
    where = f"python block {number} of {page}"
    if block.startswith(">>>"):
        test = doctest.DocTestParser().get_doctest(block, {}, where, page, 0)
        test.globs = names  # not a copy of them: functions see names of later blocks
        runner.run(test, clear_globs=False)
    else:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(block, where, "exec"), names)
        shown = [line[2:] for line in block.splitlines() if line.startswith("# ")]
        if page == "README.md" and printed.getvalue().splitlines() != shown:
            sys.exit(f"{where} prints\\n{printed.getvalue()}")
sys.exit(runner.summarize().failed > 0)
"""
PYTHON = {
    page: [text for fence, text in found if fence == "python"]
    for page, found in BLOCKS.items()
    if "python" in dict(found)
}


def blocks(language: str) -> list[str]:
    return [text for page in BLOCKS.values() for fence, text in page if fence == language]


def run(command: list[str], folder: Path, text_in: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | quick_environment() | SETTINGS,
        input=text_in,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def commands(block: str) -> list[tuple[str, str]]:
    """Split a console block into its commands and what each prints."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)
    assert parts[0] == "", "a console block begins with a command"
    return [
        (command, output) for command, _, output in (part.partition("\n") for part in parts[1:])
    ]


def test_every_block_is_of_a_kind_that_is_tested():
    kinds = {fence for page in BLOCKS.values() for fence, _ in page}
    assert kinds == {"bash", "console", "python", "r"}  # R is shown beside Python, and not run


def test_two_set_up_commands_of_one_line():
    assert [block.count("\n") for block in blocks("bash")] == [1, 1]


def copied(block: str) -> list[str]:
    """Return the lines that the site's button copies from a block with prompts."""
    return [line[4:] for line in block.splitlines() if line.startswith((">>>", "..."))]


@pytest.mark.parametrize("page", PYTHON)
def test_copied_code_can_be_pasted_at_a_prompt(page):
    """A prompt of Python ends a loop or a function only at an empty line."""
    for block in PYTHON[page]:
        if not block.startswith(">>>"):
            continue
        waiting: list[str] = []
        for line in copied(block):
            waiting.append(line)
            if code.compile_command("\n".join(waiting), symbol="single"):
                waiting = []
        assert not waiting, block


def test_readme_is_short():
    assert len(README.splitlines()) <= 200


def test_pictures_are_there():
    for page in (ROOT / "README.md", *PAGES):
        pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
        assert pictures or page.name != "README.md"
        for picture in pictures:
            assert (page.parent / picture).is_file(), picture


@pytest.mark.parametrize("page", PYTHON)
def test_python_recipes(tmp_path, page):
    for name in re.findall(r"import (jax|dask|optax|pandas|torch)\b", "".join(PYTHON[page])):
        pytest.importorskip(name, reason=f"the page {page} imports {name}")
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "examples" / "data")
    command = [sys.executable, "-W", "error", "-c", RUN_BLOCKS, page]
    done = run(command, tmp_path, json.dumps(PYTHON[page]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(("command", "output"), [c for b in blocks("console") for c in commands(b)])
def test_console_recipes(tmp_path, command, output):
    pytest.importorskip("typer", reason="the command line needs the extra cli")
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "examples" / "data")
    program, *arguments = shlex.split(command)
    assert program == "estep-xp"
    done = run([sys.executable, "-m", "estep_xp", *arguments], tmp_path)
    assert done.stdout + done.stderr == output


def test_table_of_accelerated_fits():
    """Iterations may differ by a few between processors; what the table shows may not."""
    datasets = pytest.importorskip("sklearn.datasets")
    geyser = np.loadtxt(ROOT / "examples/data/faithful.csv", delimiter=",", skiprows=1)
    data = {
        "Old Faithful": geyser,
        "Old Faithful waiting times": geyser[:, 1],
        "galaxies": np.loadtxt(ROOT / "examples/data/galaxies.csv", skiprows=1),
        "iris": datasets.load_iris().data,
        "wine": datasets.load_wine().data,
    }
    families = {"full": ex.FullGaussian, "univariate": ex.UnivariateGaussian}
    rows = re.findall(r"^\| ([\w ]+), (\d) (\w+) ((?:\| \d+ ){4})\|$", TEXT, re.MULTILINE)
    assert {name for name, *_ in rows} == set(data)
    for name, k, family, counts in rows:
        start = ex.initialize(data[name], int(k), families[family], method="k-means++")
        settings = [{"tol": tol, "accelerate": fast} for tol in (1e-6, 1e-10) for fast in (0, 1)]
        fits = [ex.fit(data[name], start, **setting) for setting in settings]
        assert [fit.n_iter for fit in fits] == pytest.approx(
            [int(count) for count in counts.split("|")[1:]], abs=2, rel=0.05
        )


def textbook(x, weights, means, variances):
    """Densities over their sum."""
    with np.errstate(all="ignore"):
        factors = np.exp(-((x[:, None] - means) ** 2) / (2 * variances))
        densities = weights * np.prod(factors / np.sqrt(2 * np.pi * variances), axis=2)
        return densities / densities.sum(axis=1, keepdims=True)


# Rows of the table of failures: two components each, one row of x.
FAILURES = {
    "x = 100 in the mixture above": {
        "weights": np.asarray([0.45, 0.55]),
        "means": np.asarray([[2.0], [6.0]]),
        "variances": np.asarray([[1.0], [1.5]]),
        "x": np.asarray([[100.0]]),
    },
    "70 features of variance 1e-10": {
        "weights": np.asarray([0.5, 0.5]),
        "means": np.repeat([[1.0], [2.0]], 70, axis=1),
        "variances": np.full((2, 70), 1e-10),
        "x": np.ones((1, 70)),
    },
    "float32, two clusters of variance 1 at (10000, 10000)": {
        "weights": np.asarray([0.5, 0.5], np.float32),
        "means": np.repeat(np.asarray([[10000], [10006]], np.float32), 2, axis=1),
        "variances": np.ones((2, 2), np.float32),
        "x": np.full((1, 2), 10002, np.float32),
    },
}


@pytest.mark.parametrize("beginning", FAILURES)
def test_table_of_failures(beginning):
    (line,) = [line for line in TEXT.splitlines() if line.startswith(f"| {beginning}")]
    *_, usual, here = line.strip("| ").split(" | ")
    x, weights, means, variances = (
        FAILURES[beginning][name] for name in ("x", "weights", "means", "variances")
    )
    step = ex.e_step(x, ex.Mixture(weights, ex.DiagonalGaussian(means, variances)))
    first, second = (f"{r:.6g}" for r in step.responsibilities[0])
    if usual.startswith("NaN"):
        assert np.isnan(textbook(x, weights, means, variances)).any()
        total = f"{step.total_log_likelihood:.4f}".replace("-", "−")
        assert here == f"{first} and {second}, log-likelihood {total}"
    else:
        assert here == f"{first}, the true value"
        assert first == f"{1 / (1 + np.exp(4 - 16)):.6g}"
