"""Gaussian components: univariate, spherical, diagonal, tied and full covariances."""

from estep_xp.families.gaussian.families import (
    DiagonalGaussian,
    FullGaussian,
    SphericalGaussian,
    TiedGaussian,
    UnivariateGaussian,
)

__all__ = [
    "DiagonalGaussian",
    "FullGaussian",
    "SphericalGaussian",
    "TiedGaussian",
    "UnivariateGaussian",
]
