"""Derivatives beside rows of zero density under every component, which a caller masks by `where`.

Through such a row nothing comes back, and everything else is as without it. Their values stay:
log-likelihood -inf, responsibilities NaN.
"""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest

import estep_xp as ex
from tests import fisher
from tests.backends import BACKENDS
from tests.fisher import assert_gradient
from tests.records import (
    DIAGONAL,
    FULL,
    SPHERICAL,
    TIED,
    UNIVARIATE,
    normalised,
    parametrize,
    problem,
)

INF = np.inf
FAR = 1e250
MATRIX = np.random.default_rng(1).standard_normal((3, 3))

# Log-densities of rows and components; the second row is impossible, and half of the fourth.
LOG_PROB = np.array([[0.0, 1.0], [-INF, -INF], [-2.0, -700.0], [-INF, -3.0]])
POSSIBLE = np.array([True, False, True, True])


def differentiated(name, function, *arrays):
    """Gradients by all arrays, in one of the ways in which libraries take them."""
    library, _, way = name.partition(" ")
    backend = BACKENDS[library]
    backend.require()
    if library == "torch":
        import torch

        given = [torch.tensor(a, requires_grad=True) for a in arrays]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return [a.numpy() for a in torch.autograd.grad(function(torch, *given), given)]
    gradient = jax_gradient(function, len(arrays), way)
    if way == "vmap":
        return [np.asarray(a)[1] for a in gradient(*(np.stack([a, a]) for a in arrays))]
    return [np.asarray(a) for a in gradient(*arrays)]


@functools.cache  # for one compilation, whatever the numbers
def jax_gradient(function, count, way):
    import jax
    import jax.numpy as jnp

    def of_arrays(*arrays):
        return function(jnp, *arrays)

    gradient = jax.grad(of_arrays, argnums=tuple(range(count)))
    return {"": lambda f: f, "jit": jax.jit, "vmap": lambda f: jax.jit(jax.vmap(f))}[way](gradient)


ways = pytest.mark.parametrize("way", ["jax", "jax jit", "jax vmap", "torch"])


def log_likelihood(xp, step):
    """What a careful user makes of the results: the impossible rows left out."""
    rows = step.log_likelihood
    return xp.where(xp.isfinite(rows), rows, 0.0).sum()


def posterior_total(xp, log_prob, weights):
    return log_likelihood(xp, ex.posterior(log_prob, weights))


@ways
@pytest.mark.parametrize("weights", [[0.25, 0.75], [2.0, 0.0]])
def test_gradient_of_posterior(way, weights):
    """Closed forms: r by log-densities, and r_k / w_k − 1 / Σ w by weights."""
    log_prob, w = LOG_PROB.copy(), np.array(weights)
    if not w[1]:
        log_prob[3] = [-3.0, -INF]
    by_log_prob, by_weights = differentiated(way, posterior_total, log_prob, w)
    density = np.exp(log_prob[POSSIBLE])
    ratios = density / (density @ w)[:, None]
    expected = np.zeros((4, 2))
    expected[POSSIBLE] = ratios * w
    np.testing.assert_allclose(by_log_prob, expected, rtol=1e-13)
    np.testing.assert_array_equal(by_log_prob[1], [0.0, 0.0])
    np.testing.assert_allclose(by_weights, (ratios - 1 / w.sum()).sum(axis=0), rtol=1e-13)


# JAX compiles each way for each family anew: one of its three for each of them.
WAYS_OF_FAMILIES = [
    (("jax jit", "torch"), UNIVARIATE, True),
    (("torch",), SPHERICAL, False),
    (("torch",), DIAGONAL, True),
    (("jax vmap", "torch"), TIED, False),
    (("jax", "torch"), FULL, True),
]


@pytest.mark.parametrize(
    ("way", "record", "zero"),
    [(way, record, zero) for ways, record, zero in WAYS_OF_FAMILIES for way in ways],
    ids=[f"{way}-{record.name}" for ways, record, _ in WAYS_OF_FAMILIES for way in ways],
)
def test_gradient_of_e_step(way, record, zero):
    """By rows, weights and parameters, of both results: as without the row, and 0 by the row."""
    case = problem(record, n=3, k=3)
    case = case._replace(weights=case.weights * [1.0, 1.0 - zero, 1.0])
    x, matrix = np.insert(case.x, 1, FAR, axis=0), np.insert(MATRIX, 1, 1.0, axis=0)

    def total(xp, x, weights, *fields):
        step = ex.e_step(x, ex.Mixture(weights, record.family(*fields)))
        kept = xp.isfinite(step.log_likelihood)[:, None]
        shares = xp.where(kept, step.responsibilities * xp.asarray(matrix), 0.0)
        return log_likelihood(xp, step) + shares.sum()

    by_x, *by_mixture = differentiated(way, total, x, case.weights, *case.params.values())
    np.testing.assert_array_equal(by_x[1], np.zeros_like(by_x[1]))
    actual = [np.delete(by_x, 1, axis=0), *by_mixture]
    assert_gradient(actual, case, sample_weight=np.ones(3), matrix=MATRIX)


