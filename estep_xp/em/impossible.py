"""Statistics that are none of any rows: refused, or NaN where no value can be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from estep_xp.arrays.block import expand_like
from estep_xp.arrays.namespace import to_host
from estep_xp.arrays.nested import map_arrays
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.validation import raise_bad_value
from estep_xp.em.chain_statistics import ChainStatistics
from estep_xp.families import contract
from estep_xp.families.limits import Limit, at_least_zero

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace
    from estep_xp.arrays.namespace import Space
    from estep_xp.em.statistics import AnyStatistics


def raise_for_impossible(statistics: AnyStatistics, empty: Any) -> None:
    """Raise for the first sum, of concrete statistics, that no rows have."""
    host: Any = map_arrays(to_host, statistics)
    for limit in quietly(_limits_of, np, host, empty):
        wrong = np.argwhere(~to_host(limit.good))
        if len(wrong):
            _raise_for(limit, tuple(wrong[0].tolist()), host)


def _raise_for(limit: Limit, index: tuple[int, ...], statistics: Any) -> NoReturn:
    sums = statistics
    for name in limit.field.replace("[", ".").replace("]", "").split("."):
        sums = sums[int(name)] if name.isdigit() else getattr(sums, name)
    place = index if len(index) == sums.ndim else (*index, index[-1])  # of a diagonal
    raise_bad_value(
        f"statistics.{limit.field}",
        place,
        sums[place],
        f"{limit.expected}: no rows have these sums",
    )


def mark_impossible(space: Space, statistics: AnyStatistics, empty: Array, model: Any) -> Any:
    """A model made of statistics, all NaN where no rows have their sums."""
    xp = space.xp
    flags = [xp.all(limit.good) for limit in _limits_of(xp, statistics, empty)]
    total = xp.sum(statistics.counts)
    # NaN of 0 / 0: a constant NaN may be lost in a compiler's hands.
    wrong = (total - total) / xp.where(xp.all(xp.stack(flags)), xp.ones_like(total), 0.0)
    return map_arrays(lambda array: array + xp.astype(wrong, array.dtype, copy=False), model)


def _limits_of(xp: Namespace, statistics: Any, empty: Array) -> list[Limit]:
    """All limits, by the names under which a user finds the sums; `empty` flags components (k,)."""
    components: Any = statistics.mixture.components
    counts: Array = statistics.counts
    limits = [at_least_zero("counts", counts)]
    if isinstance(statistics, ChainStatistics):
        limits += [at_least_zero(f, getattr(statistics, f)) for f in ("initial", "transitions")]
    family = contract.family_of(components, int(counts.shape[0]))
    # Sums that no one uses: of a few subnormal responsibilities, say, whose products vanish.
    own = family._limits(xp, xp.where(empty, 0.0, counts), statistics.moments)
    for field, good, words, by_component in own:
        flags = good | expand_like(empty, good) if by_component else good
        limits.append(Limit(f"moments.{field}", flags, words))
    return limits
