"""Each example runs as a user runs it, and prints what independent formulas give."""

from __future__ import annotations

import os

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from tests.scripts import EXAMPLES, imported, needs, needs_jax, numbers, run


def geyser() -> np.ndarray:
    return np.loadtxt(EXAMPLES / "data" / "faithful.csv", delimiter=",", skiprows=1)


def waiting() -> np.ndarray:
    return geyser()[:, 1]


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
    x: np.ndarray,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    n_iter: int,
    kept: np.ndarray | float = 1.0,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Run EM as the textbooks have it; returns the log-likelihood, the weights and the means.

    Covariances are multiplied by `kept`: the identity keeps variances only.
    """
    for i in range(n_iter + 1):
        densities = [
            stats.multivariate_normal(mean, covariance).logpdf(x)
            for mean, covariance in zip(means, covariances, strict=True)
        ]
        joint = log_joint(weights, densities)
        if i < n_iter:
            r = responsibilities(joint)
            weights, means = r.mean(axis=0), r.T @ x / r.sum(axis=0)[:, None]
            covariances = [kept * np.cov(x.T, aweights=column, ddof=0) for column in r.T]
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


def forward_backward(b: np.ndarray, pi: np.ndarray, a: np.ndarray) -> tuple:
    """Rabiner's recursions with scaling: log-likelihood, posteriors, expected transitions."""
    alpha, scale = [pi * b[0]], []
    for row in [*b[1:], None]:
        scale.append(alpha[-1].sum())
        alpha[-1] = alpha[-1] / scale[-1]
        if row is not None:
            alpha.append(alpha[-1] @ a * row)
    beta = [np.ones(len(pi))]
    for row, c in zip(b[:0:-1], scale[:0:-1], strict=True):
        beta.insert(0, a @ (row * beta[0]) / c)
    alpha, beta, scale = map(np.asarray, (alpha, beta, scale))
    pairs = a * (alpha[:-1].T @ (b[1:] * beta[1:] / scale[1:, None]))
    return np.log(scale).sum(), alpha * beta, pairs


@needs_jax
def test_hidden_markov(tmp_path):
    """Baum and Welch's algorithm by hand comes to the same chain."""
    lines = run("hidden_markov.py", tmp_path)
    x = geyser()[:, 0]
    pi, a = np.asarray([0.5, 0.5]), np.asarray([[0.5, 0.5], [0.5, 0.5]])
    means, variances = np.asarray([2.0, 4.0]), np.asarray([0.5, 0.5])
    for _ in range(200):
        b = stats.norm.pdf(x[:, None], means, np.sqrt(variances))
        total, r, pairs = forward_backward(b, pi, a)
        pi, a = r[0], pairs / pairs.sum(1, keepdims=True)
        means = x @ r / r.sum(0)
        variances = ((x[:, None] - means) ** 2 * r).sum(0) / r.sum(0) + 1e-6 * x.var()
    (em,) = numbers(lines, "EM: log-likelihood")
    assert em == pytest.approx(total, abs=2e-4)
    assert numbers(lines, "EM: transitions") == pytest.approx(a.ravel(), abs=2e-4)
    _, chain = numbers(lines, "BIC: mixture")
    assert chain == pytest.approx(7 * np.log(len(x)) - 2 * total, abs=2e-2)
    (path,) = [line.removeprefix("Viterbi: ") for line in lines if line.startswith("Viterbi")]
    assert path == "".join("SL"[label] for label in r.argmax(1)[:40])
    ahead = [(r[-1] @ np.linalg.matrix_power(a, step))[0] for step in (1, 2, 3)]
    assert numbers(lines, "next: short with probability") == pytest.approx(ahead, abs=2e-4)
    heights = numbers(lines, "ascent: log-likelihood")
    assert heights == sorted(heights)
    assert total - 0.5 < heights[-1] < total
    assert numbers(lines, "ascent: transitions") == pytest.approx(a.ravel(), abs=2e-3)


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


@needs("dask")
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


def geyser_by_em(n_iter: int, kept: np.ndarray | float = 1.0) -> tuple:
    """EM of two components on Old Faithful's eruptions, from short and long waits."""
    x = geyser()
    parts = [x[x[:, 1] < 68], x[x[:, 1] >= 68]]
    means = np.stack([part.mean(axis=0) for part in parts])
    covariances = kept * np.stack([np.cov(part.T) for part in parts])
    return textbook_em(x, np.asarray([0.5, 0.5]), means, covariances, n_iter, kept)


@needs_jax
def test_multi_device(tmp_path):
    lines = run("multi_device.py", tmp_path)
    assert numbers(lines, "x:") == [272, 2, 8, 34, 2]
    assert numbers(lines, "responsibilities:") == [272, 2, 8, 34, 2]
    assert numbers(lines, "log_likelihood:") == [272, 8, 34]
    assert "e_step exchanges: none" in lines
    assert "expected_statistics exchanges: all-reduce" in lines

    total, weights, means = geyser_by_em(n_iter=40)
    for name in ("eight devices", "one device"):
        log_likelihood, n_iter = numbers(lines, f"{name}: log-likelihood")
        assert log_likelihood == pytest.approx(total, abs=272 * 1e-6)
        assert 0 < n_iter < 40
        assert sorted(numbers(lines, f"{name}: weights")) == pytest.approx(weights, abs=1e-4)
        assert sorted(numbers(lines, f"{name}: mean waits")) == pytest.approx(means[:, 1], abs=1e-3)


