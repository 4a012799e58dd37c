"""What rows that lack values, or have errors, say of the truth: E[v | x] and Cov[v | x]."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.arrays.array_types import Array
from estep_xp.arrays.linalg import outer
from estep_xp.arrays.record_repr import sizes, summarized
from estep_xp.families.incomplete import Missing
from estep_xp.mixture.call import prepare_call, run_kernel, warn_of_impossible_rows
from estep_xp.mixture.mixture import Mixture
from estep_xp.mixture.prepared import MixtureKernel, Prepared, row_log_likelihoods

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.shapes import FloatNd, FloatRowCovariances, LikeNoise, RowsLike
    from estep_xp.execution.kernel import BlockResults


@summarized
class Imputed(NamedTuple):
    """What rows say of the values behind them.

    Parameters
    ----------
    mean : array, shape (n, d)
        E[v | x]: what was observed, without an error, as it is; shape (n,) for univariate rows.
    covariance : array, shape (n, d, d)
        Cov[v | x], zero for what was observed without an error; shape (n,) for univariate rows.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([1.0], ex.UnivariateGaussian([0.0], [1.0]))
    >>> ex.impute([float("nan"), 2.0], mixture, noise=[0.0, 1.0])
    Imputed(n=2)
    """

    mean: FloatNd
    covariance: FloatRowCovariances

    def _shown_fields(self) -> dict[str, Any]:
        return sizes("nd"[: len(self.mean.shape)], "mean", self.mean)


def impute(
    x: RowsLike,
    mixture: Mixture,
    *,
    noise: LikeNoise | None = None,
    block_size: int | None = None,
    workers: int | None = None,
) -> Imputed:
    """Expectations of the values behind rows that lack some of them, or have errors.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row, NaN where nothing was observed; shape (n,) for univariate
        components.
    mixture : Mixture
        Weights, and components of a family of which features can be integrated out.
    noise : array, shape (n, d) or (n, d, d), optional
        Variances or covariances of each row's measurement errors, for Gaussian families; shape (n,)
        for univariate components.
    block_size, workers : int, optional
        As for `e_step`.

    Returns
    -------
    Imputed
        ``mean`` (n, d), in which holes are filled and noisy rows are shrunk towards components, and
        ``covariance`` (n, d, d). Both are NaN in a row of zero density under every component.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value; the message names it.

    Warns
    -----
    RuntimeWarning
        If rows have zero density under every component.

    Notes
    -----
    The mean is Σ_k r_k m_k and the covariance Σ_k r_k (C_k + (m_k − m)(m_k − m)ᵀ), with the
    responsibilities r and each component's conditional mean m_k and covariance C_k.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.FullGaussian.from_covariances([[0.0, 0.0]], [[[1.0, 0.8], [0.8, 1.0]]])
    >>> known = ex.impute([[2.0, float("nan")]], ex.Mixture([1.0], components))
    >>> known.mean.round(4), known.covariance.round(4)
    (array([[2. , 1.6]]), array([[[0.  , 0.  ],
            [0.  , 0.36]]]))
    """
    call = prepare_call(x, mixture, missing=True, noise=noise)
    shape = call.family._rows_shape() or ("n",)
    kernel = ConditionalMoments(call.k, call.zeros, call.space.lazy, shape[1:])
    call = call._replace(wrapper=call.wrapper or Missing)
    mean, covariance, log_likelihood = run_kernel(call, kernel, block_size, workers)
    warn_of_impossible_rows(call, log_likelihood)
    return Imputed(mean, covariance)


@dataclass(frozen=True)
class ConditionalMoments(MixtureKernel):
    """Kernel: E[v | x], Cov[v | x], and log-likelihoods to tell bad rows by."""

    features: tuple[Any, ...]  # (d,), or () for univariate rows

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results."""
        return self.features, 2 * self.features, ()

    def width(self, ops: BlockOps, parameters: Mixture) -> int:
        """Scratch elements per row, beyond the row itself."""
        return super().width(ops, parameters) + 3 * self.k * math.prod(2 * self.features)

    def block(self, ops: BlockOps, prepared: Prepared, *rows: Array) -> BlockResults:
        """Evaluate a block."""
        xp, x = ops.xp, rows[0]
        family: Any = prepared.family
        block = self.evaluate(ops, prepared, x)
        normalized = self.normalize(ops, prepared, block)
        log_likelihood = row_log_likelihoods(ops, normalized)
        shares = normalized.responsibilities(ops)
        shares = shares if ops.axis == 1 else xp.permute_dims(shares, (1, 0))
        seen, means, covariances = family.conditional(ops, prepared.shared, x)
        mean = xp.sum(shares[:, :, None] * means, axis=1)
        mean = xp.where(seen, means[:, 0, :], mean)
        spread = covariances + outer(means - mean[:, None, :])
        covariance = xp.sum(shares[:, :, None, None] * spread, axis=1)
        # A row of zero density, or a bad one that could not be checked under jit, has no posterior.
        good = xp.isfinite(log_likelihood)
        mean = xp.where(good[:, None], mean, math.nan)
        covariance = xp.where(good[:, None, None], covariance, math.nan)
        if not self.features:
            return (mean[:, 0], covariance[:, 0, 0], log_likelihood), ()
        if ops.axis == 0:
            mean, covariance = (xp.moveaxis(array, 0, -1) for array in (mean, covariance))
        return (mean, covariance, log_likelihood), ()
