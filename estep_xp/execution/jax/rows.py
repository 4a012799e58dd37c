"""A kernel that treats every row alone: traced as it stands, and differentiated as it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from estep_xp.execution.jax.ops import ops_for
from estep_xp.execution.jax.sizes import run_padded

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray
    from estep_xp.arrays.namespace import Space
    from estep_xp.execution.call_options import Options
    from estep_xp.execution.kernel import Kernel


def map_rows(
    kernel: Kernel, space: Space, rows: tuple[AnyArray, ...], parameters: Any, how: Options
) -> tuple[AnyArray, ...]:
    """Run `kernel` compiled; XLA plans blocks and threads by itself."""
    del space, how
    # Components that are a plain Python object can't be arguments of a compiled function, and as a
    # constant of it they would be frozen.
    numeric = all(is_numeric(leaf) for leaf in jax.tree.leaves(parameters))
    run = _compiled_map_rows if numeric else trace_rows
    return run_padded(lambda *rows: run(kernel, rows, parameters), rows)


def trace_rows(kernel: Kernel, rows: tuple[AnyArray, ...], parameters: Any) -> tuple[AnyArray, ...]:
    """Results of a kernel for all rows at once, as part of a program that is compiled."""
    ops = ops_for(rows)
    # TensorFloat-32, the default on some accelerators, keeps three digits.
    with jax.default_matmul_precision("highest"):
        return kernel.block(ops, kernel.prepare(ops, parameters), *rows)[0]


_compiled_map_rows = jax.jit(trace_rows, static_argnums=0)


def is_numeric(leaf: Any) -> bool:
    """Whether a parameter may be the argument of a compiled function."""
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic, int, float, complex))
