"""Measures errors of log-densities against 50 digits; prints a table, draws ``exactness.svg``.

One Gaussian of eight features whose deviations are about 1, rows around its mean, and the mean ever
farther from the origin. It needs mpmath and scikit-learn: ``python docs/pictures/exactness.py``.
"""

from __future__ import annotations

import matplotlib as mpl
import mpmath as mp
import numpy as np
from draw import COLOURS, INK, STYLE, save
from matplotlib.figure import Figure
from sklearn.mixture import GaussianMixture

import estep_xp as ex

D = 8
N_ROWS = 40
OFFSETS = {np.float64: 10.0 ** np.arange(9), np.float32: 10.0 ** np.arange(7)}
mp.mp.dps = 50


def exact_log_density(row: np.ndarray, mean: np.ndarray, factor: np.ndarray) -> mp.mpf:
    """The value for exactly these numbers, to 50 digits."""
    difference = [
        mp.mpf(float(value)) - mp.mpf(float(m)) for value, m in zip(row, mean, strict=True)
    ]
    squares = [
        mp.fsum(z * mp.mpf(float(p)) for z, p in zip(difference, column, strict=True)) ** 2
        for column in factor.T
    ]
    logs = [mp.log(mp.mpf(float(p))) for p in np.diagonal(factor)]
    return mp.fsum(logs) - mp.fsum(squares) / 2 - D * mp.log(2 * mp.pi) / 2


def log_density_of_scikit_learn(
    x: np.ndarray, mean: np.ndarray, factor: np.ndarray, kind: str
) -> np.ndarray:
    """Scikit-learn's `score_samples`, its parameters set by hand."""
    model = GaussianMixture(1, covariance_type=kind)
    model.weights_ = np.ones(1, x.dtype)
    model.means_ = mean[None]
    model.covariances_ = None
    model.precisions_cholesky_ = (np.diagonal(factor) if kind == "diag" else factor)[None]
    return model.score_samples(x)


def measure(dtype: type, offset: float, kind: str) -> tuple[float, float]:
    """Largest absolute error of estep_xp, and of scikit-learn."""
    rng = np.random.default_rng(0)
    factor = np.triu(rng.normal(size=(D, D)))
    np.fill_diagonal(factor, 2.0 ** np.round(np.abs(np.diagonal(factor))))  # exact variances
    if kind == "diag":
        factor = np.diag(np.diagonal(factor))
    factor = factor.astype(dtype)
    mean = (offset * (1 + rng.random(D))).astype(dtype)
    x = (mean + rng.normal(size=(N_ROWS, D))).astype(dtype)
    if kind == "diag":
        components = ex.DiagonalGaussian(mean[None], np.diagonal(factor)[None] ** -2)
    else:
        components = ex.FullGaussian(mean[None], factor[None])
    truth = [exact_log_density(row, mean, factor) for row in x]

    def largest_error(values: np.ndarray) -> float:
        return float(max(abs(mp.mpf(float(v)) - t) for v, t in zip(values, truth, strict=True)))

    ours = ex.log_density(x, ex.Mixture(np.ones(1, dtype), components))
    return largest_error(ours), largest_error(log_density_of_scikit_learn(x, mean, factor, kind))


def main() -> None:
    """Measure all, print the table, draw the picture."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for dtype, style in ((np.float64, "o-"), (np.float32, "s--")):
        errors = {}
        for kind, name in (("diag", "diagonal"), ("full", "full")):
            measured = np.array([measure(dtype, offset, kind) for offset in OFFSETS[dtype]])
            errors[f"estep_xp, {name}"], errors[f"scikit-learn, {name}"] = measured.T
        for (name, values), colour in zip(errors.items(), COLOURS, strict=False):
            label = f"{name}, {dtype.__name__}"
            axes.plot(OFFSETS[dtype], values, style, color=colour, markersize=4, label=label)
            shown = {offset: f"{v:.0e}" for offset, v in zip(OFFSETS[dtype], values, strict=True)}
            print(
                label, *(shown.get(offset, "") for offset in (1.0, 1e2, 1e4, 1e6, 1e8)), sep=" | "
            )
    axes.axhline(1.0, color=INK, linestyle=":")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="distance of the data from the origin, in deviations",
        ylabel="largest error of a log-density",
    )
    figure.legend(loc="outside right upper", fontsize=8)
    save(figure, "exactness")


if __name__ == "__main__":
    with mpl.rc_context(STYLE):
        main()
