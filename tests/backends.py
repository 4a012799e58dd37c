"""The array libraries every test runs on: one small class each, so no test names a library.

A test takes the fixture ``backend`` (see ``conftest.py``), makes its arrays with ``asarray`` and
``data``, calls the library through ``call``, and looks at results with ``to_numpy`` and
``assert_like``. ``@pytest.mark.backends("numpy", "jax")`` selects some of them.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest

from estep_xp.execution.numpy import driver


class Backend:
    """Plain NumPy, and the base of the others."""

    name = "numpy"
    module: str | None = None  # what must be installed
    lazy = False  # values are unknown while the call runs, so only shapes can be checked

    def require(self) -> None:
        """Skip the test unless this backend's library is installed."""
        if self.module is not None and importlib.util.find_spec(self.module) is None:
            pytest.skip(f"{self.module} is not installed")

    def asarray(self, a: Any, dtype: Any = None) -> Any:
        """Make a fresh native array of mixture parameters."""
        return np.array(a, dtype=dtype)

    def data(self, a: Any, dtype: Any = None) -> Any:
        """Make a fresh native array of observations."""
        return self.asarray(a, dtype)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``function``, compiled where this backend compiles."""
        return function(*args, **kwargs)

    def to_numpy(self, a: Any) -> np.ndarray:
        """Bring a result of this backend back to NumPy."""
        assert isinstance(a, np.ndarray | np.generic), type(a)
        return np.asarray(a)

    def assert_like(self, result: Any, dtype: Any) -> None:
        """Assert that a result has this backend's namespace and device, and this dtype.

        ``dtype`` is a NumPy dtype or its name, or ``int`` for any integer dtype.
        """
        self.assert_native(result)
        name = str(result.dtype).rpartition(".")[2]  # "torch.float32", "array_api_strict.float32"
        if dtype is int:
            assert name in ("int32", "int64"), name
        else:
            assert name == np.dtype(dtype).name, (name, dtype)

    def assert_native(self, result: Any) -> None:
        # A reduction to 0 dimensions is a NumPy scalar: the standard's behaviour of NumPy itself.
        assert isinstance(result, np.ndarray | np.generic), type(result)


class NumPyReadOnly(Backend):
    """NumPy arrays that cannot be written to: memory maps, arrays shared with others."""

    name = "numpy_readonly"

    def asarray(self, a: Any, dtype: Any = None) -> Any:
        array = np.array(a, dtype=dtype)
        array.setflags(write=False)
        return array


class NumPyFeatures(Backend):
    """NumPy, with the faster forms of densities that otherwise only many rows are worth."""

    name = "numpy_features"

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with mock.patch.object(driver, "_MANY_ROWS", 0):
            return function(*args, **kwargs)


class ArrayApiStrict(Backend):
    """Nothing but the standard, on a device from which NumPy cannot read."""

    name = "array_api_strict"
    module = "array_api_strict"

    @property
    def xp(self) -> Any:
        return importlib.import_module("array_api_strict")

    def asarray(self, a: Any, dtype: Any = None) -> Any:
        return self.xp.asarray(np.array(a, dtype=dtype), device=self.xp.Device("device1"))

    def to_numpy(self, a: Any) -> np.ndarray:
        return np.asarray(a.to_device(self.xp.Device("CPU_DEVICE")))

    def assert_native(self, result: Any) -> None:
        assert type(result) is type(self.xp.asarray(0.0)), type(result)
        assert result.device == self.xp.Device("device1"), result.device


class Jax(Backend):
    """Concrete JAX arrays, called eagerly."""

    name = "jax"
    module = "jax"

    def asarray(self, a: Any, dtype: Any = None) -> Any:
        import jax.numpy as jnp

        return jnp.asarray(np.array(a, dtype=dtype))

    def to_numpy(self, a: Any) -> np.ndarray:
        self.assert_native(a)
        return np.asarray(a)

    def assert_native(self, result: Any) -> None:
        import jax

        assert isinstance(result, jax.Array), type(result)
        assert not isinstance(result, jax.core.Tracer)
        assert result.devices() == {jax.devices()[0]}, result.devices()


class JaxJit(Jax):
    """The same, with every array of the call traced."""

    name = "jax_jit"
    lazy = True

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        static = tuple(name for name, value in kwargs.items() if not hasattr(value, "dtype"))
        return _jitted(function, static)(*args, **kwargs)


@functools.cache
def _jitted(function: Callable[..., Any], static: tuple[str, ...]) -> Callable[..., Any]:
    import jax

    return jax.jit(function, static_argnames=static)


class Torch(Backend):
    """PyTorch tensors on the CPU."""

    name = "torch"
    module = "torch"

    def asarray(self, a: Any, dtype: Any = None) -> Any:
        import torch

        return torch.tensor(np.array(a, dtype=dtype))

    def to_numpy(self, a: Any) -> np.ndarray:
        self.assert_native(a)
        return a.detach().numpy()

    def assert_native(self, result: Any) -> None:
        import torch

        assert isinstance(result, torch.Tensor), type(result)
        assert result.device == torch.device("cpu"), result.device


class Dask(Backend):
    """Observations in chunks of rows, beside parameters in NumPy; the call computes nothing."""

    name = "dask"
    module = "dask"
    lazy = True

    def require(self) -> None:
        super().require()
        pytest.importorskip("dask.array", reason="dask.array is not installed")

    def data(self, a: Any, dtype: Any = None) -> Any:
        import dask.array as da

        array = np.array(a, dtype=dtype)
        rows = max(1, -(-array.shape[0] // 3))
        return da.from_array(array, chunks=(rows, *array.shape[1:]))

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        import dask

        with dask.config.set(scheduler=_refuse_to_compute):
            return function(*args, **kwargs)

    def to_numpy(self, a: Any) -> np.ndarray:
        if not isinstance(a, np.ndarray | np.generic):
            a = a.compute(scheduler="synchronous")
        assert isinstance(a, np.ndarray | np.generic), type(a)
        return np.asarray(a)

    def assert_native(self, result: Any) -> None:
        import dask.array as da

        assert isinstance(result, da.Array), type(result)
        assert isinstance(result._meta, np.ndarray), type(result._meta)


def _refuse_to_compute(*_: Any, **__: Any) -> Any:
    raise AssertionError("the call computed a part of the Dask graph")


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend(),
        NumPyReadOnly(),
        NumPyFeatures(),
        ArrayApiStrict(),
        Jax(),
        JaxJit(),
        Torch(),
        Dask(),
    )
}
