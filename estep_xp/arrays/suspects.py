"""Rows whose results are not finite, to find the bad row that is the reason."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp.arrays.namespace import Space, is_on_host, is_within_reach, to_host
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.validation import raise_bad_value

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace

# Results up to whose number a look at each takes less time than a sum with warnings off.
_FEW = 4096


class Suspects(NamedTuple):
    """Rows whose result is not finite, with their results, to find the reason."""

    indices: np.ndarray[Any, Any]
    rows: np.ndarray[Any, Any]
    results: np.ndarray[Any, Any]

    def check(
        self,
        name: str,
        good: np.ndarray[Any, Any],
        expected: str,
        columns: tuple[Any, ...] = (),
        nan_hint: str = "",
    ) -> None:
        """Raise for the first entry of the rows that is not good, whose column may have a name.

        `nan_hint` says what to do where the entry is NaN.
        """
        bad = np.argwhere(~good)
        if len(bad):
            first = tuple(bad[0].tolist())
            index = (int(self.indices[first[0]]), *first[1:])
            where = f" (column {columns[index[1]]!r})" if columns else ""
            hint = nan_hint if np.isnan(self.rows[first]) else ""
            raise_bad_value(name, index, self.rows[first], f"{name} {expected}{where}{hint}")


def suspects(space: Space, x: Array, results: Array) -> Suspects | None:
    """Rows of `x` whose results (n,) are not finite; None if there are none, or results are lazy.

    Where all results are finite, `x` is not read.
    """
    # Numbers that a compiled program closes over are lazy, too.
    if space.lazy or not is_within_reach(results):
        return None
    if type(results) is np.ndarray and all_finite(np, results):
        return None
    xp = space.xp
    if is_on_host(results) and is_on_host(x):  # JAX would compile these calls for each n
        xp, x, results = np, to_host(x), to_host(results)
    if all_finite(xp, results):
        return None
    host = to_host(results)
    indices = np.flatnonzero(~np.isfinite(host))
    rows = xp.take(x, xp.asarray(indices, device=space.device), axis=0)
    return Suspects(indices, to_host(rows), host[indices])


def all_finite(xp: Namespace, results: Array) -> bool:
    """Whether all numbers of a concrete array are finite."""
    if xp is np and math.prod(results.shape) <= _FEW:
        finite: np.ndarray[Any, Any] = np.isfinite(results)  # type: ignore[call-overload]
        return bool(finite.all())
    # A sum is finite only if all of its terms are, but a sum of finite terms may overflow.
    total = quietly(xp.sum, results)
    return math.isfinite(to_host(total)) or bool(xp.all(xp.isfinite(results)))
