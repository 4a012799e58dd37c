"""Expected statistics on any library, held to sums over the responsibilities of the reference."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests import em_oracle

N, K, D = 7, 3, 2
SAMPLE_WEIGHT = np.array([0.5, 2.0, 1.0, 0.25, 1.5, 3.0, 0.75])
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
concrete = pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "jax", "torch")
# Laws that jit obeys if the sums are right there: each new program costs a compilation.
libraries = pytest.mark.backends("numpy", "array_api_strict", "jax", "torch", "dask")
jax_only = pytest.mark.backends("jax")
numpy_only = pytest.mark.backends("numpy")


def take(backend, case, dtype="float64", sample_weight=None, **options):
    """Run the library on a problem, with NumPy's sample weights if there are any."""
    if sample_weight is not None:
        options["sample_weight"] = backend.data(sample_weight, dtype)
    return backend.call(
        ex.expected_statistics, backend.data(case.x, dtype), case.mixture(backend, dtype), **options
    )


def sums_of(statistics):
    """Name the sums of a record, flat."""
    _, log_likelihood, n_rows, counts, moments = statistics
    sums = {"log_likelihood": log_likelihood, "n_rows": n_rows, "counts": counts}
    return sums | moments._asdict()


def numbers(backend, statistics):
    return {name: backend.to_numpy(array) for name, array in sums_of(statistics).items()}


def slack(case, dtype, sample_weight=None):
    """How far each sum may be off."""
    size = em_oracle.statistics(case, sample_weight)[1]
    relative = 32 * np.finfo(dtype).eps * (1 + case.magnitude().max(initial=0.0))
    return {name: relative * np.asarray(a) for name, a in size.items()}


def assert_sums(backend, statistics, case, dtype="float64", sample_weight=None):
    """Compare every sum with the oracle's, and check where and what it is."""
    expected = em_oracle.statistics(case, sample_weight)[0]
    allowed = slack(case, dtype, sample_weight)
    actual = sums_of(statistics)
    assert actual.keys() == expected.keys()
    for name, array in actual.items():
        value = expected[name]
        backend.assert_like(array, dtype)
        actual = backend.to_numpy(array)
        assert actual.shape == np.shape(value), name
        off = np.abs(actual - value) > allowed[name]
        assert not np.any(off), f"{name}: {actual} instead of {value}"


def assert_close(one, other, allowed):
    """Compare two results for the same rows, both rounded."""
    for name in allowed:
        assert np.all(np.abs(one[name] - other[name]) <= 2 * allowed[name]), name


def _weighted(x, mixture, sample_weight):
    return ex.expected_statistics(x, mixture, sample_weight=sample_weight)
