"""Where EM may start: k-means++."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp import execution
from estep_xp.arrays.array_types import Array, ComponentsT, Namespace
from estep_xp.arrays.block import expand_components
from estep_xp.arrays.frames import column_names
from estep_xp.arrays.namespace import Space, is_concrete, space_of, to_host
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.text import shown
from estep_xp.arrays.validation import (
    check_non_negative,
    check_shape,
    check_whole,
    shape_text,
    suspects,
)
from estep_xp.em.m_step import m_step_formula
from estep_xp.em.statistics import accumulate_statistics, prepare_em_call
from estep_xp.families import DiagonalGaussian, contract
from estep_xp.families.hints import described, hint_for_family
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.shapes import LikeN, RowsLike

_SAMPLE = 1 << 16  # rows that are looked at of data that lie in pieces elsewhere
_LEAST_SHARE = 1e-6  # of the variance that is left to a component


def initialize(
    x: RowsLike,
    n_components: int,
    family: type[ComponentsT] | ComponentsT,
    *,
    seed: Any,
    sample_weight: LikeN | None = None,
    block_size: int | None = None,
    workers: int | None = None,
) -> Mixture[ComponentsT]:
    """A mixture to start EM from, by k-means++.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one a row; shape (n,) for `UnivariateGaussian`.
    n_components : int
        Number of components, at most the number of rows.
    family : type or components
        The class of the components, for example `FullGaussian`. Of a class of your own, one with a
        class method ``start(x, responsibilities)``, or components of the wished shapes as a
        template.
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
    random = _random(seed)
    space, rows = _prepare_rows(x, sample_weight, family)
    rows = execution.driver_for(space).sample_rows(rows, _SAMPLE, random)
    space = space_of(dict(zip(("x", "sample_weight"), rows, strict=False)))
    if rows[0].shape[0] < k:
        raise ValueError(
            f"x has {rows[0].shape[0]} rows; expected at least n_components = {k}, one for each"
        )
    draws = space.xp.asarray(random.random(k), dtype=space.dtype, device=space.device)
    start = _Start(
        family if isinstance(family, type) else type(family),
        space,
        execution.check_options(block_size, workers),
    )
    driver = execution.driver_for(space)
    whole = driver.pad_rows(rows) or rows
    if contract.starts_from_centres(family):
        mixture: Mixture[Any] = driver.compute(start, space, whole, draws)
        values = mixture.components[1]
    else:
        whole, shares = driver.compute(start, space, whole, draws)
        mixture = _from_shares(space, family, whole, shares)
        values = shares
    if is_concrete(values) and not np.isfinite(to_host(values)).all():
        _raise_for_bad_rows(space, start.family, column_names(x), *rows)
    return mixture


def _from_shares(space: Space, family: Any, x: Array, shares: Array) -> Mixture[Any]:
    """The mixture of components that rows have been shared out to."""
    xp, driver = space.xp, execution.driver_for(space)
    counts = xp.sum(shares, axis=0)
    if not isinstance(family, type):  # components of the wished shapes
        own = contract.estimable(family)
        _check_template(own, shares.shape[1])
        sums = own._moments(*driver.compute(_Statistics(), space, family, x, shares))
        mixture: Mixture = driver.compute(m_step_formula, space, family, counts, sums, None)
        return mixture
    if issubclass(family, contract.Family):
        components = driver.compute(_FromShares(family), space, x, shares)
    elif hasattr(family, "start"):
        components = quietly(family.start, x, shares)
        if not hasattr(components, "log_prob"):
            raise TypeError(
                f"{family.__name__}.start(x, responsibilities) gives {described(components)}; "
                f"expected a {family.__name__}"
            )
    else:
        name = family.__name__
        raise TypeError(
            f"family is the class {name}, which has no method start; give {name}(...) of the "
            f"wished shapes as family, or {name} a class method start(x, responsibilities)"
        )
    return Mixture(counts / xp.sum(counts), components)


def _check_template(family: contract.Family, k: int) -> None:
    """Raise unless components of the wished shapes are as many as are wished."""
    found = family._n_components()
    if found is not None and found != k:
        raise ValueError(
            f"family describes {found} components but n_components is {k}; expected components of "
            "the wished shapes, or their class"
        )


def _with_support(family: Any) -> type[contract.Family]:
    """The class that knows the support: of a user's class nothing is known."""
    return family if issubclass(family, contract.Family) else contract.Family


@dataclass(frozen=True)
class _FromShares:
    """What is compiled: from rows and their shares to components of a family of the package."""

    family: Any

    def __call__(self, xp: Namespace, x: Array, shares: Array) -> Any:
        return self.family._from_shares(xp, x, shares)


@dataclass(frozen=True)
class _Statistics:
    """What is compiled: the sums over rows under components."""

    def __call__(self, xp: Namespace, components: Any, x: Array, shares: Array) -> Any:
        family: Any = contract.family_of(components)
        return tuple(family._statistics_of_rows(xp, x, shares))


def _check_family(family: Any) -> None:
    if not hasattr(family, "log_prob"):
        plain = family is None or isinstance(family, (type, str))
        given = shown(family) if plain else described(family)
        raise TypeError(
            f"family is {given}; expected the class of a family, such as FullGaussian itself"
            f"{hint_for_family(family)}"
        )


