"""The most probable component of each observation, of a mixture or a hidden Markov model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from estep_xp.chain import estep as of_chain
from estep_xp.chain.hmm import HMM
from estep_xp.chain.sequences import refuse_lengths
from estep_xp.mixture import density as of_mixture
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import IntN, LikeNoise, LikeS, RowsLike


def predict(
    x: RowsLike,
    mixture: Mixture[Any] | HMM[Any],
    *,
    block_size: int | None = None,
    workers: int | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
    lengths: LikeS | None = None,
) -> IntN:
    """Most responsible component, or most probable state, of each observation.

    It is ``e_step(x, mixture).labels``; of a mixture without the responsibilities beside it, which
    may not fit in memory. The most likely path of states as a whole is `decode`'s.

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
    array of int, shape (n,)
        Components or states counted from 0, the first of several at a tie; -1 for a row that is
        impossible under every component, and in an impossible sequence.

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
    >>> ex.predict([2.5, 4.0, 5.5], mixture)
    array([0, 1, 1])
    """
    options: Any = {"block_size": block_size, "workers": workers}
    options |= {"missing": missing, "noise": noise}
    if isinstance(mixture, HMM):
        return of_chain.e_step(x, mixture, lengths=lengths, **options).labels
    refuse_lengths(lengths)
    return of_mixture.predict(x, mixture, **options)
