"""Log-joints as one matrix product, granted to the rows for which it is certainly as exact.

With z = x − c for one centre c of all components, the log-joint of a Gaussian component is linear
in features of z (an exponential family: Bishop 2006, section 2.4): θ · φ, where φ holds squares or
products of z, z itself, and 1. That is half the work of (x − μ) P or less, in a single product of
matrices; and moments are the product of responsibilities with the same features.

But it cancels where components lie many deviations apart. Rows for which a bound on its error
(`_error_bound.py`) is too large are left to the residual form.
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
from estep_xp.families.gaussian.quadratic import PRODUCTS, Quadratic
from estep_xp.families.gaussian.strategy import strategy_for

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps

_CANCELLED, _LOST = 16.0, 5e-14  # in second moments: a factor of eps, or a relative error


class Natural(NamedTuple):
    """A family's densities as linear functions of features, and their bound B."""

    order: Array | None  # (d,): features as they stand here, where their order was chosen
    centre: Array  # (d,)
    means: Array  # (k, d), about the centre
    rotation: Array | None  # (d, d), for families whose rows are standardised first
    parameters: Array  # (k, features)
    bound: ErrorBound
    near: Array | bool  # (): features cancel so little in second moments that these are exact


class Rows(NamedTuple):
    """A block that features can be made of."""

    z: Array  # about the centre
    y: Array  # the same, but standardised for families whose rows are
    squares: Array  # of y, as a kind of covariance needs them
    features: Array | None = None  # if they are made already


def natural(
    ops: BlockOps,
    kind: Quadratic,
    means: Array,
    factors: Array,
    log_normalizers: Array,
    rotation: Array | None = None,
) -> Natural | None:
    """Natural parameters of components with `means` (k, d); None where they could not be exact."""
    xp = ops.xp
    means, factors, log_normalizers = map(ops.widen, (means, factors, log_normalizers))
    centre = 0.5 * xp.max(means, axis=0) + 0.5 * xp.min(means, axis=0)
    order = None
    if ops.values_visible and means.shape[1] > 1:
        order = _by_spread(xp, means - centre[None, :], factors, rotation)
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
    parameters = kind.parameters(xp, precise, ops.extend(factors))
    quadratic, linear, half_norms = parameters = tuple(map(ops.round_extended, parameters))
    bound = error_bound(
        ops,
        kind,
        parameters,
        kind.parameters(xp, unsigned, xp.abs(factors)),
        ops.round_extended(precise),
        log_normalizers,
        rotated=rotation is not None,
    )
    if ops.values_visible and not bound.least <= bound.limit:
        return None
    if ops.has_extended:
        linear, half_norms = _refined(ops, kind, quadratic, precise)
    constants = ops.round_extended(ops.extend(log_normalizers) - half_norms)
    near = factors.ndim == 3 and _are_near(xp, means, factors)
    theta = [quadratic, linear, constants[:, None]]
    theta = xp.concat([*theta[1:], quadratic] if kind.is_last else theta, axis=1)
    return Natural(order, centre, means, rotation, theta, bound, near)


def _by_spread(xp: Namespace, means: Array, factors: Array, rotation: Array | None) -> Array:
    """The order of features in which means spread more and more, in units of their deviations.

    A large term before many small ones makes each of these round at its own scale, and all the same
    way; the terms of features whose means lie far apart are the large ones.
    """
    squares = means * means
    if rotation is not None:
        squares = squares * xp.sum(rotation * rotation, axis=1)
    elif factors.ndim > 1:
        precisions = factors * factors
        squares = squares * (precisions if factors.ndim == 2 else xp.sum(precisions, axis=2))
    return xp.argsort(xp.max(squares, axis=0))


def _refined(ops: BlockOps, kind: Quadratic, quadratic: Array, means: Array) -> tuple[Array, Array]:
    """Coefficients of z, and half the norms of precise means, that go with rounded squares' ones.

    So the log-density has its maximum where it should, and the right one there: what rounding of
    the precisions changes is small near the means, as the log-density itself is.
    """
    slope = kind.slope(ops.xp, ops.extend(quadratic), means)
    linear = ops.round_extended(-slope)
    return linear, ops.xp.sum(means * (ops.extend(linear) + 0.5 * slope), axis=1)


def _are_near(xp: Namespace, means: Array, factors: Array) -> Array:
    """Whether second moments about `means` (k, d), of sums about the centre, are exact.

    A moment that is of the order of the variances loses as much as μ² is larger than they are.
    """
    eps = float(xp.finfo(means.dtype).eps)
    cancelled = means * means * xp.sum(factors * factors, axis=-1)
    return xp.max(cancelled) <= max(_CANCELLED, _LOST / eps)


def centred(ops: BlockOps, form: Natural, x: Array) -> Array:
    """Rows about the centre."""
    if x.ndim == 1:
        x = ops.xp.expand_dims(x, axis=ops.axis)
    if form.order is None:
        return ops.widen(x) - expand_components(form.centre, ops.axis)
    ordered = ops.widen(ops.xp.take(x, form.order, axis=ops.axis))
    return ops.add_(ordered, expand_components(-form.centre, ops.axis))


def restored(ops: BlockOps, form: Natural, array: Array, *axes: int) -> Array:
    """An array whose axes are features, with these in the order that they have in x."""
    if form.order is None:
        return array
    back = ops.xp.argsort(form.order)
    for axis in axes:
        array = ops.xp.take(array, back, axis=axis)
    return array


