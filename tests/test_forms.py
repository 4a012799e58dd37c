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
from tests import families

N, K, D = 40, 3, 4
TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}

by_family = pytest.mark.parametrize("record", families.RECORDS, ids=lambda record: record.name)


@dataclass(frozen=True)
class Ops(BlockOps):
    """The standard's operations, where every form can be asked for."""

    unrolls: bool = False
    uses_products: bool = False

    def unrolls_features(self, d, *, independent):
        del d, independent
        return self.unrolls

    def uses_product_form(self, d, *, products, independent):
        del d, products, independent
        return self.uses_products

    def cond(self, flag, if_true, if_false):
        del if_false
        assert flag
        return if_true()


@dataclass(frozen=True)
class ByBlock(Ops):
    """The product form for all rows of a block."""

    uses_products: bool = True
    decides_per_block = True
    differentiable = False  # or the product form of univariate components does not exist


def draw(record):
    """Draw rows, responsibilities, and components with others near them."""
    rng = np.random.default_rng(7)
    responsibilities = rng.dirichlet(np.ones(K), size=N)
    params = record.random(1, K, D)
    near = {name: a * (1.0 + 0.05 * rng.random(a.shape)) for name, a in params.items()}
    return record.data(2, N, D), responsibilities, record.family(**near), record.family(**params)


def log_density(ops, components, x):
    return components._evaluated(ops, components._prepare(ops, None), x).log_joint


def moments_of(ops, components, x, responsibilities):
    prepared = components._prepare(ops, None)
    block = components._evaluated(ops, prepared, x)
    return components._moments_block(ops, prepared, block, responsibilities)


@by_family
def test_unrolled_form_is_the_residual_form(record):
    x, _, components, _ = draw(record)
    unrolled = log_density(Ops(xp, unrolls=True), components, x)
    assert_allclose(unrolled, log_density(Ops(xp), components, x), **TOLERANCE)


@by_family
def test_product_form_is_the_residual_form(record):
    x, _, components, _ = draw(record)
    by_products = log_density(ByBlock(xp), components, x)
    assert_allclose(by_products, log_density(Ops(xp), components, x), **TOLERANCE)


@by_family
def test_product_form_is_the_unrolled_form(record):
    x, _, components, _ = draw(record)
    by_products = log_density(ByBlock(xp), components, x)
    assert_allclose(by_products, log_density(Ops(xp, unrolls=True), components, x), **TOLERANCE)


@by_family
def test_moments_of_products_are_those_of_residuals(record):
    x, responsibilities, components, _ = draw(record)
    by_products = moments_of(ByBlock(xp), components, x, responsibilities)
    for actual, expected in zip(
        by_products, moments_of(Ops(xp), components, x, responsibilities), strict=True
    ):
        assert_allclose(actual, expected, rtol=1e-11, atol=1e-11)


@by_family
@pytest.mark.parametrize("unrolls", [False, True])
def test_expected_log_density_is_the_mean_of_log_densities(record, unrolls):
    x, responsibilities, components, old = draw(record)
    moments = moments_of(Ops(xp), old, x, responsibilities)
    counts = responsibilities.sum(axis=0)
    expected = components._expected_log_prob(Ops(xp), old, counts, moments)
    density = log_density(Ops(xp, unrolls=unrolls), components, x)
    assert_allclose(expected, (responsibilities * density).sum(), **TOLERANCE)
