"""The four values of ``covariance_type``: the family behind each, and its matrices both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from estep_xp.families import DiagonalGaussian, FullGaussian, SphericalGaussian, TiedGaussian


class CovarianceType(NamedTuple):
    """How scikit-learn's attributes become the components of a family, and back.

    The functions take means and one of the attributes ``covariances_``, ``precisions_`` and
    ``precisions_cholesky_``.
    """

    family: type[Any]
    axes: str  # of its covariances
    from_covariances: Callable[[Any, Any], Any]
    from_precisions: Callable[[Any, Any], Any]
    from_factors: Callable[[Any, Any], Any]
    factors: Callable[[Any], Any]  # of components

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        """Shape of the covariances of k components of d features."""
        return tuple({"k": k, "d": d}[axis] for axis in self.axes)


def _by_matrices(
    family: Any, axes: str, from_covariances: Any, from_precisions: Any
) -> CovarianceType:
    def factors(components: Any) -> Any:
        return components.precision_cholesky

    return CovarianceType(family, axes, from_covariances, from_precisions, family, factors)


def _by_variances(family: Any, axes: str) -> CovarianceType:
    def from_precisions(means: Any, precisions: Any) -> Any:
        return family(means, 1.0 / precisions)

    def from_factors(means: Any, factors: Any) -> Any:
        return family(means, 1.0 / (factors * factors))

    def factors(components: Any) -> Any:
        return components.precisions**0.5

    return CovarianceType(family, axes, family, from_precisions, from_factors, factors)


COVARIANCE_TYPES = {
    "full": _by_matrices(
        FullGaussian, "kdd", FullGaussian.from_covariances, FullGaussian.from_precisions
    ),
    "tied": _by_matrices(
        TiedGaussian, "dd", TiedGaussian.from_covariance, TiedGaussian.from_precision
    ),
    "diag": _by_variances(DiagonalGaussian, "kd"),
    "spherical": _by_variances(SphericalGaussian, "k"),
}
