"""What a fit gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from estep_xp.arrays.array_types import ComponentsT
from estep_xp.arrays.quiet import quiet
from estep_xp.arrays.record_repr import summarized
from estep_xp.em.criteria import aic, bic, icl, n_parameters
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import FloatIterations, FloatScalar, LikeN, LikeNoise, RowsLike


@summarized
class EMResult(NamedTuple, Generic[ComponentsT]):
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
    statistics : Statistics
        Expected statistics of the rows under the mixture: what `m_step`, `merge` and `scale` take.

    Examples
    --------
    >>> import estep_xp as ex
    >>> x = [1.0, 1.4, 1.8, 6.2, 6.6, 7.0]
    >>> result = ex.fit(x, ex.initialize(x, 2, ex.UnivariateGaussian, seed=0))
    >>> round(float(result.aic(x)), 4), round(float(result.bic(x)), 4)
    (21.9167, 20.8755)
    """

    mixture: Mixture[ComponentsT]
    log_likelihood: FloatScalar
    n_iter: int
    converged: bool
    history: FloatIterations
    statistics: Any = None

    def _shown_fields(self) -> dict[str, Any]:
        names = ("log_likelihood", "n_iter", "converged", "mixture")
        return {name: getattr(self, name) for name in names}

    @quiet
    def aic(
        self,
        x: RowsLike | None = None,
        *,
        sample_weight: LikeN | None = None,
        missing: bool = False,
        noise: LikeNoise | None = None,
    ) -> FloatScalar:
        """Akaike's information criterion on observations; lower is better.

        Parameters
        ----------
        x : array, shape (n, d), optional
            Observations; those of the fit, whose log-likelihood is known, if left out.
        sample_weight : array, shape (n,), optional
            Weight of each row.
        missing, noise : optional
            As for `e_step`.

        Returns
        -------
        array, shape ()
            2 p − 2 log L, with p free parameters (Akaike 1974).
        """
        if x is None:
            return 2.0 * n_parameters(self.mixture) - 2.0 * self.log_likelihood
        return aic(x, self.mixture, sample_weight=sample_weight, missing=missing, noise=noise)

    def bic(
        self,
        x: RowsLike,
        *,
        sample_weight: LikeN | None = None,
        missing: bool = False,
        noise: LikeNoise | None = None,
    ) -> FloatScalar:
        """Bayesian information criterion on observations; lower is better.

        Parameters
        ----------
        x : array, shape (n, d)
            The observations of the fit, or others.
        sample_weight : array, shape (n,), optional
            Weight of each row; their sum is the number of rows.
        missing, noise : optional
            As for `e_step`.

        Returns
        -------
        array, shape ()
            p log n − 2 log L, with p free parameters (Schwarz 1978).
        """
        return bic(x, self.mixture, sample_weight=sample_weight, missing=missing, noise=noise)

    def icl(
        self,
        x: RowsLike,
        *,
        sample_weight: LikeN | None = None,
        missing: bool = False,
        noise: LikeNoise | None = None,
    ) -> FloatScalar:
        """Integrated completed likelihood on observations; lower is better.

        Parameters
        ----------
        x : array, shape (n, d)
            The observations of the fit, or others.
        sample_weight : array, shape (n,), optional
            Weight of each row.
        missing, noise : optional
            As for `e_step`.

        Returns
        -------
        array, shape ()
            The BIC plus twice the entropy of the responsibilities (Biernacki, Celeux and Govaert
            2000): components that overlap count against a mixture.
        """
        return icl(x, self.mixture, sample_weight=sample_weight, missing=missing, noise=noise)
