"""One record a family: parameters at random and a float64 reference density. Laws run over all.

The references come from scipy.stats and share no code with the library. They take the parameters
as the library gets them, already rounded to the dtype under test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from scipy.special import logsumexp

import estep_xp as ex
from tests.backends import Backend

Params = dict[str, np.ndarray]


@dataclass(frozen=True)
class Record:
    """A family and what the tests need to know of it."""

    name: str
    family: Any
    random: Callable[[int, int, int], Params]  # seed, k, d -> fields of the family, float64
    log_density: Callable[[np.ndarray, Params], np.ndarray]  # x, fields -> (n, k)
    covariances: Callable[[Params], np.ndarray]
    univariate: bool = False

    def data(self, seed: int, n: int, d: int) -> np.ndarray:
        """Observations of the shape this family takes, spread like its random means."""
        x = 2.0 * np.random.default_rng([seed, n, d]).standard_normal((n, d))
        return x[:, 0] if self.univariate else x

    def components(self, backend: Backend, params: Params, dtype: Any = None) -> Any:
        return self.family(**{name: backend.asarray(a, dtype) for name, a in params.items()})

    def mixture(self, backend: Backend, weights: Any, params: Params, dtype: Any = None) -> Any:
        components = self.components(backend, params, dtype)
        return ex.Mixture(backend.asarray(weights, dtype), components)

    def log_joint(self, x: np.ndarray, weights: np.ndarray, params: Params) -> np.ndarray:
        """Compute the reference of log w_k + log p(x_i | k), (n, k)."""
        with np.errstate(divide="ignore"):
            return np.log(weights) - np.log(weights.sum()) + self.log_density(x, params)

    def magnitude(self, x: np.ndarray, weights: np.ndarray, params: Params) -> np.ndarray:
        """T of the accuracy contract |log-joint error| <= 16 eps (1 + T), (n, k)."""
        means, factors = _factors(params)
        residuals = np.abs(np.reshape(x, (len(x), 1, -1)) - means)
        standardised = np.einsum("nkd,kde->nke", residuals, np.abs(factors))
        log_diagonal = np.abs(np.log(np.diagonal(factors, axis1=-2, axis2=-1))).sum(-1)
        constant = 0.5 * means.shape[-1] * np.log(2.0 * np.pi)
        positive = weights[weights > 0]
        largest = max(constant, abs(np.log(weights.sum())), np.abs(np.log(positive)).max())
        return np.maximum(np.maximum(0.5 * (standardised**2).sum(-1), log_diagonal), largest)


def rounded(params: Params, dtype: Any) -> Params:
    """Round the parameters to what ``dtype`` holds, in float64."""
    return {name: a.astype(dtype).astype(np.float64) for name, a in params.items()}


def normalised(log_joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normalise to reference responsibilities (n, k) and log-likelihoods (n,)."""
    log_likelihood = logsumexp(log_joint, axis=1)
    return np.exp(log_joint - log_likelihood[:, None]), log_likelihood


def random_weights(seed: int, k: int) -> np.ndarray:
    """Positive weights that don't sum to 1."""
    return np.random.default_rng([seed, k]).uniform(0.3, 2.0, k)


class Problem(NamedTuple):
    """Numbers of one test, in float64: what the references get and, cast, the library."""

    record: Record
    x: np.ndarray
    weights: np.ndarray
    params: Params

    def arrays(self, backend: Backend, dtype: Any = "float64") -> list[Any]:
        """Give x, weights and the two fields of the family, native."""
        return [backend.asarray(a, dtype) for a in (self.x, self.weights, *self.params.values())]

    def mixture(self, backend: Backend, dtype: Any = "float64") -> Any:
        return self.record.mixture(backend, self.weights, self.params, dtype)


def problem(
    record: Record, seed: int = 1, dtype: Any = "float64", n: int = 5, k: int = 3, d: int = 2
) -> Problem:
    """Make a small problem at random; one shape for most tests, so that compilations are shared."""
    x = record.data(seed, n, d).astype(dtype).astype(float)
    weights = random_weights(seed, k).astype(dtype).astype(float)
    return Problem(record, x, weights, rounded(record.random(seed, k, d), dtype))


