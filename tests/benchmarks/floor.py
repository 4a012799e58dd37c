"""The least that any program needs here: arithmetic or exponentials, and writing the result."""

from __future__ import annotations

import functools
import statistics
from typing import NamedTuple

import numpy as np

from tests.benchmarks.problems import Problem
from tests.benchmarks.timing import Call, seconds


class Rates(NamedTuple):
    """What this machine does in a second, in one dtype and by one library.

    NumPy's matrix product has all threads that BLAS takes, its other functions have one; XLA's
    have all of its threads.
    """

    matmul: float  # floating-point operations of a large matrix product
    exp: float  # exponentials of numbers in the cache
    fresh: float  # bytes written to memory that has just been asked for
    copy: float  # bytes read and written by a copy of a large array


def flops(problem: Problem) -> float:
    """Operations of the cheapest way we know: natural parameters times features, one product.

    A component and a row take as many multiplications and additions as there are features:
    d (d + 1) / 2 products of two coordinates, d coordinates and a 1 for a full covariance; d
    squares, d coordinates and a 1 for a diagonal one; the sum of squares, d coordinates and a 1 for
    a spherical one, and for a tied one after a product of the rows with one (d, d) matrix.
    """
    n, d, k = problem.n, problem.d, problem.k
    features = {
        "univariate": 0.0,  # less than its exponentials in any case
        "spherical": d + 2,
        "diagonal": 2 * d + 1,
        "tied": d + 2,
        "full": d * (d + 1) / 2 + d + 1,
    }
    once = 2.0 * n * d * d if problem.family == "tied" else 0.0
    return once + 2.0 * n * k * features[problem.family]


def floor(problem: Problem, rates: Rates) -> float:
    """Seconds of an E-step at the least."""
    n, k = problem.n, problem.k
    written = n * k * np.dtype(problem.dtype).itemsize
    return max(flops(problem) / rates.matmul, n * k / rates.exp) + written / rates.fresh


def floor_of_fit(problem: Problem, rates: Rates, n_iter: int) -> float:
    """Seconds of EM at the least.

    An E-step before and after each M-step; as many operations again for the sums; nothing written.
    """
    n, k = problem.n, problem.k
    return (n_iter + 1) * max(2.0 * flops(problem) / rates.matmul, n * k / rates.exp)


@functools.cache
def numpy_rates(dtype: str, quick: bool = False) -> Rates:
    """Measured with NumPy, once a process."""
    side, large = (64, 1 << 12) if quick else (1024, 1 << 23)
    matrix = np.random.default_rng(0).standard_normal((side, side)).astype(dtype)
    cached = np.linspace(-30.0, 0.0, 4096).astype(dtype)
    array = np.ones(large, dtype)
    out, target = np.empty_like(cached), np.empty_like(array)

    def exponentials() -> None:
        for _ in range(100):
            np.exp(cached, out=out)

    return Rates(
        2.0 * side**3 / _typical(lambda: matrix @ matrix),
        100 * cached.size / _typical(exponentials),
        array.nbytes / _typical(lambda: np.full(large, 0.5, dtype)),
        2 * array.nbytes / _typical(lambda: np.copyto(target, array)),
    )


@functools.cache
def jax_rates(dtype: str, quick: bool = False) -> Rates:
    """Measured with JAX on its default device, once a process."""
    import jax
    import jax.numpy as jnp

    on_cpu = jax.default_backend() == "cpu"
    side, large = (1024, 1 << 23) if on_cpu else (8192, 1 << 28)
    sizes = (1 << 15, 1 << 17, 1 << 19) if on_cpu else (1 << 24, 1 << 26)
    if quick:
        side, large, sizes = 64, 1 << 12, (1 << 12,)

    def timed(function, *args, **static) -> float:
        compiled = jax.jit(functools.partial(function, **static))
        return _typical(lambda: jax.block_until_ready(compiled(*args)))

    def product(a):
        return jnp.matmul(a, a, precision="highest")

    matrix = jax.random.normal(jax.random.key(0), (side, side), dtype)
    rows = [jnp.linspace(-30.0, 0.0, size, dtype=dtype) for size in sizes]
    array, value = jnp.ones(large, dtype), jnp.asarray(0.5, dtype)
    return Rates(
        2.0 * side**3 / timed(product, matrix),
        max(row.size / timed(jnp.exp, row) for row in rows),
        array.nbytes / timed(lambda a: jnp.full(large, a), value),
        2 * array.nbytes / timed(lambda a, b: a + b, array, value),
    )


def _typical(call: Call) -> float:
    call()
    return statistics.median(seconds(call) for _ in range(7))
