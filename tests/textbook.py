"""The log-likelihood by the formulas of a textbook, in JAX."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS
from tests.records import problem

jax = pytest.importorskip("jax", reason="jax is not installed")
jnp = jax.numpy


def plain_rows(x, mixture):
    """Log-likelihood (n,) of each row, as a textbook writes it."""
    means, second = mixture.components
    x, means = x.reshape(len(x), -1), means.reshape(len(means), -1)
    d = means.shape[1]
    if hasattr(mixture.components, "variances"):
        deviations = jnp.sqrt(second.reshape(len(means), -1)) * jnp.ones_like(means)
        factors = jnp.eye(d) / deviations[:, :, None]
    else:
        factors = jnp.triu(second) * jnp.ones((len(means), 1, 1))
    z = jnp.einsum("nkd,kde->nke", x[:, None] - means, factors)
    logs = jnp.log(jnp.diagonal(factors, axis1=1, axis2=2)).sum(1)
    weights = mixture.weights / mixture.weights.sum()
    joint = jnp.log(weights) + logs - 0.5 * (z**2).sum(-1) - 0.5 * d * jnp.log(2 * jnp.pi)
    return jax.scipy.special.logsumexp(joint, axis=1)


def plain(x, mixture, sample_weight=None):
    rows = plain_rows(x, mixture)
    return rows.sum() if sample_weight is None else (sample_weight * rows).sum()


def ours(x, mixture, sample_weight=None):
    return ex.log_likelihood(x, mixture, sample_weight=sample_weight)


def case_of(record, n=5, k=3, d=2):
    case = problem(record, n=n, k=k, d=d)
    return BACKENDS["jax"].asarray(case.x), case.mixture(BACKENDS["jax"])


def assert_trees_close(actual, expected, rtol=1e-9, atol=1e-10):
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        scale = float(jnp.abs(other).max()) if other.size else 1.0
        np.testing.assert_allclose(one, other, rtol=rtol, atol=atol * max(scale, 1.0))
