"""A chain without rows beside it: checked, counted, drawn from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.arrays.namespace import Space, is_concrete, space_of, to_host
from estep_xp.chain.call import prepare_call, weigh_rows
from estep_xp.chain.hmm import HMM, check_hmm
from estep_xp.chain.parameters import check_parameters
from estep_xp.families import contract

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array


def prepare_model(hmm: Any, n: int | None = None, *, name: str = "hmm") -> tuple[Space, HMM[Any]]:
    """Bring a model that has no rows beside it to a space of its own, and check it.

    `n` is the number of rows that a matrix for each row is for; None where there can be none.
    """
    check_hmm(hmm, name=name)
    initial, transitions, components = hmm
    named = {"initial": initial, "transitions": transitions, **contract.arrays_of(components)}
    space = space_of(named)
    return space, check_parameters(space, hmm, n)


def n_parameters(hmm: Any) -> Any:
    """Number of free parameters: of components, and of probabilities that are not 0.

    A count () of the library where probabilities do not exist yet.
    """
    _, checked = prepare_model(hmm, name="model")
    own = contract.family_of(checked.components)._n_parameters()
    return own + _n_free(checked.initial) + _n_free(checked.transitions)


def n_rows(x: Any, hmm: Any, lengths: Any, sample_weight: Any, like: Array) -> Array:
    """The number of rows, each by the weight of its sequence, as an array () like another."""
    call = prepare_call(x, hmm, lengths, sample_weight=sample_weight)
    if call.weights is None:
        return call.space.xp.full_like(like, call.rows[0].shape[0])
    return weigh_rows(call)


def _n_free(probabilities: Array) -> Any:
    """Positive numbers but for one in each row, which follows from the others."""
    rows = int(np.prod(probabilities.shape[:-1], dtype=int))
    if is_concrete(probabilities):
        return int(np.count_nonzero(to_host(probabilities))) - rows
    positive: Any = probabilities > 0
    return positive.sum() - rows
