"""Eager JAX calls: results lie where the rows do, and constants bind nothing to their device."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex

jax = pytest.importorskip("jax", reason="jax is not installed")

MIXTURE = ex.Mixture(
    jax.device_put(np.asarray([0.25, 0.75])),
    ex.DiagonalGaussian(
        jax.device_put(np.asarray([[0.0, 1.0, -1.0], [2.0, 0.0, 1.0]])),
        jax.device_put(np.asarray([[1.0, 0.5, 2.0], [1.5, 1.0, 0.7]])),
    ),
)


def rows(n, dtype=np.float64):
    return np.random.default_rng(n).normal(1.0, 1.5, size=(n, 3)).astype(dtype)


def total(x, mixture, sample_weight=None):
    return ex.log_likelihood(x, mixture, sample_weight=sample_weight)


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64])
@pytest.mark.parametrize("committed", [False, True])
def test_results_lie_where_rows_do(committed, dtype):
    where = jax.devices()[0] if committed else None
    x = jax.device_put(rows(97, dtype), where)
    weight = jax.device_put(np.ones(97, dtype))
    for result in (*ex.e_step(x, MIXTURE), total(x, MIXTURE), total(x, MIXTURE, weight)):
        assert result.committed == committed
        assert result.sharding == x.sharding
    assert not x.is_deleted()


@pytest.mark.parametrize("committed", [False, True])
def test_compiled_calls_may_run_elsewhere(committed):
    """Rows that a compiled function has as constants don't bind it to their device."""
    x = jax.device_put(rows(97, np.float32), jax.devices()[0] if committed else None)
    program = str(jax.make_jaxpr(lambda mixture: total(x, mixture))(MIXTURE))
    assert "device_put" not in program
    assert not jax.jit(lambda mixture: total(x, mixture))(MIXTURE).committed
