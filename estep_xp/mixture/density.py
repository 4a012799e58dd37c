"""One number of each row, never an array (n, k): its log-density, or its most likely component."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estep_xp import execution
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.mixture.call import (
    log_likelihood_kernel,
    prepare_call,
    run_kernel,
    warn_of_impossible_rows,
)
from estep_xp.mixture.kernels import MostResponsible
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import FloatN, IntN, LikeNoise, RowsLike


def log_density(
    x: RowsLike,
    mixture: Mixture,
    *,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
) -> FloatN:
    """Log-densities of a mixture; `verbs.estep.log_density` says what users need to know."""
    call = prepare_call(x, mixture, missing=missing, noise=noise)
    (values,) = run_kernel(call, log_likelihood_kernel(call), block_size, workers)
    warn_of_impossible_rows(call, values)
    return values


def predict(
    x: RowsLike,
    mixture: Mixture,
    *,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
) -> IntN:
    """Labels of a mixture; `verbs.predict.predict` says what users need to know."""
    call = prepare_call(x, mixture, missing=missing, noise=noise)
    kernel = MostResponsible(call.k, call.zeros, call.space.lazy)
    (places,) = run_kernel(call, kernel, block_size, workers)
    warn_of_impossible_rows(call, places)
    labels: IntN = execution.driver_for(call.space).map_each_row(_labels, places)
    return labels


def _labels(xp: Namespace, places: Array) -> Array:
    """Places as integers; -1 for rows without one."""
    found = xp.isfinite(places)
    integers = xp.asarray(0).dtype
    return xp.astype(xp.where(found, places, -1.0), integers)
