"""Factor analysers: full Gaussians of covariance ΛΛᵀ + Ψ."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

import estep_xp as ex
from tests.oracle import mp
from tests.records.gaussians import RECORDS as GAUSSIANS
from tests.records.record import Params, Record, Slopes, floats

_FULL = GAUSSIANS[-1]
_FACTORS = 2


def _random(seed: int, k: int, d: int) -> Params:
    rng = np.random.default_rng([seed, k, d])
    means = 2.0 * rng.standard_normal((k, d))
    loadings = rng.standard_normal((k, d, _FACTORS))
    return {"means": means, "loadings": loadings, "noise_variances": rng.uniform(0.5, 2.0, (k, d))}


def _draw(draw: Any, n: int, k: int, d: int) -> tuple[np.ndarray, Params]:
    x, means = floats(draw, (n, d), -16, 16), floats(draw, (k, d), -8, 8)
    # Whole numbers, so that no loading is next to nothing and yet not 0.
    whole = draw(hnp.arrays(np.int64, (k, d, _FACTORS), elements=st.integers(-4, 4)))
    noise = 2.0 ** floats(draw, (k, d), -6, 6)
    return x, {"means": means, "loadings": whole.astype(float), "noise_variances": noise}


def _covariances(params: Params) -> np.ndarray:
    loadings, noise = params["loadings"], params["noise_variances"]
    explained = loadings @ np.swapaxes(loadings, -1, -2)
    return explained + noise[..., None] * np.eye(noise.shape[-1])


def _log_density(x: np.ndarray, params: Params) -> np.ndarray:
    pairs = zip(params["means"], _covariances(params), strict=True)
    columns = [stats.multivariate_normal(mean, one).logpdf(x) for mean, one in pairs]
    return np.stack([np.reshape(column, len(x)) for column in columns], axis=1)


def _exact(x: np.ndarray, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """The density to 50 digits, from the covariance; T as of the form that is computed."""
    n, (k, d) = len(x), params["means"].shape
    values, terms = (np.empty((n, k), dtype=object) for _ in range(2))
    for j in range(k):
        loadings, noise = mp.matrix(params["loadings"][j]), params["noise_variances"][j]
        covariance = loadings * loadings.T + mp.diag([mp.mpf(float(v)) for v in noise])
        inverse, determinant = covariance**-1, mp.log(mp.det(covariance))
        inner = mp.eye(_FACTORS) + loadings.T * mp.diag([1 / mp.mpf(float(v)) for v in noise]) * (
            loadings
        )
        sizes = [abs(mp.log(mp.mpf(float(v)))) for v in noise]
        for i in range(n):
            z = mp.matrix(x[i]) - mp.matrix(params["means"][j])
            square = (z.T * inverse * z)[0]
            values[i, j] = -(mp.mpf(d) * mp.log(2 * mp.pi) + determinant + square) / 2
            left = mp.fsum(z[a] ** 2 / mp.mpf(float(noise[a])) for a in range(d))
            parts = [mp.mpf(d) * mp.log(2 * mp.pi), mp.fsum(sizes), mp.log(mp.det(inner)), left]
            terms[i, j] = max(parts) / 2
    return values, terms


def _largest_term(x: np.ndarray, params: Params) -> np.ndarray:
    noise = params["noise_variances"]
    d = noise.shape[1]
    left = ((x[:, None, :] - params["means"]) ** 2 / noise).sum(-1)
    determinants = np.linalg.slogdet(_covariances(params))[1] - np.log(noise).sum(-1)
    sizes = np.maximum(np.abs(np.log(noise)).sum(-1), determinants)
    return 0.5 * np.maximum(left, sizes).clip(d * np.log(2 * np.pi))


def _slopes(x: np.ndarray, params: Params) -> Slopes:
    means, loadings = params["means"], params["loadings"]
    covariances = _covariances(params)
    inverse = np.linalg.inv(covariances)
    z = x[:, None, :] - means
    p = np.einsum("kde,nke->nkd", inverse, z)
    log_density = -0.5 * (
        (z * p).sum(-1) + np.log(np.linalg.det(covariances)) + means.shape[1] * np.log(2 * np.pi)
    )
    by_covariance = 0.5 * (p[..., :, None] * p[..., None, :] - inverse)
    by_loadings = 2.0 * np.einsum("nkde,keq->nkdq", by_covariance, loadings)
    by_noise = np.diagonal(by_covariance, axis1=-2, axis2=-1)
    fields = {"means": p, "loadings": by_loadings, "noise_variances": by_noise}
    return Slopes(log_density, -p, fields)


def _posterior(x: np.ndarray, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means (n, k, q) and covariances (k, q, q) of the factors."""
    loadings, noise = params["loadings"], params["noise_variances"]
    scaled = np.swapaxes(loadings / noise[..., None], -1, -2)
    covariance = np.linalg.inv(np.eye(loadings.shape[-1]) + scaled @ loadings)
    z = x[:, None, :] - params["means"]
    return np.einsum("kqr,krd,nkd->nkq", covariance, scaled, z), covariance


def _moments(x: np.ndarray, params: Params) -> Params:
    expected, _ = _posterior(x, params)
    z = x[:, None, :] - params["means"] - np.einsum("kdq,nkq->nkd", params["loadings"], expected)
    rest = z / np.sqrt(params["noise_variances"])
    return {
        "rest": rest,
        "squares": rest**2,
        "factors": expected,
        "cross": rest[..., :, None] * expected[..., None, :],
        "factor_products": expected[..., :, None] * expected[..., None, :],
    }


def _maximize(x: np.ndarray, r: np.ndarray, floor: float | None, params: Params) -> Params:
    """Ghahramani and Hinton 1996: a regression on factors and 1."""
    expected, covariance = _posterior(x, params)
    k, d, q = params["loadings"].shape
    means, loadings, noise = np.empty((k, d)), np.empty((k, d, q)), np.empty((k, d))
    for j in range(k):
        own, n = r[:, j], r[:, j].sum()
        augmented = np.column_stack([expected[:, j], np.ones(len(x))])
        squares = augmented.T @ (own[:, None] * augmented)
        squares[:q, :q] += n * covariance[j]
        cross = x.T @ (own[:, None] * augmented)
        both = cross @ np.linalg.inv(squares)
        loadings[j], means[j] = both[:, :q], both[:, q]
        noise[j] = (own @ x**2 - (both * cross).sum(axis=1)) / n
    floors = np.full(d, floor)
    if floor is None:
        weights = r.sum(axis=1)
        mean = np.average(x, axis=0, weights=weights)
        floors = 1e-6 * np.average((x - mean) ** 2, axis=0, weights=weights)
    return {"means": means, "loadings": loadings, "noise_variances": noise + floors}


def _estimate(params: Params) -> Params:
    return {
        "means": params["means"],
        "covariances": _covariances(params),
        "noise_variances": params["noise_variances"],
    }


RECORD = Record(
    name="factor-analyzer",
    family=ex.FactorAnalyzer,
    random=_random,
    data=_FULL.data,
    draw=_draw,
    log_density=_log_density,
    exact_log_density=_exact,
    largest_term=_largest_term,
    moments=_moments,
    maximize=_maximize,
    slopes=_slopes,
    estimate=_estimate,
    needs_template=True,
)
