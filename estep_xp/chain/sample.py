"""Sequences drawn at random from a hidden Markov model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from estep_xp import execution
from estep_xp.arrays.validation import check_whole
from estep_xp.chain.model import prepare_model
from estep_xp.families import contract

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace
    from estep_xp.arrays.random import Random


def sample(model: Any, n: int, *, seed: Any) -> tuple[Array, Array]:
    """Rows of one sequence, and the path of states (n,) that they came from."""
    n = check_whole("n", n, 0)
    space, hmm = prepare_model(model, n, name="model")
    contract.sampleable(hmm.components)
    drawn: tuple[Array, Array] = execution.driver_for(space).draw(
        _Drawing(n, space.lazy), space, seed, *hmm
    )
    return drawn


@dataclass(frozen=True)
class _Drawing:
    """What is compiled: a path, and a row for each of its states."""

    n: int
    lazy: bool

    def __call__(
        self, xp: Namespace, random: Random, initial: Array, transitions: Array, components: Any
    ) -> tuple[Array, Array]:
        numbers = random.uniform((self.n,))
        labels = _draw_path(xp, numbers, initial, transitions)
        family = contract.family_of(components)
        x = family._sample(xp, random, labels)
        if self.lazy and family._is_builtin:  # of bad probabilities, which no one could check
            for one in (initial, transitions):
                x = x + 0.0 * xp.sum(one / xp.max(one))
        return x, labels


def _draw_path(xp: Namespace, numbers: Array, initial: Array, transitions: Array) -> Array:
    """States (n,) by uniform numbers, one each.

    For each row, and each state that the row before may be in, the next state is drawn; then these
    maps of states are composed, twice as many rows at a time, which needs no loop over rows.
    """
    first = _choose(xp, initial, numbers[:1])
    if numbers.shape[0] <= 1:
        return first
    later, k = numbers[1:], initial.shape[0]
    if transitions.ndim == 3:
        own = [_choose_by_row(xp, transitions[1:, i, :], later) for i in range(k)]
    else:
        own = [_choose(xp, transitions[i, :], later) for i in range(k)]
    maps, distance = xp.stack(own, axis=1), 1
    while distance < later.shape[0]:
        onward = xp.take_along_axis(maps[distance:, :], maps[:-distance, :], axis=1)
        maps = xp.concat([maps[:distance, :], onward], axis=0)
        distance *= 2
    return xp.concat([first, xp.take(maps, first, axis=1)[:, 0]])


def _choose(xp: Namespace, probabilities: Array, numbers: Array) -> Array:
    """States (m,) with probabilities (k,), by uniform numbers (m,)."""
    ends = xp.cumulative_sum(probabilities / xp.max(probabilities))
    total = ends[-1]
    places = xp.searchsorted(ends, numbers * total, side="right")
    # Rounding may reach the end itself, which is that of the last state of positive probability.
    last = xp.sum(xp.astype(ends < total, places.dtype))
    return xp.where(places < last, places, last)


def _choose_by_row(xp: Namespace, probabilities: Array, numbers: Array) -> Array:
    """The same with probabilities (m, k) of each row's own."""
    shares = probabilities / xp.max(probabilities, axis=1, keepdims=True)
    ends = xp.cumulative_sum(shares, axis=1)
    total = ends[:, -1:]
    integers = xp.asarray(0).dtype
    places = xp.sum(xp.astype(ends <= numbers[:, None] * total, integers), axis=1)
    last = xp.sum(xp.astype(ends < total, integers), axis=1)
    return xp.where(places < last, places, last)
