"""What the E-step says about rows, and how a table of it is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Results(NamedTuple):
    """What the E-step says about some rows.

    Attributes
    ----------
    responsibilities : ndarray of shape (n, k)
        Responsibilities.
    labels : ndarray of shape (n,)
        Most responsible component of each row; -1 where no component has any density.
    log_likelihood : ndarray of shape (n,)
        Log-likelihood of each row.
    """

    responsibilities: NDArray[np.float64]
    labels: NDArray[np.int64]
    log_likelihood: NDArray[np.float64]


def csv_lines(block: Results, first: NDArray[np.float64] | None = None) -> Iterator[str]:
    """Yield one line of CSV a row; numbers are written so that they read back exactly.

    Parameters
    ----------
    block : Results
        The rows.
    first : ndarray of shape (n,), optional
        What comes before the responsibilities.
    """
    columns = block.responsibilities
    if first is not None:
        columns = np.column_stack([first, columns])
    rows = zip(columns.tolist(), block.labels.tolist(), block.log_likelihood.tolist(), strict=True)
    for numbers, label, log_likelihood in rows:
        yield f"{','.join(map(repr, numbers))},{label},{log_likelihood!r}\n"


def column_names(k: int) -> list[str]:
    """Return the names of the columns of results on `k` components."""
    return [*(f"responsibility_{j}" for j in range(k)), "label", "log_likelihood"]
