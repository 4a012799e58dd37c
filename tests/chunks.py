"""Rows in chunks of Dask, and results computed from them and compared with NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS, Backend
from tests.records import FULL, Record, problem

dask = pytest.importorskip("dask", reason="dask is not installed")
da = pytest.importorskip("dask.array", reason="dask.array is not installed")


lazily = BACKENDS["dask"].call  # under a scheduler that refuses to compute anything
N, K, D = 1000, 3, 4


def mixture_of(record: Record = FULL, dtype: Any = "float64") -> ex.Mixture:
    return problem(record, dtype=dtype, k=K, d=D).mixture(Backend(), dtype)


def rows_of(record: Record = FULL, n: int = N) -> np.ndarray:
    return record.data(7, n, D)


def chunked(array: np.ndarray, rows: Any) -> Any:
    return da.from_array(array, chunks=(rows, *array.shape[1:]))


def computed(value: Any) -> Any:
    return dask.compute(value, scheduler="synchronous")[0]


def arrays_of(value: Any) -> list[Any]:
    """Arrays of nested records, in order."""
    return [a for item in value for a in arrays_of(item)] if isinstance(value, tuple) else [value]


def lazy_mixture(mixture: ex.Mixture) -> ex.Mixture:
    components = type(mixture.components)(*map(da.from_array, mixture.components))
    return ex.Mixture(da.from_array(mixture.weights), components)


def assert_same(actual: Any, expected: Any, rtol: float = 1e-11, atol: float = 1e-9) -> None:
    """Assert that records hold the same numbers; sums were added up in another order."""
    for one, other in zip(arrays_of(actual), arrays_of(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)


# So many iterations are asked for, and no more.
cut_short = pytest.mark.filterwarnings("ignore::estep_xp.ConvergenceWarning")


def assert_same_fit(actual: ex.EMResult, expected: ex.EMResult) -> None:
    assert (actual.n_iter, actual.converged) == (expected.n_iter, expected.converged)
    # An iteration hands its rounding on to the next.
    assert_same(actual, expected, rtol=1e-8, atol=1e-8)


def assert_like_numpy(
    x: np.ndarray, rows: Any, mixture: ex.Mixture, weight: Any = None, weight_rows: Any = None
) -> None:
    """All that takes observations gives for `rows` what it gives for `x`; only fit computes."""
    plain = computed(mixture)
    for function in (ex.log_likelihood, ex.expected_statistics):
        lazy = lazily(function, rows, mixture, sample_weight=weight_rows)
        assert_same(computed(lazy), function(x, plain, sample_weight=weight))
    if weight is None:
        assert_same(computed(lazily(ex.e_step, rows, mixture)), ex.e_step(x, plain))
    with dask.config.set(scheduler="synchronous"):
        fitted = ex.fit(rows, mixture, sample_weight=weight_rows, max_iter=5)
    assert_same_fit(fitted, ex.fit(x, plain, sample_weight=weight, max_iter=5))
    assert all(isinstance(a, np.ndarray | np.generic) for a in arrays_of(fitted.mixture))
