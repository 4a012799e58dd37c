"""Where EM may start: k-means++."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp import execution
from estep_xp._logsumexp import along
from estep_xp._m_step import m_step
from estep_xp._mixture import Mixture
from estep_xp._namespace import Space, is_concrete, space_of, to_host
from estep_xp._statistics import expected_statistics
from estep_xp._typing import Array, ArrayLike
from estep_xp._validation import (
    check_non_negative,
    check_shape,
    check_whole,
)
from estep_xp.families import DiagonalGaussian, _contract

if TYPE_CHECKING:
    from estep_xp.execution import Plan

_SAMPLE = 1 << 16  # rows that are looked at of data that lie in pieces elsewhere


def initialize(
    x: ArrayLike,
    n_components: int,
    family: type[Any],
    *,
    seed: Any,
    sample_weight: ArrayLike | None = None,
    block_size: int | None = None,
    workers: int | None = None,
) -> Mixture:
    """A mixture to start EM from, by k-means++.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one a row; shape (n,) for `UnivariateGaussian`.
    n_components : int
        Number of components, at most the number of rows.
    family : type
        The class of the components, for example `FullGaussian`.
    seed : int or sequence of int
        Seed of the random choice, for ``numpy.random.default_rng``: the same choice in every
        library, as far as its rounding allows.
    sample_weight : array, shape (n,), optional
        Non-negative weight of each row; one of weight 0 is never chosen, whatever it holds.
    block_size, workers : int, optional
        As for `e_step`.

    Returns
    -------
    Mixture
        Equal weights; as means, rows that lie far from each other; as variances of each feature, of
        all components, its overall variance scaled down by what the means explain.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value.

    Notes
    -----
    Each mean is a row drawn with a probability proportional to its squared distance from the
    nearest mean so far (Arthur and Vassilvitskii 2007), features measured in their standard
    deviations. Of a Dask array a sample of the rows is computed and used.

    Examples
    --------
    >>> import estep_xp as ex
    >>> start = ex.initialize([1.0, 1.4, 6.2, 6.6], 2, ex.UnivariateGaussian, seed=0)
    >>> sorted(start.components.means.tolist())
    [1.0, 6.2]
    """
    k = check_whole("n_components", n_components, 1)
    _check_family(family)
    how = execution.options(block_size, workers)
    random = np.random.default_rng(seed)
    space, x, weight = _rows(x, sample_weight, family, random)
    if x.shape[0] < k:
        raise ValueError(
            f"x has {x.shape[0]} rows; expected at least n_components = {k}, one for each"
        )
    xp = space.xp
    variances = _overall_variances(space, x, weight, block_size, workers)
    # A feature that never varies tells nothing: any scale will do.
    variances = xp.where(variances == 0, 1.0, variances)
    centres, inertia = _k_means_plus_plus(space, x, weight, variances, random.random(k), how)
    # Never so small that a component could not see its neighbours.
    share = xp.where(inertia < 1e-6, 1e-6, inertia)
    components = family._spread(xp, centres, variances * share)
    weights = xp.broadcast_to(xp.ones_like(share) / k, (k,))
    return Mixture(weights, components)


def _check_family(family: Any) -> None:
    known: Any = _contract.BlockFamily
    if not (isinstance(family, type) and issubclass(family, known)):
        raise TypeError(
            f"family is {family!r:.60}; expected the class of a family, such as FullGaussian"
        )


def _rows(
    x: Any, sample_weight: Any, family: Any, random: np.random.Generator
) -> tuple[Space, Array, Array | None]:
    """Space, rows (n, d) and their weights, of a kind that can be worked on one after the other."""
    named = {"x": x} if sample_weight is None else {"x": x, "sample_weight": sample_weight}
    space = space_of(named)
    x = space.rows("x", x)
    univariate = family._is_univariate
    check_shape("x", x, ("n",) if univariate else ("n", "d"), f" for {family.__name__} components")
    rows: tuple[Array, ...] = (x[:, None] if univariate else x,)
    if sample_weight is not None:
        sample_weight = space.parameter("sample_weight", sample_weight)
        check_shape("sample_weight", sample_weight, (x.shape[0],), ": one weight a row of x")
        rows = (*rows, check_non_negative(space, "sample_weight", sample_weight))
        if is_concrete(sample_weight) and not to_host(sample_weight).any():
            raise ValueError("sample_weight sums to 0; at least one weight must be positive")
    rows = execution.sampled(space, rows, _SAMPLE, random)
    space = space_of(dict(zip(named, rows, strict=True)))
    return space, rows[0], rows[1] if len(rows) == 2 else None


def _overall_variances(
    space: Space, x: Array, weight: Array | None, block_size: int | None, workers: int | None
) -> Array:
    """Variance (d,) of each feature: the statistics of a single component, taken twice."""
    xp = space.xp
    first = 0 if weight is None else xp.argmax(xp.astype(weight > 0, xp.int32))
    means = _row(space, x, first)
    means = xp.where(xp.isfinite(means), means, 0.0)  # what is wrong is found among the rows
    # As wide as can be, so that no row is impossible; it has no other effect.
    width = math.sqrt(float(xp.finfo(means.dtype).max))
    for _ in range(2):  # the second time about the mean, where nothing cancels
        one = DiagonalGaussian(means[None, :], xp.ones_like(means)[None, :] * width)
        statistics = expected_statistics(
            x,
            Mixture(xp.ones_like(means[:1]), one),
            sample_weight=weight,
            block_size=block_size,
            workers=workers,
        )
        fitted: Any = m_step(statistics, variance_floor=0.0).components
        means = fitted.means[0, :]
    return fitted.variances[0, :]


def _k_means_plus_plus(
    space: Space,
    x: Array,
    weight: Array | None,
    variances: Array,
    draws: np.ndarray[Any, Any],
    how: execution.Options,
) -> tuple[Array, Array]:
    """Centres (k, d), and the mean squared distance to the nearest, in variances."""
    xp = space.xp
    mass = xp.ones_like(x[:, 0]) if weight is None else weight
    scales = 1.0 / xp.sqrt(variances)
    chosen: list[Array] = []
    closest: tuple[Array, ...] = ()
    for draw in draws.tolist():
        distance = mass * closest[0] if closest else mass
        if weight is not None:
            distance = xp.where(weight > 0, distance, 0.0)
        # Where no distance is left, all rows being chosen already, any row will do.
        distance = xp.where(xp.sum(distance) == 0, mass, distance)
        chosen.append(_row(space, x, _drawn(xp, distance, draw)))
        parameters = (chosen[-1], scales)
        closest = execution.map_rows(_Closest(), space, (x, *closest), parameters, how)
    squares = mass * closest[0]
    if weight is not None:
        squares = xp.where(weight > 0, squares, 0.0)
    return xp.stack(chosen), xp.sum(squares) / xp.sum(mass) / float(x.shape[1])


def _drawn(xp: Any, mass: Array, draw: float) -> Array:
    """Index of the row at which the cumulated mass passes a share of the whole."""
    cumulated = xp.cumulative_sum(mass)
    index = xp.sum(xp.astype(cumulated <= draw * cumulated[-1], xp.int32))
    return xp.where(index < mass.shape[0], index, mass.shape[0] - 1)


def _row(space: Space, x: Array, index: Any) -> Array:
    """Row of `x` as an array (d,) of the space's dtype."""
    xp = space.xp
    index = xp.asarray(index, device=space.device)[None]
    return xp.astype(xp.take(x, index, axis=0)[0, :], space.dtype)


@dataclass(frozen=True)
class _Closest:
    """Kernel: squared distance of rows from a centre, or from earlier ones if they are closer."""

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        return ((),)

    def prepare(self, plan: Plan, parameters: Any) -> Any:
        del plan
        return parameters

    def rows(self, plan: Plan, prepared: Any, *rows: Array) -> tuple[Array, ...]:
        xp, features = plan.xp, plan.axis
        centre, scales = prepared
        standardized = (rows[0] - along(centre, features)) * along(scales, features)
        distances = xp.sum(standardized * standardized, axis=features)
        return (distances if len(rows) == 1 else xp.minimum(distances, rows[1]),)
