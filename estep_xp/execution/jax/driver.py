"""JAX: the whole computation is compiled, in eager calls too, and every transformation sees it."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from estep_xp.arrays.block import BlockOps, Granted, Mending, loop_components
from estep_xp.arrays.summation import Sum
from estep_xp.execution.jax.sizes import by_rows, weighted, with_zeros
from estep_xp.execution.kernel import RowKernel, SlopeKernel, SumKernel, TotalKernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.namespace import Space
    from estep_xp.execution.call_options import Options

# Components are written out one after the other for the compiler to fuse; far more of them would
# take long to compile, so they are looped over.
_UNROLLED = 64

# Rows from which on more may be prepared than the plainest form of a density. For sums that means
# to compile two forms and all that follows from each, which takes some seconds.
_MANY_ROWS, _MANY_ROWS_OF_SUMS = 1000, 4097

# Numbers in a block of a sum over rows: what a CPU's cache holds, and an accelerator's wants.
_BLOCK_NUMBERS = {"cpu": 1 << 19}
_MANY_BLOCK_NUMBERS = 1 << 23
_LEAST_ROWS = 1024  # products of fewer are slow, and sums of many numbers are added up too often
_UNEVEN = 0.25  # how far from it a size may be that leaves no rest
_VECTOR, _LINES = 8, 64  # rows that fill a vector, and lines of the cache

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
        mend: Mending,
    ) -> Granted:
        """Values of a block by one form for all rows."""
        del mend
        return Granted(jax.lax.cond(jnp.all(bounds <= limit), lambda: quick()[0], lambda: sure(x)))

    def cond(self, flag: Array, if_true: Callable[[], Any], if_false: Callable[[], Any]) -> Any:
        """Decide when the compiled program runs."""
        return chosen(flag, if_true, if_false)

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
        real = [_is_real(leaf) for leaf in leaves]

        def of_real(*numbers: Array) -> Array:
            found = iter(numbers)
            every = [next(found) if one else leaf for one, leaf in zip(real, leaves, strict=True)]
            return function(*jax.tree.unflatten(structure, every))

        return jax.vjp(of_real, *itertools.compress(leaves, real))

    def map_components(
        self, function: Callable[..., Any], arrays: tuple[Array, ...], axis: int, x: Array
    ) -> Any:
        """f(a[j], b[j]) for each component j, stacked along the axis."""
        del x
        if arrays[0].shape[0] <= _UNROLLED:
            return loop_components(jnp, function, arrays, axis)
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


def _ops(rows: tuple[Array, ...], *, sums: bool = False) -> JaxOps:
    # Whether features are exact for all rows is a question to all devices, which otherwise need not
    # talk to each other.
    least = _MANY_ROWS_OF_SUMS if sums else _MANY_ROWS
    many_rows = rows[0].shape[0] >= least and jax.device_count() == 1
    inline = rows[0].ndim == 1 and rows[0].shape[0] >= _BEYOND_CACHE
    return JaxOps(jnp, many_rows=many_rows, decides_per_block=sums, recomputes=inline)


def map_rows(
    kernel: RowKernel, space: Space, rows: tuple[Array, ...], parameters: Any, how: Options
) -> tuple[Array, ...]:
    """Run `kernel` compiled; XLA plans blocks and threads by itself."""
    del space, how
    # Components that are a plain Python object can't be arguments of a compiled function, and as a
    # constant of it they would be frozen.
    numeric = all(_is_numeric(leaf) for leaf in jax.tree.leaves(parameters))
    run = _map_rows if numeric else _run
    return by_rows(lambda *rows: run(kernel, rows, parameters), rows)


def of_rows(function: Callable[..., Array], *arrays: Array) -> Array:
    """Call `function`, which treats every row alone, compiled."""
    (result,) = by_rows(lambda *rows: (_compute(function, *rows),), arrays)
    return result


def sum_of(numbers: Array) -> Array:
    """Add up one number of each row."""
    return jnp.sum(with_zeros(numbers))


def padded(rows: tuple[Array, ...]) -> tuple[Array, ...] | None:
    """Rows with others of weight 0 appended, so that few programs are compiled."""
    return weighted(rows)


def sum_rows(
    kernel: SumKernel, space: Space, rows: tuple[Array, ...], parameters: Any, how: Options
) -> tuple[Array, ...]:
    """Run `kernel` compiled, block by block within each device's share of the rows."""
    del space
    groups, size = _cut(kernel, rows, parameters, how.block_size)
    results: tuple[Array, ...] = _compiled_sum_rows(kernel, groups, size, rows, parameters)
    return results