@pytest.mark.parametrize("way", ["jax jit", "torch"])
@parametrize(UNIVARIATE, DIAGONAL, FULL)
def test_gradient_of_log_joint(way, record):
    """As if a row near the others were there, of weight zero."""
    case = problem(record, n=3, k=2)
    x, near = (np.insert(case.x, 3, value, axis=0) for value in (FAR, 1.0))

    def total(xp, x, row_weights, weights, *fields):
        joint = ex.log_joint(x, ex.Mixture(weights, record.family(*fields)))
        return (xp.where(xp.isfinite(joint), joint, 0.0) * row_weights[:, None]).sum()

    arrays = (case.weights, *case.params.values())
    by_x, _, *by_mixture = differentiated(way, total, x, np.ones(4), *arrays)
    without = np.asarray([1.0, 1.0, 1.0, 0.0])
    expected_by_x, _, *expected = differentiated(way, total, near, without, *arrays)
    np.testing.assert_array_equal(by_x[3], np.zeros_like(by_x[3]))
    np.testing.assert_allclose(by_x[:3], expected_by_x[:3], rtol=1e-13)
    for one, other in zip(by_mixture, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


@pytest.mark.backends("jax")
def test_gradient_of_log_likelihoods_row_by_row(backend):
    """Each row by a call of its own, which has a derivative of its own."""
    import jax
    import jax.numpy as jnp

    case = problem(UNIVARIATE, n=3, k=2)
    x, mixture = jnp.asarray(np.insert(case.x, 1, FAR)), case.mixture(backend)

    def total(mixture):
        rows = jax.vmap(lambda row: ex.log_likelihood(row[None], mixture))(x)
        return jnp.where(jnp.isfinite(rows), rows, 0.0).sum()

    gradient = jax.jit(jax.grad(total))(mixture)
    expected = fisher.gradient(case, np.ones(3)).value
    np.testing.assert_allclose(gradient.weights, expected["weights"], rtol=1e-12)
    np.testing.assert_allclose(gradient.components.means, expected["means"], rtol=1e-12)


@pytest.mark.backends("jax")
def test_second_and_forward_derivatives(backend):
    import jax
    import jax.numpy as jnp

    w = jnp.asarray([0.25, 0.75])

    def total(log_prob):
        return log_likelihood(jnp, ex.posterior(log_prob, w))

    hessian = jax.jit(jax.hessian(total))(backend.asarray(LOG_PROB))
    rows = np.exp(LOG_PROB[POSSIBLE]) * np.asarray(w)
    r = rows / rows.sum(axis=1, keepdims=True)
    expected = np.zeros((4, 2, 4, 2))
    for i, one in zip(np.flatnonzero(POSSIBLE), r, strict=True):
        expected[i, :, i, :] = np.diag(one) - np.outer(one, one)
    np.testing.assert_allclose(hessian, expected, rtol=1e-12, atol=1e-15)
    ones = jnp.ones_like(LOG_PROB)
    along = jax.jvp(total, (backend.asarray(LOG_PROB),), (ones,))[1]
    np.testing.assert_allclose(along, POSSIBLE.sum(), rtol=1e-13)


@pytest.mark.backends("numpy", "array_api_strict", "jax", "jax_jit", "torch", "dask")
@pytest.mark.parametrize("weights", [[0.25, 0.75], [1.0, 0.0]])
def test_values_stay(backend, weights):
    log_prob, w = backend.data(LOG_PROB), backend.asarray(weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        step = backend.call(ex.posterior, log_prob, w)
        total = backend.to_numpy(step.log_likelihood)
        r = backend.to_numpy(step.responsibilities)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected_r, expected = normalised(LOG_PROB + np.log(weights))
    np.testing.assert_allclose(total, expected, rtol=1e-13)
    np.testing.assert_allclose(r, expected_r, rtol=1e-12)
    assert np.isnan(r[1]).all()
    assert total[1] == -INF
