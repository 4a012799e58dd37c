"""The array libraries that compute, by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from estep_xp.arrays.nested import map_arrays
from estep_xp.cli.system.extras import require


def _jax_converter() -> Any:
    jax = require("jax", wanted_by="--backend jax", install='"estep_xp[jax]"')
    jax.config.update("jax_enable_x64", True)
    return jax.numpy.asarray


# Each entry imports its library and returns the function that converts NumPy arrays to it, in
# 64-bit floats.
_CONVERTERS: dict[str, Callable[[], Any]] = {"numpy": lambda: np.asarray, "jax": _jax_converter}
BACKENDS = tuple(_CONVERTERS)


def array_converter(backend: str) -> Any:
    """Return the function that converts NumPy arrays to a backend, in 64-bit floats.

    Parameters
    ----------
    backend : str
        One of `BACKENDS`.

    Raises
    ------
    SystemFailure
        If the library is not installed.
    """
    return _CONVERTERS[backend]()


def convert_mixture(mixture: Any, convert: Any) -> Any:
    """Return a model with its arrays passed through `convert`."""
    return map_arrays(convert, mixture)
