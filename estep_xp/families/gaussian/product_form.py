"""Log-joints as one matrix product, granted to the rows for which it is certainly as exact.

With z = x − c for one centre c of all components, the log-joint of a Gaussian component is linear
in features of z (an exponential family: Bishop 2006, section 2.4): θ · φ, where φ holds squares or
products of z, z itself, and 1. That is half the work of (x − μ) P or less, in a single product of
matrices; and moments are the product of responsibilities with the same features.

But it cancels where components lie many deviations apart. Rows for which a bound on its error
(`_error_bound.py`) is too large are left to the residual form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.logsumexp import along
from estep_xp.families.gaussian.error_bound import (
    ROTATED_TERMS,
    ErrorBound,
    error_bound,
)
from estep_xp.families.gaussian.quadratic import PRODUCTS, Quadratic

if TYPE_CHECKING:
    from estep_xp.execution import Plan

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
    plan: Plan,
    kind: Quadratic,
    means: Array,
    factors: Array,
    log_normalizers: Array,
    rotation: Array | None = None,
) -> Natural | None:
    """Natural parameters of components with `means` (k, d); None where they could not be exact."""
    xp = plan.xp
    means, factors, log_normalizers = map(plan.widened, (means, factors, log_normalizers))
    centre = 0.5 * xp.max(means, axis=0) + 0.5 * xp.min(means, axis=0)
    order = None
    if plan.concrete and means.shape[1] > 1:
        order = _by_spread(xp, means - centre[None, :], factors, rotation)
        means, centre = xp.take(means, order, axis=1), xp.take(centre, order, axis=0)
        if rotation is not None:
            rotation = xp.take(rotation, order, axis=0)
        elif factors.ndim > 1:
            factors = xp.take(factors, order, axis=1)
    precise = plan.precise(means) - plan.precise(centre)[None, :]
    means = means - centre[None, :]
    unsigned = xp.abs(means)
    if rotation is not None:
        rotation = plan.widened(rotation)
        precise = xp.matmul(precise, plan.precise(rotation))
        unsigned = xp.matmul(unsigned, xp.abs(rotation))
    parameters = kind.parameters(xp, precise, plan.precise(factors))
    quadratic, linear, half_norms = parameters = tuple(map(plan.rounded, parameters))
    bound = error_bound(
        plan,
        kind,
        parameters,
        kind.parameters(xp, unsigned, xp.abs(factors)),
        plan.rounded(precise),
        log_normalizers,
        rotated=rotation is not None,
    )
    if plan.concrete and not bound.least <= bound.limit:
        return None
    if plan.has_precise:
        linear, half_norms = _refined(plan, kind, quadratic, precise)
    constants = plan.rounded(plan.precise(log_normalizers) - half_norms)
    near = factors.ndim == 3 and _are_near(xp, means, factors)
    theta = xp.concat([quadratic, linear, constants[:, None]], axis=1)
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


def _refined(plan: Plan, kind: Quadratic, quadratic: Array, means: Array) -> tuple[Array, Array]:
    """Coefficients of z, and half the norms of precise means, that go with rounded squares' ones.

    So the log-density has its maximum where it should, and the right one there: what rounding of
    the precisions changes is small near the means, as the log-density itself is.
    """
    slope = kind.slope(plan.xp, plan.precise(quadratic), means)
    linear = plan.rounded(-slope)
    return linear, plan.xp.sum(means * (plan.precise(linear) + 0.5 * slope), axis=1)


def _are_near(xp: Namespace, means: Array, factors: Array) -> Array:
    """Whether second moments about `means` (k, d), of sums about the centre, are exact.

    A moment that is of the order of the variances loses as much as μ² is larger than they are.
    """
    eps = float(xp.finfo(means.dtype).eps)
    cancelled = means * means * xp.sum(factors * factors, axis=-1)
    return xp.max(cancelled) <= max(_CANCELLED, _LOST / eps)


def centred(plan: Plan, form: Natural, x: Array) -> Array:
    """Rows about the centre."""
    if x.ndim == 1:
        x = plan.xp.expand_dims(x, axis=plan.axis)
    if form.order is None:
        return plan.widened(x) - along(form.centre, plan.axis)
    ordered = plan.widened(plan.xp.take(x, form.order, axis=plan.axis))
    return plan.plus(ordered, along(-form.centre, plan.axis))


def restored(plan: Plan, form: Natural, array: Array, *axes: int) -> Array:
    """An array whose axes are features, with these in the order that they have in x."""
    if form.order is None:
        return array
    back = plan.xp.argsort(form.order)
    for axis in axes:
        array = plan.xp.take(array, back, axis=axis)
    return array


def rows_of(plan: Plan, kind: Quadratic, form: Natural, z: Array) -> Rows:
    """A block about the centre with what its features and bounds are made of."""
    y = z
    if form.rotation is not None:
        y = linalg.transform(plan, z, form.rotation, ROTATED_TERMS, ROTATED_TERMS)
    if kind is PRODUCTS or plan.differentiable:
        return Rows(z, y, kind.squares(plan, y))
    # Squares are the first of the features, of which there are few others.
    features = _made(plan, kind, y)
    count = kind.count(y.shape[plan.axis])
    squares = features[:count, :] if plan.axis == 0 else features[:, :count]
    return Rows(z, y, squares, features)


def bounds_of(plan: Plan, kind: Quadratic, form: Natural, rows: Rows) -> Array:
    """The bound B of each row (rows,)."""
    xp = plan.xp
    slopes, unsigned_slopes, least, *_ = form.bound
    bounds = _by_slopes(plan, slopes, rows.squares)
    if unsigned_slopes is not None and form.rotation is not None:
        d = form.rotation.shape[0]
        unsigned = linalg.transform(plan, xp.abs(rows.z), xp.abs(form.rotation), d, d)
        bounds = plan.plus(bounds, _by_slopes(plan, unsigned_slopes, kind.squares(plan, unsigned)))
    return plan.plus(bounds, least)


def _by_slopes(plan: Plan, slopes: Array, squares: Array) -> Array:
    """A linear function of squares, (rows,)."""
    rows_last = plan.axis == 0
    if slopes.shape[0] == 1:
        return slopes * (squares[0, :] if rows_last else squares[:, 0])
    return plan.xp.matmul(*((slopes, squares) if rows_last else (squares, slopes)))


def features_of(plan: Plan, kind: Quadratic, rows: Rows) -> Array:
    """Features φ of a block."""
    return _made(plan, kind, rows.y) if rows.features is None else rows.features


def _made(plan: Plan, kind: Quadratic, y: Array) -> Array:
    if plan.gathers and kind is PRODUCTS:
        return _gathered(plan.xp, plan.products([(y, None)]), plan.axis)
    return plan.products([*kind.features(plan, y), (y, None)])


def _gathered(xp: Namespace, values: Array, axis: int) -> Array:
    """Products of all pairs of features, the features, and 1, which is the last of the values."""
    d = values.shape[axis] - 1
    pairs = [(i, j) for j in range(d) for i in range(j + 1)]
    places = [*pairs, *((i, d) for i in range(d + 1))]
    first, second = (xp.asarray(list(one)) for one in zip(*places, strict=True))
    rows_last = values if axis == 0 else xp.matrix_transpose(values)
    products = xp.take(rows_last, first, axis=0) * xp.take(rows_last, second, axis=0)
    return products if axis == 0 else xp.matrix_transpose(products)


def log_joint(plan: Plan, form: Natural, features: Array) -> Array:
    """Log-joints of a block."""
    return plan.sliced_product(form.parameters, features, form.bound.slices)


def moments(
    plan: Plan, kind: Quadratic, form: Natural, features: Array, responsibilities: Array
) -> tuple[Array, Array]:
    """First and second moments about the means of the components."""
    xp = plan.xp
    sums = sums_over_rows(plan, responsibilities, features)
    count = kind.count(form.means.shape[1])
    quadratic, linear, ones = (
        sums[:count, :],
        xp.matrix_transpose(sums[count:-1, :]),
        sums[-1, :][:, None],
    )
    first = linear - ones * form.means
    second = kind.about(xp, (quadratic, linear, ones), form.means)
    return restored(plan, form, first, 1), restored(plan, form, second, *range(1, second.ndim))


def sums_over_rows(plan: Plan, responsibilities: Array, values: Array) -> Array:
    """Sums (features, k) over the rows of a block, weighted by responsibilities.

    This way round, since there are more features than components: the product is quicker.
    """
    xp = plan.xp
    r = xp.astype(responsibilities, values.dtype, copy=False)
    if plan.axis == 0:
        return xp.matmul(values, xp.matrix_transpose(r))
    return xp.matmul(xp.matrix_transpose(values), r)
