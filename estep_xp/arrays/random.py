"""Random numbers as arrays of a call's library, drawn on the host by NumPy."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.arrays.namespace import is_concrete, to_host
from estep_xp.arrays.text import shown

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.namespace import Space


class Random(abc.ABC):
    """A source of random numbers, whose every call gives new ones."""

    @abc.abstractmethod
    def source(self) -> Any:
        """Return what a user's class draws from: a NumPy generator, or a new JAX key."""

    @abc.abstractmethod
    def uniform(self, shape: tuple[int, ...]) -> Array:
        """Draw numbers from 0, included, to 1."""

    @abc.abstractmethod
    def normal(self, shape: tuple[int, ...]) -> Array:
        """Draw from the standard normal distribution."""

    @abc.abstractmethod
    def poisson(self, rates: Array) -> Array:
        """Draw a count for each rate."""

    @abc.abstractmethod
    def gamma(self, shapes: Array) -> Array:
        """Draw from the gamma distribution of rate 1 for each shape."""

    @abc.abstractmethod
    def von_mises(self, concentrations: Array) -> Array:
        """Draw an angle from −π to π, around 0, for each concentration."""


class HostRandom(Random):
    """NumPy's generator, its numbers brought to the space of a call: the same for all libraries."""

    def __init__(self, space: Space, generator: np.random.Generator) -> None:
        self._space = space
        self._generator = generator

    def source(self) -> np.random.Generator:
        """Return the generator."""
        return self._generator

    def uniform(self, shape: tuple[int, ...]) -> Array:
        """Draw numbers from 0, included, to 1."""
        return self._brought(self._generator.random(shape))

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Draw from the standard normal distribution."""
        return self._brought(self._generator.standard_normal(shape))

    def poisson(self, rates: Array) -> Array:
        """Draw a count for each rate."""
        return self._brought(self._generator.poisson(self._parameters(rates)))

    def gamma(self, shapes: Array) -> Array:
        """Draw from the gamma distribution of rate 1 for each shape."""
        return self._brought(self._generator.standard_gamma(self._parameters(shapes)))

    def von_mises(self, concentrations: Array) -> Array:
        """Draw an angle from −π to π, around 0, for each concentration."""
        return self._brought(self._generator.vonmises(0.0, self._parameters(concentrations)))

    def _parameters(self, array: Array) -> np.ndarray[Any, Any]:
        if not is_concrete(array):
            raise TypeError(
                "seed is one for NumPy, which draws no numbers whose distribution depends on "
                "values that do not exist yet; under jit give a JAX key, such as jax.random.key(0)"
            )
        return to_host(array)

    def _brought(self, numbers: Any) -> Array:
        space = self._space
        return space.xp.asarray(
            np.asarray(numbers, dtype=np.float64), dtype=space.dtype, device=space.device
        )


def generator_of(seed: Any) -> np.random.Generator:
    """NumPy's generator for a seed: itself, if it is one."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(
            f"seed is {shown(seed)}; seed must be a non-negative integer, or a sequence of them"
        ) from None
