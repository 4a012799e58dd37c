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
needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("dask") is None, reason="dask is not installed"
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


def textbook_em(
    x: np.ndarray, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray, n_iter: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """Run EM as the textbooks have it; returns the log-likelihood, the weights and the means."""
    for i in range(n_iter + 1):
        densities = [
            stats.multivariate_normal(mean, covariance).logpdf(x)
            for mean, covariance in zip(means, covariances, strict=True)
        ]
        joint = log_joint(weights, densities)
        if i < n_iter:
            r = responsibilities(joint)
            weights, means = r.mean(axis=0), r.T @ x / r.sum(axis=0)[:, None]
            covariances = [np.cov(x.T, aweights=column, ddof=0) for column in r.T]
    return logsumexp(joint, axis=1).sum(), weights, means


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


@needs_dask
def test_out_of_core(tmp_path):
    lines = run("out_of_core.py", tmp_path)
    n, d, chunk = 2_000_000, 4, 250_000
    far, chunks = np.asarray([5.0, 5.0, 0.0, 0.0]), []
    for start in range(0, n, chunk):
        random = np.random.default_rng([0, start])
        rows = random.standard_normal((chunk, d))
        chunks.append(rows + far * (random.random(chunk) < 1 / 3)[:, None])
    # From the truth, as near to the maximum as so many rows put it, a single step does.
    truth = np.asarray([1 / 3, 2 / 3]), np.stack([far, 0 * far]), np.stack([np.eye(d)] * 2)
    total, weights, means = textbook_em(np.concatenate(chunks), *truth, n_iter=1)

    assert numbers(lines, "data:") == [64]
    count, megabytes = numbers(lines, "statistics:")
    assert count == n
    workspace = 24 * max(2, len(os.sched_getaffinity(0)))  # MB for the blocks of all threads
    assert megabytes < workspace
    fits = [numbers(lines, f"{name}: log-likelihood") for name in ("memory map", "dask")]
    assert fits[0] == pytest.approx(fits[1], abs=1e-3)
    # It stops when a row gains less than 1e-6, all rows together 2.
    assert fits[0][0] == pytest.approx(total, abs=2)
    for name, limit in (("memory map", workspace), ("dask", 64 + workspace)):
        fitted = numbers(lines, f"{name}: weights")
        assert sorted(fitted) == pytest.approx(weights, abs=1e-4)
        fitted = numbers(lines, f"{name}: means of the first feature")
        assert sorted(fitted, reverse=True) == pytest.approx(means[:, 0], abs=1e-3)
        (megabytes,) = numbers(lines, f"{name}: at most")
        assert megabytes < limit


@needs_jax
def test_multi_device(tmp_path):
    lines = run("multi_device.py", tmp_path)
    assert numbers(lines, "x:") == [272, 2, 8, 34, 2]
    assert numbers(lines, "responsibilities:") == [272, 2, 8, 34, 2]
    assert numbers(lines, "log_likelihood:") == [272, 8, 34]
    assert "e_step exchanges: none" in lines
    assert "expected_statistics exchanges: all-reduce" in lines

    x = np.loadtxt(EXAMPLES / "data" / "faithful.csv", delimiter=",", skiprows=1)
    parts = [x[x[:, 1] < 68], x[x[:, 1] >= 68]]
    means = np.stack([part.mean(axis=0) for part in parts])
    covariances = np.stack([np.cov(part.T) for part in parts])
    total, weights, means = textbook_em(x, np.asarray([0.5, 0.5]), means, covariances, n_iter=40)
    for name in ("eight devices", "one device"):
        log_likelihood, n_iter = numbers(lines, f"{name}: log-likelihood")
        assert log_likelihood == pytest.approx(total, abs=272 * 1e-6)
        assert 0 < n_iter < 40
        assert sorted(numbers(lines, f"{name}: weights")) == pytest.approx(weights, abs=1e-4)
        assert sorted(numbers(lines, f"{name}: mean waits")) == pytest.approx(means[:, 1], abs=1e-3)
