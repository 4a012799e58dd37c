"""Log-joints as one matrix product, granted to the rows for which it is certainly as exact.

With z = x − c for one centre c of all components, the log-joint of a Gaussian component is linear
in features of z (an exponential family: Bishop 2006, section 2.4): θ · φ, where φ holds squares or
products of z, z itself, and 1. That is half the work of (x − μ) P or less, in a single product of
matrices; and moments are the product of responsibilities with the same features.

But it cancels where components lie many deviations apart. A bound B on S = |θ| · |φ| that is linear
in the squares of z comes out of the same matrix product. What rounding does is measured in
tests/test_features.py: the error stays below 3 eps B, which for T >= 3/16 B is within the relative
allowance 16 eps (1 + T) of all log-joints; and it stays below `_GROWTH` eps B for the others, whose
components are near. (The worst case that can be proved is larger by the number of features.) Rows
for which that is not within the absolute allowance are left to the residual form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from estep_xp import _linalg
from estep_xp._typing import Array, Namespace

if TYPE_CHECKING:
    from estep_xp.execution import Plan

_GROWTH = 2.0
_ALLOWED = 1e-12  # an absolute error in double precision that is fine wherever it occurs


class Natural(NamedTuple):
    """A family's densities as linear functions of features.

    The last row of `parameters` is no component but the bound on S.
    """

    centre: Array  # (d,)
    means: Array  # (k, d), about the centre
    rotation: Array | None  # (d, d), for families whose rows are standardised first
    parameters: Array  # (k + 1, features)


class Quadratic(Protocol):
    """The squares or products of z that a kind of covariance needs, and how to use them."""

    def count(self, d: int) -> int:
        """How many there are for d features."""
        ...

    def features(self, xp: Namespace, z: Array, axis: int) -> list[tuple[Array, Array | None]]:
        """Factors of the products of a block with its features along an axis."""
        ...

    def parameters(self, xp: Namespace, means: Array, factors: Array) -> tuple[Array, ...]:
        """Coefficients (k, count) of these and (k, d) of z, and (k,) half the norm of the means.

        `means` (k, d) are about the centre; `factors` are reciprocals of deviations, or P.
        """
        ...

    def weights(self, xp: Namespace, quadratic: Array, linear: Array, means: Array) -> Any:
        """Coefficients (k, count) and (k,) of a bound on S less its constants."""
        ...

    def about(self, xp: Namespace, sums: tuple[Array, ...], means: Array) -> Array:
        """Second moments about the means, of sums of these features, of z, and of 1."""
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
    wide = xp.float64
    means, factors, log_normalizers = (
        xp.astype(array, wide) for array in (means, factors, log_normalizers)
    )
    centre = 0.5 * xp.max(means, axis=0) + 0.5 * xp.min(means, axis=0)
    means = means - centre
    rotated = means
    if rotation is not None:
        rotation = xp.astype(rotation, wide)
        rotated = xp.matmul(means, rotation)
    quadratic, linear, half_norms = kind.parameters(xp, rotated, factors)
    constants = xp.abs(log_normalizers) + half_norms
    slopes, offsets = kind.weights(xp, quadratic, linear, rotated)
    least = xp.max(constants + offsets)
    if plan.concrete and not least <= most_exact():
        return None
    bound = xp.concat([xp.max(slopes, axis=0), xp.zeros_like(centre), least[None]])
    rows = xp.concat([quadratic, linear, (log_normalizers - half_norms)[:, None]], axis=1)
    return Natural(centre, means, rotation, xp.concat([rows, bound[None, :]], axis=0))


def most_exact() -> float:
    """The largest B for which the error of a log-joint is within what is allowed."""
    return _ALLOWED / (_GROWTH * 2.0**-52)


def features_of(plan: Plan, kind: Quadratic, form: Natural, x: Array) -> Array:
    """Features φ of a block."""
    xp, axis = plan.xp, plan.axis
    z = centred(plan, form, x)
    if form.rotation is not None:
        z = _linalg.transform(xp, z, form.rotation, rows_last=axis == 0)
    ones = xp.ones_like(z[:1, :] if axis == 0 else z[:, :1])
    return plan.products([*kind.features(xp, z, axis), (z, None), (ones, None)])


def centred(plan: Plan, form: Natural, x: Array) -> Array:
    """Rows about the centre, in double precision."""
    xp = plan.xp
    if x.ndim == 1:
        x = xp.expand_dims(x, axis=plan.axis)
    centre = form.centre[:, None] if plan.axis == 0 else form.centre[None, :]
    return xp.astype(x, xp.float64, copy=False) - centre


def log_joint(plan: Plan, form: Natural, features: Array) -> tuple[Array, Array]:
    """Log-joints of a block, and for each row a bound B of S."""
    xp = plan.xp
    if plan.axis == 0:
        values = xp.matmul(form.parameters, features)
        return values[:-1, :], values[-1, :]
    values = xp.matmul(features, xp.matrix_transpose(form.parameters))
    return values[:, :-1], values[:, -1]


def moments(
    plan: Plan, kind: Quadratic, form: Natural, features: Array, responsibilities: Array
) -> tuple[Array, Array]:
    """First and second moments about the means of the components."""
    xp = plan.xp
    r = xp.astype(responsibilities, features.dtype, copy=False)
    if plan.axis == 0:
        sums = xp.matmul(r, xp.matrix_transpose(features))
    else:
        sums = xp.matmul(xp.matrix_transpose(r), features)
    count = kind.count(form.means.shape[1])
    quadratic, linear, ones = sums[:, :count], sums[:, count:-1], sums[:, -1:]
    first = linear - ones * form.means
    return first, kind.about(xp, (quadratic, linear, ones), form.means)


def linear_sums(plan: Plan, responsibilities: Array, z: Array) -> tuple[Array, Array]:
    """Sums (k, d) of rows about the centre, and of 1 (k, 1), weighted by responsibilities."""
    xp, axis = plan.xp, plan.axis
    r = xp.astype(responsibilities, z.dtype, copy=False)
    counts = xp.sum(r, axis=1 - axis)[:, None]
    if axis == 0:
        return xp.matmul(r, xp.matrix_transpose(z)), counts
    return xp.matmul(xp.matrix_transpose(r), z), counts


class _Squares:
    """The square of each feature: components whose features are independent."""

    def count(self, d: int) -> int:
        return d

    def features(self, xp: Namespace, z: Array, axis: int) -> list[tuple[Array, Array | None]]:
        del xp, axis
        return [(z, z)]

    def parameters(self, xp: Namespace, means: Array, factors: Array) -> tuple[Array, ...]:
        standardized = means * factors
        half_norms = 0.5 * xp.sum(standardized * standardized, axis=1)
        return -0.5 * factors * factors, standardized * factors, half_norms

    def weights(
        self, xp: Namespace, quadratic: Array, linear: Array, means: Array
    ) -> tuple[Array, Array]:
        return _linear_by_squares(xp, xp.abs(quadratic), linear, means)

    def about(self, xp: Namespace, sums: tuple[Array, ...], means: Array) -> Array:
        del xp
        quadratic, linear, ones = sums
        return quadratic - (2.0 * linear - ones * means) * means


class _Norm:
    """The squared length of a row: components of one variance."""

    def count(self, d: int) -> int:
        del d
        return 1

    def features(self, xp: Namespace, z: Array, axis: int) -> list[tuple[Array, Array | None]]:
        return [(xp.sum(z * z, axis=axis, keepdims=True), None)]

    def parameters(self, xp: Namespace, means: Array, factors: Array) -> tuple[Array, ...]:
        standardized = means * factors[:, None]
        half_norms = 0.5 * xp.sum(standardized * standardized, axis=1)
        quadratic = -0.5 * factors * factors
        return quadratic[:, None], standardized * factors[:, None], half_norms

    def weights(
        self, xp: Namespace, quadratic: Array, linear: Array, means: Array
    ) -> tuple[Array, Array]:
        # |Σ b z| is at most the product of their lengths.
        lengths = (xp.sqrt(xp.sum(a * a, axis=1, keepdims=True)) for a in (linear, means))
        return _linear_by_squares(xp, xp.abs(quadratic), *lengths)

    def about(self, xp: Namespace, sums: tuple[Array, ...], means: Array) -> Array:
        quadratic, linear, ones = sums
        return quadratic[:, 0] - xp.sum((2.0 * linear - ones * means) * means, axis=1)


class _Products:
    """The products of all pairs of features: components with a covariance matrix."""

    def count(self, d: int) -> int:
        return d * (d + 1) // 2

    def features(self, xp: Namespace, z: Array, axis: int) -> list[tuple[Array, Array | None]]:
        del xp
        if axis == 0:
            return [(z[j : j + 1, :], z[j:, :]) for j in range(z.shape[0])]
        return [(z[:, j : j + 1], z[:, j:]) for j in range(z.shape[1])]

    def parameters(self, xp: Namespace, means: Array, factors: Array) -> tuple[Array, ...]:
        precisions = xp.matmul(factors, xp.matrix_transpose(factors))
        standardized = xp.matmul(means[:, None, :], factors)
        linear = xp.matmul(standardized, xp.matrix_transpose(factors))[:, 0, :]
        half_norms = 0.5 * xp.sum(standardized[:, 0, :] * standardized[:, 0, :], axis=1)
        # A product of two different features stands for both of its places in the matrix.
        doubled = xp.triu(xp.ones_like(precisions), k=1) + 1.0
        return -0.5 * _packed(xp, precisions * doubled), linear, half_norms

    def weights(
        self, xp: Namespace, quadratic: Array, linear: Array, means: Array
    ) -> tuple[Array, Array]:
        # |2 y z| is at most y² + z²: row sums of the absolute matrix bound the products.
        d = means.shape[1]
        matrices = _unpacked(xp, xp.abs(quadratic), d)
        slopes = 0.5 * (xp.sum(matrices, axis=2) + xp.linalg.diagonal(matrices))
        slopes, offsets = _linear_by_squares(xp, slopes, linear, means)
        return _packed(xp, _linalg.diagonal_matrix(xp, slopes)), offsets

    def about(self, xp: Namespace, sums: tuple[Array, ...], means: Array) -> Array:
        quadratic, linear, ones = sums
        second = _unpacked(xp, quadratic, means.shape[1])
        cross = (linear - 0.5 * ones * means)[:, :, None] * means[:, None, :]
        return second - (cross + xp.matrix_transpose(cross))


SQUARES, NORM, PRODUCTS = _Squares(), _Norm(), _Products()


def _linear_by_squares(
    xp: Namespace, slopes: Array, linear: Array, means: Array
) -> tuple[Array, Array]:
    """Bounds that are linear in squares: |b z| is at most |b| (z² / a + a) / 2 for any a > 0."""
    size = xp.max(xp.abs(means), axis=0) + xp.max(1.0 / xp.sqrt(2.0 * slopes), axis=0)
    linear = 0.5 * xp.abs(linear)
    return slopes + linear / size, xp.sum(linear * size, axis=1)


def _packed(xp: Namespace, matrices: Array) -> Array:
    """Upper triangles (k, d (d + 1) / 2) of matrices (k, d, d), row after row."""
    return xp.concat([matrices[:, j, j:] for j in range(matrices.shape[-1])], axis=1)


def _unpacked(xp: Namespace, triangles: Array, d: int) -> Array:
    """Symmetric matrices (k, d, d) of upper triangles."""
    places = [[_place(d, min(i, j), max(i, j)) for j in range(d)] for i in range(d)]
    flat = xp.asarray([place for row in places for place in row])
    return xp.reshape(xp.take(triangles, flat, axis=1), (triangles.shape[0], d, d))


def _place(d: int, row: int, column: int) -> int:
    return row * d - row * (row - 1) // 2 + column - row
