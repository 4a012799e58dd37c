"""The E-step of a mixture or a hidden Markov model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from estep_xp.chain import density as of_chain_density
from estep_xp.chain import estep as of_chain
from estep_xp.chain.estep import ChainEStep
from estep_xp.chain.hmm import HMM
from estep_xp.chain.sequences import refuse_lengths
from estep_xp.mixture import density as of_mixture_density
from estep_xp.mixture import estep as of_mixture
from estep_xp.mixture.estep import EStep
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import (
        FloatN,
        FloatS,
        FloatScalar,
        LikeN,
        LikeNoise,
        LikeS,
        RowsLike,
    )


@overload
def e_step(
    x: RowsLike,
    mixture: Mixture[Any],
    *,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
    lengths: LikeS | None = None,
) -> EStep: ...
@overload
def e_step(
    x: RowsLike,
    mixture: HMM[Any],
    *,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
    lengths: LikeS | None = None,
) -> ChainEStep: ...
def e_step(
    x: RowsLike,
    mixture: Mixture[Any] | HMM[Any],
    *,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
    lengths: LikeS | None = None,
) -> EStep | ChainEStep:
    """Responsibilities and log-likelihood of observations under a mixture or an HMM.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components.
    mixture : Mixture or HMM
        Weights and components; or a chain of states, and a component of each.
    block_size : int, optional
        Rows worked on at a time. Changes no result; the default suits the cache.
    workers : int, optional
        Threads over blocks of NumPy rows, the BLAS included; -1 for all processors that this
        process may use. The default is that, too, where there are rows enough (a single one for
        components of a class of your own). Changes no result.
    missing : bool, optional
        Whether NaN in `x` is a feature that was not observed, which is integrated out; by default
        it is bad input.
    noise : array, shape (n, d) or (n, d, d), optional
        Variances or covariances of each row's measurement errors, for Gaussian families; shape (n,)
        for univariate components. Components then describe what was measured, without the errors.
    lengths : array of int, shape (s,), optional
        Only with an HMM: the length of each sequence in `x`, where they lie one after the other;
        at least 1, and they sum to n. One sequence by default.

    Returns
    -------
    EStep or ChainEStep
        ``responsibilities`` (n, k) and ``log_likelihood``, (n,) of rows of a mixture or (s,) of
        sequences, arrays like `x`. With an HMM also expected counts ``transitions`` (k, k) and
        ``initial`` (k,), and responsibilities are given the whole sequence.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value; the message names it.

    Warns
    -----
    RuntimeWarning
        If rows have zero density under every component, or a sequence is impossible.

    Notes
    -----
    For a mixture r_ik = w_k p(x_i | k) / Σ_j w_j p(x_i | j) (Bishop 2006, eq. 9.13), in log space
    throughout: densities may under- and overflow. For an HMM forward-backward, see
    `chain_posterior`. A mixture is the HMM whose rows of transitions are all its weights.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5])
    >>> step = ex.e_step([2.5, 4.0, 5.5], ex.Mixture([0.45, 0.55], components))
    >>> step.responsibilities[:, 0].round(6)
    array([0.981301, 0.339706, 0.002377])
    >>> step.log_likelihood.round(4)
    array([-1.8236, -2.6378, -1.8005])
    >>> hmm = ex.HMM([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], components)
    >>> step = ex.e_step([2.5, 4.0, 5.5], hmm)
    >>> step.responsibilities[:, 0].round(6)
    array([0.93132 , 0.392911, 0.010476])
    """
    seen = {"missing": missing, "noise": noise}
    options: Any = {"block_size": block_size, "workers": workers, **seen}
    if isinstance(mixture, HMM):
        return of_chain.e_step(x, mixture, lengths=lengths, **options)
    refuse_lengths(lengths)
    return of_mixture.e_step(x, mixture, **options)


def log_likelihood(
    x: RowsLike,
    mixture: Mixture[Any] | HMM[Any],
    *,
    sample_weight: LikeN | LikeS | None = None,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
    lengths: LikeS | None = None,
) -> FloatScalar:
    """Total log-likelihood of the observations, differentiable.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components.
    mixture : Mixture or HMM
        Weights and components; or a chain of states, and a component of each.
    sample_weight : array, shape (n,) or (s,), optional
        Non-negative weight of each row; with an HMM of each sequence. What has weight 0
        contributes nothing, neither to the value nor to derivatives, whatever it holds: NaN may
        mark padding.
    block_size, workers : int, optional
        As for `e_step`.
    missing : bool, optional
        Whether NaN in `x` is a feature that was not observed, which is integrated out; by default
        it is bad input.
    noise : array, shape (n, d) or (n, d, d), optional
        Variances or covariances of each row's measurement errors, for Gaussian families; shape (n,)
        for univariate components. Components then describe what was measured, without the errors.
    lengths : array of int, shape (s,), optional
        Only with an HMM: the length of each sequence in `x`, as for `e_step`.

    Returns
    -------
    array, shape ()
        Σ_i s_i log p(x_i) over rows, or over sequences, in nats.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value; the message names it.

    Warns
    -----
    RuntimeWarning
        If rows have zero density under every component, or a sequence is impossible; the total is
        -inf then.

    Notes
    -----
    In JAX the derivative takes one pass more: by Fisher's identity it is made of responsibilities
    and, for a chain, of expected counts before these are multiplied by the transitions, so that it
    is right (one-sided) where a transition is 0.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5])
    >>> round(float(ex.log_likelihood([2.5, 4.0, 5.5], ex.Mixture([0.45, 0.55], components))), 4)
    -6.2618
    >>> hmm = ex.HMM([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], components)
    >>> round(float(ex.log_likelihood([2.5, 4.0, 5.5], hmm)), 4)
    -7.3055
    """
    options: Any = {
        "sample_weight": sample_weight,
        "block_size": block_size,
        "workers": workers,
        "missing": missing,
        "noise": noise,
    }
    if isinstance(mixture, HMM):
        return of_chain_density.log_likelihood(x, mixture, lengths=lengths, **options)
    refuse_lengths(lengths)
    return of_mixture.log_likelihood(x, mixture, **options)


def log_density(
    x: RowsLike,
    mixture: Mixture[Any] | HMM[Any],
    *,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
    lengths: LikeS | None = None,
) -> FloatN | FloatS:
    """Log-density of each observation under a mixture, or of each sequence under an HMM.

    It is `EStep.log_likelihood` without the responsibilities beside it, which may not fit in
    memory; scikit-learn's ``score_samples``.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components.
    mixture : Mixture or HMM
        Weights and components; or a chain of states, and a component of each.
    block_size, workers : int, optional
        As for `e_step`.
    missing : bool, optional
        Whether NaN in `x` is a feature that was not observed, which is integrated out; by default
        it is bad input.
    noise : array, shape (n, d) or (n, d, d), optional
        Variances or covariances of each row's measurement errors, for Gaussian families; shape (n,)
        for univariate components. Components then describe what was measured, without the errors.
    lengths : array of int, shape (s,), optional
        Only with an HMM: the length of each sequence in `x`, as for `e_step`.

    Returns
    -------
    array, shape (n,) or (s,)
        log p(x_i) = log Σ_k w_k p(x_i | k), in nats; -inf for a row of zero density. With an HMM
        the log-density of each sequence.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value; the message names it.

    Warns
    -----
    RuntimeWarning
        If rows have zero density under every component, or a sequence is impossible.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.45, 0.55], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> ex.log_density([2.5, 4.0, 5.5], mixture).round(4)
    array([-1.8236, -2.6378, -1.8005])
    """
    seen = {"missing": missing, "noise": noise}
    options: Any = {"block_size": block_size, "workers": workers, **seen}
    if isinstance(mixture, HMM):
        return of_chain_density.log_density(x, mixture, lengths=lengths, **options)
    refuse_lengths(lengths)
    return of_mixture_density.log_density(x, mixture, **options)
