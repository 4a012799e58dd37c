"""Data frames and series, of whatever library and type of columns, are taken as NumPy arrays."""

from __future__ import annotations

import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import estep_xp as ex

X = np.array([[1.0, 3.0], [2.0, 4.0], [5.0, 0.0]])
COMPONENTS = ex.DiagonalGaussian([[0.0, 1.0], [3.0, 2.0]], [[1.0, 2.0], [3.0, 1.0]])
MIXTURE = ex.Mixture([0.25, 0.75], COMPONENTS)


def pandas_frames() -> dict[str, Any]:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(X, columns=["a", "b"])
    return {
        "float64": frame,
        "float32": frame.astype("float32"),
        "int beside float": frame.astype({"a": "int8"}),
        "bool beside int": frame.assign(a=[1, 2, 5]).astype({"a": "int64", "b": "uint8"}),
        "Float64": frame.astype("Float64"),
        "Float32": frame.astype("Float32"),
        "Int64": frame.astype("Int64"),
        "UInt8 beside float64": frame.astype({"b": "UInt8"}),
        "pyarrow": frame.convert_dtypes(dtype_backend="pyarrow"),
        "pyarrow beside NumPy": frame.astype({"a": "double[pyarrow]"}),
        "object": frame.astype(object),
        "object beside Int64": frame.astype({"a": object, "b": "Int64"}),
        "decimals and fractions": pd.DataFrame(
            {"a": [Decimal(1), 2, np.float32(5)], "b": [Fraction(3), 4.0, np.int8(0)]}
        ),
        "sparse": frame.astype(pd.SparseDtype(float)),
        "two columns of one name": frame.set_axis(["a", "a"], axis=1),
        "columns of two levels": frame.set_axis([["a", "a"], [1, 2]], axis=1),
        "index": frame.set_axis(["u", "v", "w"], axis=0),
    }


def other_frames() -> dict[str, Any]:
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    a, b = X.T.tolist()
    whole = [int(value) for value in b]
    return {
        "polars": pl.DataFrame({"a": a, "b": b}),
        "polars int": pl.DataFrame({"a": a, "b": whole}, schema_overrides={"b": pl.UInt16}),
        "polars decimal": pl.DataFrame({"a": a, "b": [Decimal(value) for value in whole]}),
        "pyarrow": pa.table({"a": a, "b": b}),
        "pyarrow int": pa.table({"a": a, "b": whole}),
        "pyarrow batch": pa.record_batch({"a": a, "b": whole}),
        "pyarrow decimal": pa.table({"a": a, "b": [Decimal(value) for value in whole]}),
        "pyarrow half": pa.table({"a": pa.array(a, pa.float16()), "b": b}),
    }


def all_frames() -> dict[str, Any]:
    return pandas_frames() | other_frames()


def test_frames_are_taken_as_numpy():
    for name, frame in all_frames().items():
        single = name in ("float32", "Float32")
        x = X.astype(np.float32) if single else X
        mixture = ex.Mixture(
            np.float32(MIXTURE.weights) if single else MIXTURE.weights,
            ex.DiagonalGaussian(*map(np.float32, COMPONENTS)) if single else COMPONENTS,
        )
        step, expected = ex.e_step(frame, mixture), ex.e_step(x, mixture)
        for one, other in zip(step, expected, strict=True):
            assert one.dtype == other.dtype, name
            np.testing.assert_array_equal(one, other, err_msg=name)
        np.testing.assert_array_equal(components_of(frame), components_of(x), err_msg=name)


def components_of(x: Any) -> Any:
    return ex.initialize(x, 2, ex.SphericalGaussian, seed=0).components.means


def test_booleans_are_zeros_and_ones():
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    flags, floats = [True, False, True], [1.5, 2.0, 3.0]
    expected = ex.log_joint(np.column_stack([flags, floats]), MIXTURE)
    frame = pd.DataFrame({"a": flags, "b": floats})
    frames = [frame, frame.astype({"a": "boolean"}), frame.astype({"a": "bool[pyarrow]"})]
    for one in (*frames, frame.astype(object), pl.DataFrame(frame.to_dict("list"))):
        np.testing.assert_array_equal(ex.log_joint(one, MIXTURE), expected)
    both = pd.DataFrame({"a": flags, "b": flags})
    expected = ex.log_joint(np.column_stack([flags, flags]), MIXTURE)
    for one in (both, both.astype("boolean"), pl.DataFrame(both.to_dict("list"))):
        np.testing.assert_array_equal(ex.log_joint(one, MIXTURE), expected)


