"""Every result on every array library: its value, namespace, dtype and device, for every family.

Values are held to the accuracy contract, |error| <= 16 eps (1 + T), with T of ``Record.magnitude``;
in float64 the references themselves are good to 1e-12.
"""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests.records import (
    GAUSSIANS,
    UNIVARIATE,
    every_family,
    few_on_jax,
    few_on_jax_jit,
    normalised,
    random_weights,
    rounded,
)

N, K, D = 11, 3, 2  # 11 rows are chunks of 4, 4 and 3 in Dask

DTYPES = ("float32", "float64")
dtypes = pytest.mark.parametrize("dtype", DTYPES)
one_program = pytest.mark.one_program  # see conftest.py


def essentials(x, mixture, sample_weight):
    """The E-step and the weighted total in one call, so that it compiles once."""
    step = ex.e_step(x, mixture)
    return {
        "responsibilities": step.responsibilities,
        "log_likelihood": step.log_likelihood,
        "labels": step.labels,
        "entropy": step.entropy,
        "total_log_likelihood": step.total_log_likelihood,
        "mean_max_responsibility": step.mean_max_responsibility,
        "weighted total": ex.log_likelihood(x, mixture, sample_weight=sample_weight),
    }


def everything(x, mixture, sample_weight):
    """Every result of the E-step's contract."""
    log_prob = mixture.components.log_prob(x)
    again = ex.posterior(log_prob, mixture.weights)
    components, own = mixture.components, {}
    if isinstance(components, tuple(record.family for record in GAUSSIANS)):
        own = {"covariances": components.covariances}
    return (
        essentials(x, mixture, sample_weight)
        | own
        | {
            "log_prob": log_prob,
            "log_joint": ex.log_joint(x, mixture),
            "posterior.responsibilities": again.responsibilities,
            "posterior.log_likelihood": again.log_likelihood,
            "total": ex.log_likelihood(x, mixture),
        }
    )


def expected(record, x, weights, params, sample_weight):
    """Give reference values of ``everything`` and the errors they are allowed, before eps."""
    log_prob = record.log_density(x, params)
    log_joint = record.log_joint(x, weights, params)
    responsibilities, log_likelihood = normalised(log_joint)
    entries = 16 * (1 + record.magnitude(x, weights, params))
    rows = entries.max(axis=1)
    total, own = log_likelihood.sum(), {}
    if record.is_gaussian:
        covariances = record.covariances(params)
        own = {"covariances": (covariances, 64 * np.abs(covariances).max())}
    # r = exp(q - l) is accurate relatively, with the errors of its two terms.
    relative = responsibilities * (entries + rows[:, None])
    entropies = -(responsibilities * np.log(responsibilities)).sum(axis=1)
    changes = (relative * (1 + np.abs(np.log(responsibilities)))).sum(axis=1)
    largest = responsibilities.max(axis=1)
    return own | {
        "log_prob": (log_prob, entries),
        "log_joint": (log_joint, entries),
        "responsibilities": (responsibilities, relative),
        "log_likelihood": (log_likelihood, rows),
        "labels": (responsibilities.argmax(axis=1), 0),
        "entropy": (entropies, changes),
        "total_log_likelihood": (total, rows.sum()),
        "mean_max_responsibility": (largest.mean(), (2 * rows).mean()),
        "posterior.responsibilities": (responsibilities, relative),
        "posterior.log_likelihood": (log_likelihood, rows),
        "total": (total, rows.sum()),
        "weighted total": (sample_weight @ log_likelihood, sample_weight @ rows),
    }


def tolerance(scale, dtype):
    """Turn an allowance in units of eps into an absolute one."""
    return scale * np.finfo(dtype).eps + (1e-12 if dtype == "float64" else 0.0)


def assert_close(actual, value, scale, dtype, name):
    assert actual.shape == np.shape(value), (name, actual.shape)
    error = np.abs(actual - value)
    assert np.all(error <= tolerance(scale, dtype)), f"{name}: {actual} instead of {value}"


