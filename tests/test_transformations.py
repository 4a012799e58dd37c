"""jit, vmap, jvp, vjp, scan: JAX's transformations take the functions and records as they are.

Values of derivatives are the business of ``test_gradients.py``; here it is their structure, and
what a transformation makes of a batch, a loop or a family of one's own.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import pytest
from array_api_compat import array_namespace
from scipy import stats

import estep_xp as ex
from tests import fisher
from tests.fisher import assert_gradient
from tests.records import (
    DIAGONAL,
    FULL,
    POISSON,
    UNIVARIATE,
    every_family,
    few_on_jax,
    gaussians_only,
    normalised,
    parametrize,
    problem,
)

N, K, D = 5, 3, 2
SAMPLE_WEIGHT = np.array([0.5, 2.0, 1.0, 0.25, 1.5])
MATRIX = np.random.default_rng(0).standard_normal((N, K))

jax_only = pytest.mark.backends("jax")

# Records in, records out


@few_on_jax
@jax_only
@gaussians_only
def test_gradient_by_a_mixture_is_a_mixture(backend, record):
    """So is a tangent; jvp and vjp of the whole E-step agree with the closed forms."""
    import jax

    case = problem(record)
    x, mixture = backend.asarray(case.x), case.mixture(backend)

    @jax.jit
    def pulled_back(cotangent):
        step, pull_back = jax.vjp(ex.e_step, x, mixture)
        return step, pull_back(cotangent)

    matrix, sample_weight = backend.asarray(MATRIX), backend.asarray(SAMPLE_WEIGHT)
    _, (by_x, by_mixture) = pulled_back(ex.EStep(matrix, sample_weight))
    assert type(by_mixture) is ex.Mixture
    assert type(by_mixture.components) is record.family
    actual = [backend.to_numpy(g) for g in (by_x, by_mixture.weights, *by_mixture.components)]
    assert_gradient(actual, case, sample_weight=SAMPLE_WEIGHT, matrix=MATRIX)

    rng = np.random.default_rng(3)
    tangents = [rng.standard_normal(a.shape) for a in (case.x, case.weights, *mixture.components)]
    by_mixture = record.mixture(
        backend, tangents[1], dict(zip(case.params, tangents[2:], strict=True))
    )
    _, tangent = jax.jit(lambda *t: jax.jvp(ex.e_step, (x, mixture), t))(
        backend.asarray(tangents[0]), by_mixture
    )
    expected = fisher.gradient(case, SAMPLE_WEIGHT, MATRIX)
    # <A, dr> + <s, dl> = <gradient, tangent>: both sides are the same directional derivative.
    along = sum(np.vdot(g, t) for g, t in zip(expected.value.values(), tangents, strict=True))
    size = sum(
        np.vdot(g, np.abs(t)) for g, t in zip(expected.magnitude.values(), tangents, strict=True)
    )
    actual = np.vdot(MATRIX, tangent.responsibilities)
    actual += np.vdot(SAMPLE_WEIGHT, tangent.log_likelihood)
    np.testing.assert_allclose(actual, along, rtol=0, atol=1e-14 * size)


@jax_only
@parametrize(FULL, POISSON)
def test_gradient_of_each_row(backend, record):
    """vmap(grad): every row's own gradient, which sum to that of the total."""
    import jax

    case = problem(record)

    def of_row(row, mixture):
        return ex.log_likelihood(row[None, ...], mixture)

    each = jax.jit(jax.vmap(jax.grad(of_row, argnums=(0, 1)), in_axes=(0, None)))
    by_x, by_mixture = each(backend.asarray(case.x), case.mixture(backend))
    for i in range(N):
        alone = case._replace(x=case.x[i : i + 1])
        row = [g[i] for g in (by_mixture.weights, *by_mixture.components)]
        actual = [backend.to_numpy(g) for g in (by_x[i : i + 1], *row)]
        assert_gradient(actual, alone, sample_weight=1.0)


@jax_only
def test_hessian_by_a_mixture_is_a_mixture_of_mixtures(backend):
    import jax

    case = problem(UNIVARIATE)
    x, mixture = backend.asarray(case.x), case.mixture(backend)
    hessian = jax.jit(jax.hessian(lambda mixture: ex.log_likelihood(x, mixture)))(mixture)
    assert type(hessian) is type(hessian.weights) is ex.Mixture
    assert type(hessian.components.means.components) is ex.UnivariateGaussian
    assert hessian.components.means.components.variances.shape == (K, K)
    np.testing.assert_allclose(
        hessian.weights.components.means, hessian.components.means.weights.T, rtol=1e-12
    )


# Batches, loops and tracing


def step_and_total(x, mixture):
    return ex.e_step(x, mixture), ex.log_likelihood(x, mixture)


