"""NumPy's namespace for arrays alone: the same functions, some of them without their preamble.

Functions such as `numpy.sum` take anything that can be made an array, and objects with methods of
their own; to find out that they have an array takes longer than to add up a hundred numbers.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from estep_xp.arrays.namespace import numpy_namespace

_Array = np.ndarray[Any, Any]

_SMALL = 1024  # elements that are copied in less time than it takes to make a view of them

_ADD: Any = np.add.reduce
_MAXIMUM: Any = np.maximum.reduce
_AND: Any = np.logical_and.reduce


class _Linalg:
    """`numpy.linalg`, with a quick `diagonal`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(numpy_namespace.linalg, name)

    @staticmethod
    def diagonal(x: _Array) -> _Array:
        """Diagonals of matrices, the last two axes."""
        return x.diagonal(0, -2, -1)


class QuickNumpy:
    """The functions of NumPy's namespace as they are, except for those defined here."""

    linalg = _Linalg()
    finfo = staticmethod(functools.cache(np.finfo))

    def __getattr__(self, name: str) -> Any:
        value = getattr(numpy_namespace, name)
        setattr(self, name, value)  # found at once the next time
        return value

    @staticmethod
    def sum(x: _Array, axis: Any = None, *, keepdims: bool = False) -> Any:
        """Sum over some axes, or all."""
        return _ADD(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def max(x: _Array, axis: Any = None, *, keepdims: bool = False) -> Any:
        """The largest entry along some axes, or all."""
        return _MAXIMUM(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def all(x: _Array, axis: Any = None, *, keepdims: bool = False) -> Any:
        """Whether all entries along some axes, or all, are true."""
        return _AND(x, axis, None, None, keepdims)

    @staticmethod
    def matrix_transpose(x: _Array) -> _Array:
        """Matrices with the last two axes exchanged."""
        return x.mT

    @staticmethod
    def broadcast_to(x: _Array, shape: tuple[int, ...]) -> _Array:
        """An array of this shape; itself, where it has it, a copy, where it is small."""
        if x.shape == shape:
            return x
        if math.prod(shape) > _SMALL:
            return np.broadcast_to(x, shape)
        copy = np.empty(shape, x.dtype)
        copy[...] = x
        return copy

    @staticmethod
    def astype(x: _Array, dtype: Any, *, copy: bool = True) -> _Array:
        """An array of another dtype."""
        return x.astype(dtype, copy=copy)

    @staticmethod
    def zeros_like(x: _Array) -> _Array:
        """Zeros of the same shape and dtype."""
        return np.zeros(x.shape, x.dtype)


quick_numpy = QuickNumpy()
