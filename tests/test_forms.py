"""A Gaussian density is written three times for speed; each pair of these forms must agree.

The residual form by matrices, the residual form with loops over features unrolled, and the product
form, whose coefficients also give the expected log-density that the gradient is made of.
"""

from __future__ import annotations

from dataclasses import dataclass

import array_api_compat.numpy as xp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from estep_xp.arrays.block import BlockOps
from estep_xp.families.gaussian.strategy import STRATEGIES, Strategy
from tests.records import gaussians_only as by_family

N, K, D = 40, 3, 4
TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}


@dataclass(frozen=True)
class Unrolled(BlockOps):
    """The standard's operations, with loops over features unrolled."""

    kind = "unrolled"


@dataclass(frozen=True)
class ByBlock(BlockOps):
    """The product form for all rows of a block."""

    many_rows: bool = True
    kind = "product form"
    decides_per_block = True
    differentiable = False  # or the product form of univariate components does not exist

    def cond(self, flag, if_true, if_false):
        del if_false
        assert flag
        return if_true()


@pytest.fixture(autouse=True)
def strategies(monkeypatch):
    """Name a form for every number of features."""
    every = {"most_unrolled": D, "most_unrolled_dependent_few_rows": D}
    monkeypatch.setitem(STRATEGIES, ("unrolled", False), Strategy(**every))
    every = {"most_by_squares": D, "most_by_products": D}
    monkeypatch.setitem(STRATEGIES, ("product form", True), Strategy(**every))


def draw(record):
    """Draw rows, responsibilities, and components with others near them."""
    rng = np.random.default_rng(7)
    responsibilities = rng.dirichlet(np.ones(K), size=N)
    params = record.random(1, K, D)
    near = {name: a * (1.0 + 0.05 * rng.random(a.shape)) for name, a in params.items()}
    return record.data(2, N, D), responsibilities, record.family(**near), record.family(**params)


def log_density(ops, components, x):
    return components._evaluate(ops, components._prepare(ops, None), x).log_joint


def moments_of(ops, components, x, responsibilities):
    prepared = components._prepare(ops, None)
    block = components._evaluate(ops, prepared, x)
    return components._moments_block(ops, prepared, block, responsibilities)


@by_family
def test_unrolled_form_is_the_residual_form(record):
    x, _, components, _ = draw(record)
    unrolled = log_density(Unrolled(xp), components, x)
    assert_allclose(unrolled, log_density(BlockOps(xp), components, x), **TOLERANCE)


@by_family
def test_product_form_is_the_residual_form(record):
    x, _, components, _ = draw(record)
    by_products = log_density(ByBlock(xp), components, x)
    assert_allclose(by_products, log_density(BlockOps(xp), components, x), **TOLERANCE)


@by_family
def test_product_form_is_the_unrolled_form(record):
    x, _, components, _ = draw(record)
    by_products = log_density(ByBlock(xp), components, x)
    assert_allclose(by_products, log_density(Unrolled(xp), components, x), **TOLERANCE)


@by_family
def test_moments_of_products_are_those_of_residuals(record):
    x, responsibilities, components, _ = draw(record)
    by_products = moments_of(ByBlock(xp), components, x, responsibilities)
    for actual, expected in zip(
        by_products, moments_of(BlockOps(xp), components, x, responsibilities), strict=True
    ):
        assert_allclose(actual, expected, rtol=1e-11, atol=1e-11)


@by_family
@pytest.mark.parametrize("ops", [BlockOps(xp), Unrolled(xp)], ids=["by matrices", "unrolled"])
def test_expected_log_density_is_the_mean_of_log_densities(record, ops):
    x, responsibilities, components, old = draw(record)
    moments = moments_of(BlockOps(xp), old, x, responsibilities)
    counts = responsibilities.sum(axis=0)
    expected = components._expected_log_prob(BlockOps(xp), old, counts, moments)
    density = log_density(ops, components, x)
    assert_allclose(expected, (responsibilities * density).sum(), **TOLERANCE)
