"""A loop that ends by itself, inside the compiled program, and its derivative."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array


def iterated(
    advanced: Callable[[Any], Any],
    going: Callable[[Any], Array],
    height: Callable[[Any], Array],
    state: Any,
    max_iter: int,
) -> tuple[Any, Array]:
    """Loop inside the compiled program."""
    state = jax.tree.map(jnp.asarray, state)
    # What the step takes from around itself becomes an argument: it may be differentiated.
    step, constants = jax.closure_convert(advanced, state)
    loop = _Loop(step, going, height, max_iter)
    results: tuple[Any, Array] = _iterated(loop, state, constants)
    return results


class _Loop(NamedTuple):
    """Functions of a state, and how often the first is called at most."""

    step: Callable[..., Any]
    going: Callable[[Any], Array]
    height: Callable[[Any], Array]
    max_iter: int

    def unreached(self, state: Any) -> Array:
        """What stands for the height after a step that was not taken."""
        height, config = self.height(state), cast("Any", jax.config)
        # NaN, but where JAX is told to raise an error for it: there the last height goes on.
        return height if config.jax_debug_nans else jnp.full_like(height, jnp.nan)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _iterated(loop: _Loop, state: Any, constants: list[Array]) -> tuple[Any, Array]:
    def unfinished(carry: tuple[Any, Array, Array]) -> Array:
        state, i, _ = carry
        return (i < loop.max_iter) & loop.going(state)

    def body(carry: tuple[Any, Array, Array]) -> tuple[Any, Array, Array]:
        state, i, history = carry
        state = loop.step(state, *constants)
        return state, i + 1, history.at[i].set(loop.height(state))

    history = jnp.zeros((loop.max_iter,), loop.height(state).dtype)
    state, n_steps, history = jax.lax.while_loop(unfinished, body, (state, 0, history))
    reached = jnp.arange(loop.max_iter) < n_steps
    return state, jnp.where(reached, history, loop.unreached(state))


@_iterated.defjvp
def _iterated_jvp(loop: _Loop, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    # A loop that ends by itself keeps no record of its steps, which the way back needs; one of
    # known length does.
    return jax.jvp(functools.partial(_iterated_to_the_end, loop), primals, tangents)


def _iterated_to_the_end(loop: _Loop, state: Any, constants: list[Array]) -> tuple[Any, Array]:
    @jax.checkpoint
    def step(state: Any, constants: list[Array]) -> tuple[Any, Array]:
        state = loop.step(state, *constants)
        return state, loop.height(state)

    def rest(state: Any, constants: list[Array]) -> tuple[Any, Array]:
        del constants
        return state, loop.unreached(state)

    def body(state: Any, _: None) -> tuple[Any, Array]:
        results: tuple[Any, Array] = jax.lax.cond(loop.going(state), step, rest, state, constants)
        return results

    results: tuple[Any, Array] = jax.lax.scan(body, state, None, length=loop.max_iter)
    return results
