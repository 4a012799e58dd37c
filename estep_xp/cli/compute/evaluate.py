"""The library's E-step on the chosen backend, its results as NumPy arrays."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.cli.compute.backend import array_converter, convert_mixture
from estep_xp.cli.compute.results import Results
from estep_xp.families.contract import family_of
from estep_xp.files.errors import InputError


class Evaluation(NamedTuple):
    """The E-step on some rows, with its totals.

    Attributes
    ----------
    results : Results
        The results of each row.
    mean_max_responsibility : float
        Average of each row's largest responsibility.
    total_log_likelihood : float
        Log-likelihood of all rows.
    """

    results: Results
    mean_max_responsibility: float
    total_log_likelihood: float


def rescale_weights(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights scaled so that the largest lies in [0.5, 1).

    Their sum then cannot overflow, and JAX does not flush them to zero.
    """
    _, exponent = np.frexp(weights.max())
    units: NDArray[np.float64] = np.ldexp(weights, -exponent)  # exact: a power of two
    return units


class Evaluator:
    """The E-step under one mixture, on one backend, in 64-bit floats.

    Parameters
    ----------
    mixture : Mixture
        A mixture on NumPy arrays.
    backend : str
        "numpy" or "jax".
    missing : str
        What is done about rows with NaN, which is a value that was not observed: "error" if there
        are none, "skip" for no results there, "marginalize" for those of the other values.

    Raises
    ------
    SystemFailure
        If the backend is not installed.
    """

    def __init__(self, mixture: ex.Mixture, backend: str, missing: str = "error") -> None:
        self._missing = missing
        self._convert = array_converter(backend)
        self._univariate = len(family_of(mixture.components)._rows_shape() or ()) == 1
        mixture = mixture._replace(weights=rescale_weights(mixture.weights))
        self._mixture = convert_mixture(mixture, self._convert)

    def __call__(self, x: NDArray[np.float64]) -> Evaluation:
        """Return the E-step on `x`, of shape (n, d), or (n,) if the mixture is univariate.

        Rows of zero density are left to the caller, who knows what the rows are called.
        """
        if self._missing == "skip":
            complete = np.logical_not(np.isnan(x).any(axis=1))
            if not complete.all():
                return _spread(self._evaluate(x[complete]), complete)
        return self._evaluate(x)

    def _evaluate(self, x: NDArray[np.float64]) -> Evaluation:
        if self._univariate:
            x = x.reshape(-1)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*zero density", RuntimeWarning)
            try:
                step = ex.e_step(
                    self._convert(x),
                    self._mixture,
                    workers=-1,
                    missing=self._missing == "marginalize",
                )
            except ValueError as error:  # only this backend refuses the number
                raise InputError("mixture", str(error)) from error
        results = Results(
            np.asarray(step.responsibilities),
            np.asarray(step.labels, dtype=np.int64),
            np.asarray(step.log_likelihood),
        )
        return Evaluation(
            results, float(step.mean_max_responsibility), float(step.total_log_likelihood)
        )


class ChainEvaluator:
    """Forward-backward under one hidden Markov model, on one backend, in 64-bit floats.

    Parameters
    ----------
    hmm : HMM
        A model on NumPy arrays.
    backend : str
        "numpy" or "jax".
    lengths : ndarray of shape (s,), optional
        The length of each sequence; one sequence by default.
    decode : bool
        Whether labels are those of the most likely path, and not of the most likely states.
    missing : bool
        Whether NaN is a value that was not observed.

    Raises
    ------
    SystemFailure
        If the backend is not installed.
    """

    def __init__(
        self,
        hmm: ex.HMM,
        backend: str,
        lengths: NDArray[np.int64] | None,
        *,
        decode: bool,
        missing: bool,
    ) -> None:
        self._convert = array_converter(backend)
        self._univariate = len(family_of(hmm.components)._rows_shape() or ()) == 1
        self._hmm = convert_mixture(hmm, self._convert)
        self._decode = decode
        self._options: Any = {"lengths": lengths, "missing": missing}

    def __call__(self, x: NDArray[np.float64]) -> Evaluation:
        """Return what is known of whole sequences of rows (n, d).

        The log-likelihood of a row is its log-density given those before it in its sequence.
        """
        rows = self._convert(x.reshape(-1) if self._univariate else x)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*impossible", RuntimeWarning)
            try:
                step = ex.e_step(rows, self._hmm, **self._options)
                past = ex.filtered(rows, self._hmm, **self._options)
                path = ex.decode(rows, self._hmm, **self._options) if self._decode else step
            except ValueError as error:  # only this backend refuses the number
                raise InputError("model", str(error)) from error
        responsibilities = np.asarray(step.responsibilities)
        labels = np.asarray(path.labels, dtype=np.int64)
        results = Results(responsibilities, labels, np.asarray(past.log_likelihood))
        largest = responsibilities.max(axis=1)
        possible = largest[~np.isnan(largest)]
        mean = float(possible.mean()) if len(possible) else math.nan
        return Evaluation(results, mean, float(step.total_log_likelihood))


def _spread(evaluation: Evaluation, complete: NDArray[np.bool_]) -> Evaluation:
    """Return results for all rows, given those of complete ones: the others have NaN and -1."""
    found, n = evaluation.results, len(complete)
    responsibilities = np.full((n, found.responsibilities.shape[1]), math.nan)
    labels, log_likelihood = np.full(n, -1), np.full(n, math.nan)
    responsibilities[complete] = found.responsibilities
    labels[complete] = found.labels
    log_likelihood[complete] = found.log_likelihood
    results = Results(responsibilities, labels, log_likelihood)
    return evaluation._replace(results=results)
