"""Factor analysers for rows of which features are missing, or known with an error.

Given the factors, features are independent: what was observed of a row has the covariance ΛΛᵀ + Ψ
+ S of the observed features' loadings and noise alone, S the errors' variances, and is as linear in
d as a complete row (`low_rank.py`). With g = ψ / (ψ + s) where a feature was seen, 0 where it was
not, and h = 1 − g, z in deviations √Ψ has the mean g z + h U E and the covariance
D_h U Q₂ Q₂ᵀ Uᵀ D_h + D_h, with U = Ψ^(−½) Λ and E, Q₂ Q₂ᵀ the moments of the factors given the row.
From these follow the moments of what complete rows' statistics are made of, which is linear in z.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp.arrays import linalg
from estep_xp.arrays.block import expand_components
from estep_xp.families.family import Family
from estep_xp.families.gaussian.incomplete import (
    condition_rows,
    is_correlated_by,
    map_components,
    rows_first,
)
from estep_xp.families.gaussian.low_rank import factorize_low_rank
from estep_xp.families.gaussian.patterns import encode_patterns

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import AnyArray, Array, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.families.family import ObservedRows

_LOG_2PI = math.log(2.0 * math.pi)


class _Form(NamedTuple):
    """Components made ready, and the factors (Q₁; Q₂) of complete rows."""

    means: Array  # (k, d)
    loadings: Array  # (k, d, q)
    noise_variances: Array  # (k, d)
    upper: Array  # (k, d, q)
    lower: Array  # (k, q, q)
    log_weights: Array  # (k,)


class _Patterns(NamedTuple):
    """What was seen of rows, once for all rows that have it in common where values are visible."""

    seen: Array  # (p, d)
    which: Array | None  # (n,): the pattern of each row; None where each has its own
    size: int  # p

    def spread(self, xp: Namespace, array: Array) -> Array:
        """What patterns (p, ...) have, for rows."""
        return array if self.which is None else xp.take(array, self.which, axis=0)

    def gather(self, xp: Namespace, shares: Array) -> Array:
        """Sums (p,) of what rows have."""
        if self.which is None:
            return shares
        weights: AnyArray = shares
        which: AnyArray = self.which
        return xp.asarray(np.bincount(which, weights, self.size), dtype=shares.dtype)


class _Known(NamedTuple):
    """What one component knows of rows, in deviations of its noise."""

    log_density: Array  # (n,)
    mean: Array  # (n, d): of z given the row
    spread: Array  # (p, d, q), (p, d, d) without patterns: its product is a part of the covariance
    left: Array  # (p, d): the other part, a diagonal


class FactorsWithHoles(Family):
    """What factor analysers answer for incomplete rows."""

    __slots__ = ()

    _takes_missing = _takes_noise = True

    means: Any
    loadings: Any
    noise_variances: Any

    def _width_incomplete(self, ops: BlockOps) -> int:
        del ops
        _, d, q = self.loadings.shape
        return int(6 * d * q + 6 * q * q + 6 * d)

    def _placeholder(self, ops: BlockOps) -> Array:
        return expand_components(self.means[0, :], ops.axis)

    def _prepare_incomplete(self, ops: BlockOps, log_weights: Array | None) -> _Form:
        factors = factorize_low_rank(ops.xp, self.loadings, self.noise_variances)
        weights = 0.0 * self.means[:, 0] if log_weights is None else log_weights
        record: Any = self
        means, loadings, noise_variances = record
        upper, lower, _ = factors
        return _Form(means, loadings, noise_variances, upper, lower, weights)

    def _evaluate_incomplete(
        self, ops: BlockOps, prepared: _Form, rows: ObservedRows
    ) -> tuple[Array, None]:
        def joints(known: _Known, form: _Form) -> Array:
            return known.log_density + form.log_weights

        joint: Array = _map_known(ops, prepared, rows, joints)
        return joint if ops.axis == 0 else ops.xp.permute_dims(joint, (1, 0)), None

    def _moments_incomplete(
        self,
        ops: BlockOps,
        prepared: _Form,
        rows: ObservedRows,
        form: None,
        responsibilities: Array,
    ) -> tuple[Array, ...]:
        del form
        shares = (
            responsibilities if ops.axis == 0 else ops.xp.permute_dims(responsibilities, (1, 0))
        )
        patterns = _find_patterns(ops, rows)

        def sums(known: _Known, own: _Form) -> tuple[Array, ...]:
            return _expected_sums(ops.xp, known, own, own.log_weights, patterns)

        found: tuple[Array, ...] = _map_known(
            ops, prepared._replace(log_weights=shares), rows, sums, patterns
        )
        return found

    def _conditional_moments(
        self, ops: BlockOps, prepared: _Form, rows: ObservedRows
    ) -> tuple[Array, Array]:
        xp, patterns = ops.xp, _find_patterns(ops, rows)

        def moments(known: _Known, form: _Form) -> tuple[Array, Array]:
            deviations = xp.sqrt(form.noise_variances)
            spread = xp.matmul(known.spread, xp.matrix_transpose(known.spread))
            spread = spread + linalg.diagonal_matrix(xp, known.left)
            spread = spread * deviations[:, None] * deviations
            return form.means + known.mean * deviations, patterns.spread(xp, spread)

        means, covariances = _map_known(ops, prepared, rows, moments, patterns)
        return xp.moveaxis(means, 0, 1), xp.moveaxis(covariances, 0, 1)


def _map_known(
    ops: BlockOps,
    form: _Form,
    rows: ObservedRows,
    function: Callable[[_Known, _Form], Any],
    patterns: _Patterns | None = None,
) -> Any:
    """F of what each component knows of rows, and of that component, stacked along a first axis."""
    xp = ops.xp
    x, seen, errors = rows_first(ops, rows)
    patterns = _find_patterns(ops, rows) if patterns is None else patterns

    def of_component(*arrays: Array) -> Any:
        own = _Form(*arrays)
        if is_correlated_by(rows):
            return function(_know_correlated(xp, own, x, seen, errors), own)
        return function(_know(xp, own, x, seen, errors, patterns), own)

    return map_components(ops, of_component, form, x)


def _find_patterns(ops: BlockOps, rows: ObservedRows) -> _Patterns:
    _, seen, errors = rows_first(ops, rows)
    if errors is not None or not ops.values_visible:
        return _Patterns(seen, None, seen.shape[0])
    codes = encode_patterns(np.asarray(seen).T)
    _, first, which = np.unique(codes, return_index=True, return_inverse=True)
    return _Patterns(seen[first, :], which.reshape(-1), len(first))


def _know(
    xp: Namespace, form: _Form, x: Array, seen: Array, errors: Array | None, patterns: _Patterns
) -> _Known:
    """Rows whose features' errors are independent of each other."""
    psi = form.noise_variances
    total = psi if errors is None else psi + errors
    total = xp.where(patterns.seen, total, 1.0)
    loadings = xp.where(patterns.seen[:, :, None], form.loadings, 0.0)
    factors = factorize_low_rank(xp, loadings, total)
    upper, lower = (patterns.spread(xp, a) for a in (factors.upper, factors.lower))
    residuals = xp.where(seen, x - form.means, 0.0)
    total_of_rows = patterns.spread(xp, total)
    z = residuals / xp.sqrt(total_of_rows)
    y = xp.matmul(z[:, None, :], upper)
    rest = z - xp.matmul(y, xp.matrix_transpose(upper))[:, 0, :]
    expected = xp.matmul(y, xp.matrix_transpose(lower))[:, 0, :]
    squared = xp.sum(rest * rest, axis=1) + xp.sum(expected * expected, axis=1)
    n_seen = xp.sum(xp.astype(patterns.seen, x.dtype), axis=1)
    constants = factors.half_log_determinants + 0.5 * _LOG_2PI * n_seen
    hidden = xp.astype(~patterns.seen, x.dtype)
    left = hidden if errors is None else hidden + errors / total
    scaled = form.loadings / xp.sqrt(psi)[:, None]
    # Of factors: what is hidden of z follows them, what was seen with an error does so in part.
    follows = xp.matmul(expected, xp.matrix_transpose(scaled))
    mean = residuals * (xp.sqrt(psi) / total_of_rows) + patterns.spread(xp, left) * follows
    spread = xp.matmul(left[:, :, None] * scaled, factors.lower)
    return _Known(-0.5 * squared - patterns.spread(xp, constants), mean, spread, left)