def rows_of(ops: BlockOps, kind: Quadratic, form: Natural, z: Array) -> Rows:
    """A block about the centre with what its features and bounds are made of."""
    y = z
    if form.rotation is not None:
        y = linalg.transform(ops, z, form.rotation, ROTATED_TERMS, ROTATED_TERMS)
    if kind is PRODUCTS or ops.differentiable:
        return Rows(z, y, kind.squares(ops, y))
    # Squares are among the features, of which there are few others.
    features = _made(ops, kind, y)
    part, *_ = _places(kind, y.shape[ops.axis])
    squares = features[part, :] if ops.axis == 0 else features[:, part]
    return Rows(z, y, squares, features)


def _places(kind: Quadratic, d: int) -> tuple[slice, slice, slice]:
    """Where squares or products, z, and 1 stand among features.

    A sum is most exact where its largest terms come last: the norm of a row is as large as all
    products of z and coefficients are together.
    """
    count = kind.count(d)
    if kind.is_last:
        return slice(d + 1, d + 1 + count), slice(d), slice(d, d + 1)
    return slice(count), slice(count, count + d), slice(count + d, count + d + 1)


def bounds_of(ops: BlockOps, kind: Quadratic, form: Natural, rows: Rows) -> Array:
    """The bound B of each row (rows,)."""
    slopes, unsigned_slopes, least, *_ = form.bound
    bounds = _by_slopes(ops, slopes, rows.squares)
    if unsigned_slopes is not None and form.rotation is not None:
        squares = _unsigned_squares(ops, kind, form.rotation, rows.z)
        bounds = ops.add_(bounds, _by_slopes(ops, unsigned_slopes, squares))
    return ops.add_(bounds, least)


def _unsigned_squares(ops: BlockOps, kind: Quadratic, rotation: Array, z: Array) -> Array:
    """Squares of |z| |P|, for families whose rows are standardised."""
    d = rotation.shape[0]
    return kind.squares(ops, linalg.transform(ops, ops.xp.abs(z), ops.xp.abs(rotation), d, d))


def are_exact(
    ops: BlockOps, kind: Quadratic, form: Natural, rows: Rows, values: Array, constants: Array
) -> Array:
    """Whether log-joints of rows by features (k, rows) are exact.

    The bound of each component by itself is less than that of all of them; and half the squared
    length of a standardised residual, what a log-joint is less than its constant (k,), is a part of
    T. B is good enough up to (16 − σ) T, too.
    """
    xp, components = ops.xp, form.bound.by_component
    assert components is not None
    bounds = xp.matmul(components.slopes, rows.squares) + components.least[:, None]
    if components.unsigned_slopes is not None and form.rotation is not None:
        squares = _unsigned_squares(ops, kind, form.rotation, rows.z)
        bounds = bounds + xp.matmul(components.unsigned_slopes, squares)
    enough = xp.maximum(components.share * (constants[:, None] - values), form.bound.limit)
    return (bounds <= enough) & (bounds < math.inf)


def _by_slopes(ops: BlockOps, slopes: Array, squares: Array) -> Array:
    """A linear function of squares, (rows,)."""
    rows_last = ops.axis == 0
    if slopes.shape[0] == 1:
        return slopes * (squares[0, :] if rows_last else squares[:, 0])
    return ops.xp.matmul(*((slopes, squares) if rows_last else (squares, slopes)))


def features_of(ops: BlockOps, kind: Quadratic, rows: Rows) -> Array:
    """Features φ of a block."""
    return _made(ops, kind, rows.y) if rows.features is None else rows.features


def _made(ops: BlockOps, kind: Quadratic, y: Array) -> Array:
    if kind is PRODUCTS and strategy_for(ops).gathers_products:
        return _gathered(ops.xp, ops.stack_products([(y, None)]), ops.axis)
    if kind.is_last:
        return ops.stack_products([(y, None)], kind.features(ops, y))
    return ops.stack_products([*kind.features(ops, y), (y, None)])


def _gathered(xp: Namespace, values: Array, axis: int) -> Array:
    """Products of all pairs of features, the features, and 1, which is the last of the values."""
    d = values.shape[axis] - 1
    pairs = [(i, j) for j in range(d) for i in range(j + 1)]
    places = [*pairs, *((i, d) for i in range(d + 1))]
    first, second = (xp.asarray(list(one)) for one in zip(*places, strict=True))
    rows_last = values if axis == 0 else xp.matrix_transpose(values)
    products = xp.take(rows_last, first, axis=0) * xp.take(rows_last, second, axis=0)
    return products if axis == 0 else xp.matrix_transpose(products)


def log_joint(ops: BlockOps, form: Natural, features: Array) -> Array:
    """Log-joints of a block."""
    return ops.multiply_slices(form.parameters, features, form.bound.slices)


def moments(
    ops: BlockOps, kind: Quadratic, form: Natural, features: Array, responsibilities: Array
) -> tuple[Array, Array]:
    """First and second moments about the means of the components."""
    xp = ops.xp
    sums = sums_over_rows(ops, responsibilities, features)
    quadratic, linear, ones = (sums[part, :] for part in _places(kind, form.means.shape[1]))
    linear, ones = xp.matrix_transpose(linear), xp.matrix_transpose(ones)
    first = linear - ones * form.means
    second = kind.about(xp, (quadratic, linear, ones), form.means)
    return restored(ops, form, first, 1), restored(ops, form, second, *range(1, second.ndim))


def sums_over_rows(ops: BlockOps, responsibilities: Array, values: Array) -> Array:
    """Sums (features, k) over the rows of a block, weighted by responsibilities.

    This way round, since there are more features than components: the product is quicker.
    """
    xp = ops.xp
    r = xp.astype(responsibilities, values.dtype, copy=False)
    if ops.axis == 0:
        return xp.matmul(values, xp.matrix_transpose(r))
    return xp.matmul(xp.matrix_transpose(values), r)