def test_large_integers_beside_floats():
    pd = pytest.importorskip("pandas")
    columns = {"a": [2**60, 2**60 + 1], "b": [0.5, 1.5]}
    wide = ex.Mixture([1.0], ex.DiagonalGaussian([[2.0**60, 0.0]], [[1e30, 1.0]]))
    expected = ex.log_joint(np.column_stack([columns["a"], columns["b"]]), wide)
    for kind in ("int64", "Int64", object):
        frame = pd.DataFrame(columns).astype({"a": kind})
        np.testing.assert_array_equal(ex.log_joint(frame, wide), expected)


def test_series_stand_for_any_argument():
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pa = pytest.importorskip("pyarrow")

    def object_series(values: Any) -> Any:
        return pd.Series(values, dtype=object)

    makers = [
        pd.Series,
        object_series,
        lambda values: pd.Series(values, dtype="Float64"),
        lambda values: pd.Series(values, dtype="double[pyarrow]"),
        lambda values: pd.array(values, dtype="Float64"),
        pd.Index,
        pl.Series,
        pa.array,
        lambda values: pa.chunked_array([values]),
    ]
    x, weights, means, variances = [0.5, 4.0, 7.0], [0.25, 0.75], [0.0, 5.0], [1.0, 2.0]
    sample_weight = [1.0, 0.0, 2.0]
    mixture = ex.Mixture(weights, ex.UnivariateGaussian(means, variances))
    expected = ex.log_likelihood(x, mixture, sample_weight=sample_weight)
    for make in makers:
        components = ex.UnivariateGaussian(make(means), make(variances))
        mixture = ex.Mixture(make(weights), components)
        total = ex.log_likelihood(make(x), mixture, sample_weight=make(sample_weight))
        assert total == expected
        np.testing.assert_array_equal(components.covariances, variances)
        posterior = ex.posterior([[-1.0, -2.0]], make(weights))
        assert posterior.log_likelihood == ex.posterior([[-1.0, -2.0]], weights).log_likelihood
        start = ex.initialize(make(x), 2, ex.UnivariateGaussian, seed=0)
        np.testing.assert_array_equal(start.components.means, start_of(x))


def start_of(x: Any) -> Any:
    return ex.initialize(x, 2, ex.UnivariateGaussian, seed=0).components.means


def test_frames_stand_for_any_argument():
    pd = pytest.importorskip("pandas")
    nullable = pd.DataFrame(X, columns=["a", "b"]).astype("Float64")
    means = nullable.iloc[:2]
    covariance = pd.DataFrame([[2, 1], [1, 2]]).astype("Int64")
    tied = ex.TiedGaussian.from_covariance(means, covariance)
    same = ex.TiedGaussian.from_covariance(X[:2], [[2, 1], [1, 2]])
    mixture = ex.Mixture([1, 1], tied)
    np.testing.assert_array_equal(tied.covariances, same.covariances)
    np.testing.assert_array_equal(tied.log_prob(nullable), same.log_prob(X))
    posterior = ex.posterior(-nullable, [1, 1]).responsibilities
    np.testing.assert_array_equal(posterior, ex.posterior(-X, [1, 1]).responsibilities)
    result, other = ex.fit(nullable, mixture), ex.fit(X, mixture)
    assert result.log_likelihood == other.log_likelihood
    assert result.icl(nullable) == other.icl(X)
    rows = [nullable.iloc[i] for i in range(3)]
    np.testing.assert_array_equal(tied.log_prob(rows), same.log_prob(X))


