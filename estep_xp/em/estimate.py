"""`estimate`: the M-step from known responsibilities or labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp import execution
from estep_xp.arrays.array_types import Array
from estep_xp.arrays.frames import as_numpy, column_names
from estep_xp.arrays.namespace import Space, is_concrete, library_of, space_of, to_host
from estep_xp.arrays.nested import leaves_of
from estep_xp.arrays.quiet import quiet
from estep_xp.arrays.validation import (
    check_non_negative,
    check_shape,
    check_whole,
    raise_bad_value,
    shape_text,
)
from estep_xp.em.arguments import (
    check_family,
    check_rows,
    check_sample_weight,
    check_template,
    give_arrays,
    raise_for_bad_rows,
)
from estep_xp.em.casts import cast_components, cast_mixture, is_best_on_host, is_builtin
from estep_xp.em.known import Known, move_components
from estep_xp.em.m_step import check_floor, run_m_step
from estep_xp.em.starts.shared import components_from_start, replace_masked_rows
from estep_xp.families import contract
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import LikeN, RowsLike

_NO_ROWS = "no row belongs to a component; at least one must"

# Components that labels may speak of though there are fewer rows.
_MOST_COMPONENTS = 1 << 16


@quiet
def estimate(
    x: RowsLike,
    responsibilities: Any,
    family: Any,
    *,
    n_components: int | None = None,
    sample_weight: LikeN | None = None,
    variance_floor: float | None = None,
) -> Mixture:
    """The mixture that known responsibilities or labels make most likely: one M-step.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components.
    responsibilities : array, shape (n, k), or of integers, shape (n,)
        How much of each row belongs to each component, rows of any sum; or the component of each
        row, -1 for none.
    family : type or components
        The class of the components, for example `FullGaussian`. Of a class of your own, one with a
        class method ``start(x, responsibilities)``, or components of the wished shapes as a
        template.
    n_components : int, optional
        Number of components k; for labels the largest and 1 by default. Needed for labels under
        ``jit``.
    sample_weight : array, shape (n,), optional
        Non-negative weight of each row. A row of weight 0 contributes nothing, whatever it holds;
        nor does one that belongs to no component.
    variance_floor : float, optional
        Added to the variances, as in `m_step`.

    Returns
    -------
    Mixture
        A component that has no rows gets the weight 0 and the parameters that all rows have
        together; those of the template, if there is one.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value, or a covariance matrix is not positive
        definite.

    Examples
    --------
    >>> import estep_xp as ex
    >>> x = [1.0, 1.4, 1.8, 6.2, 6.6, 7.0]
    >>> mixture = ex.estimate(x, [0, 0, 0, 1, 1, -1], ex.UnivariateGaussian)
    >>> mixture.weights, mixture.components.means
    (array([0.6, 0.4]), array([1.4, 6.4]))
    """
    check_family(family)
    k = None if n_components is None else check_whole("n_components", n_components, 1)
    floor = check_floor(variance_floor)
    labels = _as_labels(responsibilities)
    named = {"x": x, "responsibilities": responsibilities if labels is None else labels}
    if not isinstance(family, type):
        named |= contract.arrays_of(family)
    if sample_weight is not None:
        named["sample_weight"] = sample_weight
    space = space_of(named)
    family = give_arrays(space, family)
    rows = space.rows("x", x)
    check_rows(rows, family)
    n = rows.shape[0]
    if n == 0:
        raise ValueError(_NO_ROWS)
    if labels is not None:
        shares = _shares_of_labels(space, labels, n, k)
    else:
        shares = _check_responsibilities(space, responsibilities, n, k)
    weight = () if sample_weight is None else (check_sample_weight(space, sample_weight, n),)
    check_template(family, shares.shape[1])
    arrays = (rows, shares, *weight)
    if is_builtin(family) and is_best_on_host(space, arrays):
        arrays = tuple(np.asarray(array) for array in arrays)
        host = space_of({"x": np.empty(0, dtype=space.dtype)})
        if not isinstance(family, type):
            family = cast_components(host, family)
        return cast_mixture(space, _run(_known(host, arrays, family), family, floor, x))
    known = _known(space, arrays, family)
    if _starts_itself(family):
        return _estimate_by_start(known, family, column_names(x))
    return _run(known, family, floor, x)


def estimate_at_means(x: Array, shares: Array, components: Any, floor: float) -> Mixture:
    """The M-step of `estimate`, about components whose means are those of their rows already.

    All is concrete and good: `x` is finite, `shares` (n, k) are responsibilities, and no component
    is without rows. What variances the components have makes no difference.
    """
    space = space_of({"x": x})
    known = _known(space, (x, shares), components)
    statistics = known.take_statistics(components, again=True)
    _check_counts(known, components, statistics, ())
    return run_m_step(space, statistics, floor)


def _known(space: Space, arrays: tuple[Array, ...], family: Any) -> Known:
    return Known(space, arrays, contract.with_support(family), execution.Options(None, None))


def _starts_itself(family: Any) -> bool:
    return isinstance(family, type) and not issubclass(family, contract.Family)


def _run(known: Known, family: Any, floor: Any, x: Any) -> Mixture:
    padded = execution.driver_for(known.space).pad_rows(known.rows)
    summed = known if padded is None or len(known.rows) > 2 else known._replace(rows=padded)
    components = family
    if isinstance(family, type):
        components = summed.pool_components(family)
    elif contract.family_of(family)._is_builtin:
        components = contract.family_of(family)._checked(known.space)
    statistics = summed.take_statistics(components)
    space = space_of({"counts": statistics.counts})
    _check_counts(known, family, statistics, column_names(x))
    if contract.has_centres(components):
        # Sums about the means themselves, where nothing cancels.
        again = is_concrete(statistics.counts)
        moved = move_components(space, statistics)
        statistics = summed.take_statistics(moved, again=again)
    return run_m_step(space, statistics, floor)


def _estimate_by_start(known: Known, family: Any, columns: tuple[Any, ...]) -> Mixture:
    x, shares, *weight = known.rows
    xp = known.space.xp
    x, shares = execution.driver_for(known.space).materialize((x, shares))
    if weight:
        (mass,) = execution.driver_for(known.space).materialize(tuple(weight))
        shares = xp.where(mass[:, None] == 0, 0.0, shares * mass[:, None])
    counts = xp.sum(shares, axis=0)
    _raise_if_no_rows(counts)
    total = xp.sum(shares, axis=1)
    # A component without rows gets all of them, so that what begins there is finite.
    shares = xp.where(counts == 0, total[:, None], shares)
    x = replace_masked_rows(known.space, x, total)
    if is_concrete(x) and not bool(xp.all(xp.isfinite(x))):
        raise_for_bad_rows(known.space, family, columns, x, total)
    return Mixture(counts / xp.sum(counts), components_from_start(family, x, shares))


def _check_counts(known: Known, family: Any, statistics: Any, columns: tuple[Any, ...]) -> None:
    """Raise for rows that no sum may hold, or if there are none at all."""
    if not is_concrete(statistics.counts):
        return
    _raise_if_no_rows(statistics.counts)
    if np.isinf(to_host(statistics.counts).sum()):
        raise ValueError("responsibilities are too large: their sum overflows")
    sums = (statistics.counts, *leaves_of(statistics.moments))
    if not all(np.isfinite(to_host(array)).all() for array in sums):
        x, shares, *weight = execution.driver_for(known.space).materialize(known.rows)
        space = space_of({"x": x, "shares": shares})
        xp = space.xp
        total = xp.sum(shares, axis=1)
        total = xp.where(weight[0] == 0, 0.0, total) if weight else total
        raise_for_bad_rows(space, family, columns, x, total)


def _raise_if_no_rows(counts: Array) -> None:
    if is_concrete(counts) and not to_host(counts).any():
        raise ValueError(_NO_ROWS)


def _as_labels(value: Any) -> Any:
    """Labels as an array, or None if the value is one of responsibilities."""
    if isinstance(value, (list, tuple)) and all(
        isinstance(item, (int, np.integer)) for item in value
    ):
        value = np.asarray(value)
    if value is None or not library_of(value):
        return None
    array = value if hasattr(value, "ndim") and hasattr(value, "dtype") else np.asarray(value)
    return array if getattr(array, "ndim", 2) == 1 else None


def _shares_of_labels(space: Space, labels: Any, n: Any, k: int | None) -> Array:
    """Shares (n, k), one of each row, of its label."""
    check_shape("responsibilities", labels, (n,), ": one label for each row of x")
    kind = str(labels.dtype).rpartition(".")[2]
    if is_concrete(labels):
        _check_none_missing(labels)
    if not kind.startswith(("int", "uint", "Int", "UInt")):
        raise TypeError(
            f"responsibilities has shape {shape_text(tuple(labels.shape))} and dtype {kind}; "
            "expected labels, which are integers, or responsibilities of shape (n, k)"
        )
    if is_concrete(labels):
        host = to_host(labels)
        k = _check_labels(host, k)
    if k is None:
        raise ValueError(
            "n_components is None, and labels are not known yet that would tell; give n_components"
        )
    xp = space.xp
    if is_concrete(labels):
        return space.parameter("responsibilities", (host[:, None] == np.arange(k)).astype(float))
    numbers = xp.arange(k, device=space.device)
    good = (labels >= -1) & (labels < k)
    own = xp.astype(labels[:, None] == numbers[None, :], space.dtype)
    return xp.where(good[:, None], own, math.nan)


def _check_none_missing(labels: Any) -> None:
    """Raise for the first of concrete labels that is NaN or NA, whatever its library calls it."""
    host = to_host(labels)
    if host.dtype.kind == "O":
        host = as_numpy("responsibilities", labels)
    if host.dtype.kind != "f":
        return
    missing = np.flatnonzero(np.isnan(host))
    if len(missing):
        raise ValueError(
            f"responsibilities[{missing[0]}] is missing; labels are integers, and -1 is for a row "
            "of no component"
        )


def _check_labels(host: np.ndarray[Any, Any], k: int | None) -> int:
    """The number of components that labels speak of."""
    most = int(host.max()) if len(host) else -1
    count = max(most + 1, 1) if k is None else k
    if k is None and count > max(_MOST_COMPONENTS, len(host)):
        raise ValueError(
            f"responsibilities[{int(host.argmax())}] is {most}, so there are {count} components "
            f"for {len(host)} rows; labels count from 0, and "
            "numpy.unique(labels, return_inverse=True)[1] numbers them so"
        )
    if count > max(_MOST_COMPONENTS, len(host)):
        raise ValueError(
            f"n_components is {count}; expected at most {max(_MOST_COMPONENTS, len(host))} for "
            f"labels of {len(host)} rows"
        )
    bad = np.flatnonzero((host < -1) | (host >= count))
    if len(bad):
        expected = f"labels must be from 0 to {count - 1}, or -1 for no component"
        raise_bad_value("responsibilities", (int(bad[0]),), host[bad[0]], expected)
    return count


def _check_responsibilities(space: Space, value: Any, n: Any, k: int | None) -> Array:
    shares = space.parameter("responsibilities", value)
    why = ": one row a row of x" + ("" if k is None else ", one column a component")
    check_shape("responsibilities", shares, (n, "k" if k is None else k), why)
    if shares.shape[1] == 0:
        raise ValueError("responsibilities has no columns; a mixture has at least one component")
    if is_concrete(shares):
        return check_non_negative(space, "responsibilities", shares)
    return shares
