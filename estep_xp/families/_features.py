"""Log-joints as one matrix product, granted to the rows for which it is certainly as exact.

With z = x − c for one centre c of all components, the log-joint of a Gaussian component is linear
in features of z (an exponential family: Bishop 2006, section 2.4): θ · φ, where φ holds squares or
products of z, z itself, and 1. That is half the work of (x − μ) P or less, in a single product of
matrices; and moments are the product of responsibilities with the same features.

But it cancels where components lie many deviations apart: its error grows with S = |θ| · |φ|, and
with what S would be if P, too, had no signs. A bound B on the mean of the two is linear in squares
of z, and costs little. What rounding does is measured in tests/test_features.py: the error stays
below 3 eps B, which for T >= 3/16 B is within the relative allowance 16 eps (1 + T) of log-joints;
and it stays below `_GROWTH` eps B for the others, whose components are near. (The worst case that
can be proved is larger by the number of features.) Rows for which that is not within the allowance
are left to the residual form.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from estep_xp import _linalg
from estep_xp._logsumexp import along
from estep_xp._typing import Array, Namespace

if TYPE_CHECKING:
    from estep_xp.execution import Plan

_GROWTH = 1.5
_ALLOWED = 1e-12  # an absolute error in double precision that is fine wherever it occurs
_CANCELLED, _LOST = 16.0, 5e-14  # in second moments: a factor of eps, or a relative error


class Natural(NamedTuple):
    """A family's densities as linear functions of features, and their bound B."""

    centre: Array  # (d,)
    means: Array  # (k, d), about the centre
    rotation: Array | None  # (d, d), for families whose rows are standardised first
    parameters: Array  # (k, features)
    slopes: Array  # (squares,)
    least: Array  # (): B at the centre
    near: Array | bool  # (): features cancel so little in second moments that these are exact


class Rows(NamedTuple):
    """A block that features can be made of."""

    z: Array  # about the centre
    y: Array  # the same, but standardised for families whose rows are
    squares: Array  # of y, as a kind of covariance needs them
    features: Array | None = None  # if they are made already


class Quadratic(Protocol):
    """The squares or products of z that a kind of covariance needs, and how to use them."""

    def count(self, d: int) -> int:
        """How many there are for d features."""
        ...

    def features(self, xp: Namespace, y: Array, axis: int) -> list[tuple[Array, Array | None]]:
        """Factors of the products of a block with its features along an axis."""
        ...

    def squares(self, xp: Namespace, y: Array, axis: int) -> Array:
        """Those that a bound is linear in; the first of the features, but for products."""
        ...

    def parameters(self, xp: Namespace, means: Array, factors: Array) -> tuple[Array, ...]:
        """Coefficients (k, count) of these and (k, d) of z, and (k,) half the norm of the means.

        `means` (k, d) are about the centre; `factors` are reciprocals of deviations, or P.
        """
        ...

    def bound(self, xp: Namespace, quadratic: Array, linear: Array, size: Array) -> Any:
        """Coefficients (k, squares) and constants (k,) of a bound on |θ| · |φ|.

        `size` (d,) tells how large z is typically.
        """
        ...

    def about(self, xp: Namespace, sums: tuple[Array, ...], means: Array) -> Array:
        """Second moments about the means, of sums of these features, of z, and of 1.

        They are of shapes (count, k), (k, d) and (k, 1).
        """
        ...

    def packed(self, xp: Namespace, second: Array) -> Array:
        """Sums (k, count) of these features of x minus the means, of such second moments."""
        ...


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
    means = means - centre[None, :]
    rotated, unsigned = means, xp.abs(means)
    if rotation is not None:
        rotation = plan.widened(rotation)
        rotated, unsigned = xp.matmul(means, rotation), xp.matmul(unsigned, xp.abs(rotation))
    quadratic, linear, half_norms = kind.parameters(xp, rotated, factors)
    parameters = [quadratic, linear, (log_normalizers - half_norms)[:, None]]
    slopes, least = _bound(plan, kind, (rotated, unsigned), factors, log_normalizers)
    if plan.concrete and not least <= most_exact(xp, means.dtype, means.shape[1]):
        return None
    near = factors.ndim == 3 and _are_near(xp, means, factors)
    return Natural(centre, means, rotation, xp.concat(parameters, axis=1), slopes, least, near)


