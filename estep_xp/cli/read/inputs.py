"""The four fields of the calculator: observations, means, variances and weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.text.numbers import (
    Values,
    parse_values,
    require_as_many,
    require_positive,
    require_weights,
)
from estep_xp.files.errors import InputError


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
    inputs, errors = check_inputs(x, means, variances, weights)
    if inputs is None:
        raise errors[0]
    return inputs


def check_inputs(
    x: str, means: str, variances: str, weights: str | None = None
) -> tuple[Inputs | None, list[InputError]]:
    """Return what the four texts of :func:`read_inputs` say, or else one error a bad field."""
    errors: list[InputError] = []

    def checked(field: str, text: str, *checks: Callable[[Values], None]) -> Values | None:
        try:
            values = parse_values(field, text)
            for check in checks:
                check(values)
        except InputError as error:
            errors.append(error)
            return None
        return values

    def require_fit(values: Values) -> None:
        if centres is not None:  # with bad means the expected number is unknown
            require_as_many(values, centres)

    observations = checked("x", x)
    centres = checked("means", means)
    spreads = checked("variances", variances, require_positive, require_fit)
    if weights is not None:
        shares = checked("weights", weights, require_weights, require_fit)
    else:
        count = 0 if centres is None else len(centres.numbers)
        shares = Values("weights", [1.0] * count, [])
    fields = [observations, centres, spreads, shares]
    numbers = [np.asarray(one.numbers, dtype=np.float64) for one in fields if one is not None]
    return (None if errors else Inputs(*numbers)), errors
