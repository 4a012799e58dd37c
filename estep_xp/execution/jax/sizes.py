"""JAX compiles a program for each number of rows: eager calls are padded to a few numbers of rows.

Rows are padded and cut on the host where that is the memory of the device, too: in JAX even a slice
is compiled for each size. Padding and cutting are primitives of JAX, so that eager derivatives do
it in the same way.
"""

from __future__ import annotations

import functools
import math
import operator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from estep_xp.arrays.namespace import MANY_NUMBERS, is_eager

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import AnyArray

# Sizes between a power of two and the next are spaced by an eighth of it, those of few rows by 8.
_SHARE, _LEAST_STEP = 8, 8

# JAX gives these no types.
_derivatives: Any = ad
_value_of: Any = operator.methodcaller("to_concrete_value")


def padded_size(n: int) -> int:
    """The number of rows that n > 0 rows are padded to: at most an eighth more from 64 on."""
    step = max(_LEAST_STEP, (1 << (n.bit_length() - 1)) // _SHARE)
    return -(-n // step) * step


def run_padded(
    function: Callable[..., tuple[AnyArray, ...]], rows: tuple[AnyArray, ...]
) -> tuple[AnyArray, ...]:
    """Results (n, ...) of a function that treats every row alone."""
    if not _may_be_padded(rows):
        return function(*rows)
    n = rows[0].shape[0]
    size = padded_size(n)
    # A copy of a row has a density that can be computed, whatever the family.
    results = function(*(_copies.bind(array, size=size) for array in rows))
    return tuple(_cut.bind(result, size=n) for result in results)


def pad_rows(rows: tuple[AnyArray, ...]) -> tuple[AnyArray, ...] | None:
    """Rows (x,) or (x, sample_weight) padded with rows of weight 0; None where they may not be.

    There are weights even where nothing is appended: one program serves all numbers of rows.
    """
    if not _may_be_padded(rows):
        return None
    x, *weight = rows
    size = padded_size(x.shape[0])
    padded = _copies.bind(x, size=size)
    if weight:
        return padded, pad_numbers(weight[0])
    ones = np.arange(size) < x.shape[0]
    return padded, jax.device_put(ones.astype(x.dtype))


def pad_numbers(numbers: AnyArray) -> AnyArray:
    """Numbers (n,), one of each row, padded with zeros where they may be."""
    if not _may_be_padded((numbers,)):
        return numbers
    padded: AnyArray = _zeros.bind(numbers, size=padded_size(numbers.shape[0]))
    return padded


def _may_be_padded(rows: tuple[AnyArray, ...]) -> bool:
    """Whether a call on these rows is eager, and neither spread over devices nor too large."""
    if rows[0].shape[0] == 0 or sum(math.prod(array.shape) for array in rows) > MANY_NUMBERS:
        return False
    return all(map(_is_on_one_device, rows)) and is_eager()


def _is_on_one_device(array: Any) -> bool:
    """Whether an array, or what the tracer of an eager derivative stands for, is on one device."""
    while isinstance(array, jax.core.Tracer):
        array = _value_of(array)
    # JAX's constants may be arrays that have no device yet.
    if not isinstance(array, jax.Array):
        return False
    return array.is_fully_addressable and len(array.sharding.device_set) == 1


def _resized(mode: str, array: AnyArray, *, size: int) -> AnyArray:
    """The first rows, or all of them and more that NumPy's `pad` makes in this mode."""
    n = array.shape[0]
    if n == size:
        return array
    if any(device.platform != "cpu" for device in array.sharding.device_set):
        return _compiled_resized(mode, array, size)
    host = np.asarray(array)
    if size < n:
        whole = host[:size]
    else:
        whole = np.empty((size, *host.shape[1:]), host.dtype)
        whole[:n] = host
        whole[n:] = host[-1] if mode == "edge" else 0
    return jax.device_put(whole, array.sharding if array.committed else None)


def _traced_resized(mode: str, array: AnyArray, size: int) -> AnyArray:
    n = array.shape[0]
    if size <= n:
        return jax.lax.slice_in_dim(array, 0, size)
    return jnp.pad(array, [(0, size - n), *((0, 0) for _ in array.shape[1:])], mode)


_compiled_resized = jax.jit(_traced_resized, static_argnums=(0, 2))


def _primitive(name: str, mode: str) -> Any:
    """A primitive that gives an array another number of rows."""
    primitive: Any = Primitive(name)

    def shaped(array: Any, *, size: int) -> Any:
        return array.update(shape=(size, *array.shape[1:]))

    def lowered(array: AnyArray, *, size: int) -> AnyArray:
        return _traced_resized(mode, array, size)

    def batched(arrays: Any, axes: Any, *, size: int) -> tuple[AnyArray, int]:
        last = jnp.moveaxis(arrays[0], axes[0], -1)
        return primitive.bind(last, size=size), last.ndim - 1

    primitive.def_impl(functools.partial(_resized, mode))
    primitive.def_abstract_eval(shaped)
    mlir.register_lowering(primitive, mlir.lower_fun(lowered, multiple_results=False))
    batching.primitive_batchers[primitive] = batched
    return primitive


def _transposes(primitive: Any, other: Any) -> None:
    """Say that a primitive is linear, and the other its transpose."""

    def transposed(cotangent: Any, array: Any, *, size: int) -> list[Any]:
        del size
        return [other.bind(cotangent, size=array.aval.shape[0])]

    _derivatives.deflinear2(primitive, transposed)


_copies = _primitive("pad_rows_with_copies", "edge")
_zeros = _primitive("pad_rows_with_zeros", "constant")
_cut = _primitive("cut_rows", "constant")
_transposes(_zeros, _cut)
_transposes(_cut, _zeros)
# Copies stand for nothing: they have no derivatives.
_derivatives.defjvp(_copies, lambda tangent, array, *, size: _zeros.bind(tangent, size=size))
