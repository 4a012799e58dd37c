"""Checks of arguments: shapes always, values where they exist.

A bad value raises ValueError naming argument, index, value and what was expected. Where values do
not exist yet (JAX tracers, Dask), a bad value is replaced by NaN when it is computed, so that the
results show it; a plausible wrong number would not.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import operator
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from estep_xp.arrays import linalg
from estep_xp.arrays.namespace import (
    Space,
    is_concrete,
    is_tracer,
    namespace_of,
    to_host,
)
from estep_xp.arrays.quiet import quiet, quietly
from estep_xp.arrays.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import AnyArray, Array, Namespace


# Up to this many values Python's own `sum` and `min` take less time than NumPy's call overhead.
_FEW = 64

# Smaller positive numbers, which a processor may flush to 0, are checked one by one.
_LEAST_POSITIVE = sys.float_info.min


def shape_text(shape: tuple[Any, ...]) -> str:
    """Write a shape as Python does, with names for sizes that may be any: (n, 3)."""
    inner = ", ".join(str(size) for size in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def check_shape(name: str, array: Array, expected: tuple[int | str, ...], why: str = "") -> None:
    """Raise unless `array` has the expected shape, whose strings stand for any size."""
    actual = tuple(array.shape)
    if actual == expected:
        return
    fits = len(actual) == len(expected) and all(map(_may_equal, actual, expected))
    if not fits:
        raise ValueError(
            f"{name} has shape {shape_text(actual)}; expected {shape_text(expected)}{why}"
        )


def check_array(name: str, array: Any, expected: tuple[int | str, ...]) -> None:
    """Raise unless `array` is an array at all, and of the expected shape."""
    if not hasattr(array, "shape"):
        raise TypeError(f"{name} is {shown(array)}; expected an array")
    check_shape(name, array, expected)


def _may_equal(size: float, expected: float | str) -> bool:
    # A size that Dask does not know yet is NaN.
    return isinstance(expected, str) or size == expected or math.isnan(size + expected)


def check_not_empty(name: str, size: int) -> None:
    """Raise unless there is at least one component."""
    if size == 0:
        raise ValueError(f"{name} is empty; a mixture has at least one component")


def check_values(
    space: Space,
    name: str,
    array: Array,
    test: Callable[[Namespace, Array], Array],
    expected: str,
    least: float | None = None,
) -> Array:
    """`array`, all of whose entries pass `test`; bad ones become NaN where values are lazy.

    All finite numbers from `least` on pass the test, which is how most arrays are accepted.
    """
    if is_concrete(array):
        host = to_host(array)
        if least is not None and host.size <= _FEW and _are_at_least(host, least):
            return array
        passed: AnyArray = test(np, host)
        if not passed.all():
            _raise_first(name, host, np.argwhere(~passed), expected)
        return array
    return _set_nan(space.xp, array, ~test(space.xp, array))


def _are_at_least(few: np.ndarray[Any, Any], least: float) -> bool:
    """Whether a few numbers are seen at once to be finite and not below the least; else False."""
    values = few.ravel().tolist()
    # A sum is finite only if all of its terms are: then there is no NaN, which has no order.
    return math.isfinite(sum(values)) and (not values or min(values) >= least)


def are_finite(host: np.ndarray[Any, Any]) -> bool:
    """Whether all numbers of an array are finite."""
    few = host.size <= _FEW and host.dtype.kind == "f"
    if few and math.isfinite(sum(host.ravel().tolist())):
        return True
    return bool(np.isfinite(host).all())


def _set_nan(xp: Namespace, array: Array, bad: Array) -> Array:
    """`array` with NaN for its bad entries; derivatives by them are NaN, too."""
    return array + xp.where(bad, math.nan, xp.zeros_like(array))


def raise_bad_value(name: str, index: tuple[int, ...], value: Any, expected: str) -> NoReturn:
    """Raise ValueError for the entry of an argument at `index`."""
    where = f"[{', '.join(map(str, index))}]" if index else ""
    raise ValueError(f"{name}{where} is {value!s}; {expected}")


def _raise_first(name: str, host: np.ndarray[Any, Any], bad: Any, expected: str) -> NoReturn:
    index = tuple(bad[0].tolist())
    raise_bad_value(name, index, host[index], expected)


def check_finite(space: Space, name: str, array: Array) -> Array:
    """Refuse NaN and infinities."""
    return check_values(space, name, array, _is_finite, f"{name} must be finite", -math.inf)


def check_positive(space: Space, name: str, array: Array) -> Array:
    """Refuse values that are not positive and finite, or that the library flushes to zero."""
    return check_values(
        space,
        name,
        check_not_flushed(space, name, array),
        _is_positive,
        f"{name} must be positive and finite",
        _LEAST_POSITIVE,
    )


def _is_finite(xp: Namespace, array: Array) -> Array:
    finite: Array = xp.isfinite(array)
    return finite


def _is_positive(xp: Namespace, array: Array) -> AnyArray:
    del xp
    return (array > 0) & (array < math.inf)


def _is_non_negative(xp: Namespace, array: Array) -> AnyArray:
    del xp
    return (array >= 0) & (array < math.inf)


def _call_directly(function: Callable[..., Array], array: Array) -> Array:
    return function(namespace_of(array), array)


def check_not_flushed(
    space: Space, name: str, array: Array, of_rows: Callable[..., Array] = _call_directly
) -> Array:
    """Refuse subnormal values, which the library flushes to zero; NaN where values are lazy.

    It must be called before any arithmetic on the array, which might flush values. `of_rows` calls
    a function that treats every row alone.
    """
    if not space.flushes:
        return array
    if not is_concrete(array):
        if space.library != "jax":
            return array
        return of_rows(_set_nan_for_subnormal, array)
    host = to_host(array)
    if host.dtype.kind == "f":
        bad = np.argwhere(_is_subnormal(host))
        if len(bad):
            least = float(np.finfo(host.dtype).smallest_normal)
            expected = (
                f"{name} must be at least {least:.4g} in size: {space.library} takes less for 0; "
                "scale the numbers up, or write 0 where that is meant"
            )
            _raise_first(name, host, bad, expected)
    return array


def _set_nan_for_subnormal(xp: Namespace, array: Array) -> Array:
    return _set_nan(xp, array, _is_subnormal(array))


def _is_subnormal(array: AnyArray) -> AnyArray:
    """Flags of subnormal values, of NumPy or JAX, by their bits: arithmetic may flush them."""
    bits = array.view(f"uint{8 * array.dtype.itemsize}") << 1  # without the sign
    least = np.finfo(array.dtype).smallest_normal.view(bits.dtype)
    return (bits > 0) & (bits < 2 * int(least))


def check_non_negative(space: Space, name: str, array: Array) -> Array:
    """Refuse values that are negative, NaN or infinite, or that the library flushes to zero."""
    return check_values(
        space,
        name,
        check_not_flushed(space, name, array),
        _is_non_negative,
        f"{name} must be non-negative and finite",
        0.0,
    )


def check_weights(space: Space, weights: Array) -> Array:
    """Mixing weights (k,): non-negative, finite, not all zero."""
    check_shape("weights", weights, ("k",))
    check_not_empty("weights", weights.shape[0])
    weights = check_non_negative(space, "weights", weights)
    if is_concrete(weights) and not any(to_host(weights).tolist()):
        raise ValueError("weights sum to 0; at least one weight must be positive")
    return weights


def has_zeros(array: Array) -> bool:
    """Whether some entry is zero, or may be: the values of a lazy array are not known."""
    if not is_concrete(array):
        return True
    host = to_host(array)
    if host.size <= _FEW:
        return 0.0 in host.ravel().tolist()
    return bool(np.count_nonzero(host) < host.size)


def check_precision_cholesky(space: Space, factors: Array) -> Array:
    """Upper triangular factors (..., d, d): finite, their diagonals positive, zero below."""
    name = "precision_cholesky"
    factors = check_not_flushed(space, name, factors)
    if space.flushes:
        # Differences x - mean that are flushed to zero would count when multiplied by such entries.
        limits = space.xp.finfo(factors.dtype)
        most = float(limits.eps) / float(limits.smallest_normal)
        expected = f"{name} must be at most {most:.4g} in size; give x in smaller units"
        factors = check_values(
            space,
            name,
            factors,
            lambda xp, a: (abs(a) <= most) | (abs(a) == math.inf) | (a != a),  # refused below
            expected,
        )
    if not is_concrete(factors):
        xp = space.xp
        diagonals = xp.linalg.diagonal(factors)
        good = xp.all(xp.isfinite(factors), axis=(-2, -1)) & xp.all(diagonals > 0, axis=-1)
        good = good & xp.all(xp.tril(factors, k=-1) == 0, axis=(-2, -1))
        return _set_nan(xp, factors, ~good[..., None, None])
    host = to_host(factors)
    if 0 < host.size <= _FEW and _are_triangular(host):
        return factors
    below, diagonals = _below_diagonal(host.shape[-1]), host.diagonal(0, -2, -1)
    if np.isfinite(host).all() and (diagonals > 0).all() and not host[..., below].any():
        return factors
    on_diagonal = np.broadcast_to(np.eye(host.shape[-1], dtype=bool), host.shape)
    bad = np.argwhere(quietly(lambda: ~np.isfinite(host) | (on_diagonal & (host <= 0))))
    if len(bad):
        expected = f"{name} must be finite, with a positive diagonal"
        _raise_first(name, host, bad, expected)
    maker = "TiedGaussian.from_covariance" if host.ndim == 2 else "FullGaussian.from_covariances"
    expected = (
        f"{name} must be upper triangular: zero below its diagonal; if this is a covariance "
        f"matrix, call {maker}"
    )
    _raise_first(name, host, np.argwhere((host != 0) & below), expected)


def _are_triangular(few: np.ndarray[Any, Any]) -> bool:
    """Whether a few numbers are seen at once to be good factors; else False."""
    values, (on, below) = few.ravel().tolist(), _places(few.shape)
    return (
        math.isfinite(sum(values))
        and min(itertools.compress(values, on)) > 0
        and not any(itertools.compress(values, below))
    )


@functools.lru_cache(maxsize=16)
def _places(shape: tuple[int, ...]) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """Flags of the entries on and below the diagonals, in the order of memory."""
    both = np.eye(shape[-1], dtype=bool), _below_diagonal(shape[-1])
    on, below = (tuple(np.broadcast_to(one, shape).ravel().tolist()) for one in both)
    return on, below


@functools.lru_cache(maxsize=8)
def _below_diagonal(d: int) -> np.ndarray[Any, Any]:
    """Flags (d, d) of the entries below the diagonal; cached, so never written to."""
    return np.tri(d, k=-1, dtype=bool)


@quiet
def check_covariances(space: Space, name: str, covariances: Array) -> Array:
    """Matrices (..., d, d): finite, symmetric, with positive diagonals."""
    covariances = check_finite(space, name, check_not_flushed(space, name, covariances))
    if not is_concrete(covariances):
        xp = space.xp
        good = xp.all(~_asymmetric(xp, covariances), axis=(-2, -1))
        return _set_nan(xp, covariances, ~good[..., None, None])
    host = to_host(covariances)
    asymmetric = np.argwhere(_asymmetric(np, host))
    if len(asymmetric):
        *matrix, i, j = asymmetric[0].tolist()
        label = name + "".join(f"[{m}]" for m in matrix)
        a, b = host[(*matrix, i, j)], host[(*matrix, j, i)]
        raise ValueError(
            f"{label} is not symmetric: its entry [{i}, {j}] is {a!s} but [{j}, {i}] is {b!s}"
        )
    return covariances


def _asymmetric(xp: Namespace, matrices: Array) -> AnyArray:
    """Entries that differ from their mirror image by more than rounding could make them."""
    scale = xp.sqrt(xp.abs(xp.linalg.diagonal(matrices)))
    outer = xp.expand_dims(scale, axis=-1) * xp.expand_dims(scale, axis=-2)
    mirrored = xp.matrix_transpose(matrices)
    tolerance = math.sqrt(float(xp.finfo(matrices.dtype).eps))
    # Entries larger than the diagonal allows are compared at their own size: the matrix is not
    # positive definite, which has a message of its own.
    size = xp.maximum(outer, xp.maximum(xp.abs(matrices), xp.abs(mirrored)))
    return ~(xp.abs(matrices - mirrored) <= tolerance * size)


def _least_pivots(covariances: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Smallest ratio (...) of a conditional variance to the variance; -inf if not definite."""
    pivots = np.full(covariances.shape[:-2], -np.inf)
    for index in np.ndindex(*pivots.shape):
        if not (np.diagonal(covariances[index]) > 0).all():
            continue
        with contextlib.suppress(np.linalg.LinAlgError):
            lower = np.linalg.cholesky(linalg.correlations(np, covariances[index])[0])
            pivots[index] = np.min(np.diagonal(lower) ** 2)
    return pivots


