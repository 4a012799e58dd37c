"""The curves of a univariate mixture on a grid: densities and responsibilities."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex

_DEVIATIONS_SHOWN = 4.0  # standard deviations shown on either side of a mean
_EVEN_POINTS = 512
_POINTS_AROUND = 65  # grid points around a mean, fewer for many components
_MAX_POINTS = 8192
MAX_SPAN = 1e300  # beyond it, the margins of an axis overflow


class Curves(NamedTuple):
    """Densities and responsibilities of a univariate mixture, to be drawn.

    Attributes
    ----------
    x : ndarray of shape (g,)
        The grid, ascending.
    weighted : ndarray of shape (k, g)
        Mixing weight times density of each component.
    total : ndarray of shape (g,)
        Density of the mixture, the sum of `weighted`.
    responsibilities : ndarray of shape (g, k)
        Responsibilities of an observation at each grid point; NaN where all densities underflow.
    """

    x: NDArray[np.float64]
    weighted: NDArray[np.float64]
    total: NDArray[np.float64]
    responsibilities: NDArray[np.float64]


def density_curves(mixture: ex.Mixture, x: NDArray[np.float64]) -> Curves:
    """Return the curves of a univariate `mixture` on a grid around the observations `x`.

    The grid spans observations and components evenly, and is finer around each mean, so that no
    narrow component falls between two points.
    """
    components: Any = mixture.components
    means, deviations = np.asarray(components.means), np.sqrt(np.asarray(components.variances))
    # An odd number, to include the mean.
    n_around = min(_POINTS_AROUND, max(9, _MAX_POINTS // len(means) | 1))
    steps = np.linspace(-_DEVIATIONS_SHOWN, _DEVIATIONS_SHOWN, n_around)
    around = (means[:, None] + deviations[:, None] * steps).reshape(-1)
    ends = np.concatenate((x, around))
    shares = np.linspace(0, 1, _EVEN_POINTS)
    even = ends.min() * (1 - shares) + ends.max() * shares  # ends.max() - ends.min() might overflow
    grid = np.unique(np.concatenate((even, around)))
    with warnings.catch_warnings():  # far from every mean densities underflow
        warnings.filterwarnings("ignore", ".*zero density", RuntimeWarning)
        weighted = np.exp(ex.log_joint(grid, mixture)).T
        step = ex.e_step(grid, mixture)
    return Curves(grid, weighted, np.exp(step.log_likelihood), np.asarray(step.responsibilities))
