"""Random numbers from a key of JAX, inside compiled programs too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from estep_xp.arrays.random import Random, generator_of

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray


class KeyRandom(Random):
    """Numbers that follow from a key, of a floating dtype."""

    def __init__(self, dtype: Any, key: AnyArray) -> None:
        self._dtype = dtype
        self._key = key

    def source(self) -> AnyArray:
        """Return a new key."""
        self._key, key = jax.random.split(self._key)
        return key

    def uniform(self, shape: tuple[int, ...]) -> AnyArray:
        """Draw numbers from 0, included, to 1."""
        return jax.random.uniform(self.source(), shape, self._dtype)

    def normal(self, shape: tuple[int, ...]) -> AnyArray:
        """Draw from the standard normal distribution."""
        return jax.random.normal(self.source(), shape, self._dtype)

    def poisson(self, rates: AnyArray) -> AnyArray:
        """Draw a count for each rate."""
        return jax.random.poisson(self.source(), rates).astype(self._dtype)

    def gamma(self, shapes: AnyArray) -> AnyArray:
        """Draw from the gamma distribution of rate 1 for each shape."""
        return jax.random.gamma(self.source(), shapes, dtype=self._dtype)

    def von_mises(self, concentrations: AnyArray) -> AnyArray:
        """Draw an angle from −π to π, around 0, for each concentration."""
        return _draw_von_mises(self.source(), concentrations)


@jax.jit
def _draw_von_mises(key: AnyArray, concentrations: AnyArray) -> AnyArray:
    """Draw angles by rejection from a wrapped Cauchy distribution (Best and Fisher 1979).

    Their constants are written so that nothing cancels: ρ is that distribution's, r = (1 + ρ²) /
    (2ρ), and the angles' half tangents are stretched by (1 − ρ) / (1 + ρ).
    """
    kappa = concentrations
    root = jnp.sqrt(1.0 + 4.0 * kappa * kappa)
    high = jnp.sqrt(1.0 + root) + math.sqrt(2.0)
    quotient = 0.5 * jnp.sqrt(1.0 + root) * high  # κ / ρ
    rho = kappa / quotient
    low = 2.0 * kappa / jnp.sqrt(1.0 + root)  # √(root − 1)
    left = (math.sqrt(2.0) + 2.0 / (jnp.sqrt(1.0 + root) + low)) / high  # 1 − ρ
    excess = 0.5 * quotient * left * left  # κ (r − 1)

    def try_again(state: tuple[AnyArray, ...]) -> tuple[AnyArray, ...]:
        key, angles, accepted = state
        key, first, second = jax.random.split(key, 3)
        place = jax.random.uniform(first, kappa.shape, kappa.dtype, -1.0, 1.0)
        proposed = 2.0 * jnp.arctan(left / (1.0 + rho) * jnp.tan(0.5 * math.pi * place))
        share = excess + 2.0 * kappa * jnp.sin(0.5 * proposed) ** 2  # κ (r − cos of the angle)
        level = jax.random.uniform(second, kappa.shape, kappa.dtype)
        good = jnp.log(share) + 1.0 - share >= jnp.log(level)
        return key, jnp.where(accepted, angles, proposed), accepted | good

    start = key, jnp.zeros_like(kappa), ~(kappa >= 0)
    _, angles, _ = jax.lax.while_loop(lambda state: ~jnp.all(state[2]), try_again, start)
    return angles + 0.0 * kappa  # a NaN stays one


def key_of(seed: Any) -> AnyArray:
    """The key of a seed: itself, if it is one, or ``jax.random.key`` of an integer."""
    if isinstance(seed, jax.Array):
        if jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
            return seed
        if seed.dtype == jnp.uint32 and seed.shape == (2,):  # of jax.random.PRNGKey
            return jax.random.wrap_key_data(seed)
        if isinstance(seed, jax.core.Tracer):
            return jax.random.key(seed)
    if isinstance(seed, (int, np.integer)) and 0 <= seed < 1 << 32:
        return jax.random.key(int(seed))
    # Larger integers, and sequences of them, are mixed by NumPy; it refuses what is no seed.
    state = generator_of(seed).bit_generator.seed_seq.generate_state(2, np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(state))
