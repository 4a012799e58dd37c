"""The boundary to array libraries: namespace, dtype and device of a call, and what is lazy.

The only importer of array_api_compat. Private functions receive a `Space`.
"""

from __future__ import annotations

import numbers
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import array_api_compat as compat
import numpy as np

from estep_xp.arrays.array_types import AnyArray, Array, Namespace
from estep_xp.arrays.frames import as_numpy
from estep_xp.arrays.kinds import check_host_kind, check_kind, refuse_sparse
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.text import shown

if hasattr(np, "cumulative_sum"):
    # NumPy since 2.1 is a namespace of the standard; the wrapper would import all of it, f2py and
    # testing included, and double the time of `import estep_xp`.
    numpy_namespace: Namespace = np
else:
    import array_api_compat.numpy

    numpy_namespace = array_api_compat.numpy

# From this many elements on, the time and memory of a copy on the host count, and JAX's compiler
# saves more time than it takes.
MANY_NUMBERS = 1 << 20

_OF_NUMPY = (np.ndarray, np.generic)

_CONVERT = {
    "numpy": "numpy.asarray({0})",
    "jax": "jax.numpy.asarray({0})",
    "torch": "torch.asarray({0})",
    "cupy": "cupy.asarray({0})",
    "dask": "dask.array.asarray({0})",
    "array_api_strict": "array_api_strict.asarray({0})",
}


