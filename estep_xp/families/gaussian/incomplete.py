"""Gaussian rows of which features are missing, or known with an error: what one component knows.

A row is x = M (v + e): v of the component, N(μ, V); e an error, N(0, S); M picks what was observed.
With T = M (V + S) M + (I − M), the gain G = V M T⁻¹ M and z = M (x − μ), the density of what was
observed is N(z; 0, T), but for log 2π of the others, and v given x is N(μ + G z, V − G V)
(Bishop 2006, eq. 2.81; Bovy, Hogg and Roweis 2011 for the errors).

Without errors no covariance is formed, whose condition is that of P squared. The hidden features
take the values that make ‖(v − μ) P‖² least: what remains of z P is its part orthogonal to the rows
of P that belong to hidden features, by QR.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.arrays import linalg
from estep_xp.arrays.block import expand_components, loop_components
from estep_xp.families.gaussian.dependent_form import DependentForm, prepare_dependent
from estep_xp.families.gaussian.features_with_holes import (
    IndependentForm,
    Terms,
    evaluate_features,
    moments_of_features,
)
from estep_xp.families.gaussian.noisy_features import (
    NoisyTerms,
    evaluate_noisy_features,
    moments_of_noisy_features,
)
from estep_xp.families.gaussian.noisy_rows import Chunks, evaluate_noisy, moments_noisy
from estep_xp.families.gaussian.patterns import (
    LEAST_ROWS,
    PatternForm,
    evaluate_patterns,
    moments_of_patterns,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import AnyArray, Array, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.families.family import ObservedRows

_LOG_2PI = math.log(2.0 * math.pi)


class Conditional(NamedTuple):
    """What one component knows of incomplete rows."""

    rest: Array  # (n, d): standardised residuals of what was observed
    log_normalizers: Array  # (n,): of the density of what was observed, but for log |P|
    residuals: Array  # (n, d): the mean of v − μ given x
    covariances: Array  # (n, d, d): that of v given x

    def squared(self, xp: Namespace) -> Array:
        """Squared distances (n,) of what was observed."""
        return xp.sum(self.rest * self.rest, axis=1)

    def log_density(self, xp: Namespace) -> Array:
        """Log-densities (n,) of what was observed, but for log |P|."""
        return -0.5 * self.squared(xp) + self.log_normalizers


def evaluate_dependent(
    ops: BlockOps, form: DependentForm, rows: ObservedRows
) -> tuple[Array, PatternForm | Chunks | None]:
    """Log-joints of a block, in its layout, and what is kept for moments."""
    if not _are_many(ops, rows):
        return log_joint_dependent(ops, form, rows), None
    if rows.noise is not None:
        return evaluate_noisy(ops, form, rows)
    return evaluate_patterns(ops, form, rows)


def _are_many(ops: BlockOps, rows: ObservedRows) -> bool:
    """Whether there are rows enough to work on all of them at once."""
    return ops.values_visible and rows.x.shape[1] >= LEAST_ROWS


def log_joint_dependent(ops: BlockOps, form: DependentForm, rows: ObservedRows) -> Array:
    """Log-joints of a block, in its layout."""
    x, seen, noise = rows_first(ops, rows)

    def of_component(mean: Array, factor: Array, covariance: Array, constant: Array) -> Array:
        solved = condition_rows(ops.xp, mean, factor, covariance, x, seen, noise)
        return solved.log_density(ops.xp) + constant

    joint: Array = map_components(ops, of_component, form, x)
    return joint if ops.axis == 0 else ops.xp.permute_dims(joint, (1, 0))


def moments_dependent(
    ops: BlockOps,
    form: DependentForm,
    rows: ObservedRows,
    kept: PatternForm | Chunks | None,
    responsibilities: Array,
) -> tuple[Array, Array]:
    """Expected first (k, d) and second moments (k, d, d) of v − μ."""
    if isinstance(kept, list):
        return moments_noisy(ops, form, kept, responsibilities)
    if kept is None:
        return _moments_by_rows(ops, form, rows, responsibilities)
    return moments_of_patterns(ops, form, kept, rows, responsibilities)


def _moments_by_rows(
    ops: BlockOps, form: DependentForm, rows: ObservedRows, responsibilities: Array
) -> tuple[Array, Array]:
    xp = ops.xp
    x, seen, noise = rows_first(ops, rows)
    shares = responsibilities if ops.axis == 0 else xp.permute_dims(responsibilities, (1, 0))

    def of_component(
        mean: Array, factor: Array, covariance: Array, share: Array
    ) -> tuple[Array, Array]:
        _, _, residuals, covariances = condition_rows(xp, mean, factor, covariance, x, seen, noise)
        weighted = residuals * share[:, None]
        second = xp.matmul(xp.matrix_transpose(weighted), residuals)
        return xp.sum(weighted, axis=0), second + xp.sum(covariances * share[:, None, None], axis=0)

    with_shares = form._replace(constants=shares)
    first, second = map_components(ops, of_component, with_shares, x)
    return first, 0.5 * second + 0.5 * xp.matrix_transpose(second)


def conditional_dependent(
    ops: BlockOps, form: DependentForm, rows: ObservedRows
) -> tuple[Array, Array]:
    """Means (n, k, d) and covariances (n, k, d, d) of v given rows and component."""
    xp = ops.xp
    x, seen, noise = rows_first(ops, rows)

    def of_component(
        mean: Array, factor: Array, covariance: Array, _: Array
    ) -> tuple[Array, Array]:
        _, _, residuals, covariances = condition_rows(xp, mean, factor, covariance, x, seen, noise)
        return mean + residuals, covariances

    means, covariances = map_components(ops, of_component, form, x)
    return xp.moveaxis(means, 0, 1), xp.moveaxis(covariances, 0, 1)


def rows_first(ops: BlockOps, rows: ObservedRows) -> tuple[Array, Array, Array | None]:
    """Observations, flags and errors of a block with its rows first."""
    x, seen, noise = rows
    if ops.axis == 1:
        return x, seen, noise
    move = ops.xp.moveaxis
    return move(x, -1, 0), move(seen, -1, 0), None if noise is None else move(noise, -1, 0)


def map_components(
    ops: BlockOps, function: Callable[..., Any], form: tuple[Array, ...], x: Array
) -> Any:
    """F of each component's arrays, stacked along a first axis."""
    if ops.values_visible:
        return loop_components(ops.xp, function, form, 0)
    return ops.map_components(function, form, 0, x)


