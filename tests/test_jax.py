"""estep_xp.jax, and the derivatives of the log-likelihood in one pass, against plain formulas.

The plain formulas are einsum and logsumexp, differentiated by JAX; they share no code with the
library. Standard errors are held to closed forms and to a bootstrap.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import estep_xp as ex
from tests.records import FULL, UNIVARIATE, few_on_jax, gaussians_only
from tests.textbook import assert_trees_close, case_of, ours, plain, plain_rows

jax = pytest.importorskip("jax", reason="jax is not installed")
jnp = jax.numpy

import estep_xp.jax as ej  # noqa: E402
from estep_xp.execution.jax import blocks, ops  # noqa: E402

ROOT = Path(__file__).parent.parent
GEYSER = np.loadtxt(ROOT / "examples/data/faithful.csv", delimiter=",", skiprows=1)


# The log-likelihood's derivatives


def total_in_blocks(x, mixture, weight):
    return ex.log_likelihood(x, mixture, sample_weight=weight, block_size=700)


# Compiled once a family, for both offsets.
value_and_slopes = jax.jit(jax.value_and_grad(total_in_blocks, argnums=1))
every_slope = jax.jit(jax.grad(total_in_blocks, argnums=(0, 1, 2)))
plain_value_and_slopes = jax.jit(jax.value_and_grad(plain, argnums=(0, 1, 2)))


@few_on_jax
@gaussians_only
@pytest.mark.parametrize("offset", [0.0, 1e5], ids=["features", "residuals"])
def test_gradient_of_many_rows(record, offset):
    """Blocks with a rest, by either form of the densities, and by everything at once."""
    x, mixture = case_of(record, n=2500)
    x = x + offset
    moved = mixture.components._replace(means=mixture.components.means + offset)
    mixture = mixture._replace(components=moved)
    weight = jnp.asarray(np.random.default_rng(0).uniform(0, 2, len(x)))

    value, slopes = value_and_slopes(x, mixture, weight)
    expected = plain_value_and_slopes(x, mixture, weight)
    tolerance = 1e-9 if offset else 1e-11
    np.testing.assert_allclose(value, expected[0], rtol=1e-11)
    assert_trees_close(slopes, expected[1][1], tolerance, tolerance)
    every = every_slope(x, mixture, weight)
    assert_trees_close(every, expected[1], tolerance, tolerance)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_that_no_cache_holds(dtype, compiled):
    """Their densities are computed anew for each use; NumPy's are held to the oracle."""
    n = ops._BEYOND_CACHE
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 5, n - 6), [1e3, -1e3, 30, 0, 1.5, 1e6]]).astype(dtype)
    components = ex.UnivariateGaussian(
        np.asarray([0.0, 1e3, 3, 3], dtype), np.asarray([1, 1e-2, 0.5, 0.5], dtype)
    )
    mixture = ex.Mixture(np.asarray([0.5, 0, 0.2, 0.3], dtype), components)
    expected, total = ex.e_step(x, mixture), ex.log_likelihood(x, mixture)
    wrap = jax.jit if compiled else lambda function: function
    arguments = jax.tree.map(jnp.asarray, (x, mixture))
    actual = wrap(ex.e_step)(*arguments)
    eps = float(np.finfo(dtype).eps)
    largest = np.maximum(np.abs(expected.log_likelihood), 1.0)[:, None]
    likely = expected.responsibilities > np.finfo(dtype).smallest_normal
    error = np.abs(actual.responsibilities / np.where(likely, expected.responsibilities, 1.0) - 1)
    assert np.all(np.where(likely, error, 0.0) <= 40 * eps * (10.0 + 2.0 * largest))
    assert np.abs(np.sum(actual.responsibilities, axis=1) - 1).max() <= 20 * eps
    np.testing.assert_allclose(actual.log_likelihood, expected.log_likelihood, rtol=40 * eps)
    np.testing.assert_allclose(wrap(ex.log_likelihood)(*arguments), total, rtol=100 * eps)