def bad_columns() -> dict[str, tuple[Any, str]]:
    """Columns b that hold no numbers, and what the message says of them."""
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pa = pytest.importorskip("pyarrow")
    day = datetime.date(2020, 1, 1)
    values: dict[str, tuple[list[Any], str]] = {
        "text": (["u", "v"], "text"),
        "numbers as text": (["1.5", "2.5"], "text"),
        "dates": ([day, day], ""),
        "times": ([datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 2)], ""),
    }
    cases = {}
    for name, (column, word) in values.items():
        data = {"a": [1.0, 2.0], "b": column}
        cases[f"pandas {name}"] = (pd.DataFrame(data), word)
        cases[f"polars {name}"] = (pl.DataFrame(data), word)
        cases[f"pyarrow {name}"] = (pa.table(data), word)
    pairs = pl.Array(pl.Float64, 2)
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4]})
    strings = pd.DataFrame({"a": [1.0, 2.0], "b": ["u", None]})
    cases |= {
        "categories": (frame.astype({"b": "category"}), "categories"),
        "categories of text": (strings.astype({"b": "category"}), "categories"),
        "complex": (frame.astype({"b": complex}), "complex"),
        "objects": (frame.astype(object).replace(4, "v"), "text ('v' in row 1)"),
        "complex objects": (frame.astype(object).replace(4, 1j), "complex (1j in row 1)"),
        "missing text": (strings, "text"),
        "durations": (frame.assign(b=pd.to_timedelta(["1s", "2s"])), "durations"),
        "time zones": (frame.assign(b=pd.to_datetime(["2020", "2021"], utc=True)), "Timestamp"),
        "periods": (frame.assign(b=pd.period_range("2020", periods=2, freq="M")), "Period"),
        "lists": (pl.DataFrame({"a": [1.0, 2.0], "b": [[1.0], [2.0]]}), ""),
        "arrays": (
            pl.DataFrame({"a": [1.0], "b": [[1.0, 2.0]]}, schema_overrides={"b": pairs}),
            "lists",
        ),
        "polars categories": (
            pl.DataFrame({"a": [1.0], "b": ["u"]}, schema_overrides={"b": pl.Categorical}),
            "categories",
        ),
        "pyarrow categories": (
            pa.table({"a": [1.0, 2.0], "b": pa.array([1, 2]).dictionary_encode()}),
            "categories",
        ),
        "all columns": (pd.DataFrame({"b": pd.Categorical([1, 2])}), "categories"),
        "large": (frame.astype({"b": object}).replace(4, 10**400), "integer that is too large"),
    }
    return cases


def test_columns_that_hold_no_numbers_are_named():
    for name, (frame, word) in bad_columns().items():
        for call in (
            lambda: ex.e_step(frame, MIXTURE),  # noqa: B023
            lambda: ex.initialize(frame, 1, ex.FullGaussian, seed=0),  # noqa: B023
            lambda: COMPONENTS.log_prob(frame),  # noqa: B023
        ):
            with pytest.raises((TypeError, ValueError)) as caught:
                call()
            message = str(caught.value)
            assert message.startswith("x column 'b' "), (name, message)
            assert word in message, (name, message)
        with pytest.raises((TypeError, ValueError), match=r"^log_prob column 'b' "):
            ex.posterior(frame, [1.0, 1.0])


def test_series_that_hold_no_numbers_are_named():
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    mixture = ex.Mixture([1.0], ex.UnivariateGaussian([0.0], [1.0]))
    for bad in (pd.Series(["u", "v"]), pl.Series(["u", "v"]), pd.Series([1, "v"], dtype=object)):
        with pytest.raises(TypeError, match=r"^x holds text"):
            ex.e_step(bad, mixture)
        with pytest.raises(TypeError, match=r"^sample_weight holds text"):
            ex.log_likelihood([0.0, 1.0], mixture, sample_weight=bad)
        with pytest.raises(TypeError, match=r"^means holds text"):
            ex.UnivariateGaussian(bad, [1.0, 1.0]).log_prob([0.0])


def missing() -> dict[str, Any]:
    """Frames of which row 1 of column b has no value."""
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pa = pytest.importorskip("pyarrow")
    data = {"a": [1, 2, 5], "b": [3, None, 0]}
    flags = {"a": [1, 2, 5], "b": [True, None, False]}
    frame = pd.DataFrame(data)
    return {
        "float64": frame,
        "Int64": frame.astype("Int64"),
        "Float64": frame.astype("Float64"),
        "pyarrow": frame.convert_dtypes(dtype_backend="pyarrow"),
        "boolean": pd.DataFrame(flags).astype({"b": "boolean"}),
        "object": pd.DataFrame(data, dtype=object),
        "polars": pl.DataFrame(data),
        "polars boolean": pl.DataFrame(flags),
        "pyarrow table": pa.table(data),
        "pyarrow boolean": pa.table(flags),
    }