def _know_correlated(
    xp: Namespace, form: _Form, x: Array, seen: Array, errors: Array | None
) -> _Known:
    """Rows with covariances of errors (n, d, d), which no few factors explain."""
    covariance = xp.matmul(form.loadings, xp.matrix_transpose(form.loadings))
    covariance = covariance + linalg.diagonal_matrix(xp, form.noise_variances)
    factor = linalg.precision_cholesky(xp, covariance)
    solved = condition_rows(xp, form.means, factor, covariance, x, seen, errors)
    log_density = solved.log_density(xp) + xp.sum(xp.log(xp.linalg.diagonal(factor)))
    scales = 1.0 / xp.sqrt(form.noise_variances)
    covariances = solved.covariances * scales[:, None] * scales
    mean = solved.residuals * scales
    # Square roots of covariances, which may be singular.
    values, vectors = xp.linalg.eigh(0.5 * covariances + 0.5 * xp.matrix_transpose(covariances))
    roots = vectors * xp.sqrt(xp.where(values > 0, values, 0.0))[:, None, :]
    return _Known(log_density, mean, roots, 0.0 * mean)


def _expected_sums(
    xp: Namespace, known: _Known, form: _Form, shares: Array, patterns: _Patterns
) -> tuple[Array, ...]:
    """Expected sums of e, e², E, e Eᵀ and E Eᵀ, as `low_rank_moments` has them."""
    upper, lower = form.upper, form.lower
    rest, factors = _split(xp, known.mean, upper, lower)
    weighted, own = rest * shares[:, None], factors * shares[:, None]
    by_pattern = patterns.gather(xp, shares)
    columns = xp.matrix_transpose(known.spread)
    rests, others = _split(xp, columns, upper, lower)  # (p, columns, d) and (p, columns, q)
    scaled = rests * by_pattern[:, None, None]
    # Of the diagonal D: (I − Q₁ Q₁ᵀ) D (I − Q₁ Q₁ᵀ), and so on.
    left = xp.sum(known.left * by_pattern[:, None], axis=0)
    turned = left[:, None] * upper
    inner = xp.matmul(xp.matrix_transpose(upper), turned)
    explained = xp.sum(upper * upper, axis=1)
    lower_t = xp.matrix_transpose(lower)
    squares = left * (1.0 - 2.0 * explained) + xp.sum(xp.matmul(upper, inner) * upper, axis=1)
    crosses = xp.matmul(turned - xp.matmul(upper, inner), lower_t)
    products = xp.matmul(xp.matmul(lower, inner), lower_t)
    more = others * by_pattern[:, None, None]
    return (
        xp.sum(weighted, axis=0),
        xp.sum(weighted * rest, axis=0) + xp.sum(scaled * rests, axis=(0, 1)) + squares,
        xp.sum(own, axis=0),
        _multiply(xp, weighted, factors) + _multiply(xp, scaled, others) + crosses,
        _multiply(xp, own, factors) + _multiply(xp, more, others) + products,
    )


def _split(xp: Namespace, z: Array, upper: Array, lower: Array) -> tuple[Array, Array]:
    """What factors leave of z (..., d), and the posterior means of the factors given z."""
    y = xp.matmul(z, upper)
    return z - xp.matmul(y, xp.matrix_transpose(upper)), xp.matmul(y, xp.matrix_transpose(lower))


def _multiply(xp: Namespace, one: Array, other: Array) -> Array:
    """Sums over all axes but the last of one ⊗ other."""
    one, other = (xp.reshape(a, (-1, a.shape[-1])) for a in (one, other))
    return xp.matmul(xp.matrix_transpose(one), other)