@pytest.mark.parametrize("n", [1, 999, 1001, 10_000, 100_000, 1_000_003, 10**7])
def test_blocks_leave_no_rest_where_they_can(n):
    size = blocks._even_block_size(n, 3000)
    if n % size:
        assert size <= 3000
        assert size % 64 == 0
        assert all(n % rows for rows in range(2400, 3800, 8))
    else:
        assert size == n or 1800 <= size <= 4000


@few_on_jax
@gaussians_only
def test_second_derivatives(record):
    x, mixture = case_of(record)
    weight = jnp.asarray([0.5, 2.0, 1.0, 0.25, 1.5])
    second = [jax.jit(jax.hessian(f, argnums=(0, 1, 2))) for f in (ours, plain)]
    assert_trees_close(*(f(x, mixture, weight) for f in second))


def test_transformations():
    """Forward mode, batches inside and outside, rematerialisation, and a step of a scan."""
    x, mixture = case_of(FULL)
    batch = jnp.stack([x, 2 * x])
    direction = jax.tree.map(jnp.ones_like, mixture)
    for transformed in (
        lambda f: jax.jvp(lambda mixture: f(x, mixture), (mixture,), (direction,)),
        lambda f: jax.vmap(jax.grad(f, argnums=1), in_axes=(0, None))(batch, mixture),
        lambda f: jax.grad(lambda m: jax.vmap(f, in_axes=(0, None))(batch, m).sum())(mixture),
        lambda f: jax.grad(jax.checkpoint(f), argnums=1)(x, mixture),
        lambda f: jax.grad(lambda x: jax.lax.scan(lambda c, y: (c + f(y, mixture), 0), 0.0, x)[0])(
            batch
        ),
    ):
        assert_trees_close(*(jax.jit(lambda f=f, t=transformed: t(f))() for f in (ours, plain)))


def test_gradient_needs_no_memory_that_grows():
    """At a million rows: the gradient, and blocks of rows, but no array (n, k)."""
    n, d, k = 1_000_000, 8, 16
    x = jax.ShapeDtypeStruct((n, d), "float64")
    components = ex.FullGaussian(
        jax.ShapeDtypeStruct((k, d), "float64"), jax.ShapeDtypeStruct((k, d, d), "float64")
    )
    mixture = ex.Mixture(jax.ShapeDtypeStruct((k,), "float64"), components)
    gradient = jax.jit(jax.value_and_grad(ours, argnums=1))
    memory = gradient.lower(x, mixture).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 64e6


class Laplace(NamedTuple):
    locations: Any
    scales: Any
    power: Any = 1  # an integer, which nothing is differentiated by

    def log_prob(self, x):
        distance = jnp.abs(x[:, None] - self.locations) ** self.power
        return -distance / self.scales - jnp.log(2 * self.scales)


class Closed:
    """Components that are no pytree, and hold what is differentiated."""

    def __init__(self, laplace):
        self.log_prob = laplace.log_prob


def test_gradient_of_a_users_family():
    x = jnp.asarray(np.random.default_rng(0).standard_normal(1500))
    laplace = Laplace(jnp.asarray([0.0, 5.0]), jnp.asarray([1.0, 2.0]), jnp.asarray(1))
    weights = jnp.asarray([0.5, 1.5])

    def plain(x, weights, numbers):
        joint = laplace._replace(locations=numbers[0], scales=numbers[1]).log_prob(x)
        joint = joint + jnp.log(weights / weights.sum())
        return jax.scipy.special.logsumexp(joint, axis=1).sum()

    def open_to(x, weights, numbers):
        components = laplace._replace(locations=numbers[0], scales=numbers[1])
        return ex.log_likelihood(x, ex.Mixture(weights, components), block_size=400)

    def closed_to(x, weights, numbers):
        components = Closed(laplace._replace(locations=numbers[0], scales=numbers[1]))
        return ex.log_likelihood(x, ex.Mixture(weights, components))

    arguments = (x, weights, (laplace.locations, laplace.scales))
    expected = jax.jit(jax.grad(plain, argnums=(0, 1, 2)))(*arguments)
    for function in (open_to, closed_to):
        assert_trees_close(jax.jit(jax.grad(function, argnums=(0, 1, 2)))(*arguments), expected)


