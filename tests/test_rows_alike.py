"""Exactness where features round alike: what random rows hide, since their rounding errors cancel.

All residuals are multiples of one pattern of signs and powers of two, so that the 50-digit truth
costs one number a component: log-densities are −½ (t − m)² G with G = ‖pattern P‖².
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

import estep_xp as ex
from tests import oracle
from tests.backends import BACKENDS
from tests.oracle import mp

N = 1100  # enough rows for the product form
CHECKED = slice(0, N, 73)

PATTERNS = {
    "equal": lambda d: np.ones(d),
    "alternating": lambda d: (-1.0) ** np.arange(d),
    "powers of two": lambda d: 2.0 ** (np.arange(d) % 5 - 2),
}
SMALL = (8, 12, 16, 30, 64, 128)
LARGE = (256, 784, 5000)
DENSE = {"TiedGaussian", "FullGaussian"}

by_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
# One precision for each family and number of features: compiling takes long; see conftest.py.
one_program = pytest.mark.one_program("d", "family", "dtype")
by_pattern = pytest.mark.parametrize("pattern", PATTERNS)
by_family = pytest.mark.parametrize(
    "family", ["SphericalGaussian", "DiagonalGaussian", "TiedGaussian", "FullGaussian"]
)


def draw(family, pattern, d, apart, dtype, above=0.27, n=N, seed=0):
    """Rows around means `apart` deviations from their centre, with weights, fields and the truth.

    `above` is the size of the entries of P above its diagonal, with signs such that terms add up.
    """
    rng = np.random.default_rng([seed, d])
    signs, scales, factor, exact = pattern_of(family, pattern, d, dtype, above)
    m = np.array([-1, 1], dtype) * dtype_of(dtype)(apart / np.sqrt(d))
    t = (m[rng.integers(2, size=n)] * (1 + 0.05 * rng.normal(size=n))).astype(dtype)
    second = {
        "SphericalGaussian": np.ones(2, dtype),
        "DiagonalGaussian": np.stack([(1 / scales**2).astype(dtype)] * 2),
        "TiedGaussian": factor,
        "FullGaussian": np.stack([factor] * 2),
    }[family]
    truth = exact_oracle(exact, d, t[CHECKED], m)
    return np.outer(t, signs), np.ones(2, dtype), (np.outer(m, signs), second), truth


@functools.cache  # for all distances between means
def pattern_of(family, pattern, d, dtype, above):
    """Return the pattern, its scales, the factor P, and what is exact of these."""
    signs = PATTERNS[pattern](d).astype(dtype)
    scales = np.ones(d) if family == "SphericalGaussian" else 1 / abs(signs)
    factor = np.diag(scales)
    if family in DENSE:
        factor += np.triu(np.full((d, d), above), 1) * np.sign(signs)[:, None] * scales[:, None]
    factor = factor.astype(dtype)
    return signs, scales, factor, exact_sums(signs, factor, family in DENSE)


def dtype_of(name):
    return np.dtype(name).type


def exact_sums(signs, factor, dense):
    """Return ‖pattern P‖², the same without signs, log det P and the sum of |log P_jj|."""
    signs = [mp.mpf(float(sign)) for sign in signs]
    signed = unsigned = mp.mpf(0)
    if dense:  # entries above the diagonal are multiples of their row's, so that sums are cumulated
        above = [mp.mpf(float(row[-1])) for row in factor]
        sums, sizes = mp.mpf(0), mp.mpf(0)
        for j in range(len(signs)):
            own = signs[j] * mp.mpf(float(factor[j, j]))
            signed += (sums + own) ** 2
            unsigned += (sizes + abs(own)) ** 2
            sums += signs[j] * above[j]
            sizes += abs(signs[j] * above[j])
    else:
        own = [sign * mp.mpf(float(factor[j, j])) for j, sign in enumerate(signs)]
        signed = unsigned = mp.fsum(one**2 for one in own)
    logs = [mp.log(mp.mpf(float(f))) for f in np.diagonal(factor)]
    return signed, unsigned, mp.fsum(logs), mp.fsum(map(abs, logs))


def exact_oracle(exact, d, t, means):
    """Log-joints of rows t and means m times the pattern, of two components of equal weight."""
    signed, unsigned, log_scale, log_size = exact
    constant = mp.mpf(d) / 2 * mp.log(2 * mp.pi)
    joint, scale = np.empty((len(t), 2), object), np.empty((len(t), 2), object)
    for i, row in enumerate(t):
        for c, mean in enumerate(means):
            square = (mp.mpf(float(row)) - mp.mpf(float(mean))) ** 2
            joint[i, c] = log_scale - constant - square * signed / 2 - mp.log(2)
            scale[i, c] = max(constant, log_size, square * unsigned / 2)
    return oracle.Oracle(joint, scale)


def joint_and_e_step(x, mixture):
    """Compute both in one function, which is compiled at once."""
    return ex.log_joint(x, mixture), ex.e_step(x, mixture)


def check(backend, family, given, dtype):
    """Check log-joints and responsibilities against the truth."""
    x, weights, fields, truth = given
    components = getattr(ex, family)(*(backend.asarray(field, dtype) for field in fields))
    arguments = backend.data(x, dtype), ex.Mixture(backend.asarray(weights, dtype), components)
    joint, result = backend.call(joint_and_e_step, *arguments)
    oracle.assert_log_joint(backend.to_numpy(joint)[CHECKED], truth, dtype)
    oracle.assert_responsibilities(backend.to_numpy(result.responsibilities)[CHECKED], truth, dtype)


@pytest.mark.backends("numpy")
@by_dtype
@by_pattern
@by_family
@pytest.mark.parametrize("d", SMALL)
def test_log_joints(backend, d, family, pattern, dtype):
    """From components that overlap to some that only the residual form is exact for."""
    for apart in (1.0, 6.0, 20.0, 27.0, 36.0):
        check(backend, family, draw(family, pattern, d, apart, dtype), dtype)


@pytest.mark.backends("array_api_strict", "torch")
@by_dtype
@by_family
def test_log_joints_by_the_standard(backend, family, dtype):
    check(backend, family, draw(family, "equal", 256, 20.0, dtype, above=0.02, n=100), dtype)


@pytest.mark.backends("jax_jit")
@one_program
@by_dtype
@by_family
@pytest.mark.parametrize("d", [16, 128])
def test_log_joints_compiled(backend, d, family, dtype):
    for pattern in PATTERNS:
        for apart in (3.0, 27.0):
            check(backend, family, draw(family, pattern, d, apart, dtype), dtype)


@pytest.mark.backends("numpy", "jax_jit")  # which compiles both results at once
@one_program
@by_dtype
@pytest.mark.parametrize(
    ("d", "family"),
    [
        (d, family)
        for d in LARGE
        for family in ("SphericalGaussian", "DiagonalGaussian", "TiedGaussian")
        if d < 1000 or family not in DENSE  # a factor of 5000 features is 200 MB
    ],
)
def test_many_features(backend, d, family, dtype):
    given = draw(family, "equal", d, 50.0, dtype, above=0.01, n=60)
    check(backend, family, given, dtype)


@pytest.mark.parametrize("above", [0.05, 0.253])
@pytest.mark.parametrize("d", [12, 16, 30, 44])
def test_rows_at_the_edge_of_the_product_form(d, above):
    """At some distance between means the bound ends what is granted: errors are largest there."""
    for seed, apart in enumerate(2.0 ** np.arange(3, 6, 0.25)):
        given = draw("FullGaussian", "equal", d, apart, "float64", above=above, seed=seed)
        check(BACKENDS["numpy"], "FullGaussian", given, "float64")


@pytest.mark.backends("numpy", "array_api_strict", "torch", "jax")
@by_dtype
def test_many_components_alike(backend, dtype):
    """The sum over components is one of terms that round alike, too."""
    k = 10_000
    means = backend.asarray(np.zeros(k), dtype)
    components = ex.UnivariateGaussian(means, backend.asarray(np.full(k, 0.7), dtype))
    mixture = ex.Mixture(backend.asarray(np.full(k, 0.3), dtype), components)
    step = backend.call(ex.e_step, backend.data([0.3, 2.0], dtype), mixture)
    eps = float(np.finfo(dtype).eps)
    variance = float(dtype_of(dtype)(0.7))
    x = np.array([0.3, 2.0], dtype).astype(float)
    truth = -0.5 * (x**2 / variance + np.log(2 * np.pi * variance))
    allowed = max(16 * eps * (1 + np.log(k)), 1e-12 if dtype == "float64" else 0)
    np.testing.assert_allclose(
        backend.to_numpy(step.log_likelihood).astype(float), truth, rtol=0, atol=allowed
    )
    responsibilities = backend.to_numpy(step.responsibilities).astype(float)
    np.testing.assert_allclose(responsibilities, 1 / k, rtol=allowed)


def assert_exact(family, fields, x, rows, dtype):
    """Check the log-joints of some rows under components of equal weight."""
    weights = np.ones(len(fields[0]), dtype)
    joint = ex.log_joint(x, ex.Mixture(weights, getattr(ex, family)(*fields)))[rows]
    oracle.assert_log_joint(joint, oracle.mixture(family, fields, weights, x[rows]), dtype)


@by_dtype
@pytest.mark.parametrize("first", [1.0, 1e-3])
@pytest.mark.parametrize("d", [16, 24, 28, 64, 100, 200])
def test_a_large_feature_before_small_ones(d, first, dtype):
    """Additions to a large term round at its scale, whether it is a part of T (`first`) or not."""
    factor = (first * np.eye(d)).astype(dtype)
    factor[:, -1] = 1
    small = (2e-4 if dtype == "float64" else 0.1) * (1 + np.arange(400) / 400)
    x = np.outer(small, np.ones(d)).astype(dtype)
    x[:, 0] = 2120 if first == 1 else 2049
    assert_exact("TiedGaussian", (np.zeros((1, d), dtype), factor), x, slice(0, 400, 25), dtype)


@pytest.mark.parametrize("family", ["SphericalGaussian", "DiagonalGaussian", "FullGaussian"])
@pytest.mark.parametrize("d", [8, 24, 33])
def test_means_far_apart_in_one_feature(d, family):
    """The product form adds up that feature's terms and those of all others."""
    rng = np.random.default_rng(d)
    for apart in (27.0, 33.0, 39.0):
        means = np.full((2, d), rng.uniform(-0.2, 0.2))
        means[:, 0] = apart, -0.5 * apart
        x = np.repeat(10.0 ** rng.uniform(-7, -1, (N, 1)), d, axis=1)
        x[:, 0] = apart * rng.uniform(1, 1.1)
        second = {
            "SphericalGaussian": np.ones(2),
            "DiagonalGaussian": np.ones((2, d)),
            "FullGaussian": np.stack([np.eye(d)] * 2),
        }[family]
        assert_exact(family, (means, second), x, slice(0, N, 110), "float64")