def _factors(params: Params) -> tuple[np.ndarray, np.ndarray]:
    """Means (k, d) and precision factors (k, d, d) of any family."""
    means = params["means"].reshape(len(params["means"]), -1)
    k, d = means.shape
    if "variances" in params:
        deviations = np.sqrt(params["variances"].reshape(k, -1))
        return means, np.eye(d) / np.broadcast_to(deviations, (k, d))[:, None, :]
    return means, np.broadcast_to(params["precision_cholesky"], (k, d, d))


def _random_variances(shape_of: Callable[[int, int], tuple[int, ...]]) -> Any:
    def random(seed: int, k: int, d: int) -> Params:
        rng = np.random.default_rng([seed, k, d])
        means = 2.0 * rng.standard_normal((k, d))
        return {"means": means, "variances": rng.uniform(0.5, 2.5, shape_of(k, d))}

    return random


def _random_factors(shape_of: Callable[[int, int], tuple[int, ...]]) -> Any:
    def random(seed: int, k: int, d: int) -> Params:
        rng = np.random.default_rng([seed, k, d])
        means = 2.0 * rng.standard_normal((k, d))
        above = 0.3 * np.triu(rng.standard_normal(shape_of(k, d)), 1)
        diagonal = rng.uniform(0.6, 1.4, shape_of(k, d)) * np.eye(d)
        return {"means": means, "precision_cholesky": above + diagonal}

    return random


def _random_univariate(seed: int, k: int, _: int) -> Params:
    params = _random_variances(lambda k, _: (k,))(seed, k, 1)
    return {"means": params["means"][:, 0], "variances": params["variances"]}


def _univariate_density(x: np.ndarray, params: Params) -> np.ndarray:
    return stats.norm.logpdf(x[:, None], params["means"], np.sqrt(params["variances"]))


def _independent_density(x: np.ndarray, params: Params) -> np.ndarray:
    """Spherical and diagonal: a product of univariate densities."""
    k, d = params["means"].shape
    variances = np.broadcast_to(params["variances"].reshape(k, -1), (k, d))
    return stats.norm.logpdf(x[:, None, :], params["means"], np.sqrt(variances)).sum(-1)


def _correlated_density(x: np.ndarray, params: Params) -> np.ndarray:
    """Tied and full: scipy's multivariate normal, given the precision."""
    means, factors = _factors(params)
    columns = []
    for mean, factor in zip(means, factors, strict=True):
        covariance = stats.Covariance.from_precision(factor @ factor.T)
        column = stats.multivariate_normal(mean, covariance).logpdf(x)
        columns.append(np.reshape(column, len(x)))
    return np.stack(columns, axis=1)


def _given_variances(params: Params) -> np.ndarray:
    return params["variances"]


def _inverted_precision(params: Params) -> np.ndarray:
    factor = params["precision_cholesky"]
    return np.linalg.inv(factor @ np.swapaxes(factor, -1, -2))


RECORDS = (
    Record(
        name="univariate",
        family=ex.UnivariateGaussian,
        random=_random_univariate,
        log_density=_univariate_density,
        covariances=_given_variances,
        univariate=True,
    ),
    Record(
        name="spherical",
        family=ex.SphericalGaussian,
        random=_random_variances(lambda k, _: (k,)),
        log_density=_independent_density,
        covariances=_given_variances,
    ),
    Record(
        name="diagonal",
        family=ex.DiagonalGaussian,
        random=_random_variances(lambda k, d: (k, d)),
        log_density=_independent_density,
        covariances=_given_variances,
    ),
    Record(
        name="tied",
        family=ex.TiedGaussian,
        random=_random_factors(lambda _, d: (d, d)),
        log_density=_correlated_density,
        covariances=_inverted_precision,
    ),
    Record(
        name="full",
        family=ex.FullGaussian,
        random=_random_factors(lambda k, d: (k, d, d)),
        log_density=_correlated_density,
        covariances=_inverted_precision,
    ),
)