def _random(seed: Any) -> np.random.Generator:
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(
            f"seed is {shown(seed)}; seed must be a non-negative integer, or a sequence of them"
        ) from None


def _prepare_rows(x: Any, sample_weight: Any, family: Any) -> tuple[Space, tuple[Array, ...]]:
    """The space of a call, and its rows (x,) or (x, sample_weight)."""
    named = {"x": x} if sample_weight is None else {"x": x, "sample_weight": sample_weight}
    space = space_of(named)
    x = space.rows("x", x)
    _check_rows(x, family)
    if x.shape[-1] == 0 and x.ndim > 1:
        raise ValueError(f"x has shape {shape_text(tuple(x.shape))}; expected at least one feature")
    if sample_weight is None:
        return space, (x,)
    sample_weight = space.parameter("sample_weight", sample_weight)
    check_shape("sample_weight", sample_weight, (x.shape[0],), ": one weight a row of x")
    sample_weight = check_non_negative(space, "sample_weight", sample_weight)
    if is_concrete(sample_weight) and not to_host(sample_weight).any():
        raise ValueError("sample_weight sums to 0; at least one weight must be positive")
    return space, (x, sample_weight)


def _check_rows(x: Array, family: Any) -> None:
    """Raise unless `x` has as many axes as rows of the family."""
    if not isinstance(family, type):
        contract.check_rows_shape("x", family, x)
        return
    n_axes = contract.n_axes_of_rows(family)
    if n_axes is None:
        if x.ndim not in (1, 2):
            shape = shape_text(tuple(x.shape))
            raise ValueError(f"x has shape {shape}; expected (n,) or (n, d)")
        return
    hint = contract.hint_for_rows("x", tuple(x.shape), n_axes)
    check_shape("x", x, ("n", "d")[:n_axes], f" for {family.__name__} components{hint}")


def _raise_for_bad_rows(
    space: Space,
    family: Any,
    columns: tuple[Any, ...],
    x: Array,
    weight: Array | None = None,
) -> None:
    """Raise for the first row that no family takes, unless its weight is 0; or for all of them."""
    xp = space.xp
    known = _with_support(family)
    good = xp.isfinite(x) & known._supports(x)
    good = good if len(x.shape) == 1 else xp.all(good, axis=1)
    if weight is not None:
        good = good | (weight == 0)
    found = suspects(space, x, xp.where(good, xp.astype(good, space.dtype), math.nan))
    if found is not None:
        found.check("x", np.isfinite(found.rows), "must be finite", columns)
        found.check("x", to_host(known._supports(found.rows)), known._support, columns)
    raise ValueError(
        f"x varies too much: the variance of a feature is too large for {space.dtype}; give x in "
        "larger units"
    )


@dataclass(frozen=True)
class _Start:
    """What is compiled: from rows and random draws to a mixture."""

    family: Any
    space: Space
    options: execution.Options

    def __call__(self, xp: Namespace, rows: tuple[Array, ...], draws: Array) -> Any:
        x, weight = rows if len(rows) == 2 else (rows[0], None)
        given, x = x, x[:, None] if x.ndim == 1 else x
        variances = self.overall_variances(x, weight)
        # A feature that never varies tells nothing: any scale will do.
        variances = xp.where(variances == 0, 1.0, variances)
        centres, share = self.centres(x, weight, variances, draws)
        if not contract.starts_from_centres(self.family):
            return self.valid_rows(given, weight), self.hard_shares(x, weight, variances, centres)
        # Never so small that a component could not see its neighbours.
        share = xp.where(share < _LEAST_SHARE, _LEAST_SHARE, share)
        k = draws.shape[0]
        return Mixture(xp.ones_like(draws) / k, self.family._spread(xp, centres, variances * share))

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
        shares = mass * shares / xp.sum(shares, axis=1, keepdims=True)
        # What is wrong with a row shows in its shares.
        supported = _with_support(self.family)._supports(x)
        wrong = xp.sum(xp.where(supported, 0.0 * x, math.nan), axis=1)
        wrong = wrong if weight is None else xp.where(weight > 0, wrong, 0.0)
        return shares + wrong[:, None]

    def valid_rows(self, x: Array, weight: Array | None) -> Array:
        """Rows (n, ...), the first that counts in the place of those of weight 0."""
        if weight is None:
            return x
        xp = self.space.xp
        counts = weight > 0
        first = xp.take(x, xp.reshape(xp.argmax(xp.astype(counts, xp.int32)), (1,)), axis=0)
        return xp.where(counts if x.ndim == 1 else counts[:, None], x, first)

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
            distances = closest[0] if weight is None else xp.where(mass > 0, mass * closest[0], 0.0)
        return xp.stack(chosen), xp.sum(distances) / xp.sum(mass) / float(d)

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

    def block(self, ops: BlockOps, prepared: Any, *rows: Array) -> tuple[tuple[Array, ...], Any]:
        xp, features = ops.xp, ops.axis
        centre, scales = prepared
        standardized = (rows[0] - expand_components(centre, features)) * expand_components(
            scales, features
        )
        distances = xp.sum(standardized * standardized, axis=features)
        return (distances if len(rows) == 1 else xp.minimum(distances, rows[1]),), ()
