"""The command `fit` on Old Faithful and on a large file: for tests."""

from __future__ import annotations

import numpy as np

from tests.commands import (
    FAITHFUL,
    succeed,
)

GEYSER = np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)
FULL = ("--components", "2", "--family", "full")


def fit(folder, *arguments, data=FAITHFUL, output="model.json", **options):
    """Fit two full components, or what the arguments say, and return the model's bytes."""
    path = folder / output
    defaults = () if "--family" in arguments else FULL
    succeed("fit", str(data), *defaults, *arguments, "--output", str(path), **options)
    return path.read_bytes()


def write_large_data(folder):
    """Write a file of so many rows that threads share them, and return its path."""
    rng = np.random.default_rng(3)
    centres = rng.normal(scale=4, size=(5, 4))
    x = centres[rng.integers(0, 5, size=60_000)] + rng.normal(size=(60_000, 4))
    path = folder / "data.npy"
    np.save(path, x)
    return path
