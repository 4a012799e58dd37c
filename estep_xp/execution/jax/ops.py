"""Arithmetic on a block in JAX, and the sizes from which on another way of it is faster."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from estep_xp.arrays.block import BlockOps, RowCheck, Selected

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import AnyArray, ResultT

# Largest n d k for which components are a batch axis. A loop over components needs less memory, but
# takes longer to compile.
_BATCHED = 1 << 19

# Fewest rows for which two forms of a density are prepared. For sums both are compiled, which takes
# about a second.
_MANY_ROWS, _MANY_ROWS_OF_SUMS = 1000, 4097

# Univariate observations whose densities no cache holds, and most components for which such
# densities are recomputed at each use rather than stored.
_BEYOND_CACHE, _RECOMPUTED = 1 << 18, 32


@dataclass(frozen=True)
class JaxOps(BlockOps):
    """Rows first; components are a batch axis, or looped over where that takes too much memory."""

    decides_per_block: bool = False
    recomputes: bool = False  # densities are faster to recompute than to store

    kind = "jax"

    def select(
        self,
        bounds: AnyArray,
        limit: float,
        fast: Callable[[], tuple[AnyArray, Any]],
        exact: Callable[[AnyArray], AnyArray],
        x: AnyArray,
        check: RowCheck,
    ) -> Selected:
        """Use the fast form if it is exact for all rows, else the exact one for all."""
        del check
        is_fast = jnp.all(bounds <= limit)
        return Selected(jax.lax.cond(is_fast, lambda: fast()[0], lambda: exact(x)))

    def cond(
        self, flag: AnyArray, if_true: Callable[[], ResultT], if_false: Callable[[], ResultT]
    ) -> ResultT:
        """Decide when the compiled program runs."""
        return jax.lax.cond(flag, if_true, if_false)

    def materialize(self, compute: Callable[[], ResultT], witness: AnyArray) -> ResultT:
        """Arrays that `compute` gives, computed once however often they are used."""
        # XLA would recompute the arrays for each use, and removes optimization barriers. It cannot
        # look through a conditional: the other branch, all NaN, is never taken.
        compiled = jax.jit(compute)  # so that it is traced once, for its shapes and the branch
        shapes = jax.eval_shape(compiled)

        def all_nan() -> Any:
            return jax.tree.map(lambda one: jnp.full(one.shape, jnp.nan, one.dtype), shapes)

        return jax.lax.cond(jnp.any(witness == witness), compiled, all_nan)

    def mask_without_derivative(
        self, values: AnyArray, flags: AnyArray, constant: float
    ) -> AnyArray:
        """The values; the flags mask nothing but their derivative."""
        # A `where` on the values would make the E-step a quarter slower.
        del constant
        unchanged: AnyArray = _without_derivative(values, flags)
        return unchanged

    def without_derivative(self, values: AnyArray) -> AnyArray:
        """The values, whose derivative ends here.

        That of a maximum is shared out among the entries that equal it. XLA may compute entries
        once for the maximum and again to be compared, rounded otherwise: then none is equal, and
        the derivative is infinite.
        """
        return jax.lax.stop_gradient(values)

    def max_components(self, values: AnyArray) -> AnyArray:
        """The largest number of each row (rows,)."""
        return self._reduce_components(jnp.maximum, jnp.max, values)

    def sum(self, values: AnyArray, axis: int) -> AnyArray:
        """Sums along an axis: XLA adds up long ones as a tree."""
        return jnp.sum(values, axis=axis)

    def sum_components(self, values: AnyArray) -> AnyArray:
        """The sum of each row (rows,)."""
        return self._reduce_components(jnp.add, jnp.sum, values)

    def divide_rows_(
        self, shares: AnyArray, totals: AnyArray, exponents: AnyArray | None = None
    ) -> AnyArray:
        """Shares over the totals of rows."""
        if exponents is None or not self._unrolls_reduction(shares):
            return super().divide_rows_(shares, totals)
        # Shares are recomputed, which takes half the time in this form.
        return jnp.exp(exponents - jnp.log(totals)[:, None])

    def _unrolls_reduction(self, values: AnyArray) -> bool:
        return self.recomputes and values.shape[1] <= _RECOMPUTED

    def _reduce_components(
        self, function: Callable[..., AnyArray], whole: Callable[..., AnyArray], values: AnyArray
    ) -> AnyArray:
        if not self._unrolls_reduction(values):
            return whole(values, axis=1)
        # XLA fuses an unrolled reduction with what computes the values, and stores none of them.
        return functools.reduce(function, [values[:, j] for j in range(values.shape[1])])

    def pullback(
        self, function: Callable[..., AnyArray], *arguments: Any
    ) -> tuple[AnyArray, Callable[[AnyArray], tuple[AnyArray, ...]]]:
        """Value of a function, and its derivatives by all real numbers in the arguments."""
        leaves, structure = jax.tree.flatten(arguments)
        real = [is_real(leaf) for leaf in leaves]

        def call_with(*numbers: AnyArray) -> AnyArray:
            replacements = iter(numbers)
            every = [
                next(replacements) if one else leaf for one, leaf in zip(real, leaves, strict=True)
            ]
            return function(*jax.tree.unflatten(structure, every))

        return jax.vjp(call_with, *itertools.compress(leaves, real))

    def map_components(
        self, function: Callable[..., Any], arrays: tuple[AnyArray, ...], axis: int, x: AnyArray
    ) -> Any:
        """f(a[j], b[j]) for each component j, stacked along the axis."""
        if math.prod(x.shape) * arrays[0].shape[0] <= _BATCHED:
            return jax.vmap(function, out_axes=axis)(*arrays)
        stacked = jax.lax.map(lambda one: function(*one), arrays)
        return jax.tree.map(lambda stack: jnp.moveaxis(stack, 0, axis), stacked)


@jax.custom_jvp
def _without_derivative(values: AnyArray, flags: AnyArray) -> AnyArray:
    del flags
    return values


@_without_derivative.defjvp
def _without_derivative_jvp(primals: tuple[AnyArray, ...], tangents: tuple[Any, ...]) -> Any:
    values, flags = primals
    return _without_derivative(values, flags), jnp.where(flags, 0.0, tangents[0])


def ops_for(rows: tuple[AnyArray, ...], *, sums: bool = False) -> JaxOps:
    """The operations for blocks of these rows, of which sums or single results are wanted."""
    # Several devices would have to agree on whether the product form is exact for all rows; without
    # it they exchange nothing.
    least = _MANY_ROWS_OF_SUMS if sums else _MANY_ROWS
    many_rows = rows[0].shape[0] >= least and jax.device_count() == 1
    recomputes = rows[0].ndim == 1 and rows[0].shape[0] >= _BEYOND_CACHE
    return JaxOps(jnp, many_rows=many_rows, decides_per_block=sums, recomputes=recomputes)


def is_real(leaf: Any) -> bool:
    """Whether derivatives by it exist."""
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.floating))
