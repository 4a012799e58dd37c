"""Arithmetic on a block in JAX: rows first; many components are looped over."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from estep_xp.arrays.block import BlockOps, Granted

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array

# Numbers of all rows, features and components that are worth an array of their own: it is compiled
# in less time than a loop over components.
_BATCHED = 1 << 19

# Rows from which on more may be prepared than the plainest form of a density. For sums that means
# to compile two forms and all that follows from each, which takes some seconds.
_MANY_ROWS, _MANY_ROWS_OF_SUMS = 1000, 4097

# Features that loops are written out for: the compiler makes one pass over rows and components of
# such a loop, and a product of matrices is slower. The work for features that depend on each other
# grows with their square, and so does the time to compile it, which few rows are not worth.
_FEATURES_UNROLLED, _DEPENDENT_UNROLLED, _FEW_UNROLLED = 64, 16, 8

# Of so many numbers, not rows of features, that no cache holds their densities: components up to
# which these are computed anew wherever they are used.
_BEYOND_CACHE, _FOLDED = 1 << 18, 32

# Features whose products with each other are summed in less time than residuals' products.
_MOST_FEATURES = 64


@dataclass(frozen=True)
class JaxOps(BlockOps):
    """Rows first; many components are looped over."""

    decides_per_block: bool = False
    recomputes: bool = False  # densities are quicker to compute anew than to keep

    gathers_products = True

    def uses_product_form(self, d: int, *, products: bool, independent: bool) -> bool:
        """Whether features make log-densities quicker, or what is summed from them."""
        if not self.decides_per_block:
            return (
                self.many_rows
                and not products
                and not self.unrolls_features(d, independent=independent)
            )
        return self.many_rows and d > 1 and not (products and d > _MOST_FEATURES)

    def uses_product_form_for_density(self, *, products: bool) -> bool:
        """Whether they make log-densities quicker, too, where they pay for sums."""
        return not products

    def select(
        self,
        bounds: Array,
        limit: float,
        quick: Callable[[], tuple[Array, Any]],
        sure: Callable[[Array], Array],
        x: Array,
    ) -> Granted:
        """Values of a block by one form for all rows."""
        return Granted(jax.lax.cond(jnp.all(bounds <= limit), lambda: quick()[0], lambda: sure(x)))

    def cond(self, flag: Array, if_true: Callable[[], Any], if_false: Callable[[], Any]) -> Any:
        """Decide when the compiled program runs."""
        return jax.lax.cond(flag, if_true, if_false)

    def materialize(self, compute: Callable[[], Any], witness: Array) -> Any:
        """What `compute` gives, computed once however often it is used."""
        # The compiler would rather compute it anew for each of its uses than keep it, and barriers
        # it takes down. A choice it has to leave alone: here between all and nothing but NaN.
        shapes = jax.eval_shape(compute)

        def nothing() -> Any:
            return jax.tree.map(lambda one: jnp.full(one.shape, jnp.nan, one.dtype), shapes)

        return jax.lax.cond(jnp.any(witness == witness), compute, nothing)

    def mask_without_derivative(self, values: Array, flags: Array, constant: float) -> Array:
        """The values; the flags are looked at where derivatives are taken, and not before."""
        # To choose would make the E-step a quarter slower.
        del constant
        unchanged: Array = _without_derivative(values, flags)
        return unchanged

    def max_components(self, values: Array) -> Array:
        """The largest number of each row (rows,)."""
        return self._folded(jnp.maximum, jnp.max, values)

    def sum(self, values: Array, axis: int) -> Array:
        """Sums along an axis: XLA adds up long ones as a tree."""
        return jnp.sum(values, axis=axis)

    def sum_components(self, values: Array) -> Array:
        """The sum of each row (rows,)."""
        return self._folded(jnp.add, jnp.sum, values)

    def divide_rows_(self, shares: Array, totals: Array, exponents: Array | None = None) -> Array:
        """Shares over the totals of rows."""
        if exponents is None or not self._folds(shares):
            return super().divide_rows_(shares, totals)
        # Shares are not kept: to compute them anew in this form takes half the time.
        return jnp.exp(exponents - jnp.log(totals)[:, None])

    def _folds(self, values: Array) -> bool:
        return self.recomputes and values.shape[1] <= _FOLDED

    def _folded(
        self, function: Callable[..., Array], whole: Callable[..., Array], values: Array
    ) -> Array:
        if not self._folds(values):
            return whole(values, axis=1)
        # The compiler makes it part of the loop that the values come from, and keeps none of them.
        return functools.reduce(function, [values[:, j] for j in range(values.shape[1])])

    def unrolls_features(self, d: int, *, independent: bool) -> bool:
        """Whether loops over features are better written out, for all components at once."""
        if independent:
            return d <= _FEATURES_UNROLLED
        return d <= (_DEPENDENT_UNROLLED if self.many_rows else _FEW_UNROLLED)

    def pullback(
        self, function: Callable[..., Array], *arguments: Any
    ) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
        """Value of a function, and its derivatives by all real numbers in the arguments."""
        leaves, structure = jax.tree.flatten(arguments)
        real = [is_real(leaf) for leaf in leaves]

        def of_real(*numbers: Array) -> Array:
            found = iter(numbers)
            every = [next(found) if one else leaf for one, leaf in zip(real, leaves, strict=True)]
            return function(*jax.tree.unflatten(structure, every))

        return jax.vjp(of_real, *itertools.compress(leaves, real))

    def map_components(
        self, function: Callable[..., Any], arrays: tuple[Array, ...], axis: int, x: Array
    ) -> Any:
        """f(a[j], b[j]) for each component j, stacked along the axis."""
        if math.prod(x.shape) * arrays[0].shape[0] <= _BATCHED:
            return jax.vmap(function, out_axes=axis)(*arrays)
        stacked = jax.lax.map(lambda one: function(*one), arrays)
        return jax.tree.map(lambda stack: jnp.moveaxis(stack, 0, axis), stacked)


@jax.custom_jvp
def _without_derivative(values: Array, flags: Array) -> Array:
    del flags
    return values


@_without_derivative.defjvp
def _without_derivative_jvp(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> Any:
    values, flags = primals
    return _without_derivative(values, flags), jnp.where(flags, 0.0, tangents[0])


def ops_for(rows: tuple[Array, ...], *, sums: bool = False) -> JaxOps:
    """The operations for blocks of these rows, of which sums or single results are wanted."""
    # Whether features are exact for all rows is a question to all devices, which otherwise need not
    # talk to each other.
    least = _MANY_ROWS_OF_SUMS if sums else _MANY_ROWS
    many_rows = rows[0].shape[0] >= least and jax.device_count() == 1
    inline = rows[0].ndim == 1 and rows[0].shape[0] >= _BEYOND_CACHE
    return JaxOps(jnp, many_rows=many_rows, decides_per_block=sums, recomputes=inline)


def is_real(leaf: Any) -> bool:
    """Whether derivatives by it exist."""
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.floating))
