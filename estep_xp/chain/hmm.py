"""The record of a hidden Markov model's parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from estep_xp.arrays.array_types import ComponentsT
from estep_xp.arrays.record_repr import parameters, summarized
from estep_xp.families.hints import described, hint_for_components

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import RealK, RealTransitions


@summarized
class HMM(NamedTuple, Generic[ComponentsT]):
    """A hidden Markov model: rows come from components that a Markov chain visits in turn.

    Parameters
    ----------
    initial : array, shape (k,)
        Probabilities of the first row's state, non-negative; normalised wherever they are used.
    transitions : array, shape (k, k) or (n, k, k)
        Row i holds the probabilities of the state that follows state i; rows are non-negative,
        and normalised wherever they are used. A transition of probability 0 is impossible. With
        an axis of n rows, each row of x is entered by a matrix of its own; the matrices of first
        rows of sequences are not read.
    components : Components
        The density of each state's rows: a family such as `UnivariateGaussian`, or any object with
        a method ``log_prob(x)`` that returns log-densities of shape (n, k).

    Notes
    -----
    A NamedTuple of arrays, which JAX takes for a pytree. Functions take it where they take a
    `Mixture`, which is the chain whose rows of transitions are all equal to its weights.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5])
    >>> ex.HMM([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], components).initial
    [0.5, 0.5]
    """

    initial: RealK
    transitions: RealTransitions
    components: ComponentsT

    def _shown_fields(self) -> dict[str, Any]:
        fields = {"initial": self.initial, "transitions": self.transitions}
        return parameters("k", fields) | {"components": self.components}


def check_hmm(hmm: Any, x: Any = None, *, name: str = "hmm") -> None:
    """Raise unless this is a hidden Markov model of what has a density; `x` are the rows beside."""
    if not isinstance(hmm, HMM):
        hint = f"; did you swap x and {name}?" if isinstance(x, HMM) else _hint(hmm)
        raise TypeError(f"{name} is {described(hmm)}; expected an estep_xp.HMM{hint}")
    components: Any = hmm.components
    if isinstance(components, type) or not hasattr(components, "log_prob"):
        raise TypeError(
            f"components are {described(components)}; expected a family such as "
            "UnivariateGaussian, or an object with a method log_prob(x)"
            f"{hint_for_components(components)}"
        )


def _hint(value: Any) -> str:
    """What to give where a hidden Markov model is expected."""
    if hasattr(value, "mixture"):
        return "; did you mean .mixture?"
    if hasattr(value, "log_prob"):
        return "; did you mean HMM(initial, transitions, components)?"
    if type(value) is tuple and len(value) == 3:
        return "; did you mean HMM(*hmm)?"
    return ""
