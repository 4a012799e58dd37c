"""The four fields of the calculator: observations, means, variances and weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from estep_xp._io.numbers import (
    Values,
    parse_values,
    require_as_many,
    require_positive,
    require_weights,
)


class Inputs(NamedTuple):
    """A univariate mixture and observations, checked.

    Attributes
    ----------
    x : ndarray of shape (n,)
        Observations.
    means : ndarray of shape (k,)
        Means of the components.
    variances : ndarray of shape (k,)
        Variances of the components.
    weights : ndarray of shape (k,)
        Mixing weights as written, or equal ones.
    """

    x: NDArray[np.float64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]
    weights: NDArray[np.float64]


def read_inputs(x: str, means: str, variances: str, weights: str | None = None) -> Inputs:
    """Return what the four texts say.

    Parameters
    ----------
    x, means, variances : str
        Numbers separated by commas, white space or newlines; variances positive, as many as means.
    weights : str, optional
        Mixing weights, as many as means; equal if left out.

    Raises
    ------
    InputError
        At the first value that can't be; it names field, value and expectation.
    """
    observations = parse_values("x", x)
    centres = parse_values("means", means)
    spreads = parse_values("variances", variances)
    require_positive(spreads)
    require_as_many(spreads, centres)
    if weights is None:
        shares = Values("weights", [1.0] * len(centres.numbers), [])
    else:
        shares = parse_values("weights", weights)
        require_weights(shares)
        require_as_many(shares, centres)
    fields = (observations, centres, spreads, shares)
    return Inputs(*(np.asarray(values.numbers, dtype=np.float64) for values in fields))
