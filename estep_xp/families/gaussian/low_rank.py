"""Densities of covariances ΛΛᵀ + Ψ, Ψ diagonal, in work that is linear in the features.

With z the residual in deviations √Ψ and U = Ψ^(−½) Λ, let (U; I) = (Q₁; Q₂) R, a QR factorisation.
Then det(ΛΛᵀ + Ψ) = det Ψ (Π R_jj)², the factors have the posterior mean E = Q₂ y and covariance
Q₂ Q₂ᵀ, where y = Q₁ᵀ z, and (x − μ)ᵀ C⁻¹ (x − μ) = |z − U E|² + |E|² with U E = Q₁ y. That is a
minimum over y, so errors of y count by their squares alone; |z|² − |y|², which Woodbury's identity
gives, cancels where the noise is small.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.block import expand_components, expand_rows

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps

_LOG_2PI = math.log(2.0 * math.pi)
_MOST_TERMS, _SLICE_TERMS = 14, 12  # of a product, see `linalg.transform`


class Factorized(NamedTuple):
    """The factors (Q₁; Q₂) R of components, and the logarithms of det C (k,), halved."""

    upper: Array  # Q₁ (k, d, q)
    lower: Array  # Q₂ (k, q, q)
    half_log_determinants: Array


class LowRankForm(NamedTuple):
    """Log-densities as log_normalizers − ½ (|z − Q₁ y|² + |Q₂ y|²)."""

    means: Array  # (k, d)
    deviations: Array  # (k, d)
    upper: Array
    lower: Array
    log_normalizers: Array  # (k,)


def factorize_low_rank(xp: Namespace, loadings: Array, noise_variances: Array) -> Factorized:
    """Factorise covariances of loadings (k, d, q) and noise (k, d)."""
    d, q = loadings.shape[1:]
    scaled = loadings / xp.sqrt(noise_variances)[:, :, None]
    identity = linalg.diagonal_matrix(xp, xp.ones_like(scaled[:, 0, :]))
    both, r = xp.linalg.qr(xp.concat([scaled, identity], axis=1))
    logs = xp.sum(xp.log(xp.abs(xp.linalg.diagonal(r))), axis=-1)
    return Factorized(
        both[:, :d, :], both[:, d : d + q, :], 0.5 * xp.sum(xp.log(noise_variances), axis=-1) + logs
    )


def low_rank_form(
    ops: BlockOps, means: Array, loadings: Array, noise_variances: Array, log_weights: Array | None
) -> LowRankForm:
    """Prepare densities of a block."""
    factors = factorize_low_rank(ops.xp, loadings, noise_variances)
    constants = -factors.half_log_determinants - 0.5 * means.shape[1] * _LOG_2PI
    if log_weights is not None:
        constants = constants + log_weights
    deviations = ops.xp.sqrt(noise_variances)
    return LowRankForm(means, deviations, factors.upper, factors.lower, constants)


def low_rank_norms(ops: BlockOps, form: LowRankForm, x: Array) -> Array:
    """Squared lengths (components by rows) of standardised residuals."""

    def norms(*component: Array) -> Array:
        rest, expected = _explain(ops, x, *component)
        features = ops.axis - 2
        return ops.sum_squares_(rest, features) + ops.sum_squares_(expected, features)

    squared: Array = ops.map_components(norms, form[:4], ops.axis, x)
    return squared


def low_rank_moments(
    ops: BlockOps, form: LowRankForm, x: Array, responsibilities: Array
) -> tuple[Array, ...]:
    """Sums of e, e², E, e Eᵀ and E Eᵀ, with e = z − U E, in deviations of the noise."""
    xp, axis = ops.xp, ops.axis
    by_component = responsibilities if axis == 0 else xp.permute_dims(responsibilities, (1, 0))

    def sums(responsibility: Array, *component: Array) -> tuple[Array, ...]:
        rest, expected = _explain(ops, x, *component)
        shares = expand_rows(responsibility, axis)
        weighted, own, rows = rest * shares, expected * shares, -1 - axis
        return (
            xp.sum(weighted, axis=rows),
            xp.sum(weighted * rest, axis=rows),
            xp.sum(own, axis=rows),
            _products(xp, weighted, expected, axis),
            _products(xp, own, expected, axis),
        )

    found: tuple[Array, ...] = ops.map_components(sums, (by_component, *form[:4]), 0, x)
    return found


def _explain(
    ops: BlockOps, x: Array, mean: Array, deviations: Array, upper: Array, lower: Array
) -> tuple[Array, Array]:
    """What factors leave of the standardised residuals, and the posterior means of factors."""
    xp, axis = ops.xp, ops.axis
    z = (x - expand_components(mean, axis)) / expand_components(deviations, axis)
    # In one sum: however it rounds, the distance is off by the square of that.
    y = linalg.transform(ops, z, upper, x.shape[axis], x.shape[axis])
    rest = z - _transform(ops, y, xp.matrix_transpose(upper))
    return rest, _transform(ops, y, xp.matrix_transpose(lower))


def _transform(ops: BlockOps, rows: Array, factor: Array) -> Array:
    return linalg.transform(ops, rows, factor, _MOST_TERMS, _SLICE_TERMS)


def _products(xp: Namespace, weighted: Array, others: Array, axis: int) -> Array:
    if axis == 0:
        return xp.matmul(weighted, xp.matrix_transpose(others))
    return xp.matmul(xp.matrix_transpose(weighted), others)
