"""Parameters without bounds, for optimisers that know of none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from estep_xp.arrays.array_types import ComponentsT
from estep_xp.arrays.nested import map_arrays
from estep_xp.arrays.record_repr import sizes, summarized
from estep_xp.arrays.validation import check_shape
from estep_xp.families import contract
from estep_xp.mixture.mixture import Mixture, check_mixture

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray
    from estep_xp.arrays.shapes import RealK
from estep_xp.jax.arguments import prepare_jax_call


@summarized
class Unconstrained(NamedTuple, Generic[ComponentsT]):
    """A mixture's parameters as numbers that may take any value, for optimisers.

    Parameters
    ----------
    logits : array, shape (k,)
        Log mixing weights, up to a constant.
    components : Components
        The family, with log-variances in place of variances, and factors with the logarithms of
        their diagonals.

    Examples
    --------
    >>> import estep_xp as ex
    >>> import estep_xp.jax
    >>> mixture = ex.Mixture([0.25, 0.75], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> free = ex.jax.unconstrain(mixture)
    >>> print("{:.4f} {:.4f}".format(*free.components.variances))
    0.0000 0.4055
    """

    logits: RealK
    components: ComponentsT

    def _shown_fields(self) -> dict[str, Any]:
        return sizes("k", "logits", self.logits) | {"components": self.components}


def unconstrain(mixture: Mixture[ComponentsT]) -> Unconstrained[ComponentsT]:
    """Numbers that may take any value, from which `constrain` makes the mixture again.

    Parameters
    ----------
    mixture : Mixture
        Of one of the package's families.

    Returns
    -------
    Unconstrained
        Logits of weights, means, and log-variances or factors with logarithmic diagonals. A weight
        of zero has the logit −inf, and keeps it.

    Raises
    ------
    ValueError, TypeError
        If an array has a wrong shape, dtype or value; the message names it.

    Examples
    --------
    >>> import estep_xp as ex
    >>> import estep_xp.jax
    >>> mixture = ex.Mixture([0.25, 0.75], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> again = ex.jax.constrain(ex.jax.unconstrain(mixture))
    >>> print("{:.4f} {:.4f}".format(*again.weights))
    0.2500 0.7500
    """
    weights, components = _check_mixture(mixture)
    free = jax.tree.unflatten(jax.tree.structure(components), components._to_unconstrained(jnp))
    return Unconstrained(jnp.log(weights) - jnp.log(jnp.sum(weights)), free)


def constrain(parameters: Unconstrained[ComponentsT]) -> Mixture[ComponentsT]:
    """The mixture that unconstrained parameters stand for.

    Parameters
    ----------
    parameters : Unconstrained
        From `unconstrain`, or changed by an optimiser since.

    Returns
    -------
    Mixture
        Weights sum to 1.

    Raises
    ------
    TypeError
        If `parameters` are of another kind.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import estep_xp as ex
    >>> import estep_xp.jax
    >>> free = ex.jax.Unconstrained(
    ...     jnp.zeros(2), ex.UnivariateGaussian(jnp.asarray([2.0, 6.0]), jnp.zeros(2))
    ... )
    >>> print(*ex.jax.constrain(free).components.variances)
    1.0 1.0
    """
    if not isinstance(parameters, Unconstrained):
        raise TypeError(
            f"parameters is a {type(parameters).__name__}; expected an estep_xp.jax.Unconstrained"
        )
    components: Any
    logits, components = parameters
    logits = jnp.asarray(logits)
    check_shape("logits", logits, ("k",))
    components = map_arrays(jnp.asarray, components)
    family = _require_unconstrained(components)
    free = jax.tree.leaves(components)
    return Mixture(jax.nn.softmax(logits), family._from_unconstrained(jnp, *free))


def _require_unconstrained(components: Any) -> contract.Family:
    """Return the family of components; TypeError unless its parameters can be unbounded."""
    family = contract.family_of(components)
    if not family._is_unconstrainable:
        raise TypeError(
            f"components are a {type(components).__name__}, whose parameters have no form without "
            "bounds; expected one of the package's families, such as FullGaussian"
        )
    return family


def _check_mixture(mixture: Any) -> tuple[AnyArray, Any]:
    """Weights and components, of one of the package's families on JAX arrays, checked."""
    check_mixture(mixture)
    components: Any = mixture.components
    _require_unconstrained(components)
    family = contract.family_of(map_arrays(jnp.asarray, components))
    _, *shape = family._rows_shape() or ("n",)
    return prepare_jax_call(np.zeros((0, *shape)), mixture).mixture
