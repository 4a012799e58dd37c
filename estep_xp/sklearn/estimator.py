"""`GaussianMixture`: scikit-learn's estimator with this package's EM behind it."""

from __future__ import annotations

import math
import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metadata_routing import UNUSED

from estep_xp.arrays.array_types import Array
from estep_xp.arrays.namespace import to_host
from estep_xp.mixture.call import prepare_call
from estep_xp.sklearn.attributes import set_attributes
from estep_xp.sklearn.checks import (
    check_initial_parameters,
    check_rows,
    check_same_library,
    check_weight,
    without_gradient,
)
from estep_xp.sklearn.covariance_types import COVARIANCE_TYPES
from estep_xp.sklearn.em import Trial, run_em
from estep_xp.sklearn.fitted import FittedMixture
from estep_xp.sklearn.starts import Start
from estep_xp.sklearn.stream import Progress, check_share, join_rows, step
from estep_xp.sklearn.verbose import Reporter

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import IntN, LikeN, RowsLike
    from estep_xp.mixture.mixture import Mixture

_NOT_CONVERGED = (
    "Best performing initialization did not converge. Try different init parameters, or increase "
    "max_iter, tol, or check for degenerate data."
)


class GaussianMixture(FittedMixture):
    """scikit-learn's ``GaussianMixture`` on this package's EM.

    Beside what scikit-learn's class does: sample weights, streams (`partial_fit`), parameters that
    are set by hand, and arrays of JAX, PyTorch, Dask and any library of the Array API standard,
    whose attributes and results are arrays of that library (of NumPy after a fit to Dask arrays).

    Parameters
    ----------
    n_components : int, optional
        Number of components.
    covariance_type : {"full", "tied", "diag", "spherical"}, optional
        A covariance matrix for each component, one for all, variances of features, or one variance.
    tol : float, optional
        Stop when the log-likelihood per (weighted) row changes by less than this.
    reg_covar : float, optional
        Added to variances in each M-step, in squared units of X.
    max_iter : int, optional
        The largest number of iterations; 0 leaves the start as it is.
    n_init : int, optional
        Number of starts, of which the best fit is kept.
    init_params : {"kmeans", "k-means++", "random", "random_from_data", "auto"}, optional
        How to start: with scikit-learn's own choices, or with `estep_xp.initialize`.
    weights_init : array, shape (n_components,), optional
        Mixing weights to start from, in place of those chosen.
    means_init : array, shape (n_components, n_features), optional
        Means to start from.
    precisions_init : array, optional
        Inverse covariances to start from, in the shape of ``covariances_``.
    random_state : int, RandomState instance or None, optional
        For starts and for `sample`.
    warm_start : bool, optional
        Start from the attributes there are, where an earlier fit has left them.
    verbose : int, optional
        1 prints how the fit goes, 2 with times.
    verbose_interval : int, optional
        Number of iterations between two lines.

    Attributes
    ----------
    weights_ : array, shape (n_components,)
        Mixing weights.
    means_ : array, shape (n_components, n_features)
        Means.
    covariances_, precisions_, precisions_cholesky_ : array
        Covariances, their inverses, and upper triangular factors P of these, P Pᵀ: of shape
        (n_components, n_features, n_features), (n_features, n_features),
        (n_components, n_features) or (n_components,) for the four types in turn.
    mixture_ : estep_xp.Mixture
        The same as one record, for this package's functions.
    converged_ : bool
        Whether the best fit has converged.
    n_iter_ : int
        Its number of M-steps; after `partial_fit` the number of batches is added.
    lower_bound_ : float
        Log-likelihood per (weighted) row before the last M-step; after `partial_fit` the running
        mean of the batches', with the same step sizes as their statistics.
    lower_bounds_ : list of float
        The same for each iteration or batch.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array of str, shape (n_features,)
        Their names, if X was a data frame that has some.

    Notes
    -----
    For NumPy arrays all attributes, ``n_iter_`` included, equal scikit-learn's from the same start,
    up to rounding, except where scikit-learn's are wrong. Its one-hot starts ("k-means++" and
    "random_from_data", in which one row stands for a component) make weights that sum to k / n
    instead of 1, and for "tied" a covariance of XᵀX / k − Σ μμᵀ / k, of all rows about the origin;
    here weights sum to 1, and the covariance is that of the rows which the start is made of: it
    then depends neither on where the origin lies nor on the number of rows.

    Attributes may be set by hand, also without a fit: ``weights_``, ``means_`` and one of
    ``precisions_cholesky_``, ``covariances_`` and ``precisions_`` are what the next call uses.

    Examples
    --------
    >>> from estep_xp.sklearn import GaussianMixture
    >>> X = [[1.0, 2.0], [1.0, 4.0], [1.0, 0.0], [10.0, 2.0], [10.0, 4.0], [10.0, 0.0]]
    >>> gm = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> gm.means_.round(4)
    array([[10.,  2.],
           [ 1.,  2.]])
    >>> gm.predict([[0.0, 0.0], [12.0, 3.0]])
    array([1, 0])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "covariance_type": [StrOptions(set(COVARIANCE_TYPES))],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "init_params": [StrOptions({"kmeans", "k-means++", "random", "random_from_data", "auto"})],
        "weights_init": ["array-like", None],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
    }

    # Not a property of rows, so nothing that is routed.
    __metadata_request__partial_fit: ClassVar[dict[str, Any]] = {"step_size": UNUSED}

    _progress = Progress()  # of a stream: what `partial_fit` goes on with

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: RowsLike, y: Any = None, sample_weight: LikeN | None = None) -> Self:
        """Fit the mixture by EM.

        Parameters
        ----------
        X : array, shape (n_samples, n_features)
            Rows: an array of any library, a data frame, lists.
        y : ignored
            Not used.
        sample_weight : array, shape (n_samples,), optional
            Non-negative weight of each row: 2 counts a row twice, 0 leaves it out.

        Returns
        -------
        GaussianMixture
            The estimator itself.
        """
        del y
        self._fit(X, sample_weight)
        return self

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit_predict(self, X: RowsLike, y: Any = None, sample_weight: LikeN | None = None) -> IntN:
        """Fit the mixture by EM, and give the label of each row.

        Parameters
        ----------
        X : array, shape (n_samples, n_features)
            Rows.
        y : ignored
            Not used.
        sample_weight : array, shape (n_samples,), optional
            Non-negative weight of each row.

        Returns
        -------
        array of int, shape (n_samples,)
            Those of `predict`.
        """
        del y
        return self.predict(self._fit(X, sample_weight))

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: RowsLike,
        y: Any = None,
        sample_weight: LikeN | None = None,
        *,
        step_size: float | None = None,
    ) -> Self:
        """Take in a batch of rows: one step of stepwise EM (Cappé and Moulines 2009).

        The statistics S of the rows so far become (1 − γ) S + γ s, with those of the batch, s, per
        row; an M-step follows. The first batch is started from, with ``init_params``; until
        n_components rows have come they are kept, and nothing is fitted. After `fit` it goes on
        from there, as if each iteration had been a batch of all rows.

        Parameters
        ----------
        X : array, shape (n_samples, n_features)
            The rows of the batch, at least one.
        y : ignored
            Not used.
        sample_weight : array, shape (n_samples,), optional
            Non-negative weight of each row, within the batch.
        step_size : float, optional
            The share γ of the batch, 0 < γ <= 1: a constant one forgets old batches, by half in
            about 0.7 / γ of them. The default, t ** -0.6 for the t-th, converges; it is less by as
            much as the batch is smaller than the mean of all.

        Returns
        -------
        GaussianMixture
            The estimator itself.

        Examples
        --------
        >>> import numpy as np
        >>> from estep_xp.sklearn import GaussianMixture
        >>> rows = np.random.default_rng(0).normal([[0.0], [5.0]] * 500)
        >>> gm = GaussianMixture(2, random_state=0)
        >>> for batch in np.split(rows, 50):
        ...     gm = gm.partial_fit(batch)
        >>> np.sort(gm.means_.ravel()).round() + 0.0
        array([0., 5.])
        """
        del y
        share = None if step_size is None else check_share(step_size)
        is_fitted = self.__sklearn_is_fitted__()
        rows = without_gradient(check_rows(self, X, reset=not (is_fitted or self._waiting)))
        if is_fitted:
            check_same_library(self, X, rows, "partial_fit")
        weight = check_weight(rows, sample_weight)
        if is_fitted:
            mixture = self.mixture_
        else:
            start, waiting = self._start(rows.shape[1]), (*self._waiting, (rows, weight))
            rows, weight = join_rows(waiting)
            if rows.shape[0] < self.n_components and not start.is_given:
                self._waiting = waiting
                return self
            mixture = start.mixture(rows, weight, softened=True)
        new = step(rows, mixture, weight, self._progress, share, self.reg_covar)
        self._waiting, self._progress = (), new.progress
        self._set_mixture(new.mixture)
        self.converged_, self.n_iter_ = False, new.progress.n_batches
        self.lower_bound_ = new.lower_bound
        self.lower_bounds_ = [*getattr(self, "lower_bounds_", ()), new.lower_bound]
        return self

    def _fit(self, x: Any, sample_weight: Any) -> Array:
        """Fit, set the attributes, and return the rows as they were used."""
        rows = without_gradient(check_rows(self, x, reset=True, least=2))
        n, d = rows.shape
        if n < self.n_components:
            raise ValueError(
                "Expected n_samples >= n_components but got n_components = "
                f"{self.n_components}, n_samples = {n}"
            )
        weight = check_weight(rows, sample_weight)
        start = self._start(d)
        is_warm = self.warm_start and hasattr(self, "converged_")
        best: Trial | None = None
        reporter = Reporter(self.verbose, self.verbose_interval)
        for i in range(1 if is_warm else self.n_init):
            reporter.begin(i)
            mixture = self.mixture_ if is_warm else start.mixture(rows, weight)
            trial = run_em(
                prepare_call(rows, mixture, sample_weight=weight),
                tol=self.tol,
                max_iter=self.max_iter,
                floor=self.reg_covar,
                bound=self.lower_bound_ if is_warm else -math.inf,
                watch=reporter.iterate,
            )
            if self.max_iter > 0:
                reporter.end(trial.lower_bounds[-1], converged=trial.converged)
            if best is None or trial.lower_bound > best.lower_bound:
                best = trial
        assert best is not None
        if not best.converged and self.max_iter > 0:
            warnings.warn(_NOT_CONVERGED, ConvergenceWarning, stacklevel=4)
        n_iter = len(best.lower_bounds)
        total = 0.0 if best.statistics is None else float(to_host(best.statistics.n_rows))
        self._waiting, self._progress = (), Progress(best.statistics, n_iter, n_iter * total)
        self._set_mixture(best.mixture)
        self.converged_ = best.converged
        self.n_iter_ = n_iter
        self.lower_bound_ = best.lower_bound
        self.lower_bounds_ = best.lower_bounds
        return rows

    def _start(self, d: int) -> Start:
        return Start(
            self._kind,
            self.n_components,
            self.init_params,
            check_initial_parameters(self, d),
            self.reg_covar,
            check_random_state(self.random_state),
        )

    def _set_mixture(self, mixture: Mixture[Any]) -> None:
        self._kept = set_attributes(self, self._kind, mixture)
