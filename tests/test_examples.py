"""Each example runs as a user runs it, and prints what independent formulas give."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

EXAMPLES = Path(__file__).parent.parent / "examples"
needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed"
)


def run(script: str, folder: Path) -> list[str]:
    """Run an example far from its folder, warnings as errors, and return the lines it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / script)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(EXAMPLES.parent), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def numbers(lines: list[str], beginning: str) -> list[float]:
    """Numbers of the one line that begins so."""
    (line,) = [line for line in lines if line.startswith(beginning)]
    return [float(word) for word in re.findall(r"-?\d+\.?\d*(?:e[-+]\d+)?", line[len(beginning) :])]


def waiting() -> np.ndarray:
    return np.loadtxt(EXAMPLES / "data" / "faithful.csv", delimiter=",", skiprows=1, usecols=1)


def log_joint(weights: list[float], log_densities: list[np.ndarray]) -> np.ndarray:
    return np.log(weights) + np.stack(log_densities, axis=1)


def gaussian(x: np.ndarray, weights: list, means: list, variances: list) -> np.ndarray:
    densities = [
        stats.norm.logpdf(x, mean, np.sqrt(variance))
        for mean, variance in zip(means, variances, strict=True)
    ]
    return log_joint(weights, densities)


def responsibilities(joint: np.ndarray) -> np.ndarray:
    return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))


def test_numpy_script(tmp_path):
    lines = run("numpy_script.py", tmp_path)
    joint = gaussian(waiting(), [0.36, 0.64], [54.6, 80.1], [34.5, 34.4])
    expected = responsibilities(joint)

    table = [[float(word) for word in line.split()] for line in lines[1:7]]
    for i, (x, short, long, label) in enumerate(table):
        assert x == waiting()[i]
        np.testing.assert_allclose([short, long], expected[i], rtol=0, atol=5.1e-7)
        assert label == np.argmax(expected[i])
    assert numbers(lines, "rows per label:") == list(np.bincount(np.argmax(expected, axis=1)))
    (mean_max,) = numbers(lines, "average max responsibility:")
    assert mean_max == pytest.approx(expected.max(axis=1).mean(), abs=5.1e-7)
    (total,) = numbers(lines, "log-likelihood:")
    assert total == pytest.approx(logsumexp(joint, axis=1).sum(), abs=5.1e-7)
    (unsure,) = numbers(lines, "least certain: a wait of")
    assert unsure == waiting()[np.argmin(expected.max(axis=1))]


@needs_jax
def test_jax_transformations(tmp_path):
    lines = run("jax_transformations.py", tmp_path)
    x = waiting()

    def total(short: float, long: float) -> float:
        joint = gaussian(x, [0.36, 0.64], [short, long], [34.5, 34.4])
        return logsumexp(joint, axis=1).sum()

    assert numbers(lines, "jit: log-likelihood") == pytest.approx([total(54.6, 80.1)], abs=1e-6)
    assert numbers(lines, "vmap: log-likelihoods") == pytest.approx(
        [total(50, 80), total(55, 80), total(60, 80)], abs=1e-6
    )
    # Fisher's identity: the gradient by a mean is the weighted sum of the residuals.
    joint = gaussian(x, [0.36, 0.64], [55, 80], [34.5, 34.4])
    weighted = responsibilities(joint) * (x[:, None] - [55, 80]) / [34.5, 34.4]
    assert numbers(lines, "grad: by the means") == pytest.approx(weighted.sum(axis=0), abs=1e-6)

    # EM as the textbooks have it climbs to the same place from the same start.
    centre, scale = x.mean(), x.std()
    weights, means = np.asarray([0.5, 0.5]), centre + scale * np.asarray([-1.0, 1.0])
    variances = np.full(2, scale**2)
    first = logsumexp(gaussian(x, weights, means, variances), axis=1).sum()
    for _ in range(200):
        joint = gaussian(x, weights, means, variances)
        r = responsibilities(joint)
        counts = r.sum(axis=0)
        weights, means = counts / len(x), r.T @ x / counts
        variances = (r * (x[:, None] - means) ** 2).sum(axis=0) / counts
    last = logsumexp(joint, axis=1).sum()

    history = numbers(lines, "ascent: log-likelihood")
    assert history[0] == pytest.approx(first, abs=1e-6)
    assert history == sorted(history)
    assert history[-1] == pytest.approx(last, abs=2e-6)
    assert numbers(lines, "ascent: weights") == pytest.approx(weights, abs=1e-4)
    assert numbers(lines, "ascent: means") == pytest.approx(means, abs=1e-3)


@needs_jax
def test_own_family(tmp_path):
    lines = run("own_family.py", tmp_path)
    x = np.asarray([-1.0, 0.5, 2.0, 7.0, 60.0])
    locations, scales = np.asarray([0.0, 5.0]), np.asarray([1.0, 2.0])
    densities = [stats.laplace.logpdf(x, *pair) for pair in zip(locations, scales, strict=True)]
    joint = log_joint([0.3, 0.7], densities)
    r = responsibilities(joint)

    assert numbers(lines, "first component:") == pytest.approx(r[:, 0], rel=1e-6)
    (total,) = numbers(lines, "log-likelihood:")
    assert total == pytest.approx(logsumexp(joint, axis=1).sum(), abs=5.1e-7)

    residuals = x[:, None] - locations
    by_locations = (r * np.sign(residuals) / scales).sum(axis=0)
    by_scales = (r * (np.abs(residuals) / scales - 1) / scales).sum(axis=0)
    assert numbers(lines, "gradient by locations:") == pytest.approx(by_locations, abs=1e-6)
    assert numbers(lines, "gradient by scales:") == pytest.approx(by_scales, abs=1e-6)
