"""How the E-step is driven over rows: blocks and threads, jit, a Dask graph. Never a formula.

`driver.py` has the base class of drivers, and each library with one of its own has a file or
folder; all others take `standard.py`. `kernel.py` says what a driver runs.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

from estep_xp.arrays.namespace import library_of
from estep_xp.execution.call_options import Options, check_options
from estep_xp.execution.driver import Driver
from estep_xp.execution.kernel import Kernel, TotalKernel

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.namespace import Space

__all__ = [
    "Driver",
    "Kernel",
    "Options",
    "TotalKernel",
    "check_options",
    "driver_for",
    "driver_of",
]

# Modules, each with a class `LibraryDriver`, imported on first use: JAX's imports JAX.
_DRIVERS = {"numpy": "numpy.driver", "jax": "jax.driver", "dask": "dask"}


def driver_for(space: Space) -> Driver:
    """Return the driver of a call's array library."""
    return _driver(space.library)


def driver_of(array: Array) -> Driver:
    """Return the driver of an array's library."""
    return _driver(library_of(array))


@functools.cache
def _driver(library: str) -> Driver:
    module = importlib.import_module(f"{__name__}.{_DRIVERS.get(library, 'standard')}")
    driver: Driver = module.LibraryDriver(library)
    return driver
