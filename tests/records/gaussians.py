"""The Gaussian families: one record each, made of the same references."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

import estep_xp as ex
from tests import oracle
from tests.records.record import Params, Record, Slopes, floats

# Parameters and observations


def _sample(seed: int, n: int, d: int) -> np.ndarray:
    """Spread like random means."""
    return 2.0 * np.random.default_rng([seed, n, d]).standard_normal((n, d))


def _sample_univariate(seed: int, n: int, d: int) -> np.ndarray:
    return _sample(seed, n, d)[:, 0]


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


def second_field(name: str, variances: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Return the second field of a family from variances (k, d) and factors' upper entries."""
    factors = np.triu(above, 1) + np.eye(variances.shape[1]) / np.sqrt(variances)[:, None, :]
    return {
        "univariate": variances[:, 0],
        "spherical": variances[:, 0],
        "diagonal": variances,
        "tied": factors[0],
        "full": factors,
    }[name]


def _drawn(name: str) -> Callable[..., tuple[np.ndarray, Params]]:
    def draw(draw: Any, n: int, k: int, d: int) -> tuple[np.ndarray, Params]:
        d = 1 if name == "univariate" else d
        x, means = floats(draw, (n, d), -16, 16), floats(draw, (k, d), -8, 8)
        variances, above = 2.0 ** floats(draw, (k, d), -6, 6), floats(draw, (k, d, d), -2, 2)
        if name == "univariate":
            x, means = x[:, 0], means[:, 0]
        second = "precision_cholesky" if name in ("tied", "full") else "variances"
        return x, {"means": means, second: second_field(name, variances, above)}

    return draw


# Densities


def _factors(params: Params) -> tuple[np.ndarray, np.ndarray]:
    """Means (k, d) and precision factors (k, d, d) of any family."""
    means = params["means"].reshape(len(params["means"]), -1)
    k, d = means.shape
    if "variances" in params:
        deviations = np.sqrt(params["variances"].reshape(k, -1))
        return means, np.eye(d) / np.broadcast_to(deviations, (k, d))[:, None, :]
    return means, np.broadcast_to(params["precision_cholesky"], (k, d, d))


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


def _exact(family: Any) -> Callable[[np.ndarray, Params], tuple[np.ndarray, np.ndarray]]:
    return lambda x, params: oracle.gaussian(family.__name__, tuple(params.values()), x)


def _largest_term(x: np.ndarray, params: Params) -> np.ndarray:
    """Half the squared distance before signs cancel, the log-determinant, or 2 pi's logarithm."""
    means, factors = _factors(params)
    residuals = np.abs(np.reshape(x, (len(x), 1, -1)) - means)
    standardised = np.einsum("nkd,kde->nke", residuals, np.abs(factors))
    log_diagonal = np.abs(np.log(np.diagonal(factors, axis1=-2, axis2=-1))).sum(-1)
    constant = 0.5 * means.shape[-1] * np.log(2.0 * np.pi)
    return np.maximum(0.5 * (standardised**2).sum(-1), log_diagonal).clip(constant)


# Slopes: no absolute values, comparisons or conjugates, so that complex steps can be taken


def _slopes(x: np.ndarray, params: Params) -> Slopes:
    if "precision_cholesky" in params:
        return _slopes_by_factors(x, params["means"], params["precision_cholesky"])
    return _slopes_by_variances(x, params["means"], params["variances"])


def _slopes_by_variances(x: np.ndarray, means: np.ndarray, variances: np.ndarray) -> Slopes:
    k = len(means)
    z = x.reshape(len(x), 1, -1) - means.reshape(k, -1)
    v = variances.reshape(k, -1) + np.zeros(z.shape[1:])  # (k, d), whatever the family holds
    standardised = z * (z / v)
    log_density = -0.5 * (standardised + np.log(2 * np.pi * v)).sum(-1)
    by_variance = 0.5 * (standardised - 1) / v
    if variances.ndim == 1:
        by_variance = by_variance.sum(-1)
    by_means = (z / v).reshape(len(x), *means.shape)
    by_x = -(z / v).reshape(len(x), k, *x.shape[1:])
    return Slopes(log_density, by_x, {"means": by_means, "variances": by_variance})


def _slopes_by_factors(x: np.ndarray, means: np.ndarray, factors: np.ndarray) -> Slopes:
    z = x[:, None, :] - means
    each = factors + np.zeros((*means.shape, 1))  # (k, d, d), tied or full
    standardised = np.einsum("nkd,kde->nke", z, each)
    diagonal = np.diagonal(each, axis1=-2, axis2=-1)
    log_density = np.log(diagonal).sum(-1) - 0.5 * (
        (standardised**2).sum(-1) + means.shape[-1] * np.log(2 * np.pi)
    )
    by_means = np.einsum("nke,kde->nkd", standardised, each)
    inverse = np.eye(means.shape[-1]) / diagonal[..., None]
    by_factor = np.triu(inverse - z[..., :, None] * standardised[..., None, :])
    fields = {"means": by_means, "precision_cholesky": by_factor}
    return Slopes(log_density, -by_means, fields)


