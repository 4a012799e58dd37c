"""What starts are measured on: data to fit, simulated and real, and the family to fit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

DATA = Path(__file__).parents[2] / "examples" / "data"


class StartProblem(NamedTuple):
    """Data, a family, and a number of components."""

    kind: str  # "simulated" or "real"
    name: str
    family: str
    k: int
    rows: Callable[[], tuple[np.ndarray, np.ndarray | None]]  # x, and labels where they are known


def simulated(
    n: int,
    d: int,
    k: int,
    *,
    family: str = "full",
    spread: float = 6.0,
    weights: str = "equal",
    elongation: float = 1.0,
    sizes: float = 1.0,
    scales: float = 1.0,
    degrees: float = np.inf,
    noise: float = 0.0,
    seed: int = 0,
) -> StartProblem:
    """Clusters with means of deviation `spread`, in a few kinds of difficulty."""
    options = {
        "spread": (spread, 6.0),
        "weights": (weights, "equal"),
        "elongation": (elongation, 1.0),
        "sizes": (sizes, 1.0),
        "scales": (scales, 1.0),
        "degrees": (degrees, np.inf),
        "noise": (noise, 0.0),
    }
    said = [
        f"{name}={value:g}" if isinstance(value, float) else f"{value} {name}"
        for name, (value, usual) in options.items()
        if value != usual
    ]
    name = ", ".join([family, f"n={n}", f"d={d}", f"k={k}", *said, f"#{seed}"])

    def rows() -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([seed, n, d, k])
        shares = np.full(k, 1 / k) if weights == "equal" else rng.dirichlet(np.full(k, 1.5))
        shares = (shares + 0.02) / (shares + 0.02).sum()
        labels = rng.choice(k, n, p=shares)
        means = 3**0.5 * spread * rng.uniform(-1.0, 1.0, (k, d))
        stretch = np.geomspace(1.0, elongation, d) / elongation**0.5
        rotations = np.linalg.qr(rng.standard_normal((k, d, d)))[0]
        size = np.exp(rng.uniform(-np.log(sizes), np.log(sizes), k))
        noises = rng.standard_normal((n, d))
        if np.isfinite(degrees):
            noises /= np.sqrt(rng.chisquare(degrees, n) / degrees)[:, None]
        turned = np.einsum("nd,nde->ne", noises * stretch, rotations[labels])
        x = means[labels] + size[labels, None] * turned
        strays = rng.random(n) < noise
        low, high = x.min(axis=0), x.max(axis=0)
        x[strays] = rng.uniform(low, high, (int(strays.sum()), d))
        x *= np.geomspace(1.0, scales, d)
        return (x[:, 0] if family == "univariate" else x), labels

    return StartProblem("simulated", name, family, k, rows)


SIMULATED = (
    simulated(300, 2, 3),
    *(simulated(1000, 2, 5, seed=seed) for seed in range(4)),
    *(simulated(1000, 8, 10, seed=seed) for seed in range(4)),
    *(simulated(2000, 4, 15, seed=seed) for seed in range(3)),
    simulated(500, 10, 4),
    simulated(5000, 8, 10, spread=3.0),
    simulated(3000, 2, 20, spread=12.0),
    simulated(2000, 3, 25, spread=10.0),
    simulated(20_000, 4, 8),
    *(simulated(1000, 3, 6, weights="unequal", seed=seed) for seed in range(3)),
    simulated(2000, 8, 8, weights="unequal", spread=3.0),
    simulated(1000, 2, 4, weights="unequal", sizes=3.0),
    *(simulated(1500, 3, 5, sizes=4.0, seed=seed) for seed in range(2)),
    *(simulated(1500, 5, 5, spread=2.0, seed=seed) for seed in range(2)),
    simulated(1000, 2, 3, spread=2.5),
    simulated(2000, 8, 5, spread=1.5),
    *(simulated(1000, 2, 4, elongation=50.0, seed=seed) for seed in range(4)),
    *(simulated(1000, 2, 4, elongation=10.0, spread=4.0, seed=seed) for seed in range(2)),
    simulated(1500, 5, 6, elongation=20.0),
    simulated(2000, 8, 6, elongation=20.0, weights="unequal"),
    simulated(1000, 2, 5, scales=1e3),
    simulated(1000, 6, 6, scales=1e4, spread=4.0),
    simulated(1000, 3, 4, degrees=4.0),
    simulated(1500, 2, 3, degrees=5.0),
    simulated(1000, 2, 5, noise=0.05),
    simulated(1500, 4, 6, noise=0.1),
    *(simulated(1000, 2, 5, family="diagonal", seed=seed) for seed in range(2)),
    simulated(2000, 10, 10, family="diagonal", weights="unequal", spread=3.0),
    simulated(1500, 16, 12, family="diagonal", spread=3.0),
    *(simulated(1000, 2, 5, family="spherical", seed=seed) for seed in range(2)),
    simulated(2000, 8, 12, family="spherical", sizes=2.0),
    *(simulated(1000, 2, 5, family="tied", seed=seed) for seed in range(2)),
    simulated(2000, 6, 10, family="tied", spread=4.0),
    simulated(1000, 1, 3, family="univariate"),
    simulated(2000, 1, 5, family="univariate", spread=12.0),
    simulated(1000, 1, 4, family="univariate", weights="unequal", spread=9.0),
)


def real(name: str, family: str, k: int) -> StartProblem:
    """Data that everybody knows."""
    return StartProblem("real", f"{family}, {name}, k={k}", family, k, lambda: (_data(name), None))


@functools.cache
def _data(name: str) -> np.ndarray:
    from sklearn import datasets
    from sklearn.decomposition import PCA

    if name in ("faithful", "waiting"):
        x = np.loadtxt(DATA / "faithful.csv", delimiter=",", skiprows=1)
        return x if name == "faithful" else x[:, 1]
    if name == "galaxies":
        return np.loadtxt(DATA / "galaxies.csv", skiprows=1)
    if name == "digits":
        x = datasets.load_digits().data
        return PCA(10, random_state=0).fit_transform(x)
    x = getattr(datasets, f"load_{name}")().data
    return x[:, :10] if name == "breast_cancer" else x


REAL = (
    real("faithful", "full", 2),
    real("faithful", "full", 3),
    real("faithful", "diagonal", 3),
    real("waiting", "univariate", 2),
    real("galaxies", "univariate", 3),
    real("galaxies", "univariate", 4),
    real("iris", "full", 3),
    real("iris", "diagonal", 3),
    real("iris", "spherical", 3),
    real("iris", "tied", 3),
    real("iris", "tied", 4),
    real("wine", "diagonal", 3),
    real("wine", "tied", 3),
    real("wine", "spherical", 4),
    real("breast_cancer", "full", 2),
    real("breast_cancer", "diagonal", 3),
    real("digits", "full", 10),
    real("digits", "tied", 10),
)

PROBLEMS = SIMULATED + REAL