def assert_unchanged(backend, arrays, originals):
    for array, original in zip(arrays, originals, strict=True):
        np.testing.assert_array_equal(backend.to_numpy(array), original)


def numbers(record, dtype, n=N, k=K):
    """Random observations, weights, parameters and sample weights, as ``dtype`` holds them."""
    params = rounded(record.random(7, k, D), dtype)
    sample_weight = np.random.default_rng(8).uniform(0.0, 2.0, n)
    arrays = (record.data(9, n, D), random_weights(10, k), sample_weight)
    x, weights, sample_weight = (a.astype(dtype).astype(np.float64) for a in arrays)
    return x, weights, params, sample_weight


@few_on_jax_jit
@one_program("record", "dtype")
@every_family
@dtypes
def test_values_namespace_dtype_and_device(backend, record, dtype):
    x, weights, params, sample_weight = numbers(record, dtype)
    native_x, native_sw = backend.data(x, dtype), backend.data(sample_weight, dtype)
    mixture = record.mixture(backend, weights, params, dtype)

    results = backend.call(everything, native_x, mixture, native_sw)

    references = expected(record, x, weights, params, sample_weight)
    assert results.keys() == references.keys()
    for name, (value, scale) in references.items():
        if backend.name == "dask" and name == "covariances":
            assert isinstance(results[name], np.ndarray)  # parameters stay in NumPy there
            assert results[name].dtype == dtype
        else:
            backend.assert_like(results[name], int if name == "labels" else dtype)
        assert_close(backend.to_numpy(results[name]), value, scale, dtype, name)
    sums = backend.to_numpy(results["responsibilities"]).astype(np.float64).sum(axis=1)
    np.testing.assert_allclose(sums, 1.0, rtol=0, atol=(16 + K) * np.finfo(dtype).eps)

    arrays = [native_x, native_sw]
    assert_unchanged(backend, arrays, [x, sample_weight])
    if backend.name != "dask":
        fields = [mixture.weights, *mixture.components]
        assert_unchanged(backend, fields, [weights, *params.values()])


OPTIONS = (
    {"block_size": 1},
    {"block_size": 4},
    {"block_size": 100},
    {"workers": 1},
    {"workers": 2},
    {"block_size": 3, "workers": 2},
)


def everything_in_blocks(x, mixture, block_size=None, workers=None):
    """Every function that takes the two options."""
    options = {"block_size": block_size, "workers": workers}
    step = ex.e_step(x, mixture, **options)
    log_joint = ex.log_joint(x, mixture, **options)
    again = ex.posterior(log_joint, [1] * K, **options)
    return {
        "responsibilities": step.responsibilities,
        "log_likelihood": step.log_likelihood,
        "log_joint": log_joint,
        "posterior.responsibilities": again.responsibilities,
        "total": ex.log_likelihood(x, mixture, **options),
    }


@few_on_jax
@one_program("record")
@every_family
def test_block_size_and_workers_change_nothing(backend, record):
    x, weights, params, sample_weight = numbers(record, "float64")
    mixture = record.mixture(backend, weights, params)
    native_x = backend.data(x)
    references = expected(record, x, weights, params, sample_weight)
    # JAX compiles each choice anew: two of them tell as much there.
    for options in OPTIONS if backend.name not in ("jax", "jax_jit") else OPTIONS[-2:]:
        results = backend.call(everything_in_blocks, native_x, mixture, **options)
        for name, result in results.items():
            backend.assert_like(result, "float64")
            value, scale = references[name]
            assert_close(backend.to_numpy(result), value, scale, "float64", f"{name} {options}")


