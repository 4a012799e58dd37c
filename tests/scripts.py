"""Examples run as a user runs them, and the numbers that they print."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.quick_xla import quick_environment

EXAMPLES = Path(__file__).parent.parent / "examples"
SETTINGS = {"PYTHONPATH": str(EXAMPLES.parent), "JAX_PLATFORMS": "cpu"}


def needs(module: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


needs_jax = needs("jax")


def run(script: str, folder: Path, *arguments: str) -> list[str]:
    """Run an example far from its folder, warnings as errors, and return the lines it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / script), *arguments],
        cwd=folder,
        env=os.environ | quick_environment() | SETTINGS,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


@functools.cache
def imported(script: str) -> ModuleType:
    """Import an example that has functions to test by themselves: once, for JAX to compile once."""
    spec = importlib.util.spec_from_file_location(script, EXAMPLES / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers(lines: list[str], beginning: str) -> list[float]:
    """Numbers of the one line that begins so."""
    (line,) = [line for line in lines if line.startswith(beginning)]
    return [float(word) for word in re.findall(r"-?\d+\.?\d*(?:e[-+]\d+)?", line[len(beginning) :])]
