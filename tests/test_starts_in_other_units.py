"""Plain starts in units that are powers of two: the same start, or an error where none is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS

METHODS = ("k-means++", "random_rows", "k-means", "random")
WIDE = {"float64": 480, "float32": 50}  # exponents whose squares a dtype has
BEYOND = {"float64": (-990, -531, 531, 990), "float32": (-110, -70, 70, 110)}
# Powers of the unit in which each field is.
GAUSSIANS = {
    "univariate": (ex.UnivariateGaussian, (1, 2)),
    "spherical": (ex.SphericalGaussian, (1, 2)),
    "diagonal": (ex.DiagonalGaussian, (1, 2)),
    "tied": (ex.TiedGaussian, (1, -1)),
    "full": (ex.FullGaussian, (1, -1)),
    "student_t": (ex.StudentT, (1, -1, 0)),
}
POSITIVE = {"exponential": (ex.Exponential, (-1,)), "gamma": (ex.Gamma, (0, -1))}
FAMILIES = GAUSSIANS | POSITIVE
families = pytest.mark.parametrize("name", FAMILIES)
gaussians = pytest.mark.parametrize("name", GAUSSIANS)
methods = pytest.mark.parametrize("method", METHODS)
dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])
ANY = pytest.mark.backends("numpy", "array_api_strict", "torch", "dask")
NUMPY = BACKENDS["numpy"]


def rows(name: str, exponent: int = 0, dtype: str = "float64") -> np.ndarray:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(60, 2)) + np.repeat([0.0, 9.0], 30)[:, None]
    x = np.abs(x) if name in POSITIVE else x
    x = x[:, 0] if name == "univariate" else x
    return np.ldexp(x.astype(dtype), exponent)


def in_old_units(backend: Any, name: str, mixture: ex.Mixture, exponent: int) -> list[np.ndarray]:
    fields = [backend.to_numpy(a).astype(np.longdouble) for a in mixture.components]
    powers = FAMILIES[name][1]
    scaled = [np.ldexp(a, -p * exponent) for a, p in zip(fields, powers, strict=True)]
    return [backend.to_numpy(mixture.weights), *scaled]


def assert_same(one: list[np.ndarray], other: list[np.ndarray], rtol: float) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * float(np.abs(b).max()))


def assert_same_in_any_unit(backend: Any, name: str, method: str, dtype: str) -> None:
    family, wide = FAMILIES[name][0], WIDE[dtype] * (2 if name in POSITIVE else 1)
    one, *others = (
        in_old_units(backend, name, ex.initialize(data, 2, family, method=method), e)
        for e in (0, -wide, wide)
        for data in (backend.data(rows(name, e, dtype)),)
    )
    for other in others:
        assert_same(other, one, 8 * float(np.finfo(dtype).eps))


@families
@methods
@dtypes
def test_a_start_is_the_same_in_any_unit(name, method, dtype):
    """Also where the squares of numbers would be out of reach, of a family without variances."""
    assert_same_in_any_unit(NUMPY, name, method, dtype)


@ANY
@pytest.mark.parametrize("name", ["full", "gamma"])
@pytest.mark.parametrize("method", ["k-means++", "random"])
def test_in_any_library(backend, name, method):
    assert_same_in_any_unit(backend, name, method, "float32")


@gaussians
@methods
@dtypes
def test_variances_out_of_reach_are_refused(name, method, dtype):
    """They were 1e-6, or 0, or NaN, without a word."""
    for exponent in BEYOND[dtype]:
        words = "smaller units" if exponent < 0 else "larger units"
        with pytest.raises(ValueError, match=words):
            ex.initialize(rows(name, exponent, dtype), 2, FAMILIES[name][0], method=method)


@pytest.mark.backends("jax_jit")
@pytest.mark.parametrize("method", ["k-means++", "random"])
@pytest.mark.parametrize("name", ["univariate", "full", "gamma"])
def test_compiled(backend, name, method):
    """The same start; NaN where it would be refused."""
    family = FAMILIES[name][0]

    def start(x):
        return ex.initialize(x, 2, family, method=method)

    mixtures = {
        e: backend.call(start, backend.data(rows(name, e))) for e in (0, -480, 480, -990, 531)
    }
    found = {e: in_old_units(backend, name, mixture, e) for e, mixture in mixtures.items()}
    beyond = (-990, 531)
    for e in (-480, 480, *(beyond if name == "gamma" else ())):
        assert_same(found[e], found[0], 1e-12)
    if name != "gamma":
        assert all(np.isnan(found[e][0]).all() for e in beyond)


@families
@methods
def test_a_fit_is_the_same_but_for_the_jacobian(name, method):
    """From a start of the same unit."""
    family = FAMILIES[name][0]
    one, *others = (
        ex.fit(x, ex.initialize(x, 2, family, method=method), tol=1e-3)
        for x in (rows(name, e) for e in (0, -480, 480))
    )
    for sign, other in zip((-1, 1), others, strict=True):
        assert other.n_iter == one.n_iter
        shift = rows(name).size * sign * 480 * math.log(2.0)
        np.testing.assert_allclose(other.history + shift, one.history, rtol=1e-9)


@methods
def test_parts_of_a_product_are_refused_one_by_one(method):
    x = np.c_[rows("gamma", -900)[:, :1], rows("full")]
    rates = np.ones((2, 1))
    gaussian = ex.DiagonalGaussian(np.zeros((2, 2)), np.ones((2, 2)))
    template = ex.Product((ex.Gamma(rates, rates), gaussian))
    start = ex.initialize(x, 2, template, method=method)
    assert np.isfinite(ex.log_likelihood(x, start))
    x[:, 2] *= 2.0**-600
    with pytest.raises(ValueError, match="smaller units"):
        ex.initialize(x, 2, template, method=method)


@methods
def test_spherical_components_have_one_unit_for_all_features(method):
    """A feature in a far smaller unit is one that never varies."""
    x = rows("spherical") * [1.0, 2.0**-600]
    start = ex.initialize(x, 2, ex.SphericalGaussian, method=method)
    assert np.isfinite(ex.log_likelihood(x, start))
    assert (start.components.variances > 1e-3).all()


@pytest.mark.parametrize("method", ["k-means++", "random_rows"])
def test_a_row_that_is_not_finite_is_named(method):
    x = rows("full", 990)
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"x\[3, 1\] is nan"):
        ex.initialize(x, 2, ex.FullGaussian, method=method)