def condition_rows(
    xp: Namespace,
    mean: Array,
    factor: Array,
    covariance: Array,
    x: Array,
    seen: Array,
    noise: Array | None,
) -> Conditional:
    """What a component of this mean, precision Cholesky factor and covariance knows of rows."""
    z = xp.where(seen, x - mean, 0.0)
    if noise is None:
        return _complete_features(xp, factor, z, seen)
    return _correct_errors(xp, covariance, factor, z, seen, noise)


def _complete_features(xp: Namespace, factor: Array, z: Array, seen: Array) -> Conditional:
    """Without errors: z (n, d) is zero where nothing was observed."""
    d = z.shape[1]
    hidden = xp.astype(~seen, z.dtype)
    # Columns: the rows of P of hidden features, and unit vectors below for the others, so that the
    # factor R has full rank whatever was observed.
    above = xp.matrix_transpose(factor * hidden[:, :, None])
    below = linalg.diagonal_matrix(xp, 1.0 - hidden)
    q, r = xp.linalg.qr(xp.concat([above, below], axis=-2))
    q = q[:, :d, :]
    y = xp.matmul(z, factor)
    shares = xp.matmul(y[:, None, :], q)
    rest = y - xp.matmul(shares, xp.matrix_transpose(q))[:, 0, :]
    pivots = xp.where(seen, 1.0, xp.abs(xp.linalg.diagonal(r)))
    n_seen = float(d) - xp.sum(hidden, axis=1)
    log_normalizers = -0.5 * _LOG_2PI * n_seen - xp.sum(xp.log(pivots), axis=1)
    inverse = xp.matrix_transpose(linalg.inverse_lower(xp, xp.matrix_transpose(xp.triu(r))))
    inverse = inverse * hidden[:, :, None] * hidden[:, None, :]
    filled = xp.matmul(shares, xp.matrix_transpose(inverse))[:, 0, :]
    covariances = xp.matmul(inverse, xp.matrix_transpose(inverse))
    return Conditional(rest, log_normalizers, z - filled, covariances)


