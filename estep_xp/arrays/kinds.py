"""Which kinds of arrays are refused, whatever their values are: by argument, kind and remedy."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import numpy as np

from estep_xp.arrays.array_types import Array, Namespace

# Dtypes that every library promotes with each other; half precision counts as single.
_COMMON = {"bool", "float16", "bfloat16", "float32", "float64"}
_COMMON |= {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}


def check_kind(name: str, array: Array, xp: Namespace) -> None:
    """Raise unless an array of namespace `xp` holds real numbers, all of them in memory."""
    if isinstance(array, np.ndarray):
        check_host_kind(name, array)
        return
    refuse_sparse(name, array)
    refuse_sparse(name, getattr(array, "_meta", None), "an array of Dask whose chunks are ")
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        _check_tensor(name, array, torch)
    if str(array.dtype).rpartition(".")[2] not in _COMMON:
        _check_uncommon(name, array.dtype, xp)


def check_host_kind(name: str, array: np.ndarray[Any, Any], argument: str = "") -> None:
    """Raise unless a NumPy array, of an argument of that name, holds real numbers."""
    argument = argument or name
    if isinstance(array, np.ma.MaskedArray):
        features = ", or give x.filled(numpy.nan) with missing=True" if name == "x" else ""
        raise TypeError(
            f"{name} is a masked array, whose mask would be lost; drop the masked rows, or fill "
            f"them and give them sample_weight 0{features}"
        )
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        _refuse_long(name, array.dtype, argument)
    if array.dtype.kind not in "fiub":
        # JAX's bfloat16 and its kin are of kind "V", with a type that is no void.
        if array.dtype.kind == "V" and not issubclass(array.dtype.type, np.void):
            return
        raise TypeError(f"{name} has dtype {array.dtype}; {argument} must hold real numbers")


def _check_uncommon(name: str, dtype: Any, xp: Namespace) -> None:
    """Raise unless an array of this dtype holds real numbers that become single precision."""
    if getattr(dtype, "kind", "") == "f" and dtype.itemsize > 8:
        _refuse_long(name, dtype, name)
    try:
        real = xp.isdtype(dtype, ("real floating", "integral", "bool"))
    except TypeError:  # keys of random numbers in JAX, of a dtype of their own
        real = False
    if not real:
        raise TypeError(f"{name} has dtype {dtype}; {name} must hold real numbers")
    try:
        xp.result_type(dtype, xp.float32)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"{name} has dtype {dtype}, which promotes to no other; give {name} as float32"
        ) from None


def _refuse_long(name: str, dtype: Any, argument: str) -> NoReturn:
    raise TypeError(
        f"{name} has dtype {dtype} (numpy.longdouble); {argument} must be of single or double "
        f"precision: give {name}.astype(numpy.float64)"
    )


def refuse_sparse(name: str, value: Any, what: str = "") -> None:
    """Raise for sparse arrays of any library, and for masked ones in the chunks of Dask."""
    if hasattr(value, "todense"):
        raise TypeError(
            f"{name} is {what}sparse ({type(value).__name__}); {name} must be a dense array, such "
            "as its method todense() gives"
        )
    if what and isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is {what}masked arrays, whose masks would be lost; drop the masked rows, or "
            "fill them and give them sample_weight 0"
        )


def _check_tensor(name: str, tensor: Any, torch: Any) -> None:
    """Raise for tensors of PyTorch that are no plain array of numbers in memory."""
    if tensor.is_nested:
        what, remedy = "a nested tensor", "pad its rows and give the padding sample_weight 0"
    elif tensor.is_quantized:
        what, remedy = f"a quantized tensor ({tensor.dtype})", f"give {name}.dequantize()"
    elif tensor.layout is not torch.strided:
        what, remedy = f"a tensor of layout {tensor.layout}", f"give {name}.to_dense()"
    elif tensor.device.type == "meta":
        what, remedy = "a tensor of the meta device", "give one that holds numbers"
    elif type(tensor).__name__ == "MaskedTensor":
        what, remedy = "a masked tensor", "fill the masked rows and give them sample_weight 0"
    else:
        return
    raise TypeError(f"{name} is {what}; {remedy}")
