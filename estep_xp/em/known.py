"""M-steps from responsibilities that are known, instead of those of a mixture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp import execution
from estep_xp.arrays.block import expand_rows
from estep_xp.arrays.namespace import space_of
from estep_xp.em.m_step import empty_components
from estep_xp.em.statistics import Statistics
from estep_xp.families import DiagonalGaussian, contract
from estep_xp.mixture.masking import expand_flags, valid_row
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.namespace import Space
    from estep_xp.execution.kernel import BlockResults


class Known(NamedTuple):
    """Rows and their responsibilities, in one space and checked."""

    space: Space
    rows: tuple[Array, ...]  # x, shares (n, k), and sample weights (n,) where there are any
    family: Any  # whose support x must be in
    options: execution.Options

    @property
    def k(self) -> int:
        """Number of components."""
        return int(self.rows[1].shape[1])

    def take_statistics(self, components: Any, *, again: bool = False) -> Statistics:
        """Sum up the rows about components, as `expected_statistics` would.

        With `again` earlier sums have told that all rows are good.
        """
        driver = execution.driver_for(self.space)
        # A kernel of its own would be compiled, which takes longer than the checks.
        kernel = _KnownStatistics(self.k, self.family, good=again and not driver.compiles)
        sums = driver.sum_rows(kernel, self.space, self.rows, components, self.options)
        n_rows, _, counts, *moments = driver.materialize(sums)
        family = contract.estimable(components)
        mixture = Mixture(0.0 * counts + 1.0, components)
        return Statistics(mixture, 0.0 * n_rows, n_rows, counts, family._moments(*moments))

    def pool_components(self, family: Any) -> Any:
        """Components of a class of the package, all alike: what all rows together say."""
        x, shares, *weight = self.rows
        xp = self.space.xp
        table = x if x.ndim == 2 else x[:, None]
        whole = (table, xp.sum(shares, axis=1)[:, None], *weight)
        # Any row is inside the support of a Gaussian: what is wrong shows later.
        known = self._replace(rows=whole, family=contract.Family)
        centre = xp.zeros_like(table[0, :])
        centre = execution.driver_for(self.space).materialize(centre)
        moments: list[Any] = []
        for _ in range(2):  # the second time about the mean, where nothing cancels
            components = DiagonalGaussian(centre[None, :], 1.0 + 0.0 * centre[None, :])
            statistics = known.take_statistics(components)
            space = space_of({"counts": statistics.counts})
            moments = [statistics.counts, statistics.moments.first, statistics.moments.second]
            driver = execution.driver_for(space)
            centre, variances = driver.compute(_mean_and_variance, space, centre, *moments)
        return driver.compute(_Alike(family, self.k, x.ndim), space, centre, variances)


@dataclass(frozen=True)
class _KnownStatistics:
    """Kernel: number of rows, N_k and the family's moments, for responsibilities that are given."""

    k: int
    family: Any
    good: bool  # rows and shares are known to be good

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Nothing for single rows."""
        return ()

    @property
    def breadth(self) -> int:
        """Numbers that a row has in the widest results."""
        return self.k

    def width(self, ops: BlockOps, parameters: Any) -> int:
        """Scratch elements per row, beyond the row itself."""
        return self.k + contract.family_of(parameters)._width(ops)

    def prepare(self, ops: BlockOps, parameters: Any) -> tuple[Any, Any]:
        """Prepare the components."""
        family = contract.family_of(parameters)
        return family, family._prepare(ops, None)

    def block(self, ops: BlockOps, prepared: tuple[Any, Any], *rows: Array) -> BlockResults:
        """Sum over a block of rows (x, shares) or (x, shares, sample_weight)."""
        x, shares, *weight = rows
        xp, (family, shared) = ops.xp, prepared
        if not self.good:  # values that could not be checked before
            shares = xp.where((shares >= 0) & (shares < math.inf), shares, math.nan)
        if weight:
            mass = expand_rows(weight[0], ops.axis)
            good = xp.where((mass >= 0) & (mass < math.inf), mass, math.nan)
            shares = xp.where(mass == 0, 0.0 * good, shares * good)
        total = xp.sum(shares, axis=ops.axis)
        zero = total == 0
        if not ops.values_visible or xp.any(zero):
            placeholder = valid_row(ops, x, zero, family._placeholder(ops))
            x = xp.where(expand_flags(ops, zero, x.ndim), placeholder, x)
        if not self.good:
            bad = self._find_bad_rows(ops, x) & ~zero
            shares = xp.where(expand_rows(bad, ops.axis), math.nan, shares)
            total = xp.where(bad, math.nan, total)
        n_rows = ops.sum_rows(total)
        counts = xp.sum(shares, axis=1 - ops.axis)
        moments = family._moments_block(ops, shared, contract.Evaluated(x, shares), shares)
        return (), (*n_rows, counts, *moments)

    def _find_bad_rows(self, ops: BlockOps, x: Array) -> Array:
        """Flags (rows,) of those that are not finite, or outside the support."""
        xp = ops.xp
        table = x if ops.axis == 1 else xp.moveaxis(x, -1, 0)
        inside = self.family._supports(table)
        bad = ~(xp.isfinite(x) & (inside if ops.axis == 1 else xp.moveaxis(inside, 0, -1)))
        others = tuple(range(x.ndim - 1)) if ops.axis == 0 else tuple(range(1, x.ndim))
        flags: Array = xp.any(bad, axis=others) if others else bad
        return flags


def _mean_and_variance(
    xp: Namespace, centre: Array, counts: Array, first: Array, second: Array
) -> tuple[Array, Array]:
    """Mean and variance (d,) of a single component, given sums about a centre."""
    shift = first[0, :] / counts[0]
    variance = second[0, :] / counts[0] - shift * shift
    return centre + shift, xp.where(variance > 0, variance, xp.ones_like(variance))


@dataclass(frozen=True)
class _Alike:
    """What is compiled: k components of a class around one centre."""

    family: Any
    k: int
    n_axes: int

    def __call__(self, xp: Namespace, centre: Array, variances: Array) -> Any:
        centres = xp.broadcast_to(centre[None, :], (self.k, centre.shape[0]))
        return self.family._spread_rows(xp, centres + 0.0, variances, self.n_axes)


def move_components(space: Space, statistics: Statistics) -> Any:
    """The components of statistics at the means of their rows, if they have means."""
    components: Any = statistics.mixture.components
    arguments = (components, statistics.counts, statistics.moments)
    return execution.driver_for(space).compute(_move, space, *arguments)


def _move(xp: Namespace, components: Any, counts: Array, moments: Any) -> Any:
    counts, empty = empty_components(xp, counts)
    return components._move(xp, counts, empty, moments)
