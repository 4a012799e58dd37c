"""Rows of a call that may lack values, or have errors of their own: arguments and checks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp.arrays.block import expand_like
from estep_xp.arrays.namespace import is_concrete, is_on_host, is_tracer, to_host
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.suspects import Suspects
from estep_xp.arrays.validation import check_shape, check_values, shape_text
from estep_xp.execution import driver_for
from estep_xp.families import contract
from estep_xp.families.incomplete import Incomplete, Missing, wrapper_for
from estep_xp.families.parts_with_holes import PartsWithHoles

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray, Array, Components
    from estep_xp.arrays.namespace import Space

_BLOCK = 1 << 16  # rows that are checked at a time
_MISSING_HINT = "; where NaN means that nothing was observed, give missing=True"
_SORTED = 2000  # rows of which an order is not worth its time
_LEAST_EIGENVALUE = 1e-6  # of a correlation matrix of errors that rounding may have made negative


def combine(
    space: Space,
    components: Components,
    x: Array,
    noise: Any,
    *,
    missing: bool,
    sample_weight: Array | None = None,
) -> tuple[Array, type[Incomplete] | None]:
    """Rows with their errors beside them as more features, and the wrapper that reads such rows.

    None for the wrapper where all is known of all rows: then nothing differs from any other call.
    """
    if not missing and noise is None:
        return x, None
    family = contract.family_of(components)
    kind = components if isinstance(components, contract.Family) else type(family)
    name = type(components).__name__
    masked = masked_rows(sample_weight)
    errors = check_incomplete(space, kind, x, noise, missing=missing, name=name, masked=masked)
    if errors:
        return _beside(space, x, errors[0]), wrapper_for(missing=missing, noise=True)
    # Values that do not exist yet may be NaN.
    return x, wrapper_for(missing=not is_concrete(x) or _has_nan(space, x), noise=False)


def check_incomplete(
    space: Space,
    family: Any,
    x: Array,
    noise: Any,
    *,
    missing: bool,
    name: str | None = None,
    masked: Any = None,
) -> tuple[Array, ...]:
    """Raise unless a family, class or components, takes such rows; return their errors, if any.

    Errors of rows that are `masked` may be anything.
    """
    if missing and not family._takes_missing:
        lacking = _name_without(family, "_takes_missing", name)
        raise TypeError(
            "missing=True needs a family of which features can be integrated out, such as "
            f"FullGaussian, not {lacking}; fill or drop the rows with NaN"
        )
    if noise is None:
        return ()
    if not family._takes_noise:
        lacking = _name_without(family, "_takes_noise", name)
        raise TypeError(f"noise is for Gaussian families, not {lacking}; leave it out")
    return (_check_noise(space, noise, x, missing=missing, masked=masked),)


def masked_rows(sample_weight: Any) -> np.ndarray[Any, Any] | None:
    """Flags (n,) of rows of weight 0, where there are some and weights are there to be seen."""
    if sample_weight is None or not is_concrete(sample_weight):
        return None
    masked: np.ndarray[Any, Any] = to_host(sample_weight) == 0
    return masked if masked.ndim == 1 and masked.any() else None


def _name_without(family: Any, flag: str, name: str | None = None) -> str:
    """Name a family, class or components, and the part of a product that makes it lack a flag."""
    name = name or str(getattr(family, "__name__", type(family).__name__))
    if isinstance(family, type) or not isinstance(family, PartsWithHoles):
        return name
    for i, part in enumerate(family.parts):
        inner = part if isinstance(part, contract.Family) else contract.family_of(part)
        if not getattr(inner, flag):
            own = inner if inner is part else type(part)
            return f"{name}, whose parts[{i}] is a {_name_without(own, flag)}"
    return name


class SortedRows(NamedTuple):
    """NumPy rows in an order of their own."""

    rows: tuple[AnyArray, ...]
    order: AnyArray  # (n,)

    def restore_order(self, results: tuple[AnyArray, ...]) -> tuple[AnyArray, ...]:
        """Results (n, ...) of these rows in the order in which the rows were given."""
        restored = tuple(map(np.empty_like, results))
        for result, one in zip(restored, results, strict=True):
            result[self.order] = one
        return restored


def sort_rows(
    space: Space,
    components: Components,
    rows: tuple[Array, ...],
    wrapper: type[Incomplete] | None,
) -> SortedRows | None:
    """Rows with holes in the order that the family wishes, where they make several blocks."""
    x: AnyArray = rows[0]
    if wrapper is not Missing or x.shape[0] <= _SORTED or not driver_for(space).reorders_rows:
        return None
    order = None if isinstance(x, np.memmap) else contract.family_of(components)._row_order(x)
    if order is None:
        return None
    arrays: tuple[AnyArray, ...] = rows
    return SortedRows(tuple(np.take(array, order, axis=0) for array in arrays), order)


def raise_for_bad_values(
    found: Suspects,
    name: str,
    family: contract.Family,
    wrapper: type[Incomplete] | None,
    columns: tuple[Any, ...],
) -> None:
    """Raise for the first of suspect rows that is not finite, or outside of the support."""
    if wrapper is not None and wrapper.has_noise:
        shape = family._rows_shape() or ("n",)
        own = found.rows[:, 0] if len(shape) == 1 else found.rows[:, : shape[1]]
        found = found._replace(rows=own)
    unknown = np.isnan(found.rows) & (wrapper is not None and wrapper.allows_missing)
    hint = _MISSING_HINT if family._takes_missing and wrapper is None else ""
    found.check(name, unknown | np.isfinite(found.rows), "must be finite", columns, hint)
    support = family._static_support()
    found.check(name, unknown | support._supports(found.rows), support._support, columns)


def _has_nan(space: Space, x: Array) -> bool:
    """Whether an entry is NaN, block by block: x may be a file larger than the memory."""
    xp, array = (np, to_host(x)) if is_on_host(x) else (space.xp, x)
    if isinstance(array, np.ndarray) and array.dtype.kind != "f":
        return False
    n = array.shape[0]
    blocks = (array[i : min(i + _BLOCK, n), ...] for i in range(0, n, _BLOCK))
    return any(bool(xp.any(xp.isnan(block))) for block in blocks)


def _beside(space: Space, x: Array, noise: Array) -> Array:
    xp, n = space.xp, x.shape[0]
    x = space.parameter("x", x)  # in the dtype of the call
    if x.ndim == 1:
        return xp.stack([x, noise], axis=1)
    return xp.concat([x, xp.reshape(noise, (n, math.prod(noise.shape[1:])))], axis=1)


def _check_noise(space: Space, noise: Any, x: Array, *, missing: bool, masked: Any) -> Array:
    """Errors of rows: variances, shaped like x, or covariances (n, d, d)."""
    noise = space.rows("noise", noise)
    noise = space.parameter("noise", noise)
    shape = tuple(x.shape)
    expected = shape if noise.ndim == len(shape) else (*shape, shape[-1])
    if len(shape) == 1 or noise.ndim not in (2, 3):
        expected = shape
    why = ": variances of the errors of x" + (
        f", or covariances {shape_text((*shape, shape[-1]))}" if len(shape) == 2 else ""
    )
    check_shape("noise", noise, expected, why)
    if masked is not None and len(masked) == shape[0]:
        flags = expand_like(space.xp.asarray(masked, device=space.device), noise)
        noise = space.xp.where(flags, space.xp.ones_like(noise), noise)
    if is_concrete(x) and missing and is_concrete(noise):
        # Errors of what was not observed are not read, and may be anything.
        hidden = np.isnan(to_host(x))
        good = _are_usable(to_host(noise), hidden)
    elif noise.ndim == len(shape) or not is_concrete(noise):
        if missing and is_tracer(noise):
            noise = _without_hidden(space.xp, noise, space.parameter("x", x))
        return _check_variances(space, noise, allow_nan=missing)
    else:
        good = _are_usable(to_host(noise), np.zeros(shape, dtype=bool))
    if not good.all():
        _raise_for_noise(to_host(noise), int(np.flatnonzero(~good)[0]))
    return noise


def _without_hidden(xp: Any, noise: Array, x: Array) -> Array:
    """Errors of rows, but 0 for what was not observed."""
    hidden = xp.isnan(x)
    if noise.ndim > x.ndim:
        hidden = hidden[:, :, None] | hidden[:, None, :]
    return xp.where(hidden, xp.zeros_like(noise), noise)


def _check_variances(space: Space, noise: Array, *, allow_nan: bool) -> Array:
    """Variances, or covariances whose values do not exist yet."""

    def test(_: Any, a: Any) -> Any:
        good = (a >= 0) & (a < math.inf)
        return good | (a != a) if allow_nan else good

    if noise.ndim < 3:
        return check_values(space, "noise", noise, test, "noise must be non-negative and finite")
    xp = space.xp
    if not is_tracer(noise):
        return noise
    symmetric = xp.all(noise == xp.matrix_transpose(noise), axis=(1, 2))
    variances = xp.linalg.diagonal(noise)
    good = symmetric & xp.all(variances >= 0, axis=1)
    # Factors of correlations: NaN where these are indefinite by more than rounding.
    scale = 1.0 / xp.sqrt(xp.where(variances > 0, variances, 1.0))
    scaled = noise * scale[:, :, None] * scale[:, None, :]
    tolerance = max(_LEAST_EIGENVALUE, float(xp.finfo(noise.dtype).eps) ** 0.5)
    factors = xp.linalg.cholesky(scaled + tolerance * xp.eye(noise.shape[-1], dtype=noise.dtype))
    good = good & xp.all(xp.isfinite(factors), axis=(1, 2))
    return noise + xp.where(good, 0.0, math.nan)[:, None, None]


def _are_usable(noise: np.ndarray[Any, Any], hidden: np.ndarray[Any, Any]) -> Any:
    """Flags (n,) of rows whose errors have variances, or covariances, where x was observed."""
    if noise.ndim == hidden.ndim:
        good = quietly(lambda: hidden | ((noise >= 0) & (noise < np.inf)))
        return good if good.ndim == 1 else good.all(axis=1)
    out = np.empty(len(noise), dtype=bool)
    for start in range(0, len(noise), _BLOCK):
        rows = slice(start, start + _BLOCK)
        out[rows] = quietly(_are_covariances, noise[rows], hidden[rows])
    return out


def _are_covariances(noise: np.ndarray[Any, Any], hidden: np.ndarray[Any, Any]) -> Any:
    """Flags (n,) of matrices that are symmetric and not indefinite, hidden features left out."""
    if hidden.any():
        noise = np.where(hidden[:, :, None] | hidden[:, None, :], 0.0, noise)
    variances = np.diagonal(noise, axis1=1, axis2=2)
    good: Any = np.isfinite(noise).all(axis=(1, 2)) & (variances >= 0).all(axis=1)
    tolerance = float(np.sqrt(np.finfo(noise.dtype).eps))
    scale = 1.0 / np.sqrt(np.where(good[:, None] & (variances > 0), variances, 1.0))
    usable = noise if good.all() else np.where(good[:, None, None], noise, 0.0)
    scaled = usable * scale[:, :, None]
    scaled *= scale[:, None, :]
    good &= (abs(scaled - scaled.transpose(0, 2, 1)) <= tolerance).all(axis=(1, 2))
    good &= (abs(scaled) <= 1 + tolerance).all(axis=(1, 2))
    shifted = scaled if good.all() else scaled[good]
    shifted += max(_LEAST_EIGENVALUE, tolerance) * np.eye(noise.shape[1])
    try:
        np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        good[good] = np.linalg.eigvalsh(shifted).min(axis=1) > 0
    return good


def _raise_for_noise(noise: np.ndarray[Any, Any], row: int) -> None:
    kind = "variances, non-negative and finite"
    if noise.ndim == 3:
        kind = "a covariance: finite, symmetric and not indefinite"
    shown = np.array2string(noise[row], threshold=16, precision=4).replace("\n", "")
    raise ValueError(f"noise[{row}] is {shown}; noise must hold {kind}")
