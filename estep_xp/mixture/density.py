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
    """Most responsible component of each observation.

    It is `EStep.labels` without the responsibilities beside it, which may not fit in memory.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components.
    mixture : Mixture
        Weights and components.
    block_size, workers : int, optional
        As for `e_step`.
    missing : bool, optional
        Whether NaN in `x` is a feature that was not observed, which is integrated out; by default
        it is bad input.
    noise : array, shape (n, d) or (n, d, d), optional
        Variances or covariances of each row's measurement errors, for Gaussian families; shape (n,)
        for univariate components. Components then describe what was measured, without the errors.

    Returns
    -------
    array of int, shape (n,)
        Components counted from 0, the first of several at a tie; -1 for a row that is impossible
        under every component.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value; the message names it.

    Warns
    -----
    RuntimeWarning
        If rows have zero density under every component.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.45, 0.55], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> ex.predict([2.5, 4.0, 5.5], mixture)
    array([0, 1, 1])
    """
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
