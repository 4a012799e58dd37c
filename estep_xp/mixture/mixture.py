"""The record of a mixture's parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from estep_xp.arrays.array_types import ComponentsT
from estep_xp.arrays.record_repr import parameters, summarized
from estep_xp.families.hints import described, hint_for_components, hint_for_mixture

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import RealK


@summarized
class Mixture(NamedTuple, Generic[ComponentsT]):
    """A finite mixture: p(x) = Σ_k w_k p(x | k) / Σ_k w_k.

    Parameters
    ----------
    weights : array, shape (k,)
        Mixing weights, non-negative; normalised wherever they are used.
    components : Components
        The component densities: a family such as `UnivariateGaussian`, or any object with a method
        ``log_prob(x)`` that returns log-densities of shape (n, k).

    Notes
    -----
    A NamedTuple of arrays, and so a JAX pytree: a mixture can be an argument of ``jit``,
    ``vmap`` and ``grad``, and the gradient with respect to it is a mixture. Values are checked
    where the mixture is used, not here.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.45, 0.55], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> ex.e_step([1.0, 4.0], mixture).responsibilities.round(6)
    array([[9.99605e-01, 3.95000e-04],
           [3.39706e-01, 6.60294e-01]])
    """

    weights: RealK
    components: ComponentsT

    def _shown_fields(self) -> dict[str, Any]:
        weights = parameters("k", {"weights": self.weights})
        return weights | {"components": self.components}


def check_mixture(mixture: Any, x: Any = None, *, name: str = "mixture") -> None:
    """Raise unless this is a mixture of what has a density; `x` are the rows beside it."""
    if not isinstance(mixture, Mixture):
        swapped = isinstance(x, Mixture)
        hint = f"; did you swap x and {name}?" if swapped else hint_for_mixture(mixture)
        raise TypeError(f"{name} is {described(mixture)}; expected an estep_xp.Mixture{hint}")
    components: Any = mixture.components
    if isinstance(components, type) or not hasattr(components, "log_prob"):
        raise TypeError(
            f"components are {described(components)}; expected a family such as "
            "UnivariateGaussian, or an object with a method log_prob(x)"
            f"{hint_for_components(components)}"
        )
