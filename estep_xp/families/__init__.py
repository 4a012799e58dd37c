"""Component families: what a mixture can be made of, one file a family."""

from estep_xp.families.gaussian import (
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