def _are_near(xp: Namespace, means: Array, factors: Array) -> Array:
    """Whether second moments about `means` (k, d), of sums about the centre, are exact.

    A moment that is of the order of the variances loses as much as μ² is larger than they are.
    """
    eps = float(xp.finfo(means.dtype).eps)
    cancelled = means * means * xp.sum(factors * factors, axis=-1)
    return xp.max(cancelled) <= max(_CANCELLED, _LOST / eps)


def _bound(
    plan: Plan,
    kind: Quadratic,
    means: tuple[Array, Array],
    factors: Array,
    log_normalizers: Array,
) -> tuple[Array, Array]:
    """Slopes and least value of B, for means about the centre, and for their sizes."""
    xp = plan.xp
    limits = xp.finfo(log_normalizers.dtype)
    underflow = float(limits.smallest_normal) / float(limits.eps)  # what is smaller may get lost
    slopes, constants = [], []
    for centred, signed in zip(means, (factors, xp.abs(factors)), strict=True):
        quadratic, linear, half_norms = kind.parameters(xp, centred, signed)
        quadratic, linear = xp.abs(quadratic), xp.abs(linear)
        lost = underflow * (xp.sum(quadratic, axis=1) + xp.sum(linear, axis=1))
        slope, constant = kind.bound(xp, quadratic, linear, xp.max(xp.abs(centred), axis=0))
        slopes.append(slope)
        constants.append(constant + half_norms + lost)
    offsets = xp.abs(log_normalizers) + 0.5 * (constants[0] + constants[1])
    return 0.5 * xp.max(slopes[0] + slopes[1], axis=0), xp.max(offsets)


def most_exact(xp: Namespace, dtype: Any, d: int) -> float:
    """The largest B for which the error of a log-joint is within what is allowed."""
    relative = 16.0 * (1.0 + 0.5 * d * math.log(2.0 * math.pi))
    absolute = _ALLOWED / float(xp.finfo(dtype).eps)  # next to nothing in single precision
    return max(relative, absolute) / _GROWTH


def centred(plan: Plan, form: Natural, x: Array) -> Array:
    """Rows about the centre."""
    if x.ndim == 1:
        x = plan.xp.expand_dims(x, axis=plan.axis)
    return plan.widened(x) - along(form.centre, plan.axis)


def rows_of(plan: Plan, kind: Quadratic, form: Natural, z: Array) -> Rows:
    """A block about the centre with what its features and bounds are made of."""
    y = z
    if form.rotation is not None:
        y = _linalg.transform(plan.xp, z, form.rotation, rows_last=plan.axis == 0)
    if kind is PRODUCTS or plan.differentiable:
        return Rows(z, y, kind.squares(plan.xp, y, plan.axis))
    # Squares are the first of the features, of which there are few others.
    features = _made(plan, kind, y)
    count = kind.count(y.shape[plan.axis])
    squares = features[:count, :] if plan.axis == 0 else features[:, :count]
    return Rows(z, y, squares, features)


def bounds_of(plan: Plan, kind: Quadratic, form: Natural, rows: Rows) -> Array:
    """The bound B of each row (rows,)."""
    xp, rows_last = plan.xp, plan.axis == 0
    squares = rows.squares
    if form.rotation is not None:
        sizes, factor = xp.abs(rows.z), xp.abs(form.rotation)
        unsigned = _linalg.transform(xp, sizes, factor, rows_last=rows_last)
        squares = 0.5 * squares + 0.5 * kind.squares(xp, unsigned, plan.axis)
    if form.slopes.shape[0] == 1:
        bounds = form.slopes * (squares[0, :] if rows_last else squares[:, 0])
    else:
        bounds = xp.matmul(*((form.slopes, squares) if rows_last else (squares, form.slopes)))
    return plan.plus(bounds, form.least)


def features_of(plan: Plan, kind: Quadratic, rows: Rows) -> Array:
    """Features φ of a block."""
    return _made(plan, kind, rows.y) if rows.features is None else rows.features


