"""Probabilities of states that users give, such as those of a last row: checks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.arrays.namespace import is_concrete, to_host
from estep_xp.arrays.validation import raise_bad_value
from estep_xp.families.hints import described

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.namespace import Space


def refuse_records(name: str, values: Any) -> None:
    """Raise for a record where one of its arrays is expected."""
    if hasattr(values, "responsibilities"):
        hint = ".last" if hasattr(values, "last") else "the .last that filtered gives"
        raise TypeError(
            f"{name} is {described(values)}; expected probabilities (..., k); did you mean {hint}?"
        )


def check_probabilities(space: Space, name: str, values: Any) -> Array:
    """Probabilities (..., k): non-negative, finite, no row all zero.

    A row of nothing but NaN is what is known after an impossible sequence.
    """
    array = space.parameter(name, values)
    if array.ndim == 0:
        raise ValueError(f"{name} has shape (); expected (..., k), one probability a state")
    if not is_concrete(array):
        return array  # rows are normalised where they are used, bad ones to NaN
    host = to_host(array)
    known = ~np.isnan(host).all(axis=-1, keepdims=True)
    bad = np.argwhere(~((host >= 0) & (host < math.inf)) & known)
    if len(bad):
        index = tuple(bad[0].tolist())
        raise_bad_value(name, index, host[index], f"{name} must be non-negative and finite")
    empty = np.argwhere(~(host != 0).any(axis=-1))
    if len(empty):
        where = f"[{', '.join(map(str, empty[0].tolist()))}]" if host.ndim > 1 else ""
        raise ValueError(f"{name}{where} sums to 0; at least one probability must be positive")
    return array
