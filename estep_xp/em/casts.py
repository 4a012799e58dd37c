"""Mixtures that NumPy has made, as arrays of the library that was asked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp import execution
from estep_xp.arrays.namespace import MANY_NUMBERS, Space, is_concrete, is_on_host, to_host
from estep_xp.arrays.nested import map_arrays
from estep_xp.families import contract
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array


def is_builtin(family: Any) -> bool:
    """Whether a family, its class or components, is one of the package's own."""
    if isinstance(family, type):
        return issubclass(family, contract.Family)
    return isinstance(family, contract.Family) and family._is_builtin


def is_best_on_host(space: Space, arrays: tuple[Array, ...]) -> bool:
    """Whether a program would be compiled, for each number of rows anew, that is soon done."""
    if not execution.driver_for(space).compiles or not all(map(is_concrete, arrays)):
        return False
    return all(math.prod(a.shape) <= MANY_NUMBERS and is_on_host(a) for a in arrays)


def cast_components(space: Space, components: Any) -> Any:
    """Components of the package as arrays of a space; a user's as they are."""
    if not is_builtin(components):
        return components
    return map_arrays(
        lambda array: space.parameter("components", _within_reach(space, to_host(array))),
        components,
    )


def _within_reach(space: Space, array: Any) -> Any:
    """Numbers that the space's dtype holds: those at a bound of double precision at its own."""
    largest = float(np.finfo(str(space.dtype).rpartition(".")[2]).max) / 4
    near = np.clip(array, -largest, largest)
    return np.ascontiguousarray(np.where(np.isfinite(array), near, array))


def cast_mixture(space: Space, mixture: Mixture) -> Mixture:
    """The mixture as arrays of a space."""
    weights = mixture.weights
    if is_builtin(mixture.components):
        weights = to_host(weights)
    return Mixture(space.parameter("weights", weights), cast_components(space, mixture.components))
