"""JAX's driver: the whole computation is compiled, and every transformation sees it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from estep_xp.arrays.namespace import is_tracer
from estep_xp.execution.driver import Driver
from estep_xp.execution.jax.blocks import sum_rows
from estep_xp.execution.jax.chain_blocks import sum_chain
from estep_xp.execution.jax.chains import run_chain
from estep_xp.execution.jax.chains import total as chain_total
from estep_xp.execution.jax.gradient import total
from estep_xp.execution.jax.random import KeyRandom, key_of
from estep_xp.execution.jax.rows import map_rows
from estep_xp.execution.jax.sizes import pad_numbers, pad_rows, run_padded
from estep_xp.execution.jax.while_loop import while_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import AnyArray, ResultT
    from estep_xp.arrays.namespace import Space
    from estep_xp.execution.call_options import Options
    from estep_xp.execution.chains import ChainKernel
    from estep_xp.execution.chains import TotalKernel as ChainTotalKernel
    from estep_xp.execution.kernel import Kernel, TotalKernel


class LibraryDriver(Driver):
    """Compiled programs, in eager calls too."""

    compiles = True

    def map_rows(
        self,
        kernel: Kernel,
        space: Space,
        rows: tuple[AnyArray, ...],
        parameters: Any,
        options: Options,
    ) -> tuple[AnyArray, ...]:
        """Run `kernel` compiled; XLA plans blocks and threads by itself."""
        return map_rows(kernel, space, rows, parameters, options)

    def sum_rows(
        self,
        kernel: Kernel,
        space: Space,
        rows: tuple[AnyArray, ...],
        parameters: Any,
        options: Options,
    ) -> tuple[AnyArray, ...]:
        """Run `kernel` compiled, block by block within each device's share of the rows."""
        return sum_rows(kernel, space, rows, parameters, options)

    def total(
        self,
        kernel: TotalKernel,
        space: Space,
        rows: tuple[AnyArray, ...],
        parameters: Any,
        options: Options,
    ) -> tuple[AnyArray, AnyArray | None]:
        """Add up a kernel's results; value and derivative take one pass, in blocks."""
        return total(kernel, space, rows, parameters, options), None

    def compute(self, function: Callable[..., ResultT], space: Space, *arrays: Any) -> ResultT:
        """Call `function` compiled."""
        del space
        return _compute(function, *arrays)

    def run_chain(self, kernel: ChainKernel, space: Space, *arrays: Any) -> Any:
        """Run a kernel compiled; rows are scanned."""
        del space
        return run_chain(kernel, *arrays)

    def sum_chain(
        self, kernel: Any, x: AnyArray, parameters: Any, model: Any, block_size: int | None
    ) -> tuple[AnyArray, tuple[AnyArray, ...]] | None:
        """Scan blocks of rows, there and back, where there are many rows."""
        return sum_chain(kernel, x, parameters, model, block_size)

    def chain_total(
        self,
        kernel: ChainTotalKernel,
        space: Space,
        log_prob: AnyArray,
        parameters: tuple[AnyArray, ...],
        sequences: Any,
        weights: AnyArray | None,
    ) -> tuple[AnyArray, Any]:
        """Add up a kernel's values; value and derivative take one pass forward and backward."""
        del space
        return chain_total(kernel, log_prob, parameters, sequences, weights), None

    def draw(
        self, function: Callable[..., ResultT], space: Space, seed: Any, *arrays: Any
    ) -> ResultT:
        """Call `function` compiled, with numbers from a key; those of a generator are NumPy's."""
        if isinstance(seed, np.random.Generator):
            return super().draw(function, space, seed, *arrays)
        return _draw(function, space.dtype, key_of(seed), *arrays)

    def map_each_row(self, function: Callable[..., ResultT], *arrays: AnyArray) -> ResultT:
        """Call `function` compiled."""
        (result,) = run_padded(lambda *rows: (_compute(function, *rows),), arrays)
        return result

    def sum_values(self, values: AnyArray) -> AnyArray:
        """Add up one value of each row."""
        return jnp.sum(pad_numbers(values))

    def mean_value(self, values: AnyArray) -> AnyArray:
        """Average one value of each row."""
        return self.sum_values(values) / values.shape[0]

    def pad_rows(self, rows: tuple[AnyArray, ...]) -> tuple[AnyArray, ...] | None:
        """Append rows of weight 0, so that few programs are compiled."""
        return pad_rows(rows)

    def cond(
        self, flag: Any, if_true: Callable[[], ResultT], if_false: Callable[[], ResultT]
    ) -> ResultT:
        """Decide when the compiled program runs, if the flag is traced."""
        if is_tracer(flag):
            return jax.lax.cond(flag, if_true, if_false)
        return super().cond(flag, if_true, if_false)

    def while_loop(
        self,
        step: Callable[[Any], Any],
        should_continue: Callable[[Any], AnyArray],
        objective: Callable[[Any], AnyArray],
        state: Any,
        max_iter: int,
    ) -> tuple[Any, AnyArray]:
        """Loop inside the compiled program."""
        return while_loop(step, should_continue, objective, state, max_iter)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _draw(function: Callable[..., Any], dtype: Any, key: AnyArray, *arrays: Any) -> Any:
    with jax.default_matmul_precision("highest"):
        return function(jnp, KeyRandom(dtype, key), *arrays)


@functools.partial(jax.jit, static_argnums=0)
def _compute(function: Callable[..., Any], *arrays: AnyArray) -> Any:
    with jax.default_matmul_precision("highest"):
        return function(jnp, *arrays)
