"""Parameters of Gaussian components: checks, factors of covariances and the way back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from estep_xp import execution
from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array
from estep_xp.arrays.namespace import Space, is_concrete, space_of, to_host
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.validation import (
    check_covariances,
    check_finite,
    check_not_empty,
    check_positive,
    check_precision_cholesky,
    check_shape,
    raise_indefinite,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Namespace


def check_means(space: Space, means: Any, expected: tuple[str, ...]) -> Array:
    """Means (k, d) or (k,) as an array of `space`: finite, and at least one."""
    means = space.parameter("means", means)
    check_shape("means", means, expected)
    check_not_empty("means", means.shape[0])
    if means.ndim == 2 and means.shape[1] == 0:
        raise ValueError(f"means has shape {tuple(means.shape)}; expected at least one feature")
    return check_finite(space, "means", means)


def check_variances(space: Space, variances: Any, shape: tuple[int, ...]) -> Array:
    """Variances of this shape as an array of `space`: positive and finite."""
    variances = space.parameter("variances", variances)
    check_shape("variances", variances, shape, ", to match means")
    return check_positive(space, "variances", variances)


def check_factors(space: Space, factors: Any, shape: tuple[int, ...]) -> Array:
    """Precision Cholesky factors of this shape as an array of `space`."""
    factors = space.parameter("precision_cholesky", factors)
    check_shape("precision_cholesky", factors, shape, ", to match means")
    return check_precision_cholesky(space, factors)


def variances_of(variances: Any) -> Array:
    """Check variances of components, which are not checked yet, and return them."""
    space = space_of({"variances": variances})
    return check_positive(space, "variances", space.parameter("variances", variances))


def covariances_of(factors: Any, expected: tuple[str, ...]) -> Array:
    """Covariances of components whose precision Cholesky factors are not checked yet."""
    return _compute_from_factors(_covariances, factors, expected)


def precisions_of_variances(variances: Any) -> Array:
    """Reciprocals of the variances of components; of the very smallest they overflow."""
    return quietly(lambda checked: 1.0 / checked, variances_of(variances))


def precisions_of(factors: Any, expected: tuple[str, ...]) -> Array:
    """Precisions of components whose precision Cholesky factors are not checked yet."""
    return _compute_from_factors(_precisions, factors, expected)


def _compute_from_factors(
    function: Callable[[Space, Array], Array], factors: Any, expected: tuple[str, ...]
) -> Array:
    space = space_of({"precision_cholesky": factors})
    factors = space.parameter("precision_cholesky", factors)
    check_shape("precision_cholesky", factors, expected)
    check_shape("precision_cholesky", factors, (*expected[:-1], factors.shape[-2]))
    factors = check_precision_cholesky(space, factors)
    # Lazy factors, of an M-step, are used in a task: Dask can't multiply stacked matrices.
    return execution.driver_for(space).call_lazily(function, space, (factors,), factors)


def _covariances(space: Space, factors: Array) -> Array:
    return execution.driver_for(space).compute(linalg.covariances_of, space, factors)


def _precisions(space: Space, factors: Array) -> Array:
    return execution.driver_for(space).compute(linalg.precisions_of, space, factors)


def factorize(
    means: Any,
    covariances: Any,
    name: str,
    expected: tuple[str, ...],
    factor: Callable[[Namespace, Array], Array] = linalg.precision_cholesky,
) -> tuple[Array, Array]:
    """Check means and covariances, or precisions; return means and precision Cholesky factors."""
    space = space_of({"means": means, name: covariances})
    means = check_means(space, means, ("k", "d"))
    k, d = means.shape
    covariances = space.parameter(name, covariances)
    sizes = {"k": k, "d": d}
    check_shape(name, covariances, tuple(sizes[s] for s in expected), ", to match means")
    covariances = check_covariances(space, name, covariances)
    factors: Array | None = None
    # Some libraries' cholesky raises an error, which does not say which matrix is at fault.
    with contextlib.suppress(ValueError, RuntimeError):
        factors = execution.driver_for(space).compute(factor, space, covariances)
    if factors is None or (is_concrete(factors) and not np.isfinite(to_host(factors)).all()):
        raise_indefinite(name, covariances)
    return means, factors


def refuse_subnormal(name: str, variances: np.ndarray[Any, Any], share: float) -> None:
    """Raise if this share of a variance is subnormal."""
    least = float(np.finfo(variances.dtype).smallest_normal)
    small = variances[share * variances < least]
    if small.size:
        remedy = "" if variances.dtype == np.float64 else ", or as float64"
        raise ValueError(
            f"{name} of about {float(small.min()):.3g} are too small for {variances.dtype}; give x "
            f"in smaller units{remedy}"
        )
