"""Component families: what a mixture can be made of, one file a family."""

from estep_xp.families.bernoulli import Bernoulli
from estep_xp.families.gaussian import (
    DiagonalGaussian,
    FullGaussian,
    SphericalGaussian,
    TiedGaussian,
    UnivariateGaussian,
)
from estep_xp.families.poisson import Poisson
from estep_xp.families.product import Product

__all__ = [
    "Bernoulli",
    "DiagonalGaussian",
    "FullGaussian",
    "Poisson",
    "Product",
    "SphericalGaussian",
    "TiedGaussian",
    "UnivariateGaussian",
]