# Scores, information, standard errors


@few_on_jax
@gaussians_only
def test_scores(record):
    """A row each, which add up to the gradient."""
    x, mixture = case_of(record)
    actual = ej.scores(x, mixture, block_size=2)
    assert_trees_close(actual, jax.jit(jax.jacobian(plain_rows, argnums=1))(x, mixture))


@few_on_jax
@gaussians_only
def test_observed_information(record):
    """By weights but the last, means, and the second field; its triangles row by row."""
    x, mixture = case_of(record, n=40)
    weight = jnp.linspace(0.5, 2.0, len(x))
    shares = mixture.weights / mixture.weights.sum()
    means, second = mixture.components
    places = (..., *np.triu_indices(2)) if record.name in ("tied", "full") else ...
    sizes = np.cumsum([shares.size - 1, means.size])
    vector = jnp.concatenate([shares[:-1], means.ravel(), second[places].ravel()])

    def total(vector):
        shares, centres, entries = jnp.split(vector, sizes)
        field = second.at[places].set(entries.reshape(second[places].shape))
        components = record.family(centres.reshape(means.shape), field)
        weights = jnp.append(shares, 1 - shares.sum())
        return plain(x, ex.Mixture(weights, components), weight)

    actual = ej.observed_information(x, mixture, sample_weight=weight)
    assert_trees_close(actual, -jax.jit(jax.hessian(total))(vector))
    np.testing.assert_array_equal(actual, actual.T)


def test_standard_errors_of_one_component():
    """σ / √n of a mean, σ² √(2 / n) of a variance; of the covariance by the delta method."""
    x = jnp.asarray(GEYSER[:, 1])
    n, variance = len(x), x.var()
    mixture = ex.Mixture(jnp.ones(1), ex.UnivariateGaussian(x.mean()[None], variance[None]))
    errors = ej.standard_errors(x, mixture)
    np.testing.assert_allclose(errors.weights, [0.0], atol=1e-12)
    np.testing.assert_allclose(errors.components.means, [jnp.sqrt(variance / n)], rtol=1e-9)
    np.testing.assert_allclose(errors.components.variances, [variance * (2 / n) ** 0.5], rtol=1e-9)

    covariance = jnp.cov(jnp.asarray(GEYSER).T, bias=True)
    full = ex.FullGaussian.from_covariances(
        jnp.asarray(GEYSER).mean(axis=0)[None], covariance[None]
    )
    of_covariance = ej.standard_errors(
        jnp.asarray(GEYSER), ex.Mixture(jnp.ones(1), full), of=lambda m: m.components.covariances
    )
    squares = jnp.outer(jnp.diagonal(covariance), jnp.diagonal(covariance))
    np.testing.assert_allclose(of_covariance[0], jnp.sqrt((squares + covariance**2) / n), rtol=1e-8)


def test_standard_errors_beside_a_bootstrap():
    """Old Faithful: 200 refits of resampled rows scatter about as the information says.

    Not quite: short waits are no Gaussian, and the variance of their variance shows it.
    """
    x = jnp.asarray(GEYSER[:, 1])
    start = ex.Mixture(
        jnp.asarray([0.36, 0.64]),
        ex.UnivariateGaussian(jnp.asarray([54.6, 80.1]), jnp.asarray([34.5, 34.4])),
    )
    best = ex.fit(x, start, tol=1e-12, variance_floor=0.0).mixture
    errors = ej.standard_errors(x, best)
    counts = np.random.default_rng(0).multinomial(len(x), np.full(len(x), 1 / len(x)), size=200)

    def refitted(weight):
        result = ex.fit(x, best, sample_weight=weight, tol=1e-9, variance_floor=0.0)
        return result.mixture

    fits = jax.jit(jax.vmap(refitted))(jnp.asarray(counts, "float64"))
    for error, refits in zip(jax.tree.leaves(errors), jax.tree.leaves(fits), strict=True):
        np.testing.assert_allclose(error, refits.std(axis=0), rtol=0.35)