@needs("optax")
def test_optax_fit(tmp_path):
    lines = run("optax_fit.py", tmp_path)
    total, weights, means = geyser_by_em(n_iter=60)
    assert numbers(lines, "start: log-likelihood")[0] < total - 100
    for name in ("L-BFGS", "EM"):
        assert numbers(lines, f"{name}: log-likelihood")[0] == pytest.approx(total, abs=1e-4)
        assert sorted(numbers(lines, f"{name}: weights")) == pytest.approx(weights, abs=1e-3)
        assert sorted(numbers(lines, f"{name}: mean waits")) == pytest.approx(means[:, 1], abs=0.02)


@needs("equinox")
def test_equinox_layer(tmp_path):
    lines = run("equinox_layer.py", tmp_path)
    script = imported("equinox_layer")
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from jax.scipy.special import logsumexp
    from jax.scipy.stats import norm

    model = script.initial_model()

    def plain_loss(model):
        """Minus the mean log-likelihood by its formula."""
        weights = jax.nn.log_softmax(jax.vmap(lambda t: model.network(t[None]))(script.durations))
        means, log_variances = model.components
        densities = norm.logpdf(script.waits[:, None], means, jnp.exp(0.5 * log_variances))
        return -logsumexp(weights + densities, axis=1).mean()

    value, expected = eqx.filter_jit(eqx.filter_value_and_grad(plain_loss))(model)
    gradient = eqx.filter_jit(eqx.filter_grad(script.loss))(model)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), gradient, expected
    )
    parts = expected.network, expected.components
    for name, part in zip(("network", "components"), parts, strict=True):
        leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(part)]
        (length,) = numbers(lines, f"gradient by the {name}:")
        assert length == pytest.approx(np.linalg.norm(np.concatenate(leaves)), abs=1e-6)
        assert length > 0.01

    (before,) = numbers(lines, "before training: log-likelihood")
    _, after = numbers(lines, "after ")
    (still,) = numbers(lines, "same weights for all rows: log-likelihood")
    assert before == pytest.approx(-272 * float(value), abs=1e-4)
    # What a duration tells of the next wait is worth more than a nat for two rows.
    assert after > still + 136 > before
    means = numbers(lines, "means")
    assert sorted(means) == pytest.approx([54.5, 79.9], abs=0.5)
    short, long = np.argmin(means), np.argmax(means)
    assert numbers(lines, "weights at quantile 0.1:")[short] > 0.9
    assert numbers(lines, "weights at quantile 0.9:")[long] > 0.9


@needs("numpyro")
def test_numpyro_factor(tmp_path):
    lines = run("numpyro_factor.py", tmp_path)
    x = waiting()
    for name in ("weights", "means", "deviations"):
        mode, mean, deviation = (
            np.asarray(numbers(lines, f"{name}: {what}"))
            for what in ("most likely", "posterior mean", "posterior deviation")
        )
        # Near, in posterior deviations; these are near the standard errors, and not far too narrow.
        assert (np.abs(mean - mode) < 0.5 * deviation).all()
        assert (deviation > 0.01 * mode.max() / np.sqrt(len(x))).all()
    weights, means, deviations = (
        np.asarray(numbers(lines, f"{name}: most likely"))
        for name in ("weights", "means", "deviations")
    )
    joint = gaussian(x, list(weights), list(means), list(deviations**2))
    r = responsibilities(joint)
    assert weights == pytest.approx(r.mean(axis=0), abs=1e-3)
    assert means == pytest.approx(r.T @ x / r.sum(axis=0), abs=1e-3)


@needs("torch")
def test_torch_autograd(tmp_path):
    lines = run("torch_autograd.py", tmp_path)
    total, weights, means = geyser_by_em(n_iter=100, kept=np.eye(2))
    assert numbers(lines, "start: log-likelihood")[0] < total - 100
    assert all(slope != 0 for slope in numbers(lines, "gradient by the mean waits"))
    for name in ("L-BFGS", "EM"):
        assert numbers(lines, f"{name}: log-likelihood")[0] == pytest.approx(total, abs=1e-4)
        assert sorted(numbers(lines, f"{name}: weights")) == pytest.approx(weights, abs=1e-3)
        assert sorted(numbers(lines, f"{name}: mean waits")) == pytest.approx(means[:, 1], abs=0.02)


@needs("sklearn")
@needs("matplotlib")
def test_drifting_stream(tmp_path):
    lines = run("drifting_stream.py", tmp_path, "drift.png")
    (following,) = numbers(lines, "following, step size 0.1: means are off by")
    (averaging,) = numbers(lines, "step size t ** -0.6: by")
    assert following < 0.75 * averaging
    assert (tmp_path / "drift.png").stat().st_size > 10_000