@few_on_jax
@jax_only
@every_family
def test_vmap_over_mixtures_and_over_data(backend, record):
    """A batch of mixtures, a batch of data, and both side by side."""
    import jax
    import jax.numpy as jnp

    cases = [problem(record, seed) for seed in (1, 2)]
    x = jnp.stack([case.x for case in cases])
    mixtures = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *(case.mixture(backend) for case in cases)
    )
    first = jax.tree.map(lambda a: a[0], (x, mixtures))
    batches = {
        (None, 0): (first[0], mixtures),
        (0, None): (x, first[1]),
        (0, 0): (x, mixtures),
    }
    for axes, arguments in batches.items():
        step, total = jax.jit(jax.vmap(step_and_total, in_axes=axes))(*arguments)
        for b in range(2):
            data, parameters = (cases[0 if axis is None else b] for axis in axes)
            log_joint = record.log_joint(data.x, parameters.weights, parameters.params)
            responsibilities, log_likelihood = normalised(log_joint)
            np.testing.assert_allclose(step.responsibilities[b], responsibilities, rtol=1e-12)
            np.testing.assert_allclose(step.log_likelihood[b], log_likelihood, rtol=1e-12)
            np.testing.assert_allclose(total[b], log_likelihood.sum(), rtol=1e-12)


@jax_only
def test_vmap_without_jit(backend):
    import jax

    case = problem(UNIVARIATE)
    x, mixture = backend.asarray(np.stack([case.x, case.x + 1])), case.mixture(backend)
    step, total = jax.vmap(step_and_total, in_axes=(0, None))(x, mixture)
    for b in range(2):
        log_joint = case.record.log_joint(case.x + b, case.weights, case.params)
        responsibilities, log_likelihood = normalised(log_joint)
        np.testing.assert_allclose(step.responsibilities[b], responsibilities, rtol=1e-12)
        np.testing.assert_allclose(total[b], log_likelihood.sum(), rtol=1e-12)


@jax_only
def test_block_size_and_workers_under_jit_and_vmap(backend):
    """Accepted there too: the driver of the blocks must not get in the way of a transformation."""
    import jax

    case = problem(UNIVARIATE, n=7)
    mixture = case.mixture(backend)
    expected = normalised(case.record.log_joint(case.x, case.weights, case.params))[0]
    step = functools.partial(ex.e_step, block_size=2, workers=2)
    x = backend.asarray(case.x)
    jitted = jax.jit(step)(x, mixture)
    np.testing.assert_allclose(jitted.responsibilities, expected, rtol=1e-13)
    mapped = jax.vmap(step, in_axes=(0, None))(x.reshape(1, 7), mixture)
    np.testing.assert_allclose(mapped.responsibilities[0], expected, rtol=1e-13)


@jax_only
def test_scan_over_blocks_of_rows(backend):
    """The total of a stream, and its gradient through the loop."""
    import jax

    case = problem(DIAGONAL, n=6)
    blocks = backend.asarray(case.x.reshape(3, 2, D))

    def stream(mixture):
        def add(total, block):
            return total + ex.log_likelihood(block, mixture), ex.e_step(block, mixture).labels

        return jax.lax.scan(add, 0.0, blocks)

    (total, labels), gradient = jax.jit(jax.value_and_grad(stream, has_aux=True))(
        case.mixture(backend)
    )
    log_joint = case.record.log_joint(case.x, case.weights, case.params)
    np.testing.assert_allclose(total, normalised(log_joint)[1].sum(), rtol=1e-13)
    np.testing.assert_array_equal(np.ravel(labels), log_joint.argmax(axis=1))
    expected = fisher.gradient(case, sample_weight=1.0).value
    for name, value in zip(expected, (None, gradient.weights, *gradient.components), strict=True):
        if name != "x":
            np.testing.assert_allclose(value, expected[name], rtol=1e-11, atol=1e-12)


@jax_only
def test_scan_with_a_mixture_as_its_state(backend):
    """Gradient ascent: the mixture is the carry, its structure and dtypes don't change."""
    import jax

    case = problem(UNIVARIATE, dtype="float32", n=8)
    x = backend.asarray(case.x, "float32")

    def ascend(mixture, _):
        total, slope = jax.value_and_grad(lambda m: ex.log_likelihood(x, m))(mixture)
        return jax.tree.map(lambda a, g: a + 0.005 * g, mixture, slope), total

    final, totals = jax.jit(lambda m: jax.lax.scan(ascend, m, length=6))(
        case.mixture(backend, "float32")
    )
    assert type(final) is ex.Mixture
    backend.assert_like(final.components.variances, "float32")
    assert np.all(np.diff(totals) > 0)
    current = case
    for total in np.asarray(totals):
        expected = current.record.log_joint(current.x, current.weights, current.params)
        np.testing.assert_allclose(total, normalised(expected)[1].sum(), rtol=1e-5)
        slope = fisher.gradient(current, 1.0).value
        params = {name: a + 0.005 * slope[name] for name, a in current.params.items()}
        current = current._replace(
            weights=current.weights + 0.005 * slope["weights"], params=params
        )


