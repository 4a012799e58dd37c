"""The residual form of Gaussian densities: standardise the residual x − μ, square it last."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, NamedTuple, Self

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.block import expand_components, expand_rows
from estep_xp.arrays.summation import add_pairwise
from estep_xp.families.gaussian.strategy import strategy_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.block import BlockOps

_LOG_2PI = math.log(2.0 * math.pi)
_PAIRS = 512  # rows, each with its own P, that are multiplied in one call


class ResidualForm(NamedTuple):
    """Log-densities as log_normalizers − ½ ‖(x − means) P‖².

    Where derivatives may be taken, a diagonal P is kept as its reciprocal, the deviations: of a
    quotient (x − μ) / σ the derivative by σ is finite where that of 1 / σ alone is not.
    """

    means: Array  # (k, d), or (k,) for one feature
    factors: Array  # (k,): one for all features of a component; (k, d); P (k, d, d) or (1, d, d)
    log_normalizers: Array  # (k,)

    @classmethod
    def from_variances(
        cls, ops: BlockOps, means: Array, variances: Array, log_determinants: Array
    ) -> Self:
        """Of components whose features are independent."""
        d = means.shape[1] if means.ndim == 2 else 1
        deviations = ops.xp.sqrt(variances)
        factors = deviations if ops.differentiable else 1.0 / deviations
        return cls(means, factors, -0.5 * (log_determinants + d * _LOG_2PI))

    @classmethod
    def from_factors(cls, ops: BlockOps, means: Array, factors: Array) -> Self:
        """Of components with precision Cholesky factors (k, d, d) or (1, d, d)."""
        xp = ops.xp
        if ops.differentiable:  # entries below the diagonal are not read: their derivative is zero
            factors = xp.triu(factors)
        log_determinants = ops.sum(xp.log(xp.linalg.diagonal(factors)), -1)
        return cls(means, factors, log_determinants - 0.5 * means.shape[1] * _LOG_2PI)


def standardize(ops: BlockOps, residuals: Array, factors: Array) -> Array:
    """Residuals, which may be overwritten, in units of the deviations."""
    return residuals / factors if ops.differentiable else ops.multiply_(residuals, factors)


def log_density(ops: BlockOps, squared_norms: Array, log_normalizers: Array) -> Array:
    """Log-densities; the squared lengths of standardised residuals may be overwritten."""
    return ops.add_(ops.multiply_(squared_norms, -0.5), log_normalizers)


def is_unrolled(ops: BlockOps, form: ResidualForm, *, independent: bool) -> bool:
    """Whether loops over features are unrolled, for all components at once."""
    d = form.means.shape[1]
    return strategy_for(ops).unrolls_features(ops, d, independent=independent)


def squared_norms(ops: BlockOps, form: ResidualForm, x: Array, *, independent: bool) -> Array:
    """Squared lengths (components by rows) of the standardised residuals of a block (.., d)."""
    if is_unrolled(ops, form, independent=independent):
        return unrolled_norms(ops, form, x)
    axis, factors, strategy = ops.axis, form.factors, strategy_for(ops)
    k, d = form.means.shape

    def norms(mean: Array, factor: Array) -> Array:
        residuals = x - expand_components(mean, axis)
        if factors.ndim == 3:
            return linalg.squared_norms(ops, residuals, factor, cut=strategy.cuts_factors)
        by_feature = factors.ndim == 2
        factor = expand_components(factor, axis) if by_feature else factor[..., None, None]
        return ops.sum_squares_(standardize(ops, residuals, factor), axis - 2)

    if factors.ndim == 3:  # one P may be that of all components
        factors = ops.xp.broadcast_to(factors, (k, d, d))
    squared: Array = ops.map_components(norms, (form.means, factors), axis, x)
    return squared


def moments_about(
    ops: BlockOps,
    means: Array,
    x: Array,
    responsibilities: Array,
    second_moment: Callable[[Namespace, Array, Array, int], Array],
) -> tuple[Array, ...]:
    """Sums Σ r (x − μ) (k, d), and what `second_moment` makes of weighted and plain residuals."""
    xp, axis = ops.xp, ops.axis
    by_component = responsibilities if axis == 0 else xp.permute_dims(responsibilities, (1, 0))

    def about(mean: Array, responsibility: Array) -> tuple[Array, Array]:
        residuals = x - expand_components(mean, axis)
        weighted = residuals * expand_rows(responsibility, axis)
        second = second_moment(xp, weighted, residuals, axis)
        return xp.sum(weighted, axis=-1 - axis), second

    sums: tuple[Array, ...] = ops.map_components(about, (means, by_component), 0, x)
    return sums


def unrolled_norms(ops: BlockOps, form: ResidualForm, x: Array) -> Array:
    """Squared lengths of standardised residuals, feature by feature for all components at once."""
    means, factors, _ = form
    xp, axis, d = ops.xp, ops.axis, means.shape[1]

    # With the values of all components side by side, loops over components read contiguously.
    flat = ops.materialize(
        lambda: (_components_last(xp, means), _components_last(xp, factors)), means
    )
    centres, scales = _pieces(flat[0], d), _pieces(flat[1], d ** (factors.ndim - 1))
    rows = (x[j : j + 1, :] if axis == 0 else x[:, j : j + 1] for j in range(d))
    residuals = [
        row - expand_components(centre, axis) for row, centre in zip(rows, centres, strict=True)
    ]
    squares: list[Array] = []
    for j in range(d):
        if factors.ndim == 3:
            pairs = zip(residuals[: j + 1], scales[j::d], strict=False)
            terms = [residual * expand_components(factor, axis) for residual, factor in pairs]
            standardized = add_pairwise(terms, operator.add)
        else:
            scale = scales[j] if factors.ndim == 2 else scales[0]
            standardized = standardize(ops, residuals[j], expand_components(scale, axis))
        squares.append(standardized * standardized)
    return add_pairwise(squares, operator.add)


def _components_last(xp: Namespace, array: Array) -> Array:
    """Flatten an array (k, ...) with its components last, so that they stand side by side."""
    # A vector: JAX's compiler may lay out an array of more axes as the one it was computed from.
    return xp.reshape(xp.permute_dims(array, (*range(1, array.ndim), 0)), (-1,))


def _pieces(vector: Array, count: int) -> list[Array]:
    size = vector.shape[0] // count
    return [vector[i * size : (i + 1) * size] for i in range(count)]


def log_joint_of_pairs(ops: BlockOps, form: ResidualForm, x: Array, components: Array) -> Array:
    """Log-joints (pairs,) of rows x, which are last, each under its own component (pairs,)."""
    means, factors, constants = form
    residuals, cut = x - _take_components(ops, means, components), strategy_for(ops).cuts_factors
    if factors.ndim < 3:
        standardized = standardize(ops, residuals, _take_components(ops, factors, components))
        if means.ndim == 1:
            squared = ops.square_(standardized)
        else:
            squared = ops.sum_squares_(standardized, 0)
    elif factors.shape[0] == 1:
        squared = linalg.squared_norms(ops, residuals, factors[0, ...], cut=cut)
    else:
        pieces = []
        for start in range(0, components.shape[0], _PAIRS):
            some = slice(start, start + _PAIRS)
            taken = ops.xp.take(factors, components[some], axis=0)
            rows = ops.xp.matrix_transpose(residuals[:, some])[:, :, None]
            pieces.append(linalg.squared_norms(ops, rows, taken, cut=cut)[:, 0])
        squared = ops.xp.concat(pieces)
    return log_density(ops, squared, _take_components(ops, constants, components))


def _take_components(ops: BlockOps, array: Array, components: Array) -> Array:
    """Entries (pairs,) or (d, pairs) of an array (k,) or (k, d) for these components."""
    taken = ops.xp.take(array, components, axis=0)
    return ops.xp.matrix_transpose(taken) if taken.ndim > 1 else taken
