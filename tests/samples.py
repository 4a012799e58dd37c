"""Real data, and what is fitted to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn.datasets import load_iris, load_wine

import estep_xp as ex
from tests.records import GAUSSIANS

EXAMPLES = Path(__file__).parents[1] / "examples" / "data"


class Sample(NamedTuple):
    """Real data, and what is fitted to them."""

    name: str
    x: Any
    k: int
    record: Any

    def start(self):
        return ex.initialize(self.x, self.k, self.record.family, method="k-means++")

    @property
    def rows(self):
        return np.reshape(self.x, (len(self.x), -1))


def samples():
    faithful = np.loadtxt(EXAMPLES / "faithful.csv", delimiter=",", skiprows=1)
    galaxies = np.loadtxt(EXAMPLES / "galaxies.csv", skiprows=1)
    data = {
        "faithful": (faithful, 2),
        "waiting": (faithful[:, 1], 2),
        "galaxies": (galaxies, 3),
        "iris": (load_iris().data, 3),
        "wine": (load_wine().data, 3),
    }
    for name, (x, k) in data.items():
        for record in GAUSSIANS:
            if record.univariate == (x.ndim == 1):
                yield Sample(name, x, k, record)


SAMPLES = list(samples())
real_data = pytest.mark.parametrize(
    "sample", SAMPLES, ids=lambda sample: f"{sample.name}-{sample.record.name}"
)
