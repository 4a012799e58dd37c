"""Kinds of arrays that are refused by argument and kind, and kinds that are taken, everywhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import estep_xp as ex

ROWS, ONE = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0])


def calls(xp: Any) -> dict[str, tuple[str, Callable[[Any], Any]]]:
    """Calls that take a matrix (2, 2) of namespace `xp`, and the name of the argument it is."""
    means, ones = xp.asarray(ROWS), xp.ones((2, 2), dtype=xp.float64)
    weights = xp.ones(2, dtype=xp.float64)
    diagonal = ex.DiagonalGaussian(means, ones)
    mixture = ex.Mixture(weights, diagonal)
    from_covariance = ex.TiedGaussian.from_covariance
    return {
        "e_step": ("x", lambda a: ex.e_step(a, mixture)),
        "log_joint": ("x", lambda a: ex.log_joint(a, mixture)),
        "log_likelihood": ("x", lambda a: ex.log_likelihood(a, mixture)),
        "log_prob": ("x", lambda a: diagonal.log_prob(a)),
        "statistics": ("x", lambda a: ex.expected_statistics(a, mixture)),
        "fit": ("x", lambda a: ex.fit(a, mixture, max_iter=1)),
        "initialize": ("x", lambda a: ex.initialize(a, 1, ex.FullGaussian, seed=0)),
        "posterior": ("log_prob", lambda a: ex.posterior(a, weights)),
        "weights": ("weights", lambda a: ex.e_step(means, ex.Mixture(a, diagonal))),
        "means": ("means", lambda a: ex.DiagonalGaussian(a, ones).log_prob(means)),
        "variances": ("variances", lambda a: ex.DiagonalGaussian(means, a).covariances),
        "factor": ("precision_cholesky", lambda a: ex.TiedGaussian(means, a).covariances),
        "covariance": ("covariance", lambda a: from_covariance(means, a)),
        "sample_weight": (
            "sample_weight",
            lambda a: ex.log_likelihood(means, mixture, sample_weight=a),
        ),
    }


def assert_refused(xp: Any, array: Any, *words: str) -> None:
    for name, (argument, call) in calls(xp).items():
        with pytest.raises(TypeError) as caught:
            call(array)
        message = str(caught.value)
        assert type(caught.value) is TypeError
        assert message.startswith(f"{argument} "), (name, message)
        for word in words:
            assert word in message, (name, message)


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long double is a double here")
def test_long_doubles():
    x = ROWS.astype(np.longdouble)
    name = str(x.dtype)
    assert_refused(np, x, name, "float64")
    assert_refused(np, x.tolist(), name)
    da = pytest.importorskip("dask.array")
    assert_refused(np, da.from_array(x), name)


def test_numpy_kinds_that_hold_no_real_numbers():
    for kind in ("S3", "U3", "M8[D]", "m8[s]", object, [("a", float)], complex, np.clongdouble):
        x = np.zeros((2, 2), kind)
        assert_refused(np, x, "dtype", str(x.dtype))
    assert_refused(np, np.ma.masked_array(ROWS, mask=ROWS > 3), "mask")


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float8_e4m3fn", "int4"])
def test_small_kinds_of_numpy_are_single_precision(kind):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(getattr(ml_dtypes, kind, kind))
    mixture = ex.Mixture([1.0], ex.DiagonalGaussian([[0.0, 1.0]], [[1.0, 2.0]]))
    total = ex.log_likelihood(ROWS.astype(dtype), mixture)
    expected = ex.log_likelihood(ROWS.astype(np.float32), mixture)
    assert total.dtype == np.float32
    assert total == expected
    assert ex.initialize(ROWS.astype(dtype), 1, ex.FullGaussian, seed=0).weights.dtype == "float32"


@pytest.mark.parametrize("kind", [bool, "uint8", "int8", "uint64", ">i4", ">f8"])
def test_whole_numbers_and_foreign_bytes_are_double_precision(kind):
    mixture = ex.Mixture([1.0], ex.DiagonalGaussian([[0.0, 1.0]], [[1.0, 2.0]]))
    x = ROWS.astype(kind)
    assert ex.log_likelihood(x, mixture) == ex.log_likelihood(x.astype(float), mixture)


def test_sparse_arrays():
    sparse = pytest.importorskip("scipy.sparse")
    for maker in (sparse.csr_matrix, sparse.csr_array, sparse.coo_array, sparse.dok_array):
        assert_refused(np, maker(ROWS), "sparse", maker.__name__)
    da = pytest.importorskip("dask.array")
    assert_refused(np, da.from_array(ROWS).map_blocks(sparse.csr_matrix), "Dask", "sparse")


def test_masked_chunks():
    da = pytest.importorskip("dask.array")
    assert_refused(np, da.from_array(np.ma.masked_array(ROWS, mask=ROWS > 3)), "Dask", "mask")


def test_kinds_of_jax():
    jax = pytest.importorskip("jax")
    from jax.experimental.sparse import BCOO

    x = jax.numpy.asarray(ROWS)
    assert_refused(jax.numpy, BCOO.fromdense(x), "sparse", "BCOO")
    assert_refused(jax.numpy, jax.random.key(0), "key<")
    assert_refused(jax.numpy, x.astype(jax.numpy.float8_e4m3fn), "float8_e4m3fn", "float32")
    assert_refused(jax.numpy, x.astype(jax.numpy.int4), "int4", "float32")


def test_kinds_of_torch():
    torch = pytest.importorskip("torch")
    x = torch.asarray(ROWS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of features in beta state
        cases = {
            "sparse_coo": x.to_sparse(),
            "sparse_csr": x.to_sparse_csr(),
            "sparse_bsr": x.to_sparse_bsr((1, 1)),
            "meta": x.to("meta"),
            "nested": torch.nested.nested_tensor([x[0], x[1]]),
            "quantized": torch.quantize_per_tensor(x.float(), 0.1, 0, torch.quint8),
            "masked": torch.masked.masked_tensor(x, x > 1),
            "float8_e4m3fn": x.to(torch.float8_e4m3fn),
            "complex": x * 1j,
        }
        for word, tensor in cases.items():
            assert_refused(torch, tensor, word)
        half = ex.log_likelihood(
            x.half(), ex.Mixture([1.0], ex.DiagonalGaussian([[0, 1]], [[1, 2]]))
        )
    assert half.dtype == torch.float32


def test_records_are_no_arrays():
    mixture = ex.Mixture([0.5, 0.5], ex.DiagonalGaussian(ROWS, ROWS))
    step = ex.e_step(ROWS, mixture)
    for record in (mixture, mixture.components, step, ex.expected_statistics(ROWS, mixture)):
        assert_refused(np, record, f"is a record, {type(record).__name__}; expected an array")
