"""Log-densities that are linear in a row's features but for what depends on the row alone.

Σ_j x_j a_kj + b_k + h(x), of Poisson and Bernoulli components, is a product of matrices, which
takes a fraction of the time of a sum of terms. A product adds up one term after the other, and
terms may cancel: it serves where its error is certainly below what double precision allows, 1e-12.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray

_ALLOWED = 0.8e-12  # the rest is for what is added to log-densities
_SLICE = 8  # features that are added up one after the other, where all of them are too many


class LinearForm(NamedTuple):
    """What log-densities of rows are made of. Roundings bound errors in halves of eps."""

    slopes: AnyArray  # (k, d), with three roundings at most
    size: float  # the largest Σ_j x_j |a_kj|, of all terms of which a_kj is made
    constants: AnyArray  # (k,), with three roundings at most of terms of one sign
    of_rows: AnyArray | None = None  # (n,), of terms of one sign
    roundings: int = 0  # of these

    def slices(self, d: int) -> list[slice] | None:
        """Features that may be added up one after the other; None where the sum is less exact."""
        rest = (3 + 2) * np.abs(self.constants).max()
        if self.of_rows is not None:
            rest += (self.roundings + 2) * np.abs(self.of_rows).max()
        for length in (d, _SLICE):
            slices = [slice(start, start + length) for start in range(0, d, length)]
            # Of a slope, its product, the sum of a slice, that of the slices, and of all.
            count = 3 + 1 + min(d, length) - 1 + len(slices) - 1 + 2
            if 0.5 * np.finfo(np.float64).eps * (count * self.size + rest) <= _ALLOWED:
                return slices
        return None  # a NaN is never small

    def log_densities(self, x: AnyArray) -> AnyArray | None:
        """Log-densities (n, k) of rows x (n, d); None where they may be less exact."""
        slices = self.slices(x.shape[1])
        if slices is None:
            return None
        first, *others = slices
        total: AnyArray = x[:, first] @ self.slopes[:, first].T
        for some in others:
            total += x[:, some] @ self.slopes[:, some].T
        total += self.constants
        if self.of_rows is not None:
            total += self.of_rows[:, None]
        return total


def sum_exactly(values: AnyArray) -> AnyArray:
    """Sums (k,) of few rows (k, d), each rounded once."""
    return np.asarray([math.fsum(row) for row in values.tolist()])


def are_tables(*arrays: Any) -> bool:
    """Whether rows and parameters are NumPy's, of features, in double precision."""
    return all(
        isinstance(array, np.ndarray)
        and array.ndim == 2
        and array.size > 0
        and array.dtype == np.float64
        for array in arrays
    )
