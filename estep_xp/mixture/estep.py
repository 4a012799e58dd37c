"""The E-step: responsibilities and log-likelihood, for any components, on any array."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp import execution
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.logsumexp import entropy_of_rows, labels_of_rows
from estep_xp.arrays.namespace import namespace_of
from estep_xp.arrays.quiet import quiet
from estep_xp.arrays.record_repr import sizes, summarized, total
from estep_xp.arrays.validation import check_shape
from estep_xp.families import contract
from estep_xp.mixture.call import (
    Call,
    prepare_call,
    raise_for_bad_rows,
    run_kernel,
    total_log_likelihood,
    warn_of_impossible_rows,
)
from estep_xp.mixture.kernels import LogJoint, posterior_kernel
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import (
        FloatN,
        FloatNK,
        FloatScalar,
        IntN,
        LikeK,
        LikeN,
        LikeNK,
        LikeNoise,
        RowsLike,
    )


@summarized
class EStep(NamedTuple):
    """What the E-step knows about each observation.

    Parameters
    ----------
    responsibilities : array, shape (n, k)
        Probability of each component given the observation; rows sum to 1. NaN in a row that has
        zero density under every component.
    log_likelihood : array, shape (n,)
        log p(x_i), in nats; -inf in such a row.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.45, 0.55], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> step = ex.e_step([1.0, 4.0], mixture)
    >>> step.labels
    array([0, 1])
    >>> step.entropy.round(4)
    array([0.0035, 0.6408])
    >>> round(float(step.total_log_likelihood), 4)
    -4.8548
    >>> round(float(step.mean_max_responsibility), 4)
    0.8299
    """

    responsibilities: FloatNK
    log_likelihood: FloatN

    def _shown_fields(self) -> dict[str, Any]:
        shown = sizes("nk", "responsibilities", self.responsibilities)
        return shown | {"log_likelihood": total(self.log_likelihood)}

    @property
    def labels(self) -> IntN:
        """Most responsible component of each row, counted from 0, shape (n,).

        The first of several at a tie; -1 where the responsibilities are NaN.
        """
        labels: IntN = execution.driver_of(self.responsibilities).map_each_row(
            labels_of_rows, self.responsibilities
        )
        return labels

    @property
    @quiet
    def entropy(self) -> FloatN:
        """Entropy of each row in nats, shape (n,): 0 when certain, log k when undecided."""
        entropy: FloatN = execution.driver_of(self.responsibilities).map_each_row(
            entropy_of_rows, self.responsibilities
        )
        return entropy

    @property
    @quiet
    def total_log_likelihood(self) -> FloatScalar:
        """Log-likelihood of all rows, shape ()."""
        return execution.driver_of(self.log_likelihood).sum_values(self.log_likelihood)

    @property
    @quiet
    def mean_max_responsibility(self) -> FloatScalar:
        """Average of each row's largest responsibility, shape (); NaN without rows."""
        r = self.responsibilities
        if r.shape[0] == 0:
            return namespace_of(r).sum(r) + math.nan
        driver = execution.driver_of(r)
        return driver.mean_value(driver.map_each_row(_largest, r))


def _largest(xp: Namespace, r: Array) -> Array:
    return xp.max(r, axis=1)


def e_step(
    x: RowsLike,
    mixture: Mixture,
    *,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
) -> EStep:
    """The E-step of a mixture; `verbs.estep.e_step` says what users need to know."""
    call = prepare_call(x, mixture, missing=missing, noise=noise)
    kernel = posterior_kernel(call.k, call.zeros, call.space.lazy)
    responsibilities, log_likelihood = run_kernel(call, kernel, block_size, workers)
    warn_of_impossible_rows(call, log_likelihood)
    return EStep(responsibilities, log_likelihood)


def posterior(
    log_prob: LikeNK,
    weights: LikeK,
    *,
    block_size: int | None = None,
    workers: int | None = None,
) -> EStep:
    """The E-step for component log-densities that are known already.

    Parameters
    ----------
    log_prob : array, shape (n, k)
        log p(x_i | k) of each row under each component; -inf where the density is zero.
    weights : array, shape (k,)
        Mixing weights, non-negative; normalised here.
    block_size, workers : int, optional
        As for `e_step`.

    Returns
    -------
    EStep
        ``responsibilities`` (n, k) and ``log_likelihood`` (n,), arrays like `log_prob`.

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
    >>> ex.posterior([[-1000.0, -1001.0]], [0.5, 0.5]).responsibilities.round(4)
    array([[0.7311, 0.2689]])
    """
    call = prepare_call(log_prob, Mixture(weights, contract.Given()), name="log_prob")
    check_shape("log_prob", call.rows[0], ("n", call.k), ": one column a weight")
    responsibilities, log_likelihood = run_kernel(
        call, posterior_kernel(call.k, call.zeros, lazy=False), block_size, workers
    )
    warn_of_impossible_rows(call, log_likelihood)
    return EStep(responsibilities, log_likelihood)


def log_joint(
    x: RowsLike,
    mixture: Mixture,
    *,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
) -> FloatNK:
    """Log of the joint density of each observation and each component.

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
    array, shape (n, k)
        log w_k + log p(x_i | k) with the weights normalised; -inf where the weight is zero.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value; the message names it.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.45, 0.55], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> ex.log_joint([4.0], mixture).round(4)
    array([[-3.7174, -3.0528]])
    """
    call = prepare_call(x, mixture, missing=missing, noise=noise)
    kernel = LogJoint(call.k, call.zeros, call.space.lazy)
    joint, largest = run_kernel(call, kernel, block_size, workers)
    raise_for_bad_rows(call, largest)
    return joint


def log_likelihood(
    x: RowsLike,
    mixture: Mixture,
    *,
    sample_weight: LikeN | None = None,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
) -> FloatScalar:
    """The total of a mixture; `verbs.estep.log_likelihood` says what users need to know."""
    call = prepare_call(x, mixture, sample_weight=sample_weight, missing=missing, noise=noise)
    return log_likelihood_of(call, block_size, workers)


def log_likelihood_of(
    call: Call, block_size: int | None = None, workers: int | None = None
) -> FloatScalar:
    """The total of a call that is prepared, with a warning of impossible rows."""
    total, contributions = total_log_likelihood(call, block_size, workers)
    if contributions is not None:
        warn_of_impossible_rows(call, contributions)
    return total
