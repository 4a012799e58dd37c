"""An M-step on any library, and mixtures compared with closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests import em_oracle
from tests.records import problem

N, K, D = 30, 3, 2
FLOOR = 0.01
LEFT = [0, 2]  # components that are not lost

dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
concrete = pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "jax", "torch")
libraries = pytest.mark.backends("numpy", "array_api_strict", "jax", "torch", "dask")
jax_only = pytest.mark.backends("jax")
derivatives = pytest.mark.backends("jax_jit", "torch")


def em_step(x, mixture, sample_weight=None):
    """One E-step and one M-step: a single program where the library compiles."""
    statistics = ex.expected_statistics(x, mixture, sample_weight=sample_weight)
    return ex.m_step(statistics, variance_floor=FLOOR)


def step(backend, case, dtype="float64", sample_weight=None):
    if sample_weight is not None:
        sample_weight = backend.data(sample_weight, dtype)
    return backend.call(
        em_step, backend.data(case.x, dtype), case.mixture(backend, dtype), sample_weight
    )


def estimate_of(backend, record, mixture):
    """Weights and what a family estimates in float64, covariances inverted here in NumPy."""
    params = {
        name: backend.to_numpy(a).astype(float) for name, a in mixture.components._asdict().items()
    }
    weights = backend.to_numpy(mixture.weights).astype(float)
    return em_oracle.Estimate(weights, record.estimate(params))


ROUNDING = {"weights": 8, "covariances": 512}  # in eps; 64 of all else


def assert_estimate(actual, expected, dtype="float64"):
    """Compare with the closed form, in problems of scale 1 and conditions of a few dozens."""
    eps = np.finfo(dtype).eps
    pairs = {"weights": expected.weights} | expected.values
    for name, value in pairs.items():
        found = actual.weights if name == "weights" else actual.values[name]
        allowed = ROUNDING.get(name, 64) * eps
        np.testing.assert_allclose(found, value, rtol=0, atol=allowed, err_msg=name)


def with_a_far_component(record, dtype="float64"):
    """A problem whose component 1 is out of reach of every row; and the same without it."""
    case = problem(record, dtype=dtype, n=N)
    means = case.params["means"].copy()
    means[1] = 1e6
    return case._replace(params=case.params | {"means": means}), case.at(LEFT)


STEPS, WIDE = 2, 0.2  # a floor that keeps second derivatives small
