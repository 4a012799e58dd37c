"""The picture of a univariate mixture: weighted component densities and their sum, on a grid."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex

_REACH = 4.0  # standard deviations that are shown on either side of a mean
_EVEN_POINTS = 512
_POINTS_PER_COMPONENT = 65


class Curves(NamedTuple):
    """Densities of a univariate mixture, to be drawn.

    Attributes
    ----------
    x : ndarray of shape (g,)
        Where the densities are taken, ascending.
    weighted : ndarray of shape (k, g)
        Mixing weight times density of each component.
    total : ndarray of shape (g,)
        Density of the mixture, the sum of `weighted`.
    """

    x: NDArray[np.float64]
    weighted: NDArray[np.float64]
    total: NDArray[np.float64]


def density_curves(mixture: ex.Mixture, x: NDArray[np.float64]) -> Curves:
    """Return what to draw of a univariate `mixture` beside the observations `x`.

    The grid spans observations and components, evenly, and is finer around each mean: a narrow
    component between two even points is not lost.
    """
    components: Any = mixture.components
    means, deviations = np.asarray(components.means), np.sqrt(np.asarray(components.variances))
    steps = np.linspace(-_REACH, _REACH, _POINTS_PER_COMPONENT)
    around = (means[:, None] + deviations[:, None] * steps).reshape(-1)
    ends = np.concatenate((x, around))
    even = np.linspace(ends.min(), ends.max(), _EVEN_POINTS)
    grid = np.unique(np.concatenate((even, around)))
    with warnings.catch_warnings():  # densities that underflow far from every mean are 0
        warnings.filterwarnings("ignore", ".*zero density", RuntimeWarning)
        weighted = np.exp(ex.log_joint(grid, mixture)).T
        total = np.exp(ex.e_step(grid, mixture).log_likelihood)
    return Curves(grid, weighted, total)