def total(
    kernel: TotalKernel, space: Space, rows: tuple[Array, ...], parameters: Any, how: Options
) -> Array:
    """Add up a kernel's results for all rows; value and derivative take one pass, in blocks."""
    del space
    if all(_is_numeric(leaf) for leaf in jax.tree.leaves(parameters)):
        result: Array = _compiled_total(kernel, how.block_size, rows, parameters)
        return result
    return jnp.sum(_run(kernel, rows, parameters)[0])


def _cut(
    kernel: SumKernel | SlopeKernel,
    rows: tuple[Array, ...],
    parameters: Any,
    block_size: int | None,
) -> tuple[int, int]:
    """Into how many groups rows are cut, and these into blocks of which size."""
    # Rows that are sharded evenly over the devices: each keeps to its own, and the devices meet in
    # one reduction at the end. Where there is a single device this is a single group.
    groups = _shards(rows[0])
    n = max(1, rows[0].shape[0] // groups)
    size = block_size or _default_block_size(kernel, n, rows, parameters)
    return groups, min(size, n)


def _shards(rows: Array) -> int:
    """Into how many pieces the rows of an array are cut, or how many it may be."""
    n: int = rows.shape[0]
    if n == 0:
        return 1
    if isinstance(rows, jax.core.Tracer):
        # How they will be sharded is not known yet; over all devices, or some, is the rule.
        return math.gcd(n, jax.device_count())
    piece: int = rows.sharding.shard_shape(rows.shape)[0]
    return n // piece


def compute(function: Callable[..., Any], space: Space, *arrays: Array) -> Any:
    """Call `function` compiled."""
    del space
    return _compute(function, *arrays)


def chosen(flag: Array, if_true: Callable[[], Any], if_false: Callable[[], Any]) -> Any:
    """Decide when the compiled program runs."""
    return jax.lax.cond(flag, if_true, if_false)


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


def _run(kernel: RowKernel, rows: tuple[Array, ...], parameters: Any) -> tuple[Array, ...]:
    ops = _ops(rows)
    # TensorFloat-32, the default on some accelerators, keeps three digits.
    with jax.default_matmul_precision("highest"):
        return kernel.rows(ops, kernel.prepare(ops, parameters), *rows)


@functools.partial(jax.jit, static_argnums=0)
def _compute(function: Callable[..., Any], *arrays: Array) -> Any:
    with jax.default_matmul_precision("highest"):
        return function(jnp, *arrays)


_map_rows = jax.jit(_run, static_argnums=0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _total(
    kernel: TotalKernel, block_size: int | None, rows: tuple[Array, ...], parameters: Any
) -> Array:
    del block_size  # the compiler makes a loop of its own

    def of_rows() -> Array:
        return _run(kernel, rows, parameters)[0]

    ops = _ops(rows)
    # In one loop with their sum, the numbers would be left to a single thread.
    witness = jax.tree.leaves(parameters)[0]
    return jnp.sum(ops.materialize(of_rows, witness) if ops.recomputes else of_rows())


@functools.partial(_total.defjvp, symbolic_zeros=True)
def _total_jvp(
    kernel: TotalKernel,
    block_size: int | None,
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
) -> tuple[Array, Array]:
    (rows, parameters), (by_rows, by_parameters) = primals, tangents
    by_x, *by_sample_weight = [_is_given(tangent) for tangent in by_rows]
    slopes = kernel.slopes(by_x=by_x, by_sample_weight=any(by_sample_weight))
    groups, size = _cut(slopes, rows, parameters, block_size)
    sums, slopes_by_rows = _fold_rows(slopes, groups, size, rows, parameters)
    leaves, directions = jax.tree.leaves(parameters), jax.tree.leaves(by_parameters)
    pairs = list(zip(filter(_is_given, by_rows), slopes_by_rows, strict=True))
    if any(map(_is_given, directions)):
        ops = _ops(rows, sums=True)
        slopes_by_parameters = slopes.by_parameters(ops, parameters, sums)
        real = itertools.compress(directions, map(_is_real, leaves))
        pairs += zip(real, slopes_by_parameters, strict=True)
    terms = [jnp.sum(slope * along) for along, slope in pairs if _is_given(along)]
    return sums[0], functools.reduce(operator.add, terms)


_compiled_total = jax.jit(_total, static_argnums=(0, 1))


def _sum_rows(
    kernel: SumKernel, groups: int, size: int, rows: tuple[Array, ...], parameters: Any
) -> tuple[Array, ...]:
    return _fold_rows(_Summing(kernel), groups, size, rows, parameters)[0]


_compiled_sum_rows = jax.jit(_sum_rows, static_argnums=(0, 1, 2))


class _Summing(NamedTuple):
    """A kernel of sums, as one that has no results for rows beside them."""

    kernel: SumKernel

    def prepare(self, ops: BlockOps, parameters: Any) -> Any:
        """What all rows share."""
        return self.kernel.prepare(ops, parameters)

    def block(
        self, ops: BlockOps, prepared: Any, *rows: Array
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """The sums over a block."""
        return self.kernel.sums(ops, prepared, *rows), ()


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _fold_rows(
    kernel: Any, groups: int, size: int, rows: tuple[Array, ...], parameters: Any
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Sums over all rows, and results for each."""
    return _fold(_by_slices, kernel, groups, size, rows, parameters)


@_fold_rows.defjvp
def _fold_rows_jvp(
    kernel: Any, groups: int, size: int, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Any, Any]:
    # The derivative of a slice is an array of all rows, one for each block; that of a scan is not.
    # But a scan copies the rows, so it is only for those who ask for derivatives.
    function = functools.partial(_fold, _by_scan, kernel, groups, size)
    return jax.jvp(function, primals, tangents)


def _fold(
    looped: Callable[..., tuple[Sum, tuple[Array, ...]]],
    kernel: Any,
    groups: int,
    size: int,
    rows: tuple[Array, ...],
    parameters: Any,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Blocks of `size` within each of the groups, whose sums are added up."""
    ops = _ops(rows, sums=True)
    with jax.default_matmul_precision("highest"):
        prepared = kernel.prepare(ops, parameters)
        shapes: list[tuple[int, ...]] = []

        def packed(*block: Array) -> tuple[Array, tuple[Array, ...]]:
            sums, by_rows = kernel.block(ops, prepared, *block)
            shapes[:] = [one.shape for one in sums]
            return _packed(sums), by_rows

        block = _in_groups(groups, packed)
        grouped = [a.reshape(groups, a.shape[0] // groups, *a.shape[1:]) for a in rows]
        n = grouped[0].shape[1]
        n_blocks = n // size if n > size else 0  # a single block takes no loop to compile
        rest, by_rows = _of_rest(block, [array[:, n_blocks * size :] for array in grouped])
        whole = Sum.of(jnp, rest)
        if n_blocks:
            whole, pieces = looped(block, whole, n_blocks, size, grouped)
            by_rows = tuple(map(_joined, pieces, by_rows))
    vector, first = _over_groups(whole)
    _, _, *others = _unpacked(vector, shapes)
    sums = (*first.parts(jnp), *others)
    return sums, tuple(a.reshape(-1, *a.shape[2:]) for a in by_rows)


def _over_groups(whole: Sum) -> tuple[Array, Sum]:
    """Sums over all groups; and that of the first two, which are one in two parts, in full."""
    groups = whole.total.shape[0]
    first, second = (Sum(whole.total[:, i], whole.lost[:, i]) for i in (0, 1))
    parts = jnp.stack(first.joined(second), axis=1)
    # Each group has places of its own for these, so that devices exchange all in one sum.
    own = jnp.eye(groups, dtype=bool)[:, :, None]
    places = jnp.where(own, parts[:, None, :], 0.0).reshape(groups, -1)
    vector = jnp.sum(jnp.concatenate([whole.value(jnp), places], axis=1), axis=0)
    numbers = vector.shape[0] - places.shape[1]
    total, lost = vector[numbers:].reshape(groups, 2).T
    return vector[:numbers], Sum(total, lost).added_up(jnp)


def _of_rest(block: Callable[..., Any], rest: list[Array]) -> Any:
    """What a function gives of the rows that are left over, which may be none."""
    if rest[0].shape[1]:
        return block(*rest)
    nothing = jnp.sum(rest[0])  # zero, and as the rows are within `shard_map`
    shapes = jax.eval_shape(block, *rest)
    return jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype) + nothing, shapes)


def _joined(pieces: Array, rest: Array) -> Array:
    """Results of all rows in each group: those of blocks, which come first, and of the rest."""
    whole = jnp.moveaxis(pieces, 0, 1)
    return jnp.concatenate([whole.reshape(whole.shape[0], -1, *whole.shape[3:]), rest], axis=1)


def _in_groups(groups: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of each group."""
    if groups > 1:
        return jax.vmap(function)

    def of_the_one(*blocks: Array) -> Any:
        # A batch of one takes longer than its one item: choices are lost, and products slower.
        return jax.tree.map(lambda a: a[None], function(*(block[0] for block in blocks)))

    return of_the_one


def _by_slices(
    block: Callable[..., Any], start: Sum, n_blocks: int, size: int, grouped: list[Array]
) -> tuple[Sum, tuple[Array, ...]]:
    def add(so_far: Sum, i: Array) -> tuple[Sum, tuple[Array, ...]]:
        rows = (jax.lax.dynamic_slice_in_dim(a, i * size, size, axis=1) for a in grouped)
        sums, by_rows = block(*rows)
        return so_far.plus(sums), by_rows

    results: tuple[Sum, tuple[Array, ...]] = jax.lax.scan(add, start, jnp.arange(n_blocks))
    return results


def _by_scan(
    block: Callable[..., Any], start: Sum, n_blocks: int, size: int, grouped: list[Array]
) -> tuple[Sum, tuple[Array, ...]]:
    @jax.checkpoint
    def add(so_far: Sum, rows: tuple[Array, ...]) -> tuple[Sum, tuple[Array, ...]]:
        sums, by_rows = block(*rows)
        return so_far.plus(sums), by_rows

    def blocks(a: Array) -> Array:
        shape = (a.shape[0], n_blocks, size, *a.shape[2:])
        return jnp.moveaxis(a[:, : n_blocks * size].reshape(shape), 1, 0)

    results: tuple[Sum, tuple[Array, ...]] = jax.lax.scan(add, start, tuple(map(blocks, grouped)))
    return results


def _packed(sums: tuple[Array, ...]) -> Array:
    """All sums in one vector: devices exchange it in one go."""
    return jnp.concatenate([one.reshape(-1) for one in sums])


def _unpacked(vector: Array, shapes: list[tuple[int, ...]]) -> tuple[Array, ...]:
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    parts = jnp.split(vector, ends.tolist())
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))


def _default_block_size(
    kernel: SumKernel | SlopeKernel, n: int, rows: tuple[Array, ...], parameters: Any
) -> int:
    numbers = _BLOCK_NUMBERS.get(jax.default_backend(), _MANY_BLOCK_NUMBERS)
    width = kernel.width(_ops(rows, sums=True), parameters)
    width += sum(math.prod(array.shape[1:]) for array in rows)
    return _even(n, max(_LEAST_ROWS, numbers // int(width)))


def _even(n: int, size: int) -> int:
    """A size of blocks near `size` that leaves no rest of `n` rows, or else whole cache lines."""
    # A rest is compiled anew, and its blocks are no quicker for being small.
    fewest = max(1, math.ceil(n / size * (1.0 - _UNEVEN)))
    for blocks in range(fewest, math.ceil(n / size * (1.0 + _UNEVEN)) + 1):
        if n % (blocks * _VECTOR) == 0:
            return n // blocks
    return size - size % _LINES


def _is_given(tangent: Any) -> bool:
    """Whether a direction of differentiation is not known to be zero."""
    zero = isinstance(tangent, jax.custom_derivatives.SymbolicZero)
    return not zero and jnp.issubdtype(tangent.dtype, jnp.floating)


def _is_real(leaf: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.floating))


def _is_numeric(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic, int, float, complex))
