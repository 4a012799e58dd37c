"""The array library that computes, chosen by its name."""

from __future__ import annotations

from typing import Any

import numpy as np

import estep_xp as ex
from estep_xp.cli.system.extras import require


def converter(backend: str) -> Any:
    """Return the function that makes arrays of a backend from NumPy's, in 64-bit floats.

    Parameters
    ----------
    backend : str
        "numpy" or "jax".

    Raises
    ------
    SystemFailure
        If it is not installed.
    """
    if backend == "numpy":
        return np.asarray
    jax = require("jax", wanted_by="--backend jax", install='"estep_xp[jax]"')
    jax.config.update("jax_enable_x64", True)
    return jax.numpy.asarray


def converted(mixture: ex.Mixture, convert: Any) -> ex.Mixture:
    """Return the same mixture on the arrays that `convert` makes."""
    components: Any = mixture.components
    return ex.Mixture(convert(mixture.weights), type(components)(*map(convert, components)))
