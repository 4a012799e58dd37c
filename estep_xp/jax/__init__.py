"""What JAX adds: derivatives that statistics needs, differentiable fits, parameters without bounds.

Everything else in the package takes JAX arrays as it is: ``jax.grad(estep_xp.log_likelihood)``.
"""

try:
    import jax as _jax  # noqa: F401
except ImportError as error:
    raise ImportError('estep_xp.jax needs JAX; pip install "estep_xp[jax]"') from error

from estep_xp.jax.implicit_fit import ImplicitFit, em_step, fit
from estep_xp.jax.information import observed_information, scores, standard_errors
from estep_xp.jax.unconstrained import Unconstrained, constrain, unconstrain

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


def __dir__() -> list[str]:
    return __all__
