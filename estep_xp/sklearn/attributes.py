"""The fitted attributes of the estimator and the mixture behind them, each from the other.

A user may set attributes by hand. So what was set by a fit is kept beside the mixture that it came
from, and a mixture is made anew of what has changed since.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from estep_xp.arrays.namespace import library_of, namespace_of, space_of, to_host
from estep_xp.mixture.mixture import Mixture
from estep_xp.sklearn.covariance_types import CovarianceType

# In the order in which they are believed where several have changed.
_SPREADS = ("precisions_cholesky_", "covariances_", "precisions_")
NAMES = ("weights_", "means_", *_SPREADS)


class Kept(NamedTuple):
    """A mixture, and the values of the attributes that were set from it."""

    mixture: Mixture[Any]
    values: dict[str, np.ndarray[Any, Any]]


def set_attributes(estimator: Any, kind: CovarianceType, mixture: Mixture[Any]) -> Kept:
    """Set the attributes that scikit-learn has to those of a mixture."""
    components = mixture.components
    arrays = (
        mixture.weights,
        components.means,
        kind.factors(components),
        components.covariances,
        components.precisions,
    )
    values = {}
    for name, array in zip(NAMES, arrays, strict=True):
        # A copy: a user may change it in place.
        setattr(estimator, name, namespace_of(array).asarray(array, copy=True))
        values[name] = np.array(to_host(array))
    return Kept(mixture, values)


def mixture_of_attributes(estimator: Any, kind: CovarianceType, kept: Kept | None) -> Mixture[Any]:
    """The mixture that the attributes describe; that which is kept, where none has changed."""
    present = {name: getattr(estimator, name) for name in NAMES if hasattr(estimator, name)}
    changed = {
        name for name, value in present.items() if kept is None or _differ(value, kept.values[name])
    }
    if kept is not None and not changed:
        return kept.mixture
    weights, means = present["weights_"], _as_array(present["means_"])
    spread = next((name for name in _SPREADS if name in changed), None)
    if spread is None:
        if kept is None:
            raise AttributeError("precisions_cholesky_ or covariances_ is not set")
        return Mixture(weights, kept.mixture.components._replace(means=means))
    build = {
        "precisions_cholesky_": kind.from_factors,
        "covariances_": kind.from_covariances,
        "precisions_": kind.from_precisions,
    }[spread]
    return Mixture(weights, build(means, _as_array(present[spread])))


def _as_array(value: Any) -> Any:
    """A value as an array of its library, lists as one of NumPy."""
    return (
        space_of({"value": value}).parameter("value", value)
        if library_of(value)
        else (np.asarray(value, dtype=np.float64))
    )


def _differ(value: Any, kept: np.ndarray[Any, Any]) -> bool:
    host = to_host(value) if library_of(value) else np.asarray(value)
    return host.shape != kept.shape or bool((host != kept).any())
