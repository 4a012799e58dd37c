"""The curves of a univariate mixture on a grid: densities and responsibilities."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex

_REACH = 4.0  # standard deviations that are shown on either side of a mean
_EVEN_POINTS = 512
_POINTS_AROUND = 65  # about a mean, fewer if there are so many components
_MOST_POINTS = 8192
WIDEST = 1e300  # a grid that is wider leaves a drawing library no room within the range of floats


class Curves(NamedTuple):
    """Densities and responsibilities of a univariate mixture, to be drawn.

    Attributes
    ----------
    x : ndarray of shape (g,)
        Where the densities are taken, ascending.
    weighted : ndarray of shape (k, g)
        Mixing weight times density of each component.
    total : ndarray of shape (g,)
        Density of the mixture, the sum of `weighted`.
    responsibilities : ndarray of shape (g, k)
        What each component would have of an observation there; NaN where no density is left.
    """

    x: NDArray[np.float64]
    weighted: NDArray[np.float64]
    total: NDArray[np.float64]
    responsibilities: NDArray[np.float64]


def density_curves(mixture: ex.Mixture, x: NDArray[np.float64]) -> Curves:
    """Return what to draw of a univariate `mixture` beside the observations `x`.

    The grid spans observations and components, evenly, and is finer around each mean: a narrow
    component between two even points is not lost.
    """
    components: Any = mixture.components
    means, deviations = np.asarray(components.means), np.sqrt(np.asarray(components.variances))
    n_around = min(_POINTS_AROUND, max(9, _MOST_POINTS // len(means) | 1))  # odd: the mean is one
    steps = np.linspace(-_REACH, _REACH, n_around)
    around = (means[:, None] + deviations[:, None] * steps).reshape(-1)
    ends = np.concatenate((x, around))
    shares = np.linspace(0, 1, _EVEN_POINTS)
    even = ends.min() * (1 - shares) + ends.max() * shares  # their difference might overflow
    grid = np.unique(np.concatenate((even, around)))
    with warnings.catch_warnings():  # densities that underflow far from every mean are 0
        warnings.filterwarnings("ignore", ".*zero density", RuntimeWarning)
        weighted = np.exp(ex.log_joint(grid, mixture)).T
        step = ex.e_step(grid, mixture)
    return Curves(grid, weighted, np.exp(step.log_likelihood), np.asarray(step.responsibilities))
