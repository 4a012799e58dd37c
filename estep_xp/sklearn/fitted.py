"""What a fitted estimator answers: labels, probabilities, scores, criteria, draws."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import NotFittedError

from estep_xp.arrays.array_types import Array
from estep_xp.arrays.namespace import namespace_of, to_host
from estep_xp.em.criteria import n_parameters
from estep_xp.execution import driver_of
from estep_xp.mixture.density import log_density, predict
from estep_xp.mixture.estep import e_step, log_likelihood
from estep_xp.mixture.mixture import Mixture
from estep_xp.sklearn.attributes import Kept, mixture_of_attributes
from estep_xp.sklearn.checks import check_rows, check_same_library, check_weight
from estep_xp.sklearn.covariance_types import COVARIANCE_TYPES, CovarianceType
from estep_xp.sklearn.draws import draw

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import FloatN, FloatNK, IntN, LikeN, RowsLike


class FittedMixture(DensityMixin, BaseEstimator):  # type: ignore[misc] # without types
    """The half of `GaussianMixture` that reads its attributes."""

    n_components: int
    covariance_type: str
    init_params: str
    random_state: Any
    means_: Any

    _kept: Kept | None = None  # the mixture of the last fit, and the attributes set from it
    _waiting: tuple[Any, ...] = ()  # rows of a stream that are too few to start from

    @property
    def _kind(self) -> CovarianceType:
        return COVARIANCE_TYPES[self.covariance_type]

    @property
    def mixture_(self) -> Mixture[Any]:
        """The mixture that the attributes describe, for this package's functions."""
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(self._why_not_fitted())
        return mixture_of_attributes(self, self._kind, self._kept)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "weights_") and hasattr(self, "means_")

    def _why_not_fitted(self) -> str:
        name = type(self).__name__
        if not self._waiting:
            return (
                f"This {name} instance is not fitted yet. Call 'fit' with appropriate arguments "
                "before using this estimator."
            )
        n = sum(int(rows.shape[0]) for rows, _ in self._waiting)
        return (
            f"This {name} instance is not fitted yet: it has seen {n} of the at least "
            f"n_components={self.n_components} rows that it starts from. Call 'partial_fit' with "
            "more."
        )

    def _prepare(self, x: Any, method: str) -> tuple[Array, Mixture[Any]]:
        """Rows that are checked, and the mixture."""
        mixture = self.mixture_
        rows = check_rows(self, x, reset=False)
        check_same_library(self, x, rows, method)
        return rows, mixture

    def predict(self, X: RowsLike) -> IntN:
        """Most responsible component of each row.

        Parameters
        ----------
        X : array, shape (n_samples, n_features)
            Rows, of the library of those that were fitted.

        Returns
        -------
        array of int, shape (n_samples,)
            Components counted from 0; 0, with a warning, for a row that is impossible under all.
        """
        return _without_gaps(predict(*self._prepare(X, "predict")))

    def predict_proba(self, X: RowsLike) -> FloatNK:
        """Responsibilities: probability of each component given the row.

        Parameters
        ----------
        X : array, shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array, shape (n_samples, n_components)
            Rows sum to 1; NaN, with a warning, for a row that is impossible under all components.
        """
        return e_step(*self._prepare(X, "predict_proba")).responsibilities

    def score_samples(self, X: RowsLike) -> FloatN:
        """Log-density of each row.

        Parameters
        ----------
        X : array, shape (n_samples, n_features)
            Rows.

        Returns
        -------
        array, shape (n_samples,)
            log p(x), in nats.
        """
        return log_density(*self._prepare(X, "score_samples"))

    def score(self, X: RowsLike, y: Any = None, sample_weight: LikeN | None = None) -> float:
        """Log-likelihood per row.

        Parameters
        ----------
        X : array, shape (n_samples, n_features)
            Rows.
        y : ignored
            Not used.
        sample_weight : array, shape (n_samples,), optional
            Weight of each row.

        Returns
        -------
        float
            The (weighted) mean of log p(x), in nats.
        """
        del y
        total, n_rows = self._total(X, sample_weight, "score")
        return total / n_rows

    def aic(self, X: RowsLike, sample_weight: LikeN | None = None) -> float:
        """Akaike's information criterion; lower is better.

        Parameters
        ----------
        X : array, shape (n_samples, n_features)
            Rows.
        sample_weight : array, shape (n_samples,), optional
            Weight of each row.

        Returns
        -------
        float
            2 p − 2 log L, with p free parameters.
        """
        total, _ = self._total(X, sample_weight, "aic")
        return 2.0 * self._n_parameters() - 2.0 * total

    def bic(self, X: RowsLike, sample_weight: LikeN | None = None) -> float:
        """Bayesian information criterion; lower is better.

        Parameters
        ----------
        X : array, shape (n_samples, n_features)
            Rows.
        sample_weight : array, shape (n_samples,), optional
            Weight of each row; their sum is the number of rows.

        Returns
        -------
        float
            p log n − 2 log L, with p free parameters.
        """
        total, n_rows = self._total(X, sample_weight, "bic")
        return self._n_parameters() * math.log(n_rows) - 2.0 * total

    def sample(self, n_samples: int = 1) -> tuple[Array, IntN]:
        """Draw rows from the mixture: the random numbers of scikit-learn's own class.

        Parameters
        ----------
        n_samples : int, optional
            Number of rows.

        Returns
        -------
        array, shape (n_samples, n_features)
            Rows, component after component.
        array of int, shape (n_samples,)
            The component of each.
        """
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(self._why_not_fitted())
        return draw(self, n_samples)

    def _n_parameters(self) -> int:
        """Return the number of free parameters."""
        return n_parameters(self.mixture_)

    def _total(self, x: Any, sample_weight: Any, method: str) -> tuple[float, float]:
        """Return the log-likelihood of rows and their weighted number."""
        rows, mixture = self._prepare(x, method)
        weight = check_weight(rows, sample_weight)
        total = _number(log_likelihood(rows, mixture, sample_weight=weight))
        if weight is None:
            return total, float(rows.shape[0])
        return total, _number(namespace_of(weight).sum(weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # As scikit-learn's class says; checks of this tag fit singular rows in single precision.
        tags.array_api_support = self.init_params in ("random", "random_from_data")
        return tags


def _number(value: Any) -> float:
    """Return a number of any library, computed if it is lazy."""
    return float(to_host(driver_of(value).materialize(value)))


def _without_gaps(labels: Array) -> Array:
    """Return labels with 0 for -1, of rows that are impossible everywhere."""
    return namespace_of(labels).where(labels < 0, 0, labels)
