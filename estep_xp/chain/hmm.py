"""The record of a hidden Markov model's parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from estep_xp import execution
from estep_xp.arrays.array_types import ComponentsT
from estep_xp.arrays.namespace import space_of
from estep_xp.arrays.record_repr import parameters, summarized
from estep_xp.arrays.validation import check_number, check_weights
from estep_xp.families import contract
from estep_xp.families.hints import described, hint_for_components

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace
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
    A NamedTuple of arrays, and so a JAX pytree. Functions take it where they take a
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

    @classmethod
    def from_mixture(cls, mixture: Any, *, stay: float = 0.9) -> HMM[ComponentsT]:
        """Make the chain that stays in its state or draws the next one by a mixture's weights.

        A start for `fit`: each row alone has the mixture's density.

        Parameters
        ----------
        mixture : Mixture
            Weights and components, as `initialize` gives them.
        stay : float, optional
            Probability of staying, from 0 to 1, rather than drawing the state anew, which may give
            the same state again.

        Returns
        -------
        HMM
            With initial probabilities w and transitions stay I + (1 - stay) 1 w', of which w is
            the stationary law.

        Raises
        ------
        ValueError, TypeError
            If this is no mixture, or an argument has a wrong value.

        Examples
        --------
        >>> import estep_xp as ex
        >>> mixture = ex.Mixture([0.25, 0.75], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
        >>> ex.HMM.from_mixture(mixture, stay=0.8).transitions
        array([[0.85, 0.15],
               [0.05, 0.95]])
        """
        if not (hasattr(mixture, "weights") and hasattr(mixture, "components")):
            hint = "; did you mean .mixture?" if hasattr(mixture, "mixture") else ""
            raise TypeError(f"mixture is {described(mixture)}; expected an estep_xp.Mixture{hint}")
        named = {"weights": mixture.weights, **contract.arrays_of(mixture.components)}
        share: Any = stay
        if is_array := hasattr(stay, "shape"):
            named["stay"] = share
        space = space_of(named)
        weights = check_weights(space, space.parameter("weights", mixture.weights))
        share = space.parameter("stay", share) if is_array else check_number("stay", share)
        if not is_array and share > 1:
            raise ValueError(f"stay is {share}; stay must be from 0 to 1")
        compute = execution.driver_for(space).compute
        initial, transitions = compute(_stay_or_draw, space, weights, share)
        return cls(initial, transitions, mixture.components)

    def _shown_fields(self) -> dict[str, Any]:
        fields = {"initial": self.initial, "transitions": self.transitions}
        return parameters("k", fields) | {"components": self.components}


def _stay_or_draw(xp: Namespace, weights: Array, stay: Any) -> tuple[Array, Array]:
    """Initial probabilities and transitions of `HMM.from_mixture`."""
    shares = weights / xp.max(weights)  # a sum of 1e308s would overflow
    shares = shares / xp.sum(shares)
    places = xp.cumulative_sum(xp.ones_like(weights))
    same = xp.astype(places[:, None] == places[None, :], weights.dtype)
    return shares, stay * (same + 0.0 * shares) + (1.0 - stay) * shares[None, :]


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
