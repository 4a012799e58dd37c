"""What a fit gives, and the criteria by which fits are compared."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from estep_xp import execution
from estep_xp.arrays.array_types import Array, ArrayLike, Namespace
from estep_xp.arrays.namespace import namespace_of
from estep_xp.arrays.quiet import quiet
from estep_xp.arrays.record_repr import summarized
from estep_xp.families import contract
from estep_xp.mixture.call import Call, prepare_call
from estep_xp.mixture.estep import e_step, log_likelihood
from estep_xp.mixture.mixture import Mixture


@summarized
class EMResult(NamedTuple):
    """A fitted mixture and how the fit went.

    Parameters
    ----------
    mixture : Mixture
        The mixture after the last iteration.
    log_likelihood : array, shape ()
        Total log-likelihood of the (weighted) rows under it, in nats.
    n_iter : int
        Number of iterations, that is of M-steps.
    converged : bool
        Whether the log-likelihood stood still before ``max_iter`` was reached.
    history : array, shape (n_iter,)
        Log-likelihood after each iteration; under ``jit`` of shape (max_iter,), NaN after the last.
        Where a program is compiled under ``jax.debug_nans``, the last total stands there instead.

    Examples
    --------
    >>> import estep_xp as ex
    >>> x = [1.0, 1.4, 1.8, 6.2, 6.6, 7.0]
    >>> result = ex.fit(x, ex.initialize(x, 2, ex.UnivariateGaussian, seed=0))
    >>> round(float(result.aic(x)), 4), round(float(result.bic(x)), 4)
    (21.9167, 20.8755)
    """

    mixture: Mixture
    log_likelihood: Array
    n_iter: int
    converged: bool
    history: Array

    def _shown_fields(self) -> dict[str, Any]:
        names = ("log_likelihood", "n_iter", "converged", "mixture")
        return {name: getattr(self, name) for name in names}

    @quiet
    def aic(self, x: ArrayLike | None = None, *, sample_weight: ArrayLike | None = None) -> Array:
        """Akaike's information criterion on observations; lower is better.

        Parameters
        ----------
        x : array, shape (n, d), optional
            Observations; those of the fit, whose log-likelihood is known, if left out.
        sample_weight : array, shape (n,), optional
            Weight of each row.

        Returns
        -------
        array, shape ()
            2 p − 2 log L, with p free parameters (Akaike 1974).
        """
        total = self.log_likelihood
        if x is not None:
            total = log_likelihood(x, self.mixture, sample_weight=sample_weight)
        return 2.0 * self._n_parameters - 2.0 * total

    @quiet
    def bic(self, x: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Array:
        """Bayesian information criterion on observations; lower is better.

        Parameters
        ----------
        x : array, shape (n, d)
            The observations of the fit, or others.
        sample_weight : array, shape (n,), optional
            Weight of each row; their sum is the number of rows.

        Returns
        -------
        array, shape ()
            p log n − 2 log L, with p free parameters (Schwarz 1978).
        """
        total = log_likelihood(x, self.mixture, sample_weight=sample_weight)
        n = _n_rows(prepare_call(x, self.mixture, sample_weight=sample_weight), total)
        return self._n_parameters * namespace_of(total).log(n) - 2.0 * total

    @quiet
    def icl(self, x: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Array:
        """Integrated completed likelihood on observations; lower is better.

        Parameters
        ----------
        x : array, shape (n, d)
            The observations of the fit, or others.
        sample_weight : array, shape (n,), optional
            Weight of each row.

        Returns
        -------
        array, shape ()
            The BIC plus twice the entropy of the responsibilities (Biernacki, Celeux and Govaert
            2000): components that overlap count against a mixture.
        """
        rows, *weight = prepare_call(x, self.mixture, sample_weight=sample_weight).rows
        if weight:  # rows of weight 0 may hold anything
            rows = execution.driver_of(rows).map_each_row(_filled, rows, *weight)
        entropy = e_step(rows, self.mixture).entropy
        if weight:
            entropy = execution.driver_of(entropy).map_each_row(_weighted, entropy, *weight)
        return self.bic(x, sample_weight=sample_weight) + 2.0 * execution.driver_of(
            entropy
        ).sum_values(entropy)

    @property
    def _n_parameters(self) -> float:
        """How many numbers may be chosen freely; weights sum to 1."""
        k = self.mixture.weights.shape[0]
        return float(k - 1 + contract.estimable(self.mixture.components)._n_parameters())


def _n_rows(call: Call, like: Array) -> Array:
    """The weighted number of rows, as an array () like another."""
    xp = call.space.xp
    rows, *weight = call.rows
    if weight:
        return execution.driver_of(weight[0]).sum_values(weight[0])
    n = rows.shape[0]
    if math.isnan(n):  # Dask has yet to count them
        ones = xp.ones_like(rows[(..., *(0,) * (len(rows.shape) - 1))], dtype=like.dtype)
        return xp.sum(ones)
    return xp.full_like(like, n)


def _filled(xp: Namespace, x: Array, weight: Array) -> Array:
    blank = weight == 0
    return xp.where(blank if len(x.shape) == 1 else blank[:, None], 0.0, x)


def _weighted(xp: Namespace, entropy: Array, weight: Array) -> Array:
    return xp.where(weight > 0, weight * entropy, 0.0)
