"""What people want to know of components: their parameters by name, in tables for each family."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from estep_xp.arrays.quiet import quiet
from estep_xp.files.components import GAUSSIAN_FAMILIES, name_of_family
from estep_xp.files.errors import show_token

_Numbers = NDArray[np.float64]


class Matrix(NamedTuple):
    """Rows of numbers beside each feature of each component: correlations, or loadings.

    Attributes
    ----------
    title : str
        What they are.
    headings : list of str
        What stands above the columns.
    values : ndarray of shape (k, m, c)
        The numbers; NaN where nothing is shown.
    is_shared : bool
        Whether all components have the first one's.
    """

    title: str
    headings: list[str]
    values: _Numbers
    is_shared: bool = False


class Section(NamedTuple):
    """Parameters of components of one family.

    Attributes
    ----------
    family : str
        The name of the family in files.
    item : str
        What a row is about, beside a component: a feature, or a kind.
    items : list of str
        The names of these.
    features : list of str
        The names of its columns.
    of_component : dict of ndarray of shape (k,)
        What each component has one of.
    of_item : dict of ndarray of shape (k, m)
        What each component has of each item.
    matrices : tuple of Matrix
        What each component has more of for each item.
    """

    family: str
    item: str
    items: list[str]
    features: list[str]
    of_component: dict[str, _Numbers]
    of_item: dict[str, _Numbers]
    matrices: tuple[Matrix, ...] = ()


@quiet
def describe(components: Any, features: Sequence[str]) -> list[Section]:
    """Return the parameters of components, of a product one section a part.

    Parameters
    ----------
    components : Family
        The components, on NumPy arrays.
    features : sequence of str
        The names of the columns, as many as there are features.
    """
    family = name_of_family(components)
    if family == "product":
        sections, start = [], 0
        for part, columns in zip(components.parts, components._columns(), strict=True):
            stop = start + columns.stop - columns.start
            sections += describe(part, features[start:stop])
            start = stop
        return sections
    names = [show_token(name) for name in features]
    if family in GAUSSIAN_FAMILIES:
        return [_gaussian(str(family), components, names)]
    return [_OTHERS[str(family)](components, names)]


def variances_of(components: Any) -> _Numbers:
    """Return the variance (k, d) of each feature of Gaussian components."""
    variances = components.covariances
    family = name_of_family(components)
    if family in ("tied", "full"):
        variances = np.diagonal(variances, axis1=-2, axis2=-1)
    elif family != "diagonal":
        variances = variances[:, None]  # the same for all features
    return np.array(np.broadcast_to(variances, _rows(components.means).shape))


def correlations_of(components: Any) -> _Numbers | None:
    """Return the correlations (d, d) or (k, d, d) of Gaussian components; None if all are 0."""
    if name_of_family(components) not in ("tied", "full"):
        return None
    return _correlations(components.covariances)


def _correlations(covariances: _Numbers) -> _Numbers:
    deviations = np.sqrt(np.diagonal(covariances, axis1=-2, axis2=-1))
    # One after the other: a product of two deviations may overflow.
    scaled = covariances / deviations[..., :, None] / deviations[..., None, :]
    d = scaled.shape[-1]
    scaled[..., range(d), range(d)] = 1.0
    correlations: _Numbers = np.clip(scaled, -1.0, 1.0)
    return correlations


def _rows(values: _Numbers) -> _Numbers:
    """Return parameters (k,) or (k, d) as (k, d)."""
    return values.reshape(len(values), -1)


def _correlation_matrix(correlations: _Numbers, k: int, names: list[str]) -> tuple[Matrix, ...]:
    """Return the lower triangles of correlations (d, d) or (k, d, d) of several features."""
    if len(names) < 2:
        return ()
    shared = correlations.ndim == 2
    values = np.array(np.broadcast_to(correlations, (k, *correlations.shape[-2:])))
    values[:, ~np.tri(len(names), dtype=bool)] = math.nan
    return (Matrix("Correlations", names, values, shared),)


def _gaussian(family: str, components: Any, names: list[str]) -> Section:
    variances = variances_of(components)
    correlations = correlations_of(components)
    of_item = {
        "mean": _rows(components.means),
        "variance": variances,
        "standard deviation": np.sqrt(variances),
    }
    matrices = (
        ()
        if correlations is None
        else _correlation_matrix(correlations, len(components.means), names)
    )
    return Section(family, "feature", names, names, {}, of_item, matrices)


def _student_t(components: Any, names: list[str]) -> Section:
    degrees, scales = components.degrees[:, None], components.scales
    squares = np.diagonal(scales, axis1=-2, axis2=-1)
    factor = np.where(degrees > 2, degrees / (degrees - 2), math.inf)
    of_item = {
        "mean": components.means,
        "scale": np.sqrt(squares),
        "variance": squares * factor,
        "standard deviation": np.sqrt(squares * factor),
    }
    matrices = _correlation_matrix(_correlations(scales), len(degrees), names)
    of_component = {"degrees": components.degrees}
    return Section("student_t", "feature", names, names, of_component, of_item, matrices)


def _factor_analyzer(components: Any, names: list[str]) -> Section:
    variances = np.diagonal(components.covariances, axis1=-2, axis2=-1)
    of_item = {
        "mean": components.means,
        "variance": variances,
        "standard deviation": np.sqrt(variances),
        "noise variance": components.noise_variances,
    }
    headings = [f"factor {i}" for i in range(components.loadings.shape[-1])]
    loadings = Matrix("Loadings", headings, components.loadings)
    return Section("factor_analyzer", "feature", names, names, {}, of_item, (loadings,))


def _categorical(components: Any, names: list[str]) -> Section:
    probabilities = components.probabilities
    shares = probabilities / probabilities.max(axis=1, keepdims=True)
    shares = shares / shares.sum(axis=1, keepdims=True)
    kinds = [str(kind) for kind in range(shares.shape[1])]
    return Section("categorical", "kind", kinds, names, {}, {"probability": shares})


def _by_feature(
    family: str, **of_item: Callable[[Any], _Numbers]
) -> Callable[[Any, list[str]], Section]:
    """Return what describes a family whose parameters are numbers for each feature."""

    def describe_features(components: Any, names: list[str]) -> Section:
        values = {name: _rows(value(components)) for name, value in of_item.items()}
        return Section(family, "feature", names, names, {}, values)

    return describe_features


_OTHERS: dict[str, Callable[[Any, list[str]], Section]] = {
    "student_t": _student_t,
    "factor_analyzer": _factor_analyzer,
    "categorical": _categorical,
    "poisson": _by_feature("poisson", rate=lambda c: c.rates),
    "bernoulli": _by_feature("bernoulli", probability=lambda c: c.probabilities),
    "exponential": _by_feature("exponential", rate=lambda c: c.rates, mean=lambda c: 1.0 / c.rates),
    "gamma": _by_feature(
        "gamma",
        shape=lambda c: c.shapes,
        rate=lambda c: c.rates,
        mean=lambda c: c.shapes / c.rates,
    ),
    "von_mises": _by_feature(
        "von_mises",
        location=lambda c: c.locations,
        concentration=lambda c: c.concentrations,
    ),
}
