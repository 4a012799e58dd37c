"""A family of one's own: mixtures of Laplace distributions, with NumPy and with JAX."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from array_api_compat import array_namespace

import estep_xp as ex


class Laplace(NamedTuple):
    """Laplace components: locations (k,) and scales (k,)."""

    locations: Any
    scales: Any

    def log_prob(self, x):
        """Log-density of each row under each component, (n, k)."""
        xp = array_namespace(x)
        distance = xp.abs(x[:, None] - self.locations) / self.scales
        return -distance - xp.log(2 * self.scales)


x = np.asarray([-1.0, 0.5, 2.0, 7.0, 60.0])
mixture = ex.Mixture(
    np.asarray([0.3, 0.7]), Laplace(np.asarray([0.0, 5.0]), np.asarray([1.0, 2.0]))
)

result = ex.e_step(x, mixture)
print("first component:", *(f"{r:.6e}" for r in result.responsibilities[:, 0]))
print(f"log-likelihood: {result.total_log_likelihood:.6f}")

# The same family in JAX: a NamedTuple of arrays is a pytree, so every transformation takes it.
jax.config.update("jax_enable_x64", True)
gradient = jax.jit(jax.grad(ex.log_likelihood, argnums=1))(
    jnp.asarray(x), jax.tree.map(jnp.asarray, mixture)
)
print("gradient by locations:", *(f"{g:.6f}" for g in gradient.components.locations))
print("gradient by scales:", *(f"{g:.6f}" for g in gradient.components.scales))
