"""The E-step as textbooks write it, which underflows: for comparison, never for results."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.read.inputs import Inputs


def textbook_responsibilities(inputs: Inputs) -> NDArray[np.float64]:
    """Return weighted densities over their sum, of shape (n, k); NaN where they under- or overflow.

    Parameters
    ----------
    inputs : Inputs
        Observations and mixture.
    """
    x, means, variances, weights = inputs
    with np.errstate(all="ignore"):
        exponents = -((x[:, None] - means) ** 2) / (2 * variances)
        densities = weights / weights.sum() * np.exp(exponents) / np.sqrt(2 * np.pi * variances)
        shares: NDArray[np.float64] = densities / densities.sum(axis=1, keepdims=True)
    return shares
