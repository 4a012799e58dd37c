"""Each example runs as a user runs it, and prints what independent formulas give."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import mpmath
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

EXAMPLES = Path(__file__).parent.parent / "examples"


def needs(module: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


needs_jax = needs("jax")


def run(script: str, folder: Path, *arguments: str) -> list[str]:
    """Run an example far from its folder, warnings as errors, and return the lines it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / script), *arguments],
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


# GradBench's objective, twice: as its text has it, in 50 digits, and as JAX users write it.


def gradbench_exactly(alphas, means, icf, x, gamma, m):
    """The objective by its definition, of lists of mpmath numbers."""
    d, k, n = len(means[0]), len(means), len(x)

    def logarithm_of_sum(terms):
        return mpmath.log(sum(map(mpmath.exp, terms)))

    total = -n * d * mpmath.log(2 * mpmath.pi) / 2 - n * logarithm_of_sum(alphas)
    for row in x:
        terms = []
        for alpha, mean, numbers in zip(alphas, means, icf, strict=True):
            below = iter(numbers[d:])
            centred = [a - b for a, b in zip(row, mean, strict=True)]
            product = [mpmath.exp(q) * c for q, c in zip(numbers, centred, strict=False)]
            for column in range(d):
                for i in range(column + 1, d):
                    product[i] += next(below) * centred[column]
            terms.append(alpha + sum(numbers[:d]) - sum(p * p for p in product) / 2)
        total += logarithm_of_sum(terms)

    degrees = d + m + 1
    constant = degrees * d * mpmath.log(gamma / mpmath.sqrt(2))
    constant -= d * (d - 1) * mpmath.log(mpmath.pi) / 4
    constant -= sum(mpmath.loggamma(mpmath.mpf(degrees - j) / 2) for j in range(d))
    for numbers in icf:
        squares = [mpmath.exp(2 * q) for q in numbers[:d]] + [b * b for b in numbers[d:]]
        total += m * sum(numbers[:d]) - mpmath.mpf(gamma) ** 2 / 2 * sum(squares)
    return total + k * constant


def gradbench_plainly(alphas, means, icf, x, gamma, m):
    """The objective in the formulas that JAX's users write."""
    import jax.numpy as jnp
    from jax.scipy import special

    (n, d), k = x.shape, len(alphas)
    q, below = icf[:, :d], icf[:, d:]
    columns, rows = np.triu_indices(d, 1)
    factors = jnp.zeros((k, d, d)).at[:, rows, columns].set(below) + jnp.exp(q)[:, None] * np.eye(d)
    product = jnp.einsum("kij,nkj->nki", factors, x[:, None] - means)
    terms = alphas + q.sum(axis=1) - 0.5 * (product**2).sum(axis=2)
    constant = (d + m + 1) * d * jnp.log(gamma / jnp.sqrt(2.0))
    constant -= special.multigammaln(0.5 * (d + m + 1), d)
    prior = k * constant - 0.5 * gamma**2 * (factors**2).sum() + m * q.sum()
    sums = special.logsumexp(terms, axis=1).sum() - n * special.logsumexp(alphas)
    return sums - 0.5 * n * d * jnp.log(2 * jnp.pi) + prior


def gradbench_arguments(d: int, k: int, n: int, *, ill: bool) -> list[np.ndarray]:
    """Normal and uniform numbers; if ill, precision matrices of condition number 1e16."""
    random = np.random.default_rng([d, k, n])
    icf = random.standard_normal((k, d * (d + 1) // 2))
    if ill:
        icf[:, :d], icf[:, d:] = np.linspace(-9.21, 9.21, d), 0.1 * icf[:, d:]
        factors = np.zeros((k, d, d))
        factors[:, *np.tril_indices(d, -1)] = icf[:, d:]  # in whatever order: it is small
        factors += np.exp(icf[:, :d])[:, None] * np.eye(d)
        assert (np.linalg.cond(factors) > 0.9e8).all()  # its square is the precisions'
    return [
        random.standard_normal(k),
        random.random((k, d)),
        icf,
        random.standard_normal((n, d)),
    ]


def assert_gradients_agree(actual, expected):
    """Each number within 1e-9 of itself, or of a millionth of the largest beside it."""
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-15 * np.abs(other).max())


@functools.cache
def value_and_gradient_of(function):
    import jax

    return jax.jit(jax.value_and_grad(function, argnums=(0, 1, 2)))


@needs_jax
@pytest.mark.parametrize("ill", [False, True])
def test_gradbench_gmm_in_50_digits(ill):
    arguments = gradbench_arguments(d=3, k=3, n=6, ill=ill)
    differentiated = value_and_gradient_of(imported("gradbench_gmm").objective)
    value, gradient = differentiated(*arguments, 1.5, 2)

    with mpmath.workdps(50):
        shapes = [array.shape for array in arguments]
        flat = [mpmath.mpf(number) for array in arguments for number in array.ravel().tolist()]

        def of_flat(flat):
            found = iter(flat)
            vector, *matrices = (
                np.asarray([next(found) for _ in range(np.prod(shape))], object).reshape(shape)
                for shape in shapes
            )
            lists = [vector.tolist(), *(matrix.tolist() for matrix in matrices)]
            return gradbench_exactly(*lists, 1.5, 2)

        h = mpmath.mpf(10) ** -15

        def slope(i):
            ends = [of_flat([*flat[:i], flat[i] + step, *flat[i + 1 :]]) for step in (h, -h)]
            return (ends[0] - ends[1]) / (2 * h)

        free = sum(array.size for array in arguments[:3])
        slopes = np.asarray([float(slope(i)) for i in range(free)])
        assert float(value) == pytest.approx(float(of_flat(flat)), rel=1e-13)
    ends = np.cumsum([array.size for array in arguments[:2]])
    expected = [
        part.reshape(shape) for part, shape in zip(np.split(slopes, ends), shapes, strict=False)
    ]
    assert_gradients_agree(gradient, expected)


@needs_jax
@pytest.mark.parametrize(("d", "k"), [(2, 5), (12, 7)])
@pytest.mark.parametrize("ill", [False, True])
def test_gradbench_gmm_beside_plain_autodiff(d, k, ill):
    arguments = gradbench_arguments(d, k, 1000, ill=ill)
    functions = imported("gradbench_gmm").objective, gradbench_plainly
    ours, plain = (value_and_gradient_of(function)(*arguments, 1.0, 0) for function in functions)
    assert float(ours[0]) == pytest.approx(float(plain[0]), rel=1e-9)
    assert_gradients_agree(ours[1], plain[1])


@needs_jax
def test_gradbench_gmm(tmp_path):
    lines = run("gradbench_gmm.py", tmp_path, "2x5")
    script = imported("gradbench_gmm")
    *size, value, plain, with_gradient, ratio = map(float, lines[1].split())
    assert size == [2, 5]
    expected, _ = value_and_gradient_of(gradbench_plainly)(*script.instance(2, 5), 1.0, 0)
    assert value == pytest.approx(float(expected), abs=1e-5)
    assert ratio == pytest.approx(with_gradient / plain, rel=0.05)
    assert len(lines) == 2 + len(script.PUBLISHED)


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