def _correct_errors(
    xp: Namespace, covariance: Array, factor: Array, z: Array, seen: Array, noise: Array
) -> Conditional:
    """With errors, of variances (n, d) or covariances (n, d, d): 0 where nothing was observed."""
    flags = xp.astype(seen, z.dtype)
    both = flags[:, :, None] * flags[:, None, :]
    if noise.ndim == 2:
        noise = linalg.diagonal_matrix(xp, noise)
    total = both * covariance + noise + linalg.diagonal_matrix(xp, 1.0 - flags)
    # Some libraries' cholesky raises for NaN, which shows in the results instead.
    good = xp.all(xp.isfinite(total), axis=(1, 2))
    unit = linalg.diagonal_matrix(xp, xp.ones_like(z))
    total = xp.where(good[:, None, None], total, unit)
    inverse_factor = linalg.precision_cholesky(xp, total)
    w = xp.matmul(z[:, None, :], inverse_factor)
    logs = xp.log(xp.where(seen, xp.linalg.diagonal(inverse_factor), 1.0))
    n_seen = xp.sum(flags, axis=1)
    log_normalizers = xp.sum(logs, axis=1) - 0.5 * _LOG_2PI * n_seen
    log_normalizers = log_normalizers - xp.sum(xp.log(xp.linalg.diagonal(factor)))
    log_normalizers = xp.where(good, log_normalizers, math.nan)
    u = xp.matmul(w, xp.matrix_transpose(inverse_factor))
    residuals = xp.matmul(u, covariance)[:, 0, :]
    inverse = xp.matmul(inverse_factor, xp.matrix_transpose(inverse_factor)) * both
    gain = xp.matmul(covariance, inverse)
    # (I − G) V (I − G)ᵀ + G S Gᵀ: V − G V would cancel where errors are small.
    left = unit - gain
    covariances = xp.matmul(xp.matmul(left, covariance), xp.matrix_transpose(left))
    more = xp.matmul(xp.matmul(gain, noise), xp.matrix_transpose(gain))
    return Conditional(w[:, 0, :], log_normalizers, residuals, covariances + more)


def is_correlated_by(rows: ObservedRows) -> bool:
    """Whether errors make features of rows depend on each other."""
    return rows.noise is not None and rows.noise.ndim > rows.x.ndim


def as_dependent(ops: BlockOps, form: IndependentForm) -> DependentForm:
    """The same components, for such rows."""
    factors = linalg.diagonal_matrix(ops.xp, 1.0 / ops.xp.sqrt(form.variances))
    return prepare_dependent(ops, form.means, factors, form.log_weights)


class _Features(NamedTuple):
    """Of each feature of a block, components by features by rows, or rows by components first."""

    seen: Array
    residuals: Array  # 0 where nothing was observed
    variances: Array
    noise: Array | float


def evaluate_independent(
    ops: BlockOps, form: IndependentForm, rows: ObservedRows
) -> tuple[Array, Terms | NoisyTerms | None]:
    """Log-joints of a block, in its layout, and what is kept for moments."""
    many = ops.values_visible and rows.x.shape[-1] >= LEAST_ROWS
    if not many:
        return log_joint_independent(ops, form, rows), None
    if rows.noise is not None:
        return evaluate_noisy_features(ops, form, rows)
    joint, kept = evaluate_features(ops, form, rows)
    if kept.exact is not None:
        x: AnyArray = rows.x
        seen: AnyArray = rows.seen
        others = ~kept.exact
        some = rows._replace(x=x[..., others], seen=seen[..., others])
        joint[:, others] = log_joint_independent(ops, form, some)
    return joint, kept


