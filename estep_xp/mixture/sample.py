"""Rows drawn at random from a mixture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp import execution
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.record_repr import sizes, summarized
from estep_xp.arrays.validation import check_whole
from estep_xp.families import contract
from estep_xp.mixture.call import prepare_mixture
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.random import Random
    from estep_xp.arrays.shapes import FloatNd, IntN


@summarized
class Sample(NamedTuple):
    """Rows drawn from a model, and the components that they came from.

    Parameters
    ----------
    x : array, shape (n, d) or (n,)
        Rows, in random order.
    labels : array of int, shape (n,)
        Component of each row, counted from 0.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.45, 0.55], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> x, labels = ex.sample(mixture, 3, seed=0)
    >>> labels
    array([1, 0, 0])
    """

    x: FloatNd
    labels: IntN

    def _shown_fields(self) -> dict[str, Any]:
        names = "nd" if len(getattr(self.x, "shape", ())) == 2 else "n"
        return sizes(names, "x", self.x)


def sample(model: Mixture, n: int, *, seed: Any) -> Sample:
    """Rows drawn at random from a mixture."""
    space, mixture = prepare_mixture(model, name="model")
    n = check_whole("n", n, 0)
    contract.sampleable(mixture.components)
    weights, components = mixture
    x, labels = execution.driver_for(space).draw(
        _Drawing(n, space.lazy), space, seed, weights, components
    )
    return Sample(x, labels)


@dataclass(frozen=True)
class _Drawing:
    """What is compiled: labels by the weights, and a row for each."""

    n: int
    lazy: bool

    def __call__(
        self, xp: Namespace, random: Random, weights: Array, components: Any
    ) -> tuple[Array, Array]:
        labels = _draw_labels(xp, random, weights, self.n)
        family = contract.family_of(components)
        x = family._sample(xp, random, labels)
        if self.lazy and family._is_builtin:  # of bad weights, which no one could check
            x = x + 0.0 * xp.sum(weights / xp.max(weights))
        return x, labels


def _draw_labels(xp: Namespace, random: Random, weights: Array, n: int) -> Array:
    """Components (n,), each with the probability of its weight."""
    # Over the largest, so that no sum overflows.
    ends = xp.cumulative_sum(weights / xp.max(weights))
    total = ends[-1]
    places = xp.searchsorted(ends, random.uniform((n,)) * total, side="right")
    # Rounding may reach the end itself, which is that of the last component with a weight.
    last = xp.sum(xp.astype(ends < total, places.dtype))
    return xp.where(places < last, places, last)
