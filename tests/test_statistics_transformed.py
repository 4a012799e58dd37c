"""Derivatives of statistics, batches, scans, and statistics as a pytree."""

from __future__ import annotations

import numpy as np

import estep_xp as ex
from tests.fisher import assert_gradient
from tests.records import (
    FULL,
    UNIVARIATE,
    few_on_jax,
    gaussians_only,
    normalised,
    parametrize,
    problem,
)
from tests.sums import SAMPLE_WEIGHT, D, K, N, _weighted, assert_sums, jax_only, take


@few_on_jax
@jax_only
@gaussians_only
def test_fishers_identity(backend, record):
    """The gradient of the log-likelihood by the means is the first moment times the precision."""
    import jax

    case = problem(record, n=N)
    x, mixture, s = backend.data(case.x), case.mixture(backend), backend.data(SAMPLE_WEIGHT)
    total = jax.jit(jax.grad(lambda m: ex.log_likelihood(x, m, sample_weight=s)))
    first = backend.to_numpy(_weighted(x, mixture, s).moments.first)
    covariances = record.covariances(case.params)
    if covariances.ndim == 3 or record.name == "tied":
        each = np.broadcast_to(covariances, (K, D, D))
        expected = np.linalg.solve(each, first[..., None])[..., 0]
    else:
        expected = first / covariances.reshape(K, *(-1,) * (first.ndim - 1))
    np.testing.assert_allclose(total(mixture).components.means, expected, rtol=1e-12, atol=1e-13)


@jax_only
@parametrize(UNIVARIATE, FULL)
def test_derivatives_of_their_log_likelihood(backend, record):
    """By x, weights and every field; blocks of three rows are gone through once more."""
    import jax

    case = problem(record, n=N)
    gradient = jax.grad(_blocked_total, argnums=(0, 1, 2))
    by_x, by_mixture, by_sample_weight = jax.jit(gradient)(
        backend.data(case.x), case.mixture(backend), backend.data(SAMPLE_WEIGHT)
    )
    actual = [backend.to_numpy(g) for g in (by_x, by_mixture.weights, *by_mixture.components)]
    assert_gradient(actual, case, sample_weight=SAMPLE_WEIGHT)
    rows = normalised(record.log_joint(case.x, case.weights, case.params))[1]
    np.testing.assert_allclose(by_sample_weight, rows, rtol=1e-13)


def _blocked_total(x, mixture, sample_weight):
    statistics = ex.expected_statistics(x, mixture, sample_weight=sample_weight, block_size=3)
    return statistics.log_likelihood


@jax_only
def test_statistics_are_a_pytree_of_arrays(backend):
    import jax

    statistics = take(backend, problem(FULL, n=N))
    leaves, structure = jax.tree.flatten(statistics)
    assert len(leaves) == 3 + 5  # weights and two fields of the mixture; five sums
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    again = jax.tree.unflatten(structure, leaves)
    assert type(again) is ex.Statistics
    assert type(again.mixture.components) is ex.FullGaussian


@jax_only
@parametrize(UNIVARIATE, FULL)
def test_vmap_over_mixtures_and_over_data(backend, record):
    import jax
    import jax.numpy as jnp

    cases = [problem(record, seed=seed, n=N) for seed in (1, 2)]
    xs = jnp.stack([backend.data(case.x) for case in cases])
    weights = np.stack([SAMPLE_WEIGHT, SAMPLE_WEIGHT[::-1]])
    mixtures = jax.tree.map(lambda *a: jnp.stack(a), *(case.mixture(backend) for case in cases))
    by_mixture = jax.jit(jax.vmap(ex.expected_statistics, in_axes=(None, 0)))(xs[0], mixtures)
    by_data = jax.jit(jax.vmap(_weighted, in_axes=(0, None, 0)))(
        xs, cases[0].mixture(backend), backend.data(weights)
    )
    for i in range(2):
        one = jax.tree.map(lambda a, i=i: a[i], by_mixture)
        assert_sums(backend, one, cases[i]._replace(x=cases[0].x))
        one = jax.tree.map(lambda a, i=i: a[i], by_data)
        assert_sums(backend, one, cases[0]._replace(x=cases[i].x), sample_weight=weights[i])


@jax_only
def test_a_scan_merges_blocks(backend):
    """Streams of blocks in one compiled program; it begins with statistics of no rows."""
    import jax

    case = problem(FULL, n=12)
    mixture = case.mixture(backend)
    blocks = backend.data(case.x.reshape(4, 3, D))

    @jax.jit
    def total(blocks, mixture):
        def body(so_far, block):
            return ex.merge(so_far, ex.expected_statistics(block, mixture)), None

        return jax.lax.scan(body, ex.expected_statistics(blocks[0, :0], mixture), blocks)[0]

    assert_sums(backend, total(blocks, mixture), case)
