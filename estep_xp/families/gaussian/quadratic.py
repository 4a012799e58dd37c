"""The quadratic terms of each kind of covariance: squares, their sum, or products of features."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Protocol

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, Namespace

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps


class QuadraticTerms(Protocol):
    """The terms that are quadratic in z for one kind of covariance, and their coefficients."""

    @property
    def is_last(self) -> bool:
        """Whether it is a single square, which θ · φ adds last, after features and constant."""
        ...

    def count(self, d: int) -> int:
        """Number of quadratic terms for d features."""
        ...

    def pairs(self, ops: BlockOps, y: Array) -> list[tuple[Array, Array | None]]:
        """The two factors of the terms of a block; None for terms that are no products."""
        ...

    def squares(self, ops: BlockOps, y: Array) -> Array:
        """The squares in which the error bound is linear: these terms, except for products."""
        ...

    def norm_terms(self, d: int) -> int:
        """Number of squares that are summed, one after the other, for one term."""
        ...

    def coefficients(self, xp: Namespace, means: Array, factors: Array) -> tuple[Array, ...]:
        """Coefficients (k, count) of these terms, (k, d) of z, and half the norms (k,) of means.

        `means` (k, d) are about the centre; `factors` are reciprocals of deviations, or P.
        """
        ...

    def gradient(self, xp: Namespace, quadratic: Array, z: Array) -> Array:
        """Gradient (k, d), at z (k, d), of the sum of these terms with these coefficients."""
        ...

    def bound(self, xp: Namespace, quadratic: Array, linear: Array, size: Array) -> Any:
        """Coefficients (k, squares) and constants (k,) of a bound on |θ| · |φ|.

        `size` (d,) is the typical size of z.
        """
        ...

    def second_moments(self, xp: Namespace, sums: tuple[Array, ...], means: Array) -> Array:
        """Second moments about the means, from sums of these terms, of z, and of 1.

        The sums are of shapes (count, k), (k, d) and (k, 1).
        """
        ...

    def pack_moments(self, xp: Namespace, second: Array) -> Array:
        """Sums (k, count) of these terms of x minus the means, from second moments."""
        ...


class _Squares:
    """The square of each feature: components whose features are independent."""

    is_last = False

    def count(self, d: int) -> int:
        return d

    def pairs(self, ops: BlockOps, y: Array) -> list[tuple[Array, Array | None]]:
        del ops
        return [(y, y)]

    def squares(self, ops: BlockOps, y: Array) -> Array:
        del ops
        return y * y

    def norm_terms(self, d: int) -> int:
        del d
        return 0

    def gradient(self, xp: Namespace, quadratic: Array, z: Array) -> Array:
        del xp
        return 2.0 * quadratic * z

    def coefficients(self, xp: Namespace, means: Array, factors: Array) -> tuple[Array, ...]:
        standardized = means * factors
        half_norms = 0.5 * xp.sum(standardized * standardized, axis=1)
        return -0.5 * factors * factors, standardized * factors, half_norms

    def bound(
        self, xp: Namespace, quadratic: Array, linear: Array, size: Array
    ) -> tuple[Array, Array]:
        return _bound_by_squares(xp, quadratic, linear, size)

    def second_moments(self, xp: Namespace, sums: tuple[Array, ...], means: Array) -> Array:
        quadratic, linear, ones = sums
        return xp.matrix_transpose(quadratic) - (2.0 * linear - ones * means) * means

    def pack_moments(self, xp: Namespace, second: Array) -> Array:
        del xp
        return second


class _Norm:
    """The squared length of a row: components of one variance."""

    is_last = True

    def count(self, d: int) -> int:
        del d
        return 1

    def pairs(self, ops: BlockOps, y: Array) -> list[tuple[Array, Array | None]]:
        return [(self.squares(ops, y), None)]

    def squares(self, ops: BlockOps, y: Array) -> Array:
        return ops.xp.expand_dims(ops.sum(y * y, ops.axis), axis=ops.axis)

    def norm_terms(self, d: int) -> int:
        return min(d, 32)

    def gradient(self, xp: Namespace, quadratic: Array, z: Array) -> Array:
        del xp
        return 2.0 * quadratic * z

    def coefficients(self, xp: Namespace, means: Array, factors: Array) -> tuple[Array, ...]:
        standardized = means * factors[:, None]
        half_norms = 0.5 * xp.sum(standardized * standardized, axis=1)
        quadratic = -0.5 * factors * factors
        return quadratic[:, None], standardized * factors[:, None], half_norms

    def bound(
        self, xp: Namespace, quadratic: Array, linear: Array, size: Array
    ) -> tuple[Array, Array]:
        # |Σ b z| is at most the product of their lengths.
        length = xp.sqrt(xp.sum(linear * linear, axis=1, keepdims=True))
        return _bound_by_squares(xp, quadratic, length, xp.sqrt(xp.sum(size * size, keepdims=True)))

    def second_moments(self, xp: Namespace, sums: tuple[Array, ...], means: Array) -> Array:
        quadratic, linear, ones = sums
        return quadratic[0, :] - xp.sum((2.0 * linear - ones * means) * means, axis=1)

    def pack_moments(self, xp: Namespace, second: Array) -> Array:
        del xp
        return second[:, None]


class _Products:
    """The products of all pairs of features: components with a covariance matrix."""

    is_last = False

    def count(self, d: int) -> int:
        return d * (d + 1) // 2

    def pairs(self, ops: BlockOps, y: Array) -> list[tuple[Array, Array | None]]:
        if ops.axis == 0:
            return [(y[j : j + 1, :], y[: j + 1, :]) for j in range(y.shape[0])]
        return [(y[:, j : j + 1], y[:, : j + 1]) for j in range(y.shape[1])]

    def squares(self, ops: BlockOps, y: Array) -> Array:
        del ops
        return y * y

    def norm_terms(self, d: int) -> int:
        del d
        return 0

    def gradient(self, xp: Namespace, quadratic: Array, z: Array) -> Array:
        # A product of two different features stands for both of its entries in the matrix.
        matrices = _unpack_triangles(xp, xp.matrix_transpose(quadratic), z.shape[1])
        diagonal = xp.linalg.diagonal(matrices) * z
        return xp.matmul(matrices, z[:, :, None])[:, :, 0] + diagonal

    def coefficients(self, xp: Namespace, means: Array, factors: Array) -> tuple[Array, ...]:
        precisions = xp.matmul(factors, xp.matrix_transpose(factors))
        standardized = xp.matmul(means[:, None, :], factors)
        linear = xp.matmul(standardized, xp.matrix_transpose(factors))[:, 0, :]
        half_norms = 0.5 * xp.sum(standardized[:, 0, :] * standardized[:, 0, :], axis=1)
        # A product of two different features stands for both of its entries in the matrix.
        doubled = xp.triu(xp.ones_like(precisions), k=1) + 1.0
        return -0.5 * _pack_triangles(xp, precisions * doubled), linear, half_norms

    def bound(
        self, xp: Namespace, quadratic: Array, linear: Array, size: Array
    ) -> tuple[Array, Array]:
        # |2 y z| is at most s y² + z² / s for any s > 0. The leading eigenvector of the absolute
        # matrix would give the smallest s; the row sums come near it.
        matrices = _unpack_triangles(xp, xp.matrix_transpose(quadratic), linear.shape[1])
        matrices = 0.5 * (matrices + linalg.diagonal_matrix(xp, xp.linalg.diagonal(matrices)))
        sums = xp.sum(matrices, axis=2)
        coefficients = xp.matmul(matrices, sums[:, :, None])[:, :, 0] / sums
        return _bound_by_squares(xp, coefficients, linear, size)

    def second_moments(self, xp: Namespace, sums: tuple[Array, ...], means: Array) -> Array:
        quadratic, linear, ones = sums
        second = _unpack_triangles(xp, quadratic, means.shape[1])
        cross = (linear - 0.5 * ones * means)[:, :, None] * means[:, None, :]
        return second - (cross + xp.matrix_transpose(cross))

    def pack_moments(self, xp: Namespace, second: Array) -> Array:
        # A covariance matrix that components share has the sums of all of them.
        return _pack_triangles(xp, second if second.ndim == 3 else second[None, :, :])


SQUARES, NORM, PRODUCTS = _Squares(), _Norm(), _Products()


def _bound_by_squares(
    xp: Namespace, quadratic: Array, linear: Array, size: Array
) -> tuple[Array, Array]:
    """Bounds that are linear in squares: |b z| is at most |b| (z² / a + a) / 2 for any a > 0."""
    size = size + xp.max(1.0 / xp.sqrt(2.0 * quadratic), axis=0)
    linear, size = 0.5 * linear, size[None, :]
    return quadratic + linear / size, xp.sum(linear * size, axis=1)


def _pack_triangles(xp: Namespace, matrices: Array) -> Array:
    """Upper triangles (k, d (d + 1) / 2) of matrices (k, d, d), column after column."""
    return xp.concat([matrices[:, : j + 1, j] for j in range(matrices.shape[-1])], axis=1)


def _unpack_triangles(xp: Namespace, triangles: Array, d: int) -> Array:
    """Symmetric matrices (k, d, d) of upper triangles (d (d + 1) / 2, k)."""
    flat = xp.asarray(_triangle_indices(d))
    matrices = xp.reshape(xp.take(triangles, flat, axis=0), (d, d, triangles.shape[1]))
    return xp.permute_dims(matrices, (2, 0, 1))


@functools.cache
def _triangle_indices(d: int) -> list[int]:
    """Index of each entry of a symmetric matrix in its upper triangle, column after column."""
    pairs = [(min(i, j), max(i, j)) for i in range(d) for j in range(d)]
    return [j * (j + 1) // 2 + i for i, j in pairs]