@every_family
def test_many_rows_in_blocks_equal_the_whole(record):
    """Enough rows for several of the library's own blocks and threads, against one block."""
    x = record.data(3, 20_000, D)
    params, weights = record.random(4, 5, D), random_weights(5, 5)
    mixture = ex.Mixture(weights, record.family(**params))
    whole = ex.e_step(x, mixture, block_size=len(x), workers=1)
    entries = 32 * np.finfo(float).eps * (1 + record.magnitude(x, weights, params))
    for options in ({}, {"block_size": 999}, {"block_size": 4096, "workers": 2}):
        step = ex.e_step(x, mixture, **options)
        allowed = entries.max(axis=1)
        assert np.all(np.abs(step.log_likelihood - whole.log_likelihood) <= allowed), options
        # 1e-12 is the room that the contract leaves to faster forms in float64.
        difference = np.abs(step.responsibilities - whole.responsibilities)
        assert np.all(difference <= 2e-12 * whole.responsibilities + allowed[:, None]), options


LAYOUTS = {
    "fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=0)[::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "big endian": lambda a: a.astype(">f8"),
}


@every_family
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_is_no_concern(record, layout):
    """Of the observations and of the parameters; results are ordinary arrays."""
    x, weights, params, sample_weight = numbers(record, "float64")
    change = LAYOUTS[layout]
    components = record.family(**{name: change(a) for name, a in params.items()})
    step = ex.e_step(change(x), ex.Mixture(change(weights), components), block_size=4)
    references = expected(record, x, weights, params, sample_weight)
    for name, result in zip(("responsibilities", "log_likelihood"), step, strict=True):
        assert result.dtype.isnative
        value, scale = references[name]
        assert_close(result, value, scale, "float64", name)


@every_family
@pytest.mark.backends("dask")
def test_dask_chunks_of_any_kind(backend, record):
    """Chunks along features, of another size for the sample weights, of unknown length."""
    import dask.array as da

    x, weights, params, sample_weight = numbers(record, "float64")
    mixture = record.mixture(backend, weights, params)
    references = expected(record, x, weights, params, sample_weight)
    chunked = da.from_array(x, chunks=(4,) if record.univariate else (4, 1))
    unknown = chunked[da.from_array(np.ones(N, dtype=bool), chunks=4)]
    for lazy in (chunked, unknown):
        results = backend.call(ex.e_step, lazy, mixture)
        for name, result in zip(("responsibilities", "log_likelihood"), results, strict=True):
            value, scale = references[name]
            assert_close(backend.to_numpy(result), value, scale, "float64", name)
    weights_of_rows = da.from_array(sample_weight, chunks=5)
    total = backend.call(ex.log_likelihood, chunked, mixture, sample_weight=weights_of_rows)
    value, scale = references["weighted total"]
    assert_close(backend.to_numpy(total), value, scale, "float64", "weighted total")


@pytest.mark.parametrize(
    "options",
    [
        {"block_size": 0},
        {"block_size": -1},
        {"workers": 0},
        {"block_size": 1.5},
        {"workers": "two"},
    ],
    ids=str,
)
@pytest.mark.backends("numpy", "jax")
def test_impossible_block_size_and_workers(backend, options):
    mixture = ex.Mixture(
        backend.asarray([1.0]),
        ex.UnivariateGaussian(backend.asarray([0.0]), backend.asarray([1.0])),
    )
    (name,) = options
    with pytest.raises((ValueError, TypeError), match=name):
        ex.e_step(backend.data([0.5]), mixture, **options)


@few_on_jax
@one_program("record")
@every_family
def test_no_rows(backend, record):
    x, weights, params, sample_weight = numbers(record, "float32", n=0)
    mixture = record.mixture(backend, weights, params, "float32")
    native = backend.data(x, "float32"), mixture, backend.data(sample_weight, "float32")
    results = backend.call(everything, *native)
    shapes = {
        "log_prob": (0, K),
        "log_joint": (0, K),
        "responsibilities": (0, K),
        "posterior.responsibilities": (0, K),
        "posterior.log_likelihood": (0,),
        "log_likelihood": (0,),
        "labels": (0,),
        "entropy": (0,),
    }
    for name, shape in shapes.items():
        backend.assert_like(results[name], int if name == "labels" else "float32")
        assert backend.to_numpy(results[name]).shape == shape, name
    for name in ("total_log_likelihood", "total", "weighted total"):
        backend.assert_like(results[name], "float32")
        assert backend.to_numpy(results[name]) == 0.0, name
    backend.assert_like(results["mean_max_responsibility"], "float32")
    assert np.isnan(backend.to_numpy(results["mean_max_responsibility"]))


