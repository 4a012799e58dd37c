"""Rows drawn at random from a mixture or a hidden Markov model."""

from __future__ import annotations

from typing import Any

from estep_xp.chain import sample as of_chain
from estep_xp.chain.hmm import HMM
from estep_xp.mixture import sample as of_mixture
from estep_xp.mixture.mixture import Mixture
from estep_xp.mixture.sample import Sample


def sample(model: Mixture[Any] | HMM[Any], n: int, *, seed: Any = 0) -> Sample:
    """Rows drawn at random from a model.

    Parameters
    ----------
    model : Mixture or HMM
        Weights and components; or a chain of states, of which one sequence is drawn, and a
        component of each. A class of your own needs a method ``sample(random, labels)`` that
        draws one row for each label, ``random`` being a NumPy generator, or a key under JAX.
    n : int
        Number of rows.
    seed : int, sequence of int, numpy.random.Generator or JAX key, optional
        The same rows for the same seed. An integer stands for ``jax.random.key(seed)`` where the
        model's arrays are JAX's, and for ``numpy.random.default_rng(seed)`` elsewhere.

    Returns
    -------
    Sample
        ``x`` (n, d) or (n,), of a mixture in random order, and ``labels`` (n,), of an HMM the path
        of states: arrays like the model's, and differentiable by its means and covariances.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value, or the family can't be sampled.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.45, 0.55], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> drawn = ex.sample(mixture, 1000, seed=0)
    >>> drawn.x.shape, drawn.labels[:5]
    ((1000,), array([1, 0, 0, 0, 1]))
    >>> drawn.x[drawn.labels == 0].mean().round(1)
    np.float64(2.0)
    >>> hmm = ex.HMM([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], mixture.components)
    >>> ex.sample(hmm, 12, seed=0).labels
    array([1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0])
    """
    if isinstance(model, HMM):
        return Sample(*of_chain.sample(model, n, seed=seed))
    return of_mixture.sample(model, n, seed=seed)