def _made(plan: Plan, kind: Quadratic, y: Array) -> Array:
    if plan.gathers and kind is PRODUCTS:
        return _gathered(plan.xp, plan.products([(y, None)]), plan.axis)
    return plan.products([*kind.features(plan.xp, y, plan.axis), (y, None)])


def _gathered(xp: Namespace, values: Array, axis: int) -> Array:
    """Products of all pairs of features, the features, and 1, which is the last of the values."""
    d = values.shape[axis] - 1
    pairs = [(i, j) for i in range(d) for j in range(i, d)]
    places = [*pairs, *((i, d) for i in range(d + 1))]
    first, second = (xp.asarray(list(one)) for one in zip(*places, strict=True))
    rows_last = values if axis == 0 else xp.matrix_transpose(values)
    products = xp.take(rows_last, first, axis=0) * xp.take(rows_last, second, axis=0)
    return products if axis == 0 else xp.matrix_transpose(products)


def log_joint(plan: Plan, form: Natural, features: Array) -> Array:
    """Log-joints of a block."""
    xp = plan.xp
    if plan.axis == 0:
        return xp.matmul(form.parameters, features)
    return xp.matmul(features, xp.matrix_transpose(form.parameters))


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
    return first, kind.about(xp, (quadratic, linear, ones), form.means)


def sums_over_rows(plan: Plan, responsibilities: Array, values: Array) -> Array:
    """Sums (features, k) over the rows of a block, weighted by responsibilities.

    This way round, since there are more features than components: the product is quicker.
    """
    xp = plan.xp
    r = xp.astype(responsibilities, values.dtype, copy=False)
    if plan.axis == 0:
        return xp.matmul(values, xp.matrix_transpose(r))
    return xp.matmul(xp.matrix_transpose(values), r)


class _Squares:
    """The square of each feature: components whose features are independent."""

    def count(self, d: int) -> int:
        return d

    def features(self, xp: Namespace, y: Array, axis: int) -> list[tuple[Array, Array | None]]:
        del xp, axis
        return [(y, y)]

    def squares(self, xp: Namespace, y: Array, axis: int) -> Array:
        del xp, axis
        return y * y

    def parameters(self, xp: Namespace, means: Array, factors: Array) -> tuple[Array, ...]:
        standardized = means * factors
        half_norms = 0.5 * xp.sum(standardized * standardized, axis=1)
        return -0.5 * factors * factors, standardized * factors, half_norms

    def bound(
        self, xp: Namespace, quadratic: Array, linear: Array, size: Array
    ) -> tuple[Array, Array]:
        return _by_squares(xp, quadratic, linear, size)

    def about(self, xp: Namespace, sums: tuple[Array, ...], means: Array) -> Array:
        quadratic, linear, ones = sums
        return xp.matrix_transpose(quadratic) - (2.0 * linear - ones * means) * means

    def packed(self, xp: Namespace, second: Array) -> Array:
        del xp
        return second


class _Norm:
    """The squared length of a row: components of one variance."""

    def count(self, d: int) -> int:
        del d
        return 1

    def features(self, xp: Namespace, y: Array, axis: int) -> list[tuple[Array, Array | None]]:
        return [(self.squares(xp, y, axis), None)]

    def squares(self, xp: Namespace, y: Array, axis: int) -> Array:
        return xp.sum(y * y, axis=axis, keepdims=True)

    def parameters(self, xp: Namespace, means: Array, factors: Array) -> tuple[Array, ...]:
        standardized = means * factors[:, None]
        half_norms = 0.5 * xp.sum(standardized * standardized, axis=1)
        quadratic = -0.5 * factors * factors
        return quadratic[:, None], standardized * factors[:, None], half_norms

    def bound(
        self, xp: Namespace, quadratic: Array, linear: Array, size: Array
    ) -> tuple[Array, Array]:
        # |Σ b z| is at most the product of their lengths.
        length = xp.sqrt(xp.sum(linear * linear, axis=1, keepdims=True))
        return _by_squares(xp, quadratic, length, xp.sqrt(xp.sum(size * size, keepdims=True)))

    def about(self, xp: Namespace, sums: tuple[Array, ...], means: Array) -> Array:
        quadratic, linear, ones = sums
        return quadratic[0, :] - xp.sum((2.0 * linear - ones * means) * means, axis=1)

    def packed(self, xp: Namespace, second: Array) -> Array:
        del xp
        return second[:, None]