class Space(NamedTuple):
    """Where a call is computed: the library, its namespace, and the dtype and device of results."""

    library: str
    xp: Namespace
    dtype: Any
    device: Any
    lazy: bool  # the values of some argument do not exist yet

    @property
    def flushes(self) -> bool:
        """Whether arithmetic flushes subnormal values to zero."""
        # In a thread where PyTorch, say, has set the processor to flush, it does for all libraries.
        return self.library == "jax" or sys.float_info.min * 0.5 == 0.0

    @property
    def wide(self) -> Any:
        """The widest floating dtype: in JAX, what its configuration allows."""
        return self.xp.empty((0,)).dtype if self.library == "jax" else self.xp.float64

    def parameter(self, name: str, value: Any) -> Array:
        """A parameter as a floating-point array of this space."""
        if self is _PLAIN and type(value) is np.ndarray:
            return value
        if self.library == "dask" and library_of(value) != "dask":
            # Parameters are small, and every task receives a copy: they stay NumPy arrays.
            return self._cast(_as_real(name, value))
        return self._cast(_convert(name, value, self))

    def rows(self, name: str, value: Any) -> Array:
        """Observations as an array of this space; NumPy rows keep their dtype.

        A file mapped into memory may be larger than the memory: blocks of it are cast one by one.
        """
        array = _convert(name, value, self)
        return array if self.library == "numpy" else self._cast(array)

    def _cast(self, array: AnyArray) -> AnyArray:
        if array.dtype == self.dtype:
            return array
        # Values that overflow become infinite, which the checks of values report.
        if isinstance(array, np.ndarray):
            return self._cast_on_host(array)
        if self.library == "jax" and _is_cast_on_host(array):
            host = self._cast_on_host(np.asarray(array))
            return _on_jax_device(host, array.sharding if array.committed else None)
        return quietly(self.xp.astype, array, self.dtype)

    def _cast_on_host(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return quietly(numpy_namespace.astype, array, self.dtype)


_PLAIN_TYPES = (np.ndarray, np.float64)
_PLAIN = Space("numpy", numpy_namespace, np.dtype(np.float64), None, False)


def space_of(arguments: Mapping[str, Any]) -> Space:
    """The space of a call with these named arguments.

    Lists and scalars adopt the library, dtype and device of the arrays beside them. Integers adopt
    the floating dtype beside them; without one the library's default applies (float64 for NumPy).

    Raises
    ------
    TypeError
        If concrete arrays of two libraries are given, or an argument is not made of real numbers.
    """
    if all(type(a) in _PLAIN_TYPES and a.dtype == _PLAIN.dtype for a in arguments.values()):
        return _PLAIN  # the common case: small calls take microseconds
    named = [
        (name, array) for name, value in arguments.items() for array in _arrays_in(name, value)
    ]
    for name, array in named:
        check_kind(name, array, namespace_of(array))
    arrays = [array for _, array in named]
    if all(type(array) is np.ndarray for array in arrays):
        dtype = _floating_dtype(numpy_namespace, [array.dtype for array in arrays])
        return Space("numpy", numpy_namespace, dtype, None, False)
    library = _common_library(named)
    own = [array for array in arrays if library_of(array) == library]
    xp = numpy_namespace if library == "numpy" else compat.array_namespace(*own)
    if library == "jax":
        # NumPy arrays beside tracers get the dtype that JAX gives them (float32 without x64).
        arrays = [xp.empty_like(a[:0]) if isinstance(a, np.ndarray) else a for a in arrays]
    dtype = _floating_dtype(xp, [array.dtype for array in arrays])
    # A compiled program may close over arrays that exist: what it computes of them does not, yet.
    lazy = not all(map(is_concrete, arrays)) or (library == "jax" and not is_eager())
    return Space(library, xp, dtype, _device(library, own), lazy)


def namespace_of(*arrays: Array) -> Namespace:
    """The namespace of arrays that are known to share one."""
    if all(isinstance(array, np.ndarray) for array in arrays):
        return numpy_namespace
    return compat.array_namespace(*arrays)


def library_of(value: Any) -> str:
    """The short name of the array library of `value`; "" if it is not an array."""
    if isinstance(value, np.ndarray):
        return "numpy"
    if isinstance(value, (np.generic, int, float, list, tuple, str, type(None))):
        return ""
    if compat.is_jax_array(value):
        return "jax"
    if compat.is_torch_array(value):
        return "torch"
    if compat.is_dask_array(value):
        return "dask"
    if compat.is_array_api_obj(value):
        return type(value).__module__.partition(".")[0]
    # pandas, xarray, pyarrow: not of the standard, but convertible to NumPy arrays.
    return "numpy" if hasattr(value, "__array__") else ""


def is_tracer(value: Any) -> bool:
    """Whether `value` is a JAX tracer, whose values exist only when a transformation runs."""
    jax = sys.modules.get("jax")  # without JAX imported there are no tracers
    return jax is not None and isinstance(value, jax.core.Tracer)


def is_eager() -> bool:
    """Whether JAX computes values at once, as it does outside of `jit`."""
    return not is_tracer(sys.modules["jax"].lax.iota(np.int32, 1))


def is_concrete(value: Any) -> bool:
    """Whether the values of an array exist in this process and can be read."""
    if isinstance(value, _OF_NUMPY):  # before the other libraries are asked: it is quick
        return True
    if compat.is_jax_array(value):
        return not is_tracer(value) and _is_here(value)
    return not (compat.is_dask_array(value) or _is_torch_wrapper(value))


def is_within_reach(value: Any) -> bool:
    """Whether the values of an array can be read, perhaps after they are computed."""
    return is_concrete(value) or compat.is_dask_array(value)


def _is_here(array: AnyArray) -> bool:
    """Whether this process has all of a JAX array, whose shards may belong to other processes."""
    return bool(array.is_fully_addressable or array.is_fully_replicated)


def to_host(array: AnyArray) -> np.ndarray[Any, Any]:
    """The values of a concrete array as a NumPy array, for reading."""
    if type(array) is np.ndarray:
        return array
    if isinstance(array, _OF_NUMPY):
        return np.asarray(array)
    if compat.is_torch_array(array):
        return np.asarray(array.detach().cpu())
    if compat.is_cupy_array(array):
        return np.asarray(array.get())
    try:
        return np.asarray(array)
    except (RuntimeError, TypeError):  # an array of another device
        return np.from_dlpack(array)


def to_number(array: AnyArray) -> float:
    """The value of a concrete array () as a Python number."""
    return float(array if isinstance(array, np.generic) else to_host(array))


def is_on_host(array: Array) -> bool:
    """Whether a concrete array can be read as a NumPy array without a copy."""
    if type(array) is np.ndarray:
        return True
    return compat.is_jax_array(array) and all(one.platform == "cpu" for one in array.devices())


def _is_torch_wrapper(value: Any) -> bool:
    """Whether `value` is a tensor inside torch.func.vmap or torch.func.grad.

    The values of a wrapper can't be read, nor can those of a plain tensor that is used there: any
    operation on it returns a wrapper.
    """
    if not compat.is_torch_array(value):
        return False
    return sys.modules["torch"]._C._functorch.peek_interpreter_stack() is not None


def _arrays_in(name: str, value: Any) -> Iterator[Array]:
    """The arrays in an argument: itself, or those inside lists of arrays."""
    if isinstance(value, tuple) and hasattr(value, "_shown_fields"):  # one of our records
        raise TypeError(f"{name} is a record, {type(value).__name__}; expected an array")
    if isinstance(value, (list, tuple)):
        for item in value:
            if not isinstance(item, (int, float)):
                yield from _arrays_in(name, item)
    elif isinstance(value, np.ndarray):
        yield value
    elif library_of(value):
        yield value if compat.is_array_api_obj(value) else as_numpy(name, value)


def _common_library(named: list[tuple[str, Array]]) -> str:
    """The library to compute with; TypeError where concrete arrays of two libraries meet."""
    first: dict[str, str] = {}
    for name, array in named:
        first.setdefault(library_of(array), name)
    others = [library for library in first if library != "numpy"]
    if len(first) == 1:
        return next(iter(first))
    if others in (["dask"], ["jax"]) and not all(is_concrete(array) for _, array in named):
        # NumPy arrays are constants of the graph that JAX or Dask is building.
        return others[0]
    (a, name_a), (b, name_b) = list(first.items())[:2]
    raise TypeError(
        f"{name_a} is {_describe(a)} but {name_b} is {_describe(b)}; give arrays of one "
        f"library, for example {_conversion_text(b, name_a)} or {_conversion_text(a, name_b)}"
    )


def _conversion_text(library: str, name: str) -> str:
    return _CONVERT.get(library, library + ".asarray({0})").format(name)


def _describe(library: str) -> str:
    return {
        "numpy": "a numpy.ndarray",
        "jax": "a jax.Array",
        "torch": "a torch.Tensor",
        "dask": "a dask.array.Array",
    }.get(library, f"an array of {library}")


def _floating_dtype(xp: Namespace, dtypes: list[Any]) -> Any:
    """The floating dtype to compute in: the promoted one, at least single precision."""
    if xp is numpy_namespace or all(isinstance(d, np.dtype) for d in dtypes):
        floating = [d for d in dtypes if d.kind not in "iub"]
    else:
        floating = [d for d in dtypes if xp.isdtype(d, "real floating")]
    if not floating:
        return xp.empty((0,)).dtype
    dtype = floating[0]
    if any(d != dtype for d in floating[1:]):
        dtype = xp.result_type(*floating)
    if dtype in (xp.float32, xp.float64):
        return dtype
    # Half precision has too few digits for a likelihood.
    return xp.result_type(dtype, xp.float32)


def _device(library: str, arrays: list[Array]) -> Any:
    """Where Python lists must go; NumPy, JAX and Dask place them themselves."""
    if library in ("numpy", "jax", "dask"):
        return None
    return compat.device(arrays[0])


def _convert(name: str, value: Any, space: Space) -> Array:
    """`value` as an array of the space's library, its dtype not yet settled."""
    if space.library == "numpy":
        return _as_real(name, value)
    if library_of(value) == space.library:
        return value
    if isinstance(value, (list, tuple)) and next(_arrays_in(name, value), None) is not None:
        items = [space._cast(_convert(f"{name}[{i}]", v, space)) for i, v in enumerate(value)]
        return space.xp.stack(items)
    host = _as_real(name, value)
    # Some libraries cast with NumPy.
    if space.library == "jax":
        return _on_jax_device(space._cast_on_host(host))
    if space.library == "dask":
        return quietly(space.xp.asarray, host)
    return quietly(lambda: space.xp.asarray(host, dtype=space.dtype, device=space.device))


def _is_cast_on_host(array: AnyArray) -> bool:
    """Whether a JAX array of an eager call is small and in the host's memory, cheap to copy."""
    if not is_concrete(array) or array.size > MANY_NUMBERS:
        return False
    return is_on_host(array) and len(array.devices()) == 1 and is_eager()


def _on_jax_device(host: np.ndarray[Any, Any], sharding: Any = None) -> Array:
    # `asarray`, and a cast on the device, would be compiled for each shape.
    return sys.modules["jax"].device_put(host, sharding, may_alias=False)


def _raise_for_items(name: str, items: Any, index: tuple[int, ...] = ()) -> None:
    """Raise for the first item of a list that is not a number, or the first row that is ragged."""
    if not isinstance(items, (list, tuple)):
        return
    lengths = [len(item) if isinstance(item, (list, tuple)) else "no" for item in items]
    for i, item in enumerate(items):
        where = f"{name}[{', '.join(map(str, (*index, i)))}]"
        _check_item(where, name, item)
        _raise_for_items(name, item, (*index, i))
        if lengths[i] != lengths[0]:
            raise ValueError(
                f"{where} has {lengths[i]} items but the first row has {lengths[0]}; rows of "
                f"{name} must have one length"
            )


def _check_item(where: str, name: str, item: Any) -> None:
    """Raise for an item of a list that is neither a list nor a number in the range of a float."""
    if isinstance(item, np.ndarray):
        check_host_kind(where, item, name)
    elif isinstance(item, numbers.Real):
        try:
            float(item)
        except OverflowError:
            raise ValueError(f"{where} is {shown(item)}; {name} must be finite") from None
    elif not (isinstance(item, (list, tuple, np.bool_)) or library_of(item)):
        kind = " (complex)" if isinstance(item, complex) else ""
        raise TypeError(f"{where} is {shown(item)}{kind}; {name} must hold real numbers")


def _as_real(name: str, value: Any) -> np.ndarray[Any, Any]:
    """`value` as a NumPy array of real numbers."""
    if type(value) is np.ndarray and value.dtype.kind in "fiub":
        return value
    if value is None:
        raise TypeError(f"{name} is None; {name} must be an array of real numbers")
    refuse_sparse(name, value)
    if not isinstance(value, np.ndarray) and library_of(value) == "numpy":
        return as_numpy(name, value)
    if isinstance(value, np.ma.MaskedArray):
        check_host_kind(name, value)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        _raise_for_items(name, value)
        raise ValueError(
            f"{name} is not a rectangular array of real numbers; its rows must have one length"
        ) from None
    if array.dtype == object:
        array = _as_floats(name, value, array)
    elif array.dtype.kind not in "fiub":
        _raise_for_items(name, value)
    check_host_kind(name, array)
    return array


def _as_floats(name: str, value: Any, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Lists that NumPy turns into objects, as float64: integers beyond all integer dtypes."""
    if isinstance(value, (list, tuple)):
        _raise_for_items(name, value)
        return np.asarray([_as_real(name, item) for item in value], dtype=np.float64)
    if isinstance(value, int):
        _check_item(name, name, value)
        return np.asarray(float(value))
    if array.ndim == 0:
        raise TypeError(
            f"{name} is a {type(value).__name__}; {name} must be an array of real numbers"
        )
    return array  # of objects, which is refused
