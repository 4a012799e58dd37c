"""Component families: what a mixture can be made of, one file a family."""

from estep_xp.families.bernoulli import Bernoulli
from estep_xp.families.categorical import Categorical
from estep_xp.families.exponential import Exponential
from estep_xp.families.gamma import Gamma
from estep_xp.families.gaussian import (
    DiagonalGaussian,
    FactorAnalyzer,
    FullGaussian,
    SphericalGaussian,
    StudentT,
    TiedGaussian,
    UnivariateGaussian,
)
from estep_xp.families.poisson import Poisson
from estep_xp.families.product import Product
from estep_xp.families.von_mises import VonMises

__all__ = [
    "Bernoulli",
    "Categorical",
    "DiagonalGaussian",
    "Exponential",
    "FactorAnalyzer",
    "FullGaussian",
    "Gamma",
    "Poisson",
    "Product",
    "SphericalGaussian",
    "StudentT",
    "TiedGaussian",
    "UnivariateGaussian",
    "VonMises",
]
