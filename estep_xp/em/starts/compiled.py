"""Starts that run on any library and under `jit`: k-means++, random rows, Lloyd's k-means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from estep_xp import execution
from estep_xp.arrays.block import expand_components
from estep_xp.em.m_step import m_step_formula
from estep_xp.em.starts.shared import replace_masked_rows
from estep_xp.em.starts.units import units_of
from estep_xp.em.statistics import accumulate_statistics, prepare_em_call
from estep_xp.families import DiagonalGaussian, contract
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.namespace import Space
    from estep_xp.execution.kernel import BlockResults

_LEAST_SHARE = 1e-6  # of the variance that is left to a component
_LLOYD_STEPS = 10


@dataclass(frozen=True)
class SpreadStart:
    """What is compiled: from rows and random draws to a mixture."""

    family: Any
    space: Space
    options: execution.Options
    method: str  # "k-means++", "random_rows", "k-means", or "random"
    supports: Any  # what knows the support of rows

    def __call__(self, xp: Namespace, rows: tuple[Array, ...], draws: Array) -> Any:
        """Return deviations of features, and a mixture, or what it follows from: rows and shares.

        For the method "random" the deviations alone.
        """
        x, weight = rows if len(rows) == 2 else (rows[0], None)
        given, x = x, x[:, None] if x.ndim == 1 else x
        # In units that are powers of two squares stay within reach, and nothing is rounded.
        x = xp.astype(x, self.space.dtype, copy=False)
        units = units_of(xp, x, weight)
        x = x if units is None else x / units[None, :]
        variances = self.overall_variances(x, weight)
        # A feature that never varies tells nothing: any scale will do.
        varies = variances > 0
        variances = xp.where(varies, variances, 1.0)
        scales = xp.ones_like(variances) if units is None else xp.where(varies, units, 1.0)
        deviations = xp.sqrt(variances) * scales
        if self.method == "random":
            return deviations, ()
        centres, share = self.centres(x, weight, variances, draws)
        if self.method == "k-means":
            x = replace_masked_rows(self.space, x, weight)
            centres = self.lloyd(x, weight, variances, centres)
        if self.method == "k-means" or not contract.starts_from_centres(self.family):
            shares = self.hard_shares(x, weight, variances, centres)
            shares = shares + self.what_is_wrong(given, weight)[:, None]
            return deviations, (replace_masked_rows(self.space, given, weight), shares)
        # Never so small that a component could not see its neighbours.
        share = xp.where(share < _LEAST_SHARE, _LEAST_SHARE, share)
        k = draws.shape[0]
        centres = centres if units is None else centres * units[None, :]
        # One factor after the other: the square of a unit may be out of reach.
        spread = self.family._spread(xp, centres, variances * share * scales * scales)
        return deviations, Mixture(xp.ones_like(draws) / k, spread)

    def hard_shares(
        self, x: Array, weight: Array | None, variances: Array, centres: Array
    ) -> Array:
        """Weights (n, k) of rows, each at the centre that is nearest."""
        xp, k = self.space.xp, centres.shape[0]
        scales, kernel = 1.0 / xp.sqrt(variances), _Closest()
        driver = execution.driver_for(self.space)
        distances = [
            driver.map_rows(kernel, self.space, (x,), (centres[j, :], scales), self.options)[0]
            for j in range(k)
        ]
        nearest = xp.argmin(xp.stack(distances), axis=0)
        one = xp.ones_like(x[:, 0])
        mass = (one if weight is None else weight)[:, None]
        own = xp.stack([xp.where(nearest == j, one, 0.0) for j in range(k)], axis=1)
        # A centre that is nearest to no row begins with an equal share of all rows.
        shares = xp.where(xp.sum(own * mass, axis=0) == 0, 1.0 / k, own)
        return mass * shares / xp.sum(shares, axis=1, keepdims=True)

    def what_is_wrong(self, x: Array, weight: Array | None) -> Array:
        """Zeros (n,), but NaN for rows that no component takes: it shows in their shares."""
        xp = self.space.xp
        x = xp.astype(x[:, None] if x.ndim == 1 else x, self.space.dtype, copy=False)
        supported = self.supports._supports(x)
        wrong: Array = xp.sum(xp.where(supported, 0.0 * x, math.nan), axis=1)
        return wrong if weight is None else xp.where(weight > 0, wrong, 0.0)

    def lloyd(self, x: Array, weight: Array | None, variances: Array, centres: Array) -> Array:
        """Centres (k, d) after a few of Lloyd's iterations."""
        xp = self.space.xp
        origin, scales = centres[:1, :], 1.0 / xp.sqrt(variances)[None, :]
        z, c = (x - origin) * scales, (centres - origin) * scales
        numbers = xp.arange(c.shape[0], device=self.space.device)[None, :]
        for _ in range(_LLOYD_STEPS):
            scores = xp.matmul(z, xp.matrix_transpose(c)) - 0.5 * xp.sum(c * c, axis=1)[None, :]
            nearest = xp.argmax(scores, axis=1)[:, None]
            own = xp.where(nearest == numbers, xp.ones_like(scores), 0.0)
            own = own if weight is None else own * weight[:, None]
            counts = xp.sum(own, axis=0)[:, None]
            means = xp.matmul(xp.matrix_transpose(own), z) / xp.where(counts > 0, counts, 1.0)
            c = xp.where(counts > 0, means, c)
        return c / scales + origin

    def overall_variances(self, x: Array, weight: Array | None) -> Array:
        """Variance (d,) of each feature: the statistics of a single component, taken twice."""
        xp = self.space.xp
        first = 0 if weight is None else xp.argmax(xp.astype(weight > 0, xp.int32))
        means = self.row(x, first)
        means = xp.where(xp.isfinite(means), means, 0.0)  # what is wrong shows in the sums
        # As wide as can be, so that no row is impossible; it has no other effect.
        width = math.sqrt(float(xp.finfo(means.dtype).max))
        for _ in range(2):  # the second time about the mean, where nothing cancels
            one = DiagonalGaussian(means[None, :], xp.ones_like(means)[None, :] * width)
            mixture = Mixture(xp.ones_like(means[:1]), one)
            statistics = accumulate_statistics(prepare_em_call(x, mixture, weight), self.options)
            components: Any = statistics.mixture.components
            fitted: Any = m_step_formula(
                xp, components, statistics.counts, statistics.moments, 0.0
            ).components
            means = fitted.means[0, :]
            means = xp.where(xp.isfinite(means), means, 0.0)
        variances: Array = fitted.variances[0, :]
        return variances

    def centres(
        self, x: Array, weight: Array | None, variances: Array, draws: Array
    ) -> tuple[Array, Array]:
        """Rows (k, d) far from each other, and the mean squared distance () to the nearest."""
        xp, space = self.space.xp, self.space
        n, d = x.shape
        mass = xp.ones((n,), dtype=space.dtype, device=space.device) if weight is None else weight
        scales = 1.0 / xp.sqrt(variances)
        chosen: list[Array] = []
        closest: tuple[Array, ...] = ()
        distances = mass
        for j in range(draws.shape[0]):
            # Where no distance is left, all rows being chosen already, any row will do.
            distances = xp.where(xp.sum(distances) == 0, mass, distances)
            chosen.append(self.row(x, self.drawn(distances, draws[j, ...])))
            parameters = (chosen[-1], scales)
            closest = execution.driver_for(space).map_rows(
                _Closest(), space, (x, *closest), parameters, self.options
            )
            left = closest[0] if weight is None else xp.where(mass > 0, mass * closest[0], 0.0)
            distances = left
            if self.method == "random_rows":  # any row that is not chosen yet
                distances = xp.where(left > 0, mass, 0.0 * left)
        return xp.stack(chosen), xp.sum(left) / xp.sum(mass) / float(d)

    def drawn(self, mass: Array, draw: Array) -> Array:
        """Index of the row at which the cumulated mass passes a share of the whole."""
        xp = self.space.xp
        cumulated = xp.cumulative_sum(xp.astype(mass, self.space.wide))
        index = xp.sum(xp.astype(cumulated <= draw * cumulated[-1], xp.int32))
        return xp.where(index < mass.shape[0], index, mass.shape[0] - 1)

    def row(self, x: Array, index: Any) -> Array:
        """Row of `x` as an array (d,) of the space's dtype."""
        xp = self.space.xp
        index = xp.asarray(index, device=self.space.device)[None]
        return xp.astype(xp.take(x, index, axis=0)[0, :], self.space.dtype)


@dataclass(frozen=True)
class _Closest:
    """Kernel: squared distance of rows from a centre, or from earlier ones if they are closer."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        return ((),)

    @property
    def breadth(self) -> int:
        return 1

    def width(self, ops: BlockOps, parameters: Any) -> int:
        del ops
        return int(parameters[0].shape[0])  # features

    def prepare(self, ops: BlockOps, parameters: Any) -> Any:
        del ops
        return parameters

    def block(self, ops: BlockOps, prepared: Any, *rows: Array) -> BlockResults:
        xp, features = ops.xp, ops.axis
        centre, scales = prepared
        standardized = (rows[0] - expand_components(centre, features)) * expand_components(
            scales, features
        )
        distances = xp.sum(standardized * standardized, axis=features)
        return (distances if len(rows) == 1 else xp.minimum(distances, rows[1]),), ()
