"""The rows that a start looks at: some of those that count, on the host, free of their units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    Floats = np.ndarray[Any, np.dtype[np.float64]]

_FEW, _FEW_PER_COMPONENT = 2000, 200  # rows that a start looks at


class Rows(NamedTuple):
    """Rows that count, in double precision."""

    x: Floats  # (n, ...), as they were given
    z: Floats  # (n, d), each feature about its mean in its deviations
    weight: Floats  # (n,), positive; their mean is 1
    centre: Floats  # (d,)
    scale: Floats  # (d,): x is scale · z + centre

    @property
    def mass(self) -> float:
        """The weighted number of rows."""
        return float(self.weight.sum())

    @property
    def equal(self) -> bool:
        """Whether all rows weigh the same."""
        return bool((self.weight == self.weight[0]).all())


def choose_rows(n: int, weight: Floats | None, k: int, random: np.random.Generator) -> Any:
    """Indices of the rows to look at, in order: those that count, or a sample of them."""
    counting = np.arange(n) if weight is None else np.flatnonzero(weight > 0)
    limit = max(_FEW, _FEW_PER_COMPONENT * k)
    if len(counting) <= limit:
        return counting
    return counting[np.sort(random.choice(len(counting), limit, replace=False))]


def standardize_rows(x: Floats, weight: Floats | None, *, jointly: bool = False) -> Rows:
    """Rows about their mean, each feature in its deviations; `jointly` in one for all features."""
    n = len(x)
    x = np.ascontiguousarray(x)  # sums of another layout round otherwise
    table = x.reshape(n, -1)
    # Scaled before they are added: a sum of weights may overflow where they do not.
    share = np.ones(n) if weight is None else weight / weight.max()
    share = share * (n / share.sum())
    largest = np.abs(table).max(axis=0)
    if jointly:
        largest = np.broadcast_to(largest.max(), largest.shape)
    # Powers of two, in units of which squares stay within reach and nothing is rounded.
    units = np.exp2(np.floor(np.log2(np.where(largest > 0, largest, 1.0))))
    table = table / units
    means = share @ table / n
    means = means + share @ (table - means) / n
    centred = table - means
    variances = share @ (centred * centred) / n
    if jointly:
        variances = np.broadcast_to(variances.mean(), variances.shape)
    # A feature that never varies tells nothing: any scale will do.
    varies = (np.ptp(table, axis=0) > 0) & (variances > 0)
    scale = np.where(varies, np.sqrt(variances), 1.0)
    z = np.where(varies, centred / scale, 0.0)
    return Rows(x, z, share, means * units, np.where(varies, scale * units, 1.0))