# A family of one's own


class Laplace(NamedTuple):
    """Double exponential components, as a user would write them for every library."""

    locations: Any
    scales: Any

    def log_prob(self, x):
        """Give log densities, in nats."""
        xp = array_namespace(x)
        distances = xp.abs(x[:, None] - self.locations) / self.scales
        return -distances - xp.log(2 * self.scales)


LOCATIONS, SCALES = np.array([-1.0, 2.0]), np.array([0.5, 1.5])
LAPLACE_X, LAPLACE_WEIGHTS = np.array([-2.0, 0.5, 1.0, 4.0]), np.array([1.0, 3.0])


def laplace_reference():
    log_prob = stats.laplace.logpdf(LAPLACE_X[:, None], LOCATIONS, SCALES)
    return normalised(log_prob + np.log(LAPLACE_WEIGHTS / LAPLACE_WEIGHTS.sum()))


def test_a_family_of_ones_own(backend):
    components = Laplace(backend.asarray(LOCATIONS), backend.asarray(SCALES))
    mixture = ex.Mixture(backend.asarray(LAPLACE_WEIGHTS), components)
    x = backend.data(LAPLACE_X)
    step = backend.call(ex.e_step, x, mixture)
    total = backend.call(ex.log_likelihood, x, mixture)
    responsibilities, log_likelihood = laplace_reference()
    for result in (*step, total):
        backend.assert_like(result, "float64")
    np.testing.assert_allclose(
        backend.to_numpy(step.responsibilities), responsibilities, rtol=1e-14
    )
    np.testing.assert_allclose(backend.to_numpy(step.log_likelihood), log_likelihood, rtol=1e-14)
    np.testing.assert_allclose(backend.to_numpy(total), log_likelihood.sum(), rtol=1e-14)


@jax_only
def test_gradient_of_a_family_of_ones_own(backend):
    """d/d location = sum_i r sign(x - location) / scale, and so on: Fisher's identity again."""
    import jax

    components = Laplace(backend.asarray(LOCATIONS), backend.asarray(SCALES))
    mixture = ex.Mixture(backend.asarray(LAPLACE_WEIGHTS), components)
    x = backend.data(LAPLACE_X)
    sample_weight = backend.asarray([1.0, 2.0, 0.5, 1.0])

    @jax.jit
    def slope(mixture):
        return jax.grad(lambda m: ex.log_likelihood(x, m, sample_weight=sample_weight))(mixture)

    actual = slope(mixture)
    assert type(actual) is ex.Mixture
    assert type(actual.components) is Laplace
    share = np.asarray(sample_weight)[:, None] * laplace_reference()[0]
    distances = LAPLACE_X[:, None] - LOCATIONS
    by_locations = (share * np.sign(distances) / SCALES).sum(axis=0)
    by_scales = (share * (np.abs(distances) / SCALES - 1) / SCALES).sum(axis=0)
    by_weights = share.sum(axis=0) / LAPLACE_WEIGHTS - share.sum() / LAPLACE_WEIGHTS.sum()
    np.testing.assert_allclose(actual.components.locations, by_locations, rtol=1e-13)
    np.testing.assert_allclose(actual.components.scales, by_scales, rtol=1e-13)
    np.testing.assert_allclose(actual.weights, by_weights, rtol=1e-13)


class Scorer:
    """No tuple and no pytree: any object that knows log_prob."""

    def __init__(self, components):
        self.components = components

    def log_prob(self, x):
        return self.components.log_prob(x)


@pytest.mark.backends("numpy", "jax", "torch")
def test_an_object_that_is_no_pytree(backend):
    """Eagerly, and closed over by a compiled function with its gradient."""
    locations, scales = backend.asarray(LOCATIONS), backend.asarray(SCALES)
    scorer = Scorer(Laplace(locations, scales))
    weights, x = backend.asarray(LAPLACE_WEIGHTS), backend.data(LAPLACE_X)
    responsibilities, log_likelihood = laplace_reference()
    step = ex.e_step(x, ex.Mixture(weights, scorer))
    np.testing.assert_allclose(
        backend.to_numpy(step.responsibilities), responsibilities, rtol=1e-14
    )
    if backend.name == "jax":
        import jax

        total = jax.jit(lambda x, w: ex.log_likelihood(x, ex.Mixture(w, scorer)))
        np.testing.assert_allclose(total(x, weights), log_likelihood.sum(), rtol=1e-14)
        by_weights = jax.grad(total, argnums=1)(x, weights)
        expected = responsibilities.sum(axis=0) / LAPLACE_WEIGHTS - 1.0
        np.testing.assert_allclose(by_weights, expected, rtol=1e-13)