@quiet
def raise_indefinite(
    name: str, covariances: Array, remedy: str = "add to its diagonal", least: float = 0.0
) -> NoReturn:
    """Raise ValueError naming the concrete matrix (..., d, d) that could not be factorised.

    It is the first matrix that is not positive definite, or in which a variance given the other
    features is at most a share `least` of the variance; if none fails in our own factorisation,
    the most nearly singular one.
    """
    pivots = _least_pivots(to_host(covariances))
    bad = np.argwhere(~(pivots > least))
    index = bad[0].tolist() if len(bad) else np.unravel_index(np.argmin(pivots), pivots.shape)
    label = name + "".join(f"[{i}]" for i in index)
    raise ValueError(
        f"{label} is not positive definite; {remedy}, or drop features that depend on each other"
    )


def check_whole(name: str, value: Any, least: int, most: float = sys.maxsize) -> int:
    """`value` as a whole number from `least` to `most`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {shown(value)}; {name} must be a whole number") from None
    if number < least:
        raise ValueError(f"{name} is {shown(number)}; {name} must be at least {least}")
    if number > most:
        raise ValueError(f"{name} is {shown(number)}; {name} must be at most {most}")
    return number


def check_number(name: str, value: Any) -> Any:
    """`value` as a non-negative Python float, or as the tracer that it is."""
    if is_tracer(value):
        return value
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {shown(value)}; {name} must be a number") from None
    except OverflowError:  # a whole number that no float holds
        raise ValueError(
            f"{name} is {shown(value)}; {name} must be non-negative and finite"
        ) from None
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} is {number}; {name} must be non-negative and finite")
    return number
