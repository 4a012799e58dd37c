"""Checks of a mixture's parameters, all in one program where a call is differentiated or mapped."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from estep_xp import execution
from estep_xp.arrays.namespace import is_eager, is_tracer
from estep_xp.arrays.validation import check_weights
from estep_xp.families import contract
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array, Components
    from estep_xp.arrays.namespace import Space


def check_parameters(space: Space, mixture: Mixture) -> Mixture[Any]:
    """Return the mixture as arrays of `space`, with everything checked that can be."""
    weights, components = mixture
    if not _is_traced_eagerly(space, mixture):
        return Mixture(*_check(space, weights, components))
    return Mixture(
        *execution.driver_for(space).compute(_check_of(space), space, weights, components)
    )


def _check(space: Space, weights: Any, components: Components) -> tuple[Array, Components]:
    weights = check_weights(space, space.parameter("weights", weights))
    return weights, contract.check_components(space, components, weights.shape[0])


@functools.lru_cache(maxsize=16)  # a function that is the same for each call is compiled once
def _check_of(space: Space) -> Callable[..., tuple[Array, Components]]:
    def check(_: Any, weights: Array, components: Components) -> tuple[Array, Components]:
        return _check(space, weights, components)

    return check


def _is_traced_eagerly(space: Space, mixture: Mixture) -> bool:
    """Whether the checks would run operation by operation, and each of them be compiled."""
    weights, components = mixture
    compiles = execution.driver_for(space).compiles
    if not compiles or not contract.family_of(components)._is_builtin:
        return False
    # Concrete numbers are checked on the host, where a message can name them.
    arrays = (weights, *contract.arrays_of(components).values())
    return all(map(is_tracer, arrays)) and is_eager()
