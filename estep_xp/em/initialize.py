"""Where EM may start: a finished start, or one of a few plain ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp import execution
from estep_xp.arrays.array_types import Array, ComponentsT
from estep_xp.arrays.block import expand_like
from estep_xp.arrays.frames import column_names
from estep_xp.arrays.namespace import MANY_NUMBERS, Space, is_concrete, space_of, to_host
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.random import generator_of
from estep_xp.arrays.text import shown
from estep_xp.arrays.validation import check_whole
from estep_xp.em.arguments import (
    check_family,
    check_rows,
    check_sample_weight,
    check_template,
    class_of,
    give_arrays,
    raise_for_bad_rows,
    raise_too_wide,
)
from estep_xp.em.casts import cast_components, cast_mixture, is_builtin
from estep_xp.em.starts.brief import start_briefly
from estep_xp.em.starts.compiled import SpreadStart
from estep_xp.em.starts.holes import complete_rows
from estep_xp.em.starts.kmeans import find_clusters, share_rows
from estep_xp.em.starts.rows import Rows, choose_rows, standardize_rows
from estep_xp.em.starts.settle import settle, start_from_shares
from estep_xp.em.starts.shared import mixture_from_shares, replace_masked_rows
from estep_xp.em.starts.short_em import ShortEM
from estep_xp.em.starts.units import has_good_units, spread_jointly
from estep_xp.families import contract
from estep_xp.families.incomplete_rows import check_incomplete, masked_rows
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import LikeN, LikeNoise, RowsLike

_SAMPLE = 1 << 16  # rows sampled from data that are not in memory
_METHODS = ("k-means", "k-means++", "random", "random_rows")
_FLOOR = 1e-6  # of variances, the mean of which is 1
_BLOCK = 1 << 16  # rows that are checked in one go


def initialize(
    x: RowsLike,
    n_components: int,
    family: type[ComponentsT] | ComponentsT,
    *,
    seed: Any = 0,
    method: str | None = None,
    sample_weight: LikeN | None = None,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
) -> Mixture[ComponentsT]:
    """A mixture to start EM from.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components.
    n_components : int
        Number of components, at most the number of rows.
    family : type or components
        The class of the components, for example `FullGaussian`. Of a class of your own, one with a
        class method ``start(x, responsibilities)``, or components of the right shapes as a
        template, as `Product` and `FactorAnalyzer` need, whose template may have any number of
        components.
    seed : int or sequence of int, optional
        Seed of the random choice, for ``numpy.random.default_rng``: the same choice in every
        library, as far as its rounding allows.
    method : str, optional
        By default the best of up to eight starts, each improved by joining two components and
        splitting a third as long as that gains. ``"k-means"``: clusters by greedy k-means++ and
        Lloyd's iterations, each with its own weight, mean and covariance. ``"k-means++"``: rows
        that lie far from each other as means, and one variance of each feature for all.
        ``"random_rows"``: different rows as means, at random. ``"random"``: responsibilities at
        random, from a Dirichlet distribution.
    sample_weight : array, shape (n,), optional
        Non-negative weight of each row; one of weight 0 is never chosen, whatever it holds.
    block_size, workers : int, optional
        As for `e_step`.
    missing : bool, optional
        Whether NaN in `x` is a feature that was not observed, which takes the value of a row
        nearby; by default it is bad input.
    noise : array, shape (n, d) or (n, d, d), optional
        Variances or covariances of each row's measurement errors, for Gaussian families; shape (n,)
        for univariate components. What is noise for the most part counts as missing.

    Returns
    -------
    Mixture
        Components that rows have been shared out to.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value.

    Notes
    -----
    The default looks at 2000 rows, or 50 for each component if these are more, with features
    divided by their standard deviations (by one for all if components are spherical). It takes ten
    EM steps from k-means, then moves components as long as that gains: two become one, and a third
    becomes two, wherever the bound that EM raises says that the log-likelihood grows (after Ueda et
    al. 2000). It ends when two starts lead to the same log-likelihood. A family without covariances
    gets the best of up to four starts by k-means after ten EM steps. Under ``jit`` the default is
    k-means: a compiled program cannot take such decisions. From a Dask array a sample of the rows
    is computed and used.

    Examples
    --------
    >>> import estep_xp as ex
    >>> start = ex.initialize([1.0, 1.4, 6.2, 6.6], 2, ex.UnivariateGaussian)
    >>> sorted(start.components.means.round(4).tolist())
    [1.2, 6.4]
    """
    k = check_whole("n_components", n_components, 1)
    check_family(family)
    check_method(method)
    random = generator_of(seed)
    options = execution.check_options(block_size, workers)
    space, family, rows = _prepare_rows(x, sample_weight, family)
    known = (
        contract.with_support(family) if isinstance(family, type) else contract.family_of(family)
    )
    masked = masked_rows(rows[1] if len(rows) == 2 else None)
    errors = check_incomplete(space, known, rows[0], noise, missing=missing, masked=masked)
    rows = execution.driver_for(space).sample_rows((*rows, *errors), _SAMPLE, random)
    rows, errors = rows[: len(rows) - len(errors)], rows[len(rows) - len(errors) :]
    space = space_of(dict(zip(("x", "sample_weight"), rows, strict=False)))
    if missing or errors:
        supports = contract.with_support(family)._supports
        rows = complete_rows(space, rows, errors, k, random, supports)
    if rows[0].shape[0] < k:
        raise ValueError(
            f"x has {rows[0].shape[0]} rows; expected at least n_components = {k}, one for each"
        )
    check_template(family, k, for_start=True)
    if contract.starts_from_centres(family):
        family = class_of(family)
    mixture: Any
    if method in ("k-means++", "random_rows") or space.lazy:
        mixture, values = _start_anywhere(space, rows, k, family, method, random, options)
    else:
        _check_values(space, family, column_names(x), rows)
        driver = execution.driver_for(space_of({}))
        arguments = (space, rows, k, family, method, random, options)
        mixture = driver.call_on_one_thread(_start_on_host, *arguments)
        values = mixture.weights
        if isinstance(family, type) and issubclass(family, contract.Family):
            values = mixture.components[-1]
    if is_concrete(values) and not np.isfinite(to_host(values)).all():
        raise_for_bad_rows(space, family, column_names(x), *rows)
    return mixture


def check_method(method: Any) -> None:
    """Raise unless this is a method of starting, or None."""
    if method is not None and method not in _METHODS:
        names = ", ".join(map(repr, _METHODS))
        raise ValueError(f"method is {shown(method)}; expected one of {names}, or None")


def _prepare_rows(x: Any, sample_weight: Any, family: Any) -> tuple[Space, Any, tuple[Array, ...]]:
    """The space of a call, the family, and its rows (x,) or (x, sample_weight)."""
    named = {"x": x} if sample_weight is None else {"x": x, "sample_weight": sample_weight}
    space = space_of(named)
    if _adopts_dtype(x) and isinstance(family, contract.Family):
        beside = str(space_of(family._parameters()).dtype).rpartition(".")[2]
        space = space._replace(dtype=getattr(space.xp, beside))
        x = space.parameter("x", x)
    family = give_arrays(space, family)
    x = space.rows("x", x)
    check_rows(x, family)
    if sample_weight is None:
        return space, family, (x,)
    return space, family, (x, check_sample_weight(space, sample_weight, x.shape[0]))


def _adopts_dtype(x: Any) -> bool:
    """Whether rows are integers, or lists, that adopt the floating dtype beside them."""
    if isinstance(x, (list, tuple)):
        return True
    return str(getattr(x, "dtype", "")).rpartition(".")[2].startswith(("int", "uint", "bool"))


def _start_anywhere(
    space: Space,
    rows: tuple[Array, ...],
    k: int,
    family: Any,
    method: str | None,
    random: np.random.Generator,
    options: execution.Options,
) -> tuple[Mixture, Array]:
    """A start that any library makes by itself, compiled or not; and what shows bad rows."""
    driver = execution.driver_for(space)
    whole = driver.pad_rows(rows) or rows
    supports = contract.with_support(family)
    draws: Any = ()
    if method == "random":
        x, shares = _random_shares(space, rows, k, random)
    else:
        draws = space.xp.asarray(random.random(k), dtype=space.dtype, device=space.device)
    start = SpreadStart(class_of(family), space, options, method or "k-means", supports)
    deviations, found = driver.compute(start, space, whole, draws)
    if is_concrete(deviations):
        host = to_host(deviations)
        if not np.isnan(host).any():  # NaN comes of bad rows, which the caller names
            _check_units(space, family, spread_jointly(np, family, host))
    if isinstance(found, Mixture):
        components: Any = found.components
        mixture, values = found, components[1]
    else:
        x, shares = found or (x, shares)
        mixture, values = mixture_from_shares(space, family, x, shares, options), shares
    if not is_concrete(deviations):
        wrong = space.xp.where(has_good_units(space, family, deviations), 0.0, math.nan)
        mixture = mixture._replace(weights=mixture.weights + wrong)
    return mixture, values


def _random_shares(
    space: Space, rows: tuple[Array, ...], k: int, random: np.random.Generator
) -> tuple[Array, Array]:
    """Rows, and shares (n, k) of them from a Dirichlet distribution."""
    xp, weight = space.xp, rows[1] if len(rows) == 2 else None
    shares = space.parameter("shares", random.dirichlet(np.ones(k), rows[0].shape[0]))
    if weight is not None:
        shares = shares * weight[:, None]
    return replace_masked_rows(space, rows[0], weight), xp.asarray(shares)


def _check_values(
    space: Space, family: Any, columns: tuple[Any, ...], rows: tuple[Array, ...]
) -> None:
    """Raise for the first row that no family takes, unless its weight is 0."""
    x, weight = rows if len(rows) == 2 else (rows[0], None)
    supports = contract.with_support(family)._supports
    small = math.prod(x.shape) <= MANY_NUMBERS
    xp, array = (np, to_host(x)) if small else (space.xp, x)
    mass = None if weight is None else to_host(weight)
    for begin in range(0, array.shape[0], _BLOCK):
        block = array[begin : begin + _BLOCK, ...]
        good = quietly(lambda block: xp.isfinite(block) & supports(block), block)
        if bool(xp.all(good)):
            continue
        if mass is not None:
            host = to_host(good)
            masked = mass[begin : begin + _BLOCK] == 0
            if (host | expand_like(masked, host)).all():
                continue
        raise_for_bad_rows(space, family, columns, x, weight)


def _start_on_host(
    space: Space,
    rows: tuple[Array, ...],
    k: int,
    family: Any,
    method: str | None,
    random: np.random.Generator,
    options: execution.Options,
) -> Mixture:
    """A start that NumPy makes, of some of the rows."""
    x = rows[0]
    weight = None if len(rows) == 1 else to_host(rows[1]).astype(np.float64)
    chosen = choose_rows(x.shape[0], weight, k, random)
    taken = _take(space, x, chosen)
    host = to_host(taken).astype(np.float64)
    mass = None if weight is None else weight[chosen]
    own = class_of(family)
    has_covariances = isinstance(family, type) and contract.starts_from_centres(family)
    jointly = has_covariances and not own._has_own_units
    points = own._as_points(host) if issubclass(own, contract.Family) else host
    sampled = standardize_rows(points, mass, jointly=jointly)
    if has_covariances:
        return _start_gaussians(space, sampled, k, family, method, random)
    _check_units(space, family, sampled.scale)
    options = options if options.workers else options._replace(workers=1)
    inner, inside = space, taken
    if is_builtin(family):
        inner, inside = space_of({"x": host}), host
    shares: Any
    if method == "random":
        shares = random.dirichlet(np.ones(k), len(host)) * sampled.weight[:, None]
    elif method == "k-means":
        shares = share_rows(find_clusters(sampled, k, random), k, sampled.weight)
    else:
        template = family if isinstance(family, type) else cast_components(inner, family)
        found = start_briefly(template, inner, inside, sampled, k, random, options)
        return cast_mixture(space, found)
    shares = inner.parameter("responsibilities", shares)
    template = family if isinstance(family, type) else cast_components(inner, family)
    return cast_mixture(space, mixture_from_shares(inner, template, inside, shares, options))


def _start_gaussians(
    space: Space,
    rows: Rows,
    k: int,
    family: Any,
    method: str | None,
    random: np.random.Generator,
) -> Mixture:
    _check_deviations(space, rows.scale)
    z = rows.z[:, 0] if rows.x.ndim == 1 else rows.z
    inner = space_of({"x": z})
    if method == "random":
        shares = random.dirichlet(np.ones(k), len(z)) * rows.weight[:, None]
        mixture = start_from_shares(family, rows, shares)
    elif method == "k-means":
        shares = share_rows(find_clusters(rows, k, random), k, rows.weight)
        mixture = start_from_shares(family, rows, shares)
    else:
        given = (z,) if rows.equal else (z, rows.weight)
        em = ShortEM(inner, given, execution.Options(None, 1), floor=_FLOOR)
        mixture = settle(family, rows, em, k, random).mixture
    components: Any = mixture.components
    return cast_mixture(
        space, Mixture(mixture.weights, components._rescale(rows.centre, rows.scale))
    )


def _check_units(space: Space, family: Any, scale: Any) -> None:
    """Raise if components, or parts, that have means and variances would lose them in a dtype."""
    parts = () if isinstance(family, type) else contract.family_of(family)._start_parts()
    for part, columns in parts:
        _check_units(space, part, scale[columns.start : columns.stop])
    if not parts and contract.has_centres(class_of(family)):
        _check_deviations(space, scale)


def _check_deviations(space: Space, scale: Any) -> None:
    """Raise if the square of a deviation overflows, or loses digits, in the dtype of results."""
    name = str(space.dtype).rpartition(".")[2]
    limits = np.finfo(name)
    variances = quietly(np.square, np.asarray(scale, dtype=np.float64))
    if not (variances <= float(limits.max)).all():
        raise_too_wide(space)
    if (variances < float(limits.smallest_normal)).any():
        remedy = "" if name == "float64" else ", or as float64"
        raise ValueError(
            f"variances of about {scale.min():.3g}² are too small for {name}; give x in smaller "
            f"units{remedy}"
        )


def _take(space: Space, x: Array, chosen: Any) -> Array:
    """Some of the rows."""
    if len(chosen) == x.shape[0]:
        return x
    if math.prod(x.shape) <= MANY_NUMBERS:  # JAX would compile this for each size
        return space.parameter("x", to_host(x)[chosen])
    return space.xp.take(x, space.xp.asarray(chosen, device=space.device), axis=0)
