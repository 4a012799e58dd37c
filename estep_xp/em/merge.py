"""Sums of statistics: of the rows of both, and whatever else is one function of all their sums."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp.arrays.array_types import Array
from estep_xp.arrays.namespace import Space, is_concrete, space_of, to_host
from estep_xp.arrays.nested import map_arrays
from estep_xp.arrays.quiet import quiet
from estep_xp.arrays.validation import shape_text
from estep_xp.em.statistics import AnyStatistics, StatisticsT, arrays_of, check_statistics
from estep_xp.families.hints import described

if TYPE_CHECKING:
    from collections.abc import Callable


@quiet
def merge(a: StatisticsT, b: StatisticsT) -> StatisticsT:
    """Statistics of the rows of both: blocks, devices and machines reduce with it.

    Parameters
    ----------
    a, b : Statistics or ChainStatistics
        Of different rows, under the same mixture.

    Returns
    -------
    Statistics
        Their sum. It is associative, and statistics of no rows change nothing.

    Raises
    ------
    ValueError, TypeError
        If they were centred on different mixtures. Where values do not exist yet, under ``jit`` for
        example, the sums are NaN instead.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> parts = [ex.expected_statistics(rows, mixture) for rows in ([1.0, 2.5], [7.0])]
    >>> float(ex.merge(*parts).n_rows)
    3.0
    """
    for name, one in (("a", a), ("b", b)):
        check_statistics(name, one)
    if type(a.mixture) is not type(b.mixture):
        raise TypeError(
            f"a is of {described(a.mixture)} but b of {described(b.mixture)}; merge statistics of "
            "one model"
        )
    family, other = type(a.mixture.components), type(b.mixture.components)
    if family is not other:
        raise TypeError(
            f"a is of {family.__name__} but b of {other.__name__} components; merge statistics of "
            "one mixture"
        )
    space = space_of(arrays_of("a", a) | arrays_of("b", b))
    same = _same(space, a, b)

    def added(one: Array, other: Array) -> Array:
        return one + other if same is None else space.xp.where(same, one + other, math.nan)

    return combine_sums(added, a, b)


def combine_sums(
    function: Callable[..., Array], first: StatisticsT, *others: StatisticsT
) -> StatisticsT:
    """Statistics of the first's model, whose sums are `function` of all their sums."""
    mixture, *fields = first
    new: list[Any] = []
    field: Any
    for place, field in enumerate(fields, start=1):
        values: Any = (field, *(other[place] for other in others))
        new.append(None if field is None else map_arrays(function, *values))
    of: Any = type(first)
    combined: StatisticsT = of(mixture, *new)
    return combined


def _same(space: Space, a: AnyStatistics, b: AnyStatistics) -> Array | None:
    """Whether two mixtures are equal, where that can't be seen yet; None where they are."""
    names = [name for name in arrays_of("", a) if name.startswith(".mixture.")]
    ours, theirs = arrays_of("", a), arrays_of("", b)
    flags = []
    for name in names:
        one, other = ours[name], theirs[name]
        field = name.rpartition(".")[2]
        if tuple(one.shape) != tuple(other.shape):
            raise ValueError(
                f"{field} has shape {shape_text(tuple(one.shape))} in a's mixture but "
                f"{shape_text(tuple(other.shape))} in b's; merge statistics of one mixture"
            )
        if is_concrete(one) and is_concrete(other):
            _check_equal(field, to_host(one), to_host(other))
        else:
            flags.append(space.xp.all(one == other))
    return space.xp.all(space.xp.stack(flags)) if flags else None


def _check_equal(field: str, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> None:
    different = np.argwhere(a != b)
    if len(different):
        index = tuple(different[0].tolist())
        where = ", ".join(map(str, index))
        raise ValueError(
            f"{field}[{where}] is {a[index]!s} in a's mixture but {b[index]!s} in b's; merge "
            "statistics of one mixture"
        )