def test_no_standard_errors_off_the_maximum():
    x, mixture = case_of(UNIVARIATE)
    with pytest.raises(ValueError, match="observed information at this mixture is not positive"):
        ej.standard_errors(x, mixture)
    errors = jax.jit(ej.standard_errors)(x, mixture)
    assert all(bool(jnp.isnan(leaf).all()) for leaf in jax.tree.leaves(errors))


# Parameters without bounds


@few_on_jax
@gaussians_only
def test_unconstrained_round_trip(record):
    _, mixture = case_of(record)
    mixture = mixture._replace(weights=mixture.weights / mixture.weights.sum())
    free = ej.unconstrain(mixture)
    assert_trees_close(ej.constrain(free), mixture, 1e-14, 1e-14)
    shifted = jax.tree.map(lambda a: a - 3.0, free)  # any numbers make a mixture
    assert np.isfinite(float(ours(*case_of(record)[:1], ej.constrain(shifted))))


def test_a_weight_of_zero_stays_zero():
    mixture = ex.Mixture([0.0, 2.0], ex.UnivariateGaussian([0.0, 1.0], [1.0, 1.0]))
    free = ej.unconstrain(mixture)
    np.testing.assert_array_equal(ej.constrain(free).weights, [0.0, 1.0])


# Arguments


class Foreign:
    def log_prob(self, x):
        return x[:, None] * jnp.ones((1, 1))


X = np.asarray([0.5, 1.0, 4.0])
MIXTURE = ex.Mixture(np.asarray([0.5, 0.5]), ex.UnivariateGaussian(np.arange(2.0), np.ones(2)))
BAD = [
    (lambda: ej.scores(X[:, None], MIXTURE), ValueError, "x has shape"),
    (lambda: ej.scores(X, MIXTURE, block_size=0), ValueError, "block_size"),
    (lambda: ej.scores([0.5, np.nan], MIXTURE), ValueError, r"x\[1\] is nan"),
    (
        lambda: ej.scores(X, "mixture"),
        TypeError,
        "mixture is 'mixture'; expected an ",
    ),
    (lambda: ej.observed_information([np.inf], MIXTURE), ValueError, r"x\[0\] is inf"),
    (
        lambda: ej.observed_information(X, ex.Mixture([1.0], Foreign())),
        TypeError,
        "no M-step",
    ),
    (lambda: ej.standard_errors(X, MIXTURE, sample_weight=[1.0]), ValueError, "sample_weight"),
    (lambda: ej.em_step(MIXTURE, X, variance_floor=-1.0), ValueError, "variance_floor"),
    (lambda: ej.fit(X, MIXTURE, tol=-1.0), ValueError, "tol"),
    (lambda: ej.fit(X, MIXTURE, max_iter=0), ValueError, "max_iter"),
    (lambda: ej.fit([0.5, np.nan], MIXTURE), ValueError, r"x\[1\] is nan"),
    (
        lambda: ej.unconstrain("mixture"),
        TypeError,
        "mixture is 'mixture'; expected an ",
    ),
    (lambda: ej.unconstrain(ex.Mixture([1.0], Foreign())), TypeError, "form without bounds"),
    (lambda: ej.constrain(MIXTURE), TypeError, "parameters is a Mixture"),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD, ids=range(len(BAD)))
def test_bad_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_without_jax():
    code = "import sys; sys.modules['jax'] = None\nimport estep_xp\nimport estep_xp.jax"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert 'estep_xp.jax needs JAX; pip install "estep_xp[jax]"' in result.stderr
