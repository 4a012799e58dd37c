"""The product form: log-joints as one matrix product, for rows for which it is as exact.

With z = x − c for one centre c of all components, the log-joint of a Gaussian component is linear
in terms of z (an exponential family: Bishop 2006, section 2.4): θ · φ, where φ holds squares or
products of z, z itself, and 1. That is half the work of (x − μ) P or less, in a single product of
matrices; and moments are the product of responsibilities with the same terms.

But it cancels where components lie many deviations apart. Rows for which a bound on its error
(`error_bound.py`) is too large are evaluated by the residual form.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.block import expand_components
from estep_xp.families.gaussian.error_bound import (
    ROTATED_TERMS,
    ErrorBound,
    error_bound,
)
from estep_xp.families.gaussian.quadratic import PRODUCTS, QuadraticTerms
from estep_xp.families.gaussian.strategy import strategy_for

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps

# Cancellation that is allowed in second moments: a factor of eps, or a relative error.
_CANCELLED, _RELATIVE = 16.0, 5e-14


class ProductForm(NamedTuple):
    """Log-densities of a family as linear functions θ · φ of terms φ, and their error bound B."""

    order: Array | None  # (d,): features in the order that was chosen for them; None: as in x
    centre: Array  # (d,)
    means: Array  # (k, d), about the centre
    rotation: Array | None  # (d, d), for families whose rows are standardised first
    coefficients: Array  # θ (k, terms)
    bound: ErrorBound
    moments_exact: Array | bool  # (): terms cancel so little in second moments that these are exact


class CentredRows(NamedTuple):
    """A block of rows about the centre, from which terms and bounds are computed."""

    z: Array  # about the centre
    y: Array  # z, or z standardised for families whose rows are standardised first
    squares: Array  # of y, as a kind of covariance needs them
    terms: Array | None = None  # φ, where squares are some of its entries


def build_product_form(
    ops: BlockOps,
    kind: QuadraticTerms,
    means: Array,
    factors: Array,
    log_normalizers: Array,
    rotation: Array | None = None,
) -> ProductForm | None:
    """Product form of components with `means` (k, d); None where it would be exact for no row."""
    xp = ops.xp
    means, factors, log_normalizers = map(ops.widen, (means, factors, log_normalizers))
    centre = 0.5 * xp.max(means, axis=0) + 0.5 * xp.min(means, axis=0)
    order = None
    if ops.values_visible and means.shape[1] > 1:
        order = _order_by_spread(xp, means - centre[None, :], factors, rotation)
        means, centre = xp.take(means, order, axis=1), xp.take(centre, order, axis=0)
        if rotation is not None:
            rotation = xp.take(rotation, order, axis=0)
        elif factors.ndim > 1:
            factors = xp.take(factors, order, axis=1)
    precise = ops.extend(means) - ops.extend(centre)[None, :]
    means = means - centre[None, :]
    unsigned = xp.abs(means)
    if rotation is not None:
        rotation = ops.widen(rotation)
        precise = xp.matmul(precise, ops.extend(rotation))
        unsigned = xp.matmul(unsigned, xp.abs(rotation))
    signed = kind.coefficients(xp, precise, ops.extend(factors))
    quadratic, linear, half_norms = signed = tuple(map(ops.round_extended, signed))
    bound = error_bound(
        ops,
        kind,
        signed,
        kind.coefficients(xp, unsigned, xp.abs(factors)),
        ops.round_extended(precise),
        log_normalizers,
        rotated=rotation is not None,
    )
    if ops.values_visible and not bound.constant <= bound.limit:
        return None
    if ops.has_extended:
        linear, half_norms = _refit_linear(ops, kind, quadratic, precise)
    constants = ops.round_extended(ops.extend(log_normalizers) - half_norms)
    exact = factors.ndim == 3 and moments_are_exact(xp, means, factors)
    theta = [quadratic, linear, constants[:, None]]
    theta = xp.concat([*theta[1:], quadratic] if kind.is_last else theta, axis=1)
    return ProductForm(order, centre, means, rotation, theta, bound, exact)


def _order_by_spread(xp: Namespace, means: Array, factors: Array, rotation: Array | None) -> Array:
    """Order of features by the spread of the means, in units of the deviations, smallest first.

    After a large term, many small ones round at its scale, and may all round the same way. The
    terms of features whose means lie far apart are the large ones, so they come last.
    """
    squares = means * means
    if rotation is not None:
        squares = squares * xp.sum(rotation * rotation, axis=1)
    elif factors.ndim > 1:
        precisions = factors * factors
        squares = squares * (precisions if factors.ndim == 2 else xp.sum(precisions, axis=2))
    return xp.argsort(xp.max(squares, axis=0))


def _refit_linear(
    ops: BlockOps, kind: QuadraticTerms, quadratic: Array, means: Array
) -> tuple[Array, Array]:
    """Coefficients of z, and half the norms of the means, for quadratic coefficients as rounded.

    With these the log-density has its maximum at the mean, and the right value there. The rounding
    of the quadratic coefficients then counts by the distance from the mean, as T does.
    """
    gradient = kind.gradient(ops.xp, ops.extend(quadratic), means)
    linear = ops.round_extended(-gradient)
    return linear, ops.xp.sum(means * (ops.extend(linear) + 0.5 * gradient), axis=1)


def moments_are_exact(xp: Namespace, means: Array, factors: Array) -> Array:
    """Whether second moments about `means` (k, d) are exact if computed from sums about the centre.

    A moment of the size of the variances loses digits by the factor that μ² is larger than these.
    """
    eps = float(xp.finfo(means.dtype).eps)
    cancelled = means * means * xp.sum(factors * factors, axis=-1)
    return xp.max(cancelled) <= max(_CANCELLED, _RELATIVE / eps)


def centre_rows(ops: BlockOps, form: ProductForm, x: Array) -> Array:
    """Rows about the centre."""
    if x.ndim == 1:
        x = ops.xp.expand_dims(x, axis=ops.axis)
    if form.order is None:
        return ops.widen(x) - expand_components(form.centre, ops.axis)
    ordered = ops.widen(ops.xp.take(x, form.order, axis=ops.axis))
    return ops.add_(ordered, expand_components(-form.centre, ops.axis))


def restore_order(ops: BlockOps, form: ProductForm, array: Array, *axes: int) -> Array:
    """Put the features along these axes back into the order that they have in x."""
    if form.order is None:
        return array
    back = ops.xp.argsort(form.order)
    for axis in axes:
        array = ops.xp.take(array, back, axis=axis)
    return array


def prepare_rows(ops: BlockOps, kind: QuadraticTerms, form: ProductForm, z: Array) -> CentredRows:
    """Compute from a block about the centre what its terms and bounds need."""
    y = z
    if form.rotation is not None:
        y = linalg.transform(ops, z, form.rotation, ROTATED_TERMS, ROTATED_TERMS)
    if kind is PRODUCTS or ops.differentiable:
        return CentredRows(z, y, kind.squares(ops, y))
    # All terms now: the squares are some of them, and there are few others.
    terms = _compute_terms(ops, kind, y)
    part, *_ = _term_slices(kind, y.shape[ops.axis])
    squares = terms[part, :] if ops.axis == 0 else terms[:, part]
    return CentredRows(z, y, squares, terms)


def _term_slices(kind: QuadraticTerms, d: int) -> tuple[slice, slice, slice]:
    """Slices of the squares or products, of z, and of 1 among the terms.

    A sum is most exact where its largest terms come last: the norm of a row is as large as all
    products of z and coefficients are together.
    """
    count = kind.count(d)
    if kind.is_last:
        return slice(d + 1, d + 1 + count), slice(d), slice(d, d + 1)
    return slice(count), slice(count, count + d), slice(count + d, count + d + 1)


def evaluate_bounds(
    ops: BlockOps, kind: QuadraticTerms, form: ProductForm, rows: CentredRows
) -> Array:
    """The bound B of each row (rows,)."""
    coefficients, of_unsigned, constant, *_ = form.bound
    bounds = _linear_in_squares(ops, coefficients, rows.squares)
    if of_unsigned is not None and form.rotation is not None:
        squares = _unsigned_squares(ops, kind, form.rotation, rows.z)
        bounds = ops.add_(bounds, _linear_in_squares(ops, of_unsigned, squares))
    return ops.add_(bounds, constant)


def _unsigned_squares(ops: BlockOps, kind: QuadraticTerms, rotation: Array, z: Array) -> Array:
    """Squares of |z| |P|, for families whose rows are standardised."""
    d = rotation.shape[0]
    return kind.squares(ops, linalg.transform(ops, ops.xp.abs(z), ops.xp.abs(rotation), d, d))


def are_exact(
    ops: BlockOps,
    kind: QuadraticTerms,
    form: ProductForm,
    rows: CentredRows,
    values: Array,
    constants: Array,
) -> Array:
    """Whether the product form's log-joints (k, rows) of single rows are exact, one by one.

    The bound of each component by itself is less than that of all of them. And the difference of
    its constant (k,) and the log-joint is half the squared length of a standardised residual, a
    part of T: values are exact where B is at most (16 − σ) T, too.
    """
    xp, components = ops.xp, form.bound.by_component
    assert components is not None
    bounds = xp.matmul(components.coefficients, rows.squares) + components.constants[:, None]
    if components.of_unsigned is not None and form.rotation is not None:
        squares = _unsigned_squares(ops, kind, form.rotation, rows.z)
        bounds = bounds + xp.matmul(components.of_unsigned, squares)
    limits = xp.maximum(components.limit_per_t * (constants[:, None] - values), form.bound.limit)
    return (bounds <= limits) & (bounds < math.inf)


def _linear_in_squares(ops: BlockOps, coefficients: Array, squares: Array) -> Array:
    """A linear function of squares, (rows,)."""
    rows_last = ops.axis == 0
    if coefficients.shape[0] == 1:
        return coefficients * (squares[0, :] if rows_last else squares[:, 0])
    return ops.xp.matmul(*((coefficients, squares) if rows_last else (squares, coefficients)))


def evaluate_terms(ops: BlockOps, kind: QuadraticTerms, rows: CentredRows) -> Array:
    """Terms φ of a block."""
    return _compute_terms(ops, kind, rows.y) if rows.terms is None else rows.terms


def _compute_terms(ops: BlockOps, kind: QuadraticTerms, y: Array) -> Array:
    if kind is PRODUCTS and strategy_for(ops).gathers_products:
        return _gather_products(ops.xp, ops.stack_products([(y, None)]), ops.axis)
    if kind.is_last:
        return ops.stack_products([(y, None)], kind.pairs(ops, y))
    return ops.stack_products([*kind.pairs(ops, y), (y, None)])


def _gather_products(xp: Namespace, values: Array, axis: int) -> Array:
    """Products of all pairs of features, the features, and 1, which is the last of the values."""
    d = values.shape[axis] - 1
    pairs = [(i, j) for j in range(d) for i in range(j + 1)]
    places = [*pairs, *((i, d) for i in range(d + 1))]
    first, second = (xp.asarray(list(one)) for one in zip(*places, strict=True))
    rows_last = values if axis == 0 else xp.matrix_transpose(values)
    products = xp.take(rows_last, first, axis=0) * xp.take(rows_last, second, axis=0)
    return products if axis == 0 else xp.matrix_transpose(products)


def log_joint(ops: BlockOps, form: ProductForm, terms: Array) -> Array:
    """Log-joints θ · φ of a block."""
    return ops.multiply_slices(form.coefficients, terms, form.bound.slices)


def moments(
    ops: BlockOps, kind: QuadraticTerms, form: ProductForm, terms: Array, responsibilities: Array
) -> tuple[Array, Array]:
    """First and second moments about the means of the components."""
    xp = ops.xp
    sums = sum_over_rows(ops, responsibilities, terms)
    quadratic, linear, ones = (sums[part, :] for part in _term_slices(kind, form.means.shape[1]))
    linear, ones = xp.matrix_transpose(linear), xp.matrix_transpose(ones)
    first = linear - ones * form.means
    second = kind.second_moments(xp, (quadratic, linear, ones), form.means)
    axes = range(1, second.ndim)
    return restore_order(ops, form, first, 1), restore_order(ops, form, second, *axes)


def sum_over_rows(ops: BlockOps, responsibilities: Array, values: Array) -> Array:
    """Sums (terms, k) over the rows of a block, weighted by responsibilities.

    The transpose would take longer: there are more terms than components.
    """
    xp = ops.xp
    r = xp.astype(responsibilities, values.dtype, copy=False)
    if ops.axis == 0:
        return xp.matmul(values, xp.matrix_transpose(r))
    return xp.matmul(xp.matrix_transpose(values), r)
