"""Arguments of a call as arrays of JAX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from estep_xp.arrays.nested import map_arrays
from estep_xp.arrays.quiet import quiet
from estep_xp.em.statistics import Statistics, expected_statistics
from estep_xp.mixture.call import Call, prepare_call
from estep_xp.mixture.mixture import Mixture, check_mixture

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray


def prepare_jax_call(x: Any, mixture: Any, sample_weight: Any = None) -> Call:
    """Pose a call on JAX arrays; those of NumPy become such."""
    check_mixture(mixture, x)
    mixture = Mixture(to_jax(mixture.weights), components_to_jax(mixture.components))
    call = prepare_call(to_jax(x), mixture, sample_weight=to_jax(sample_weight))
    if call.space.library == "jax":
        return call
    # Nothing but lists and numbers.
    weights = call.mixture.weights
    components: Any = call.mixture.components
    mixture = Mixture(jnp.asarray(weights), map_arrays(jnp.asarray, components))
    rows = [jnp.asarray(array) for array in call.rows]
    return prepare_call(rows[0], mixture, sample_weight=rows[1] if len(rows) == 2 else None)


@quiet  # casts to single precision
def to_jax(value: Any) -> Any:
    """Return an array of NumPy as one of JAX, and anything else as it is."""
    return jnp.asarray(value) if isinstance(value, np.ndarray) else value


def components_to_jax(components: Any) -> Any:
    """Return components whose arrays of NumPy are arrays of JAX."""
    if not hasattr(components, "_fields"):
        return components
    return map_arrays(to_jax, components)


def run_statistics(call: Call) -> Statistics[Any]:
    """Return the expected statistics of a checked call; raise for bad rows."""
    x, *weight = call.rows
    return expected_statistics(x, call.mixture, sample_weight=weight[0] if weight else None)


def eps_of(array: AnyArray) -> float:
    """Return the spacing of numbers at 1 in the dtype of an array."""
    return float(np.finfo(array.dtype).eps)
