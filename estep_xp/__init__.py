"""One E-step for mixture models, on any array: exact in log space, on NumPy, JAX and others."""

from estep_xp._estep import EStep, e_step, log_joint, log_likelihood, posterior
from estep_xp._mixture import Mixture
from estep_xp.families import (
    DiagonalGaussian,
    FullGaussian,
    SphericalGaussian,
    TiedGaussian,
    UnivariateGaussian,
)

__version__ = "0.1.0"

__all__ = [
    "DiagonalGaussian",
    "EStep",
    "FullGaussian",
    "Mixture",
    "SphericalGaussian",
    "TiedGaussian",
    "UnivariateGaussian",
    "e_step",
    "log_joint",
    "log_likelihood",
    "posterior",
]
