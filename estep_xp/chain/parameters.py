"""Checks of a chain's parameters, and their rows made to sum to 1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.arrays.namespace import is_concrete, to_host
from estep_xp.arrays.validation import (
    check_non_negative,
    check_not_empty,
    check_not_flushed,
    check_shape,
    raise_bad_value,
    shape_text,
)
from estep_xp.chain.hmm import HMM
from estep_xp.families import contract

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace
    from estep_xp.arrays.namespace import Space


def check_parameters(
    space: Space, hmm: HMM, n: float | None = None, starts: Any = None
) -> HMM[Any]:
    """Return the model as arrays of `space`, with everything checked that can be.

    `n` is the number of rows beside the model, None where there are none: then there can't be a
    matrix for each row. `starts`, on the host, are the rows whose matrices are not read.
    """
    initial = check_initial(space, hmm.initial)
    k = int(initial.shape[0])
    transitions = check_transitions(space, hmm.transitions, k, n, starts)
    components: Any = hmm.components
    found = contract.family_of(components)._checked(space)
    count = contract.family_of(found)._n_components()
    if count is not None and count != k:
        field = getattr(found, "_fields", ("components",))[0]
        raise ValueError(
            f"initial has shape ({k},) but {field} describe {count} components; expected one "
            "probability a component"
        )
    return HMM(initial, transitions, found)


def check_initial(space: Space, initial: Any) -> Array:
    """Probabilities (k,) of first states: non-negative, finite, not all zero."""
    array = space.parameter("initial", initial)
    check_shape("initial", array, ("k",))
    check_not_empty("initial", array.shape[0])
    array = check_non_negative(space, "initial", array)
    if is_concrete(array) and not np.count_nonzero(to_host(array)):
        raise ValueError("initial sums to 0; at least one probability must be positive")
    return array


def check_transitions(
    space: Space, transitions: Any, k: int, n: float | None = None, starts: Any = None
) -> Array:
    """Matrices (k, k) or (n, k, k): non-negative, finite, no row of which is all zero."""
    name = "transitions"
    array = space.parameter(name, transitions)
    if array.ndim == 3 and n is not None:
        check_shape(name, array, _size(n, k), ": one matrix for each row of x")
    elif array.ndim == 3:
        raise ValueError(
            f"{name} has shape {shape_text(tuple(array.shape))}, a matrix for each row of x; "
            f"expected ({k}, {k}) where there is no x"
        )
    else:
        check_shape(name, array, (k, k), ": row i holds where state i goes")
    if not is_concrete(array):
        if array.ndim == 2 or starts is None:
            return check_non_negative(space, name, array)
        return array  # NaN in a matrix that is read shows in the results of its sequence
    host = to_host(check_not_flushed(space, name, array))
    read = np.ones(host.shape[:-2], dtype=bool)
    if host.ndim == 3 and starts is not None:
        read[starts] = False
    bad = np.argwhere(~((host >= 0) & (host < math.inf)) & read[..., None, None])
    if len(bad):
        index = tuple(bad[0].tolist())
        raise_bad_value(name, index, host[index], f"{name} must be non-negative and finite")
    empty = np.argwhere(~(host > 0).any(axis=-1) & read[..., None])
    if len(empty):
        where = ", ".join(map(str, empty[0].tolist()))
        raise ValueError(
            f"{name}[{where}] sums to 0; a state goes on to some state, to itself if to no other"
        )
    return array


def _size(n: float, k: int) -> tuple[int | str, ...]:
    return ("n" if math.isnan(n) else int(n), k, k)


def normalize_rows(xp: Namespace, probabilities: Array) -> Array:
    """Rows along the last axis that sum to 1; rows of zeros, and those with bad entries, are NaN.

    The largest entry is divided by first: a sum of 1e308s would overflow.
    """
    # NaN is made when a program runs: of constants a compiler may make a plausible number.
    bad = ~((probabilities >= 0) & (probabilities < math.inf))
    nothing = xp.where(bad, 0.0 * probabilities, xp.zeros_like(probabilities))
    marked = xp.where(bad, nothing / nothing, probabilities)
    shares = marked / xp.max(marked, axis=-1, keepdims=True)
    normalized: Array = shares / xp.sum(shares, axis=-1, keepdims=True)
    return normalized
