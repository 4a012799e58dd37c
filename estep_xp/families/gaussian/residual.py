"""The residual form of Gaussian densities: standardise the residual x − μ, square it last."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, NamedTuple

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.block import expand_components
from estep_xp.arrays.summation import add_pairwise
from estep_xp.families.gaussian.strategy import strategy_for

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps

_LOG_2PI = math.log(2.0 * math.pi)
_PAIRS = 512  # of rows and components whose P are looked at at a time


class Standardizer(NamedTuple):
    """What turns rows into log-densities: log_normalizers − ½ ‖(x − means) P‖².

    Where derivatives may be taken, a diagonal P is kept as its reciprocal, the deviations: of a
    quotient (x − μ) / σ the derivative by σ is finite where that of 1 / σ alone is not.
    """

    means: Array  # (k, d), or (k,) for one feature
    factors: Array  # (k,): one for all features of a component; (k, d); P (k, d, d) or (1, d, d)
    log_normalizers: Array  # (k,)


def by_variances(
    ops: BlockOps, means: Array, variances: Array, log_determinants: Array
) -> Standardizer:
    """What rows need of components whose features are independent."""
    d = means.shape[1] if means.ndim == 2 else 1
    deviations = ops.xp.sqrt(variances)
    factors = deviations if ops.differentiable else 1.0 / deviations
    return Standardizer(means, factors, -0.5 * (log_determinants + d * _LOG_2PI))


def standardize(ops: BlockOps, residuals: Array, factors: Array) -> Array:
    """Residuals, which may be overwritten, in units of the deviations of `by_variances`."""
    return residuals / factors if ops.differentiable else ops.multiply_(residuals, factors)


def by_factors(ops: BlockOps, means: Array, factors: Array) -> Standardizer:
    """What rows need of components with precision Cholesky factors (k, d, d) or (1, d, d)."""
    xp = ops.xp
    if ops.differentiable:  # by what is not read, too: the derivative is zero there
        factors = xp.triu(factors)
    log_determinants = ops.sum(xp.log(xp.linalg.diagonal(factors)), -1)
    return Standardizer(means, factors, log_determinants - 0.5 * means.shape[1] * _LOG_2PI)


def log_density(ops: BlockOps, squared_norms: Array, log_normalizers: Array) -> Array:
    """Log-densities; the squared lengths of standardised residuals may be overwritten."""
    return ops.add_(ops.multiply_(squared_norms, -0.5), log_normalizers)


def norms_by_features(ops: BlockOps, prepared: Standardizer, x: Array) -> Array:
    """Squared lengths of standardised residuals, feature by feature for all components at once."""
    means, factors, _ = prepared
    xp, features, d = ops.xp, ops.axis, means.shape[1]

    # Loops over components read numbers of all components side by side.
    flat = ops.materialize(
        lambda: (_components_last(xp, means), _components_last(xp, factors)), means
    )
    centres, scales = _pieces(flat[0], d), _pieces(flat[1], d ** (factors.ndim - 1))
    rows = (x[j : j + 1, :] if features == 0 else x[:, j : j + 1] for j in range(d))
    residuals = [
        row - expand_components(centre, features) for row, centre in zip(rows, centres, strict=True)
    ]
    squares: list[Array] = []
    for j in range(d):
        if factors.ndim == 3:
            pairs = zip(residuals[: j + 1], scales[j::d], strict=False)
            terms = [residual * expand_components(factor, features) for residual, factor in pairs]
            standardized = add_pairwise(terms, operator.add)
        else:
            scale = scales[j] if factors.ndim == 2 else scales[0]
            standardized = standardize(ops, residuals[j], expand_components(scale, features))
        squares.append(standardized * standardized)
    return add_pairwise(squares, operator.add)


def _components_last(xp: Namespace, array: Array) -> Array:
    """Numbers (k, ...) as one vector, in which those of all components stand side by side."""
    # A vector, since JAX's compiler may give arrays of more axes the order that they come from.
    return xp.reshape(xp.permute_dims(array, (*range(1, array.ndim), 0)), (-1,))


def _pieces(vector: Array, count: int) -> list[Array]:
    size = vector.shape[0] // count
    return [vector[i * size : (i + 1) * size] for i in range(count)]


def log_joint_of_pairs(ops: BlockOps, prepared: Standardizer, x: Array, components: Array) -> Array:
    """Log-joints (pairs,) of rows x, which are last, each under its own component (pairs,)."""
    means, factors, constants = prepared
    residuals, cut = x - _chosen(ops, means, components), strategy_for(ops).cuts_factors
    if factors.ndim < 3:
        standardized = standardize(ops, residuals, _chosen(ops, factors, components))
        if means.ndim == 1:
            squared = ops.square_(standardized)
        else:
            squared = ops.sum_squares_(standardized, 0)
    elif factors.shape[0] == 1:
        squared = linalg.squared_norms(ops, residuals, factors[0, ...], cut=cut)
    else:
        pieces = []
        for start in range(0, len(components), _PAIRS):
            some = slice(start, start + _PAIRS)
            chosen = ops.xp.take(factors, components[some], axis=0)
            rows = ops.xp.matrix_transpose(residuals[:, some])[:, :, None]
            pieces.append(linalg.squared_norms(ops, rows, chosen, cut=cut)[:, 0])
        squared = ops.xp.concat(pieces)
    return log_density(ops, squared, _chosen(ops, constants, components))


def _chosen(ops: BlockOps, array: Array, components: Array) -> Array:
    """Numbers (pairs,) or (d, pairs) of these components."""
    chosen = ops.xp.take(array, components, axis=0)
    return ops.xp.matrix_transpose(chosen) if chosen.ndim > 1 else chosen