def test_missing_values_are_bad_input_like_nan():
    for frame in missing().values():
        words = r"^x\[1, 1\] is nan; x must be finite \(column 'b'\)(; .* give missing=True)?$"
        with pytest.raises(ValueError, match=words):
            ex.e_step(frame, MIXTURE)
        with pytest.raises(ValueError, match=words):
            ex.fit(frame, MIXTURE)
        with pytest.raises(ValueError, match=words):
            COMPONENTS.log_prob(frame)
        with pytest.raises(ValueError, match=words):
            ex.initialize(frame, 1, ex.FullGaussian, seed=0)


def test_missing_values_in_rows_of_weight_zero():
    for name, frame in missing().items():
        b = [1, 0] if "boolean" in name else [3, 0]
        known = ex.log_likelihood(np.column_stack([[1, 5], b]), MIXTURE)
        total = ex.log_likelihood(frame, MIXTURE, sample_weight=[1, 0, 1])
        np.testing.assert_allclose(total, known, rtol=1e-15, err_msg=name)


def test_frames_beside_other_libraries():
    """As NumPy arrays are: refused beside concrete arrays, constants beside tracers and graphs."""
    pd, jax = pytest.importorskip("pandas"), pytest.importorskip("jax")
    da = pytest.importorskip("dask.array")
    frame = pd.DataFrame(X).astype("Float64")
    weights = jax.numpy.asarray(MIXTURE.weights)
    with pytest.raises(TypeError, match=r"x is a numpy\.ndarray but weights is a jax\.Array"):
        ex.e_step(frame, MIXTURE._replace(weights=weights))

    def total(weights: Any) -> Any:
        return ex.log_likelihood(frame, MIXTURE._replace(weights=weights))

    expected = ex.log_likelihood(X, MIXTURE)
    np.testing.assert_allclose(jax.jit(total)(weights), expected, rtol=1e-14)
    means = frame.iloc[:2]
    lazy = ex.log_likelihood(da.from_array(X), MIXTURE._replace(components=moved(means)))
    again = ex.log_likelihood(X, MIXTURE._replace(components=moved(X[:2])))
    np.testing.assert_allclose(lazy.compute(), again, rtol=1e-14)


def moved(means: Any) -> ex.DiagonalGaussian:
    return ex.DiagonalGaussian(means, COMPONENTS.variances)


def test_frames_of_no_rows_and_of_no_columns():
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    empty = pd.DataFrame({"a": [], "b": []})
    for frame in (empty, empty.astype("Int64"), empty.astype(object), pl.DataFrame(empty)):
        assert ex.e_step(frame, MIXTURE).responsibilities.shape == (0, 2)
    with pytest.raises(ValueError, match=r"^x has shape \(3, 0\)"):
        ex.e_step(pd.DataFrame(index=range(3)), MIXTURE)


def test_columns_of_numbers_that_no_library_computes_with_are_named():
    polars, pandas = pytest.importorskip("polars"), pytest.importorskip("pandas")
    mixture = ex.Mixture([0.5, 0.5], ex.DiagonalGaussian(np.eye(2), np.ones((2, 2))))
    frames = [
        (polars.DataFrame({"a": [1.0, 2.0], "s": [{"x": 1}, {"x": 2}]}), "x column 's' holds rec")
    ]
    if np.dtype(np.longdouble).itemsize > 8:
        long = pandas.DataFrame({"a": [1.0, 2.0], "l": np.ones(2, np.longdouble)})
        frames.append((long, "x column 'l' has "))
    if hasattr(polars, "Int128"):
        wide = polars.Series([1, 2], dtype=polars.Int128)
        frames.append((polars.DataFrame({"a": [1.0, 2.0], "i": wide}), "x column 'i' "))
    for frame, message in frames:
        with pytest.raises(TypeError, match=message):
            ex.e_step(frame, mixture)
