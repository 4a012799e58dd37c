"""Random numbers from a key of JAX, inside compiled programs too."""

from __future__ import annotations

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
