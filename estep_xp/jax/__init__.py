"""What JAX adds: derivatives that statistics needs, differentiable fits, parameters without bounds.

Everything else in the package takes JAX arrays as it is: ``jax.grad(estep_xp.log_likelihood)``.
"""

from estep_xp.jax.jax import (
    ImplicitFit,
    Unconstrained,
    constrain,
    em_step,
    fit,
    observed_information,
    scores,
    standard_errors,
    unconstrain,
)

__all__ = [
    "ImplicitFit",
    "Unconstrained",
    "constrain",
    "em_step",
    "fit",
    "observed_information",
    "scores",
    "standard_errors",
    "unconstrain",
]