def log_joint_independent(ops: BlockOps, form: IndependentForm, rows: ObservedRows) -> Array:
    """Log-joints of a block, in its layout."""
    xp = ops.xp
    seen, residuals, variances, noise = _features(ops, form, rows)
    totals = xp.where(seen, variances + noise, 1.0)
    standardized = residuals / xp.sqrt(totals)
    terms = standardized * standardized + xp.log(totals)
    terms = terms + xp.where(seen, _LOG_2PI, xp.zeros_like(terms))
    joint = -0.5 * ops.sum(terms, 1 + ops.axis)
    if form.log_weights is None:
        return joint
    return joint + expand_components(form.log_weights, ops.axis)


def moments_independent(
    ops: BlockOps,
    form: IndependentForm,
    rows: ObservedRows,
    kept: Terms | NoisyTerms | None,
    responsibilities: Array,
) -> tuple[Array, Array]:
    """Expected first and second moments (k, d) of v − μ, feature by feature."""
    xp = ops.xp
    if isinstance(kept, NoisyTerms):
        return moments_of_noisy_features(ops, form, kept, responsibilities)
    sums = None if kept is None else moments_of_features(ops, form, kept, responsibilities)
    if sums is not None:
        return sums
    residuals, variances = _conditional_features(ops, form, rows)
    shares = responsibilities[:, None, :] if ops.axis == 0 else responsibilities[:, :, None]
    along = 2 if ops.axis == 0 else 0
    first = xp.sum(residuals * shares, axis=along)
    return first, xp.sum((residuals * residuals + variances) * shares, axis=along)


def conditional_independent(
    ops: BlockOps, form: IndependentForm, rows: ObservedRows
) -> tuple[Array, Array]:
    """Means (n, k, d) and covariances (n, k, d, d) of v given rows and component."""
    xp = ops.xp
    residuals, variances = _conditional_features(ops, form, rows)
    if ops.axis == 0:
        residuals, variances = (xp.moveaxis(array, -1, 0) for array in (residuals, variances))
    return form.means + residuals, linalg.diagonal_matrix(xp, variances)


def _conditional_features(
    ops: BlockOps, form: IndependentForm, rows: ObservedRows
) -> tuple[Array, Array]:
    """Mean of v − μ and variance of v given a row, of each component and feature of a block."""
    xp = ops.xp
    seen, residuals, variances, noise = _features(ops, form, rows)
    if isinstance(noise, float):
        return residuals, xp.where(seen, 0.0, variances)
    totals = xp.where(seen, variances + noise, 1.0)
    left = xp.where(seen, noise / totals, 1.0)
    return residuals * (variances / totals), variances * left


def _features(ops: BlockOps, form: IndependentForm, rows: ObservedRows) -> _Features:
    x, seen = _wide(ops, rows.x), _wide(ops, rows.seen)
    means, variances = (
        array[:, :, None] if ops.axis == 0 else array[None, :, :] for array in form[:2]
    )
    residuals = ops.xp.where(seen, x - means, 0.0)
    variances = variances + ops.xp.zeros_like(residuals)
    noise = 0.0 if rows.noise is None else _wide(ops, rows.noise)
    return _Features(seen, residuals, variances, noise)


def _wide(ops: BlockOps, array: Array) -> Array:
    """Features of a block, or numbers (rows,), with an axis for components."""
    if ops.axis == 0:
        return array[None, None, :] if array.ndim == 1 else array[None, :, :]
    return array[:, None, None] if array.ndim == 1 else array[:, None, :]