@few_on_jax
@one_program("record")
@every_family
def test_one_row(backend, record):
    x, weights, params, sample_weight = numbers(record, "float64", n=1)
    mixture = record.mixture(backend, weights, params)
    results = backend.call(essentials, backend.data(x), mixture, backend.data(sample_weight))
    references = expected(record, x, weights, params, sample_weight)
    for name, result in results.items():
        value, scale = references[name]
        assert_close(backend.to_numpy(result), value, scale, "float64", name)


@few_on_jax
@one_program("record")
@every_family
def test_one_component(backend, record):
    x, weights, params, sample_weight = numbers(record, "float64", k=1)
    mixture = record.mixture(backend, weights, params)
    results = backend.call(essentials, backend.data(x), mixture, backend.data(sample_weight))
    references = expected(record, x, weights, params, sample_weight)
    for name in ("log_likelihood", "total_log_likelihood", "weighted total"):
        value, scale = references[name]
        assert_close(backend.to_numpy(results[name]), value, scale, "float64", name)
    ones = np.ones((N, 1))
    # Certain, exactly: the weight is normalised away and nothing is left to round.
    np.testing.assert_array_equal(backend.to_numpy(results["responsibilities"]), ones)
    np.testing.assert_array_equal(backend.to_numpy(results["labels"]), np.zeros(N))
    np.testing.assert_array_equal(backend.to_numpy(results["entropy"]), np.zeros(N))
    assert backend.to_numpy(results["mean_max_responsibility"]) == 1.0


def test_zero_weight_takes_no_share(backend):
    """Exactly zero, without a warning from log(0), wherever the component lies."""
    components = ex.UnivariateGaussian(backend.asarray([0.0, 0.5, 9.0]), backend.asarray([1.0] * 3))
    mixture = ex.Mixture(backend.asarray([0.4, 0.0, 0.6]), components)
    x = np.array([-1.0, 0.5, 4.0, 9.0])
    step = backend.call(ex.e_step, backend.data(x), mixture)
    others = {"means": np.array([0.0, 9.0]), "variances": np.array([1.0, 1.0])}
    log_joint = UNIVARIATE.log_joint(x, np.array([0.4, 0.6]), others)
    responsibilities, log_likelihood = normalised(log_joint)
    actual = backend.to_numpy(step.responsibilities)
    np.testing.assert_array_equal(actual[:, 1], 0.0)
    np.testing.assert_allclose(actual[:, [0, 2]], responsibilities, rtol=1e-13)
    np.testing.assert_allclose(backend.to_numpy(step.log_likelihood), log_likelihood, rtol=1e-13)


def _certain(log_prob, weights):
    step = ex.posterior(log_prob, weights)
    return step.entropy, step.labels


def test_entropy_of_a_certain_row_is_zero(backend):
    """0 log 0 is 0: a row of one component has no entropy, and a tie of two has log 2."""
    log_prob = np.array([[0.0, -np.inf], [-1e4, 0.0], [3.0, 3.0]])
    weights = backend.asarray([0.5, 0.5])
    entropy, labels = backend.call(_certain, backend.data(log_prob), weights)
    np.testing.assert_allclose(
        backend.to_numpy(entropy), [0.0, 0.0, np.log(2.0)], rtol=1e-15, atol=0
    )
    np.testing.assert_array_equal(backend.to_numpy(labels), [0, 1, 0])
