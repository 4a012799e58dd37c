"""Rows that lack values, or have errors: against marginalisation at 50 digits, on each library."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

import estep_xp as ex
from tests import marginal_oracle as oracle

FAMILIES = ("FullGaussian", "TiedGaussian", "DiagonalGaussian", "SphericalGaussian")
KINDS = ("none", "variances", "covariances")
D, K = 3, 2


def components(name, k=K, d=D, seed=0, spread=1.0):
    """Arrays of a family at random, in float64."""
    random = np.random.default_rng([seed, d])
    means = random.normal(size=(k, d))
    factors = np.triu(random.normal(size=(k, d, d)) * spread)
    factors += np.eye(d) * (
        1.0 + random.uniform(size=(k, 1, d)) - np.diagonal(factors, 0, 1, 2)[:, None]
    )
    variances = random.uniform(0.3, 3.0, (k, d))
    return {
        "FullGaussian": (means, factors),
        "TiedGaussian": (means, factors[0]),
        "DiagonalGaussian": (means, variances),
        "SphericalGaussian": (means, variances[:, 0]),
    }[name]


def patterns(d, copies=2, seed=1):
    """Rows (n, d) with every pattern of holes."""
    seen = np.array(list(itertools.product([True, False], repeat=d)) * copies)
    x = np.random.default_rng([seed, d]).normal(size=seen.shape) * 1.5
    return np.where(seen, x, np.nan)


def errors(kind, n, d):
    """Variances or covariances of errors of n rows, some of them zero; None of none."""
    random = np.random.default_rng([5, d])
    if kind == "none":
        return None
    if kind == "variances":
        return random.uniform(0.0, 2.0, (n, d)) * (random.random((n, d)) < 0.8)
    factors = random.normal(size=(n, d, d))
    factors[::3, :, 0] = 0.0  # singular
    return factors @ factors.transpose(0, 2, 1)


def matrices(noise):
    """Errors as matrices (n, d, d)."""
    if noise is None or noise.ndim == 3:
        return noise
    return noise[:, :, None] * np.eye(noise.shape[1])


def prepared(backend, name, dtype, kind, d=D, x=None, fields=None):
    """Rows, mixture and keywords for a backend, and what the oracle knows of them."""
    x = patterns(d) if x is None else x
    x, noise = x.astype(dtype), errors(kind, len(x), d)
    noise = noise if noise is None else noise.astype(dtype)
    fields = [field.astype(dtype) for field in fields or components(name, d=d)]
    weights = np.array([0.4, 0.6], dtype=dtype)
    family = getattr(ex, name)
    native = ex.Mixture(
        backend.asarray(weights, dtype), family(*(backend.asarray(a, dtype) for a in fields))
    )
    host = family(*(field.astype(np.float64) for field in fields))
    covariances = oracle.covariances_of_components(host)
    wide = None if noise is None else matrices(noise.astype(np.float64))
    reference = oracle.known(x.astype(np.float64), weights, host.means, covariances, wide)
    keywords = {"missing": True}
    if noise is not None:
        keywords["noise"] = backend.data(noise, dtype)
    return backend.data(x, dtype), native, keywords, host, reference


def close(backend, result, reference, dtype, scale=40.0):
    """Assert that a result is within some eps of the reference and of the largest number."""
    reference = np.asarray(reference, dtype=np.float64)
    eps = np.finfo(dtype).eps
    backend.assert_like(result, dtype)
    np.testing.assert_allclose(
        backend.to_numpy(result),
        reference,
        rtol=scale * eps,
        atol=scale * eps * np.abs(reference).max(),
    )


@pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "torch", "dask")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FAMILIES)
def test_e_step_and_statistics(backend, name, dtype, kind):
    check_e_step_and_statistics(backend, name, dtype, kind)


@pytest.mark.backends("jax", "jax_jit")  # compiles for each of these: few are enough
@pytest.mark.one_program("kind")
@pytest.mark.parametrize("kind", KINDS)
def test_e_step_and_statistics_in_jax(backend, kind):
    name = {"none": "TiedGaussian", "variances": "FullGaussian", "covariances": "DiagonalGaussian"}
    check_e_step_and_statistics(backend, name[kind], "float32", kind)


@pytest.mark.backends("jax_jit")
@pytest.mark.parametrize("name", ["FullGaussian", "DiagonalGaussian"])
def test_missing_values_under_jit(backend, name):
    check_e_step_and_statistics(backend, name, "float64", "none")


def check_e_step_and_statistics(backend, name, dtype, kind, x=None, fields=None):
    x, mixture, keywords, host, reference = prepared(backend, name, dtype, kind, x=x, fields=fields)
    step = backend.call(ex.e_step, x, mixture, **keywords)
    close(backend, step.log_likelihood, reference.log_density, dtype)
    close(backend, step.responsibilities, reference.responsibilities, dtype, 400.0)
    statistics = backend.call(ex.expected_statistics, x, mixture, **keywords)
    counts, first, second = reference.sums(host.means)
    close(backend, statistics.log_likelihood, reference.log_density.sum(), dtype)
    close(backend, statistics.counts, counts, dtype, 100.0)
    close(backend, statistics.moments.first, first, dtype, 400.0)
    close(backend, statistics.moments.second, oracle.reduced(host, second), dtype, 400.0)


@pytest.mark.backends("numpy")
@pytest.mark.parametrize("spread", [1.0, 300.0])  # products of features are exact, or cancel
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAMILIES)
def test_many_rows_at_once(backend, name, kind, spread):
    """Many rows are worked on by pattern, or factorised at once: results are the same."""
    x = patterns(D, copies=10)  # more rows than are evaluated one by one
    x = np.where(np.arange(len(x))[:, None] % 2, x, x * spread)
    dtype = "float32" if (name == "TiedGaussian") == (kind == "none") else "float64"
    check_e_step_and_statistics(backend, name, dtype, kind, x)


@pytest.mark.backends("numpy")
@pytest.mark.parametrize("name", ["FullGaussian", "DiagonalGaussian"])
def test_means_far_apart(backend, name):
    """Sums about one centre would cancel, and so would products of features."""
    x = patterns(D, copies=10)
    x = x + 1e5 * (np.arange(len(x)) % 2)[:, None]
    fields = components(name)
    fields[0][1] += 1e5
    check_e_step_and_statistics(backend, name, "float64", "none", x, fields)


@pytest.mark.parametrize("d", [8, 9, 17, 66])
def test_patterns_are_those_of_single_rows(d):
    """Codes of any number of features; patterns that share holes of their last features or none."""
    random = np.random.default_rng(d)
    seen = random.random((40, d)) < 0.6
    seen[:2] = [[True], [False]]
    seen[2:20, d // 2 :] = seen[2, d // 2 :]
    x = np.where(seen[random.integers(0, 40, 200)], random.normal(size=(200, d)), np.nan)
    units = 10.0 ** random.integers(-3, 4, d)
    means, factors = components("FullGaussian", d=d, spread=0.1)
    mixture = ex.Mixture([0.4, 0.6], ex.FullGaussian(means * units, factors / units[:, None]))
    whole = ex.expected_statistics(x * units, mixture, missing=True)
    parts = [x[i : i + 50] * units for i in range(0, 200, 50)]  # too few to look for patterns
    alone = functools.reduce(
        ex.merge, [ex.expected_statistics(part, mixture, missing=True) for part in parts]
    )
    np.testing.assert_allclose(whole.log_likelihood, alone.log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(whole.counts, alone.counts, rtol=1e-10)
    both = units[:, None] * units
    np.testing.assert_allclose(
        whole.moments.second / both, alone.moments.second / both, rtol=1e-9, atol=1e-9
    )
    joint = np.concatenate([ex.log_joint(part, mixture, missing=True) for part in parts])
    found = ex.log_joint(x * units, mixture, missing=True)
    np.testing.assert_allclose(found, joint, rtol=1e-13, atol=1e-12)


def test_rows_in_blocks_come_back_in_order():
    x = np.concatenate([patterns(D, copies=300, seed=seed) for seed in (1, 2)])
    random = np.random.default_rng(0)
    x, weights = random.permutation(x), random.uniform(0.0, 2.0, len(x))
    mixture = ex.Mixture([0.4, 0.6], ex.FullGaussian(*components("FullGaussian")))
    step = ex.e_step(x, mixture, missing=True, block_size=700, workers=2)
    some = slice(1000, 1030)
    alone = ex.e_step(x[some], mixture, missing=True)
    np.testing.assert_allclose(step.responsibilities[some], alone.responsibilities, rtol=1e-11)
    np.testing.assert_allclose(step.log_likelihood[some], alone.log_likelihood, atol=1e-12)
    total = ex.log_likelihood(x, mixture, missing=True, sample_weight=weights)
    np.testing.assert_allclose(total, weights @ step.log_likelihood, rtol=1e-12)
    x[1234, 1] = np.inf
    with pytest.raises(ValueError, match=r"x\[1234, 1\] is inf; x must be finite"):
        ex.e_step(x, mixture, missing=True)


@pytest.mark.backends("jax_jit")
def test_errors_that_are_no_covariances_show_under_jit(backend):
    """Also where they are lost in the components' own spread, and not where they are singular."""
    bad = [[[1.0, 1.2], [1.2, 1.0]], [[0.0, 0.1], [0.1, 1.0]], [[1.0, 0.5], [0.0, 1.0]]]
    good = [[[1.0, 0.5], [0.5, 1.0]], [[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 1e-300]]]
    noise, x = np.asarray([*bad, *good]), np.zeros((6, 2))
    components = ex.FullGaussian(backend.asarray([[0.0, 1.0]]), backend.asarray(np.eye(2)[None]))
    mixture = ex.Mixture(backend.asarray([1.0]), components)
    found = backend.call(
        lambda x, m, s: ex.log_density(x, m, noise=s), backend.data(x), mixture, backend.data(noise)
    )
    assert np.isnan(backend.to_numpy(found)).tolist() == [True] * 3 + [False] * 3
