"""Fits of small problems and of real data by any library, brought to NumPy and compared."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS
from tests.records import FULL, UNIVARIATE, parametrize

N, K, D = 30, 3, 2

two_families = parametrize(UNIVARIATE, FULL)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
concrete = pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "jax", "torch")
# jit costs a compilation each time; test_em_compiled.py has what is compiled.
libraries = pytest.mark.backends(
    "numpy", "numpy_readonly", "array_api_strict", "jax", "torch", "dask"
)
jax_only = pytest.mark.backends("jax")
one_program = pytest.mark.one_program("record", "accelerate")  # see conftest.py
# So many iterations are asked for, and no more; test_fit_warnings.py has the warnings.
cut_short = pytest.mark.filterwarnings("ignore::estep_xp.ConvergenceWarning")
# Few rows, and a floor as wide as some components.
narrow = pytest.mark.filterwarnings("ignore::estep_xp.CollapseWarning")

NUMPY = BACKENDS["numpy"]


def fit(backend, case, dtype="float64", sample_weight=None, **options):
    """Fit from the mixture of a problem. Dask must compute to know when to stop."""
    if sample_weight is not None:
        options["sample_weight"] = backend.data(sample_weight, dtype)
    x, mixture = backend.data(case.x, dtype), case.mixture(backend, dtype)
    if backend.name == "dask":
        return ex.fit(x, mixture, **options)
    return backend.call(ex.fit, x, mixture, **options)


def like(backend):
    """Who owns the results: NumPy, of what Dask computed."""
    return NUMPY if backend.name == "dask" else backend


def in_numpy(backend, result):
    """Bring the arrays of a result to NumPy, and cut the padding off its history."""
    own = like(backend)
    n_iter = int(result.n_iter)
    components = type(result.mixture.components)(*map(own.to_numpy, result.mixture.components))
    return result._replace(
        mixture=ex.Mixture(own.to_numpy(result.mixture.weights), components),
        log_likelihood=own.to_numpy(result.log_likelihood),
        n_iter=n_iter,
        converged=bool(result.converged),
        history=own.to_numpy(result.history)[:n_iter],
    )


def assert_same_fit(one, other, rtol=1e-12):
    """Compare two results in NumPy, iteration by iteration."""
    assert (one.n_iter, one.converged) == (other.n_iter, other.converged)
    np.testing.assert_allclose(one.history, other.history, rtol=rtol)
    np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, rtol=rtol)
    assert_same_mixture(one.mixture, other.mixture, 1000 * rtol)


def assert_same_mixture(one, other, rtol=1e-10):
    assert type(one.components) is type(other.components)
    pairs = zip((one.weights, *one.components), (other.weights, *other.components), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
