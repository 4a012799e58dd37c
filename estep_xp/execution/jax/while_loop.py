"""A loop that ends by itself, inside the compiled program, and its derivative."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import AnyArray


def while_loop(
    step: Callable[[Any], Any],
    should_continue: Callable[[Any], AnyArray],
    objective: Callable[[Any], AnyArray],
    state: Any,
    max_iter: int,
) -> tuple[Any, AnyArray]:
    """Loop inside the compiled program."""
    state = jax.tree.map(jnp.asarray, state)
    if max_iter == 0:
        return state, jnp.zeros((0,), objective(state).dtype)
    # Arrays that the step closes over become arguments: derivatives by them may be wanted.
    converted, constants = jax.closure_convert(step, state)
    loop = _Loop(converted, should_continue, objective, max_iter)
    results: tuple[Any, AnyArray] = _while_loop(loop, state, constants)
    return results


class _Loop(NamedTuple):
    """Functions of a state, and how often `step` is called at most."""

    step: Callable[..., Any]
    should_continue: Callable[[Any], AnyArray]
    objective: Callable[[Any], AnyArray]
    max_iter: int

    def objective_of_no_step(self, state: Any) -> AnyArray:
        """Stand-in for the objective after a step that was not taken."""
        objective, config = self.objective(state), cast("Any", jax.config)
        # With `jax_debug_nans`, JAX raises an error for NaN: the last objective is repeated then.
        return objective if config.jax_debug_nans else jnp.full_like(objective, jnp.nan)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _while_loop(loop: _Loop, state: Any, constants: list[AnyArray]) -> tuple[Any, AnyArray]:
    def is_unfinished(carry: tuple[Any, AnyArray, AnyArray]) -> AnyArray:
        state, i, _ = carry
        return (i < loop.max_iter) & loop.should_continue(state)

    def body(carry: tuple[Any, AnyArray, AnyArray]) -> tuple[Any, AnyArray, AnyArray]:
        state, i, history = carry
        state = loop.step(state, *constants)
        return state, i + 1, history.at[i].set(loop.objective(state))

    history = jnp.zeros((loop.max_iter,), loop.objective(state).dtype)
    state, n_steps, history = jax.lax.while_loop(is_unfinished, body, (state, 0, history))
    reached = jnp.arange(loop.max_iter) < n_steps
    return state, jnp.where(reached, history, loop.objective_of_no_step(state))


@_while_loop.defjvp
def _while_loop_jvp(loop: _Loop, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    # Reverse mode needs a record of all steps. A while loop keeps none; a scan, whose length is
    # known, does.
    return jax.jvp(functools.partial(_scan_all_steps, loop), primals, tangents)


def _scan_all_steps(loop: _Loop, state: Any, constants: list[AnyArray]) -> tuple[Any, AnyArray]:
    @jax.checkpoint
    def step(state: Any, constants: list[AnyArray]) -> tuple[Any, AnyArray]:
        state = loop.step(state, *constants)
        return state, loop.objective(state)

    def skip(state: Any, constants: list[AnyArray]) -> tuple[Any, AnyArray]:
        del constants
        return state, loop.objective_of_no_step(state)

    def body(state: Any, _: None) -> tuple[Any, AnyArray]:
        results: tuple[Any, AnyArray] = jax.lax.cond(
            loop.should_continue(state), step, skip, state, constants
        )
        return results

    results: tuple[Any, AnyArray] = jax.lax.scan(body, state, None, length=loop.max_iter)
    return results