# Estimation, as a textbook writes it (Bishop 2006, eqs. 9.24 to 9.26)


def _in_shape(name: str, matrices: np.ndarray) -> np.ndarray:
    """Of scatters (..., k, d, d), what the family estimates its covariances from."""
    return {
        "univariate": lambda: matrices[..., 0, 0],
        "spherical": lambda: np.trace(matrices, axis1=-2, axis2=-1),
        "diagonal": lambda: np.diagonal(matrices, axis1=-2, axis2=-1),
        "tied": lambda: matrices,
        "full": lambda: matrices,
    }[name]()


def _moments(name: str) -> Callable[[np.ndarray, Params], Params]:
    def moments(x: np.ndarray, params: Params) -> Params:
        """Deviations from the current means, and their products."""
        means = params["means"]
        z = np.reshape(x, (len(x), 1, -1)) - means.reshape(len(means), -1)
        second = _in_shape(name, z[..., :, None] * z[..., None, :])
        return {"first": z[..., 0] if name == "univariate" else z, "second": second}

    return moments


def _maximize(name: str) -> Callable[[np.ndarray, np.ndarray, float | None, Params], Params]:
    def maximize(x: np.ndarray, r: np.ndarray, floor: float | None, _: Params) -> Params:
        """Means, and scatters about the new means; the floor is added to variances."""
        rows = np.reshape(x, (len(x), -1))
        counts = r.sum(axis=0)
        means = r.T @ rows / counts[:, None]
        z = rows[:, None, :] - means
        scatter = np.einsum("nk,nkd,nke->kde", r, z, z)
        d = rows.shape[1]
        floors = np.full(d, floor) if floor is not None else _default_floors(rows, r)
        covariances = _in_shape(name, scatter / counts[:, None, None])
        if name == "tied":
            covariances = scatter.sum(axis=0) / counts.sum()
        if name in ("tied", "full"):
            covariances = covariances + np.diag(floors)
            inverse = np.linalg.inv(np.linalg.cholesky(covariances))
            return {"means": means, "precision_cholesky": np.swapaxes(inverse, -1, -2)}
        if name == "spherical":
            covariances = covariances / d
        variances = covariances + (floors if name == "diagonal" else floors.mean())
        return {"means": means[:, 0] if name == "univariate" else means, "variances": variances}

    return maximize


def _default_floors(rows: np.ndarray, r: np.ndarray) -> np.ndarray:
    """A millionth of the variance of each feature over all rows."""
    weights = r.sum(axis=1)
    mean = np.average(rows, axis=0, weights=weights)
    return 1e-6 * np.average((rows - mean) ** 2, axis=0, weights=weights)


def _covariances(params: Params) -> np.ndarray:
    """Covariances in the shape of the family's property."""
    if "variances" in params:
        return params["variances"]
    factor = params["precision_cholesky"]
    return np.linalg.inv(factor @ np.swapaxes(factor, -1, -2))


def _estimate(params: Params) -> Params:
    return {"means": params["means"], "covariances": _covariances(params)}


def _record(name: str, family: Any, random: Any, log_density: Any) -> Record:
    return Record(
        name=name,
        family=family,
        random=random,
        data=_sample_univariate if name == "univariate" else _sample,
        draw=_drawn(name),
        log_density=log_density,
        exact_log_density=_exact(family),
        largest_term=_largest_term,
        moments=_moments(name),
        maximize=_maximize(name),
        slopes=_slopes,
        estimate=_estimate,
        covariances=_covariances,
        shared=("precision_cholesky", "second", "covariances") if name == "tied" else (),
        univariate=name == "univariate",
    )


_SPHERICAL = _random_variances(lambda k, _: (k,))
_DIAGONAL = _random_variances(lambda k, d: (k, d))
_TIED = _random_factors(lambda _, d: (d, d))
_FULL = _random_factors(lambda k, d: (k, d, d))
RECORDS = (
    _record("univariate", ex.UnivariateGaussian, _random_univariate, _univariate_density),
    _record("spherical", ex.SphericalGaussian, _SPHERICAL, _independent_density),
    _record("diagonal", ex.DiagonalGaussian, _DIAGONAL, _independent_density),
    _record("tied", ex.TiedGaussian, _TIED, _correlated_density),
    _record("full", ex.FullGaussian, _FULL, _correlated_density),
)
