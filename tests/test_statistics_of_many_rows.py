"""Statistics of many rows: no digit is lost in float32, and memory does not grow."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import estep_xp as ex
from tests import em_oracle
from tests.backends import BACKENDS
from tests.records import FULL, SPHERICAL, problem
from tests.sums import _weighted, assert_sums, jax_only, numbers, numpy_only, take


@pytest.mark.backends("numpy", "jax")
def test_float32_adds_up_without_losing_digits(backend):
    """2^25 rows, each of log-density -0.9189385: a plain float32 sum is off by several percent."""
    components = ex.UnivariateGaussian(*(backend.asarray([a], "float32") for a in (0.0, 1.0)))
    mixture = ex.Mixture(backend.asarray([1.0], "float32"), components)
    statistics = ex.expected_statistics(backend.data(np.zeros(1 << 25, np.float32)), mixture)
    backend.assert_like(statistics.log_likelihood, "float32")
    total = float(statistics.log_likelihood)
    assert abs(total / -30834460 - 1) < 1e-6
    assert float(statistics.n_rows) == float(statistics.counts[0]) == 1 << 25


@pytest.mark.backends("numpy", "jax", "torch")
def test_float32_moments_of_many_rows(backend):
    """In small blocks, so that there are many sums to add to one another."""
    n = 1 << 17
    x = np.random.default_rng(0).uniform(0, 1, n).astype(np.float32)
    components = ex.UnivariateGaussian(*(backend.asarray([a], "float32") for a in (0.0, 1.0)))
    mixture = ex.Mixture(backend.asarray([1.0], "float32"), components)
    block_size = 64 if backend.name != "torch" else 1024
    statistics = ex.expected_statistics(backend.data(x), mixture, block_size=block_size)
    wide = x.astype(np.float64)
    expected = [n, wide.sum(), (wide**2).sum()]
    actual = [float(a[0]) for a in (statistics.counts, *statistics.moments)]
    np.testing.assert_allclose(actual, expected, rtol=3e-7)


@pytest.mark.parametrize("stored", ["float32", "float64", "int16"])
def test_a_file_mapped_into_memory(tmp_path, stored):
    """Read-only, of another dtype than the mixture's, and never copied as a whole."""
    case = problem(FULL, n=1000)
    x = (10 * case.x).astype(stored)
    path = tmp_path / "rows"
    x.tofile(path)
    mapped = np.memmap(path, dtype=stored, mode="r", shape=x.shape)
    backend = BACKENDS["numpy"]
    statistics = ex.expected_statistics(mapped, case.mixture(backend), block_size=100)
    assert_sums(backend, statistics, case._replace(x=x.astype(np.float64)))


MEGABYTE = 1_000_000
MANY = (5_000_000, 8)


def many_components(backend, family, dtype, k=16):
    d = MANY[1]
    means = np.random.default_rng(0).standard_normal((k, d))
    second = np.stack([np.eye(d)] * k) if family is ex.FullGaussian else np.ones((k, d))
    components = family(*(backend.asarray(a, dtype) for a in (means, second)))
    return ex.Mixture(backend.asarray(np.ones(k), dtype), components)


@numpy_only
@pytest.mark.parametrize(
    ("family", "dtype"), [(ex.FullGaussian, "float32"), (ex.DiagonalGaussian, "float64")]
)
def test_memory_does_not_grow_with_the_rows(backend, family, dtype):
    """5M x 8 and 16 components; an (n, k) array would take 320 or 640 MB."""
    # A view that repeats one row: the data themselves need no memory.
    x = np.broadcast_to(np.linspace(-1, 1, MANY[1], dtype=dtype), MANY)
    mixture = many_components(backend, family, dtype)
    tracemalloc.start()
    try:
        statistics = ex.expected_statistics(x, mixture, workers=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert float(statistics.n_rows) == MANY[0]
    assert peak < 100 * MEGABYTE, peak


@jax_only
def test_memory_of_the_compiled_program(backend):
    """XLA tells what it needs beside the arguments; nothing has to run."""
    import jax

    mixture = many_components(backend, ex.FullGaussian, "float64")
    x, s = (jax.ShapeDtypeStruct(shape, "float64") for shape in (MANY, MANY[:1]))
    compiled = jax.jit(_weighted).lower(x, mixture, s).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 100 * MEGABYTE


@pytest.mark.backends("numpy", "array_api_strict", "torch", "jax")
def test_every_library_keeps_float32_digits(backend):
    """Also those that add one row to the next."""
    record = SPHERICAL
    case = problem(record, dtype="float32", n=1 << 18, k=2, d=3)
    sums = numbers(backend, take(backend, case, "float32"))
    expected, sizes = em_oracle.statistics(case)
    for name, value in sums.items():
        assert np.all(np.abs(value - expected[name]) <= 1e-6 * np.asarray(sizes[name])), name