class _Products:
    """The products of all pairs of features: components with a covariance matrix."""

    def count(self, d: int) -> int:
        return d * (d + 1) // 2

    def features(self, xp: Namespace, y: Array, axis: int) -> list[tuple[Array, Array | None]]:
        del xp
        if axis == 0:
            return [(y[j : j + 1, :], y[j:, :]) for j in range(y.shape[0])]
        return [(y[:, j : j + 1], y[:, j:]) for j in range(y.shape[1])]

    def squares(self, xp: Namespace, y: Array, axis: int) -> Array:
        del xp, axis
        return y * y

    def parameters(self, xp: Namespace, means: Array, factors: Array) -> tuple[Array, ...]:
        precisions = xp.matmul(factors, xp.matrix_transpose(factors))
        standardized = xp.matmul(means[:, None, :], factors)
        linear = xp.matmul(standardized, xp.matrix_transpose(factors))[:, 0, :]
        half_norms = 0.5 * xp.sum(standardized[:, 0, :] * standardized[:, 0, :], axis=1)
        # A product of two different features stands for both of its places in the matrix.
        doubled = xp.triu(xp.ones_like(precisions), k=1) + 1.0
        return -0.5 * _packed(xp, precisions * doubled), linear, half_norms

    def bound(
        self, xp: Namespace, quadratic: Array, linear: Array, size: Array
    ) -> tuple[Array, Array]:
        # |2 y z| is at most y² + z²: row sums of the absolute matrix bound the products.
        matrices = _unpacked(xp, xp.matrix_transpose(quadratic), linear.shape[1])
        slopes = 0.5 * (xp.sum(matrices, axis=2) + xp.linalg.diagonal(matrices))
        return _by_squares(xp, slopes, linear, size)

    def about(self, xp: Namespace, sums: tuple[Array, ...], means: Array) -> Array:
        quadratic, linear, ones = sums
        second = _unpacked(xp, quadratic, means.shape[1])
        cross = (linear - 0.5 * ones * means)[:, :, None] * means[:, None, :]
        return second - (cross + xp.matrix_transpose(cross))

    def packed(self, xp: Namespace, second: Array) -> Array:
        # Of a covariance matrix that components share it is one for all of them.
        return _packed(xp, second if second.ndim == 3 else second[None, :, :])


SQUARES, NORM, PRODUCTS = _Squares(), _Norm(), _Products()


def _by_squares(xp: Namespace, slopes: Array, linear: Array, size: Array) -> tuple[Array, Array]:
    """Bounds that are linear in squares: |b z| is at most |b| (z² / a + a) / 2 for any a > 0."""
    size = size + xp.max(1.0 / xp.sqrt(2.0 * slopes), axis=0)
    linear, size = 0.5 * linear, size[None, :]
    return slopes + linear / size, xp.sum(linear * size, axis=1)


def _packed(xp: Namespace, matrices: Array) -> Array:
    """Upper triangles (k, d (d + 1) / 2) of matrices (k, d, d), row after row."""
    return xp.concat([matrices[:, j, j:] for j in range(matrices.shape[-1])], axis=1)


def _unpacked(xp: Namespace, triangles: Array, d: int) -> Array:
    """Symmetric matrices (k, d, d) of upper triangles (d (d + 1) / 2, k)."""
    places = [[_place(d, min(i, j), max(i, j)) for j in range(d)] for i in range(d)]
    flat = xp.asarray([place for row in places for place in row])
    matrices = xp.reshape(xp.take(triangles, flat, axis=0), (d, d, triangles.shape[1]))
    return xp.permute_dims(matrices, (2, 0, 1))


def _place(d: int, row: int, column: int) -> int:
    return row * d - row * (row - 1) // 2 + column - row
