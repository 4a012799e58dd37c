"""Student-t components: the scale matrices of full Gaussians, and degrees of freedom."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special, stats

import estep_xp as ex
from tests.oracle import mp
from tests.records.gaussians import RECORDS as GAUSSIANS
from tests.records.record import Params, Record, Slopes, floats

_FULL = GAUSSIANS[-1]


def _random(seed: int, k: int, d: int) -> Params:
    degrees = np.random.default_rng([seed, k, d, 7]).uniform(1.0, 12.0, k)
    return _FULL.random(seed, k, d) | {"degrees": degrees}


def _draw(draw: Any, n: int, k: int, d: int) -> tuple[np.ndarray, Params]:
    x, params = _FULL.draw(draw, n, k, d)
    return x, params | {"degrees": 2.0 ** floats(draw, (k,), -3, 40)}


def _log_density(x: np.ndarray, params: Params) -> np.ndarray:
    columns = []
    for mean, factor, nu in zip(*params.values(), strict=True):
        scale = np.linalg.inv(factor @ factor.T)
        column = stats.multivariate_t(mean, 0.5 * (scale + scale.T), nu).logpdf(x)
        columns.append(np.reshape(column, len(x)))
    return np.stack(columns, axis=1)


def _exact(x: np.ndarray, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """The density to 50 digits, from the residual; ratios of gammas are one term."""
    n, (k, d) = len(x), params["means"].shape
    values = np.empty((n, k), dtype=object)
    terms = np.empty((n, k), dtype=object)
    for i in range(n):
        for j in range(k):
            row, mean, nu = (
                [mp.mpf(float(v)) for v in a]
                for a in (x[i], params["means"][j], [params["degrees"][j]])
            )
            factor, nu = params["precision_cholesky"][j], nu[0]
            z = [a - b for a, b in zip(row, mean, strict=True)]
            columns = [[z[a] * mp.mpf(float(factor[a, b])) for a in range(b + 1)] for b in range(d)]
            q = mp.fsum(mp.fsum(column) ** 2 for column in columns)
            large = mp.fsum(mp.fsum(map(abs, column)) ** 2 for column in columns)
            logs = [mp.log(mp.mpf(float(factor[a, a]))) for a in range(d)]
            ratio = mp.loggamma((nu + d) / 2) - mp.loggamma(nu / 2) - mp.log(nu * mp.pi) * d / 2
            tail = -(nu + d) / 2 * mp.log1p(q / nu)
            values[i, j] = mp.fsum([*logs, ratio, tail])
            largest = (nu + d) / 2 * mp.log1p(large / nu)
            constant = mp.mpf(d) / 2 * mp.log(2 * mp.pi)
            terms[i, j] = max(mp.fsum(map(abs, logs)), constant, abs(ratio), largest)
    return values, terms


def _largest_term(x: np.ndarray, params: Params) -> np.ndarray:
    d, nu = params["means"].shape[1], params["degrees"]
    factors = np.abs(params["precision_cholesky"])
    residuals = np.abs(x[:, None, :] - params["means"])
    squared = (np.einsum("nkd,kde->nke", residuals, factors) ** 2).sum(-1)
    logs = np.abs(np.log(np.diagonal(factors, axis1=-2, axis2=-1))).sum(-1)
    ratio = special.gammaln((nu + d) / 2) - special.gammaln(nu / 2) - np.log(nu * np.pi) * d / 2
    tails = (nu + d) / 2 * np.log1p(squared / nu)
    constant = 0.5 * d * np.log(2 * np.pi)
    return np.maximum(tails, np.maximum(logs, np.abs(ratio))).clip(constant)


def _slopes(x: np.ndarray, params: Params) -> Slopes:
    means, factors, nu = params.values()
    d = means.shape[1]
    z = x[:, None, :] - means
    standardised = np.einsum("nkd,kde->nke", z, factors)
    q = (standardised**2).sum(-1)
    diagonal = np.diagonal(factors, axis1=-2, axis2=-1)
    log_density = (
        np.log(diagonal).sum(-1)
        + special.loggamma((nu + d) / 2)
        - special.loggamma(nu / 2)
        - d / 2 * np.log(nu * np.pi)
        - (nu + d) / 2 * np.log(1.0 + q / nu)
    )
    u = (nu + d) / (nu + q)
    by_means = u[..., None] * np.einsum("nke,kde->nkd", standardised, factors)
    inverse = np.eye(d) / diagonal[..., None]
    outer = z[..., :, None] * standardised[..., None, :]
    by_factor = np.triu(inverse - u[..., None, None] * outer)
    digamma = special.digamma
    by_degrees = 0.5 * (
        digamma((nu + d) / 2) - digamma(nu / 2) - d / nu - np.log(1.0 + q / nu) + u * q / nu
    )
    fields = {"means": by_means, "precision_cholesky": by_factor, "degrees": by_degrees}
    return Slopes(log_density, -by_means, fields)


def _moments(x: np.ndarray, params: Params) -> Params:
    means, factors, nu = params.values()
    z = x[:, None, :] - means
    q = (np.einsum("nkd,kde->nke", z, factors) ** 2).sum(-1)
    u = (nu + means.shape[1]) / (nu + q)
    second = u[..., None, None] * z[..., :, None] * z[..., None, :]
    return {"weights": u, "first": u[..., None] * z, "second": second, "excess": u - 1 - np.log(u)}


def _degrees(shares: np.ndarray, scales: np.ndarray, old: float, d: int) -> float:
    """The root of log(ν/2) − ψ(ν/2) = the mean of E u − 1 − E log u, to 50 digits."""
    shares, half = list(map(mp.mpf, shares.tolist())), (mp.mpf(float(old)) + d) / 2
    terms = [r * (u - 1 - mp.log(u)) for r, u in zip(shares, map(mp.mpf, scales), strict=True)]
    gap = mp.fsum(terms) / mp.fsum(shares) + mp.log(half) - mp.digamma(half)
    begin = mp.log(1 / gap)  # between it and half of it
    root = mp.findroot(lambda t: t - mp.digamma(mp.exp(t)) - gap, (begin - 1, begin))
    return float(2 * mp.exp(root))


def _maximize(x: np.ndarray, r: np.ndarray, floor: float | None, params: Params) -> Params:
    """Liu and Rubin 1995, the degrees by bisection."""
    old = params["degrees"]
    (_, d), counts = params["means"].shape, r.sum(axis=0)
    u = _moments(x, params)["weights"]
    weights = r * u
    means = (weights.T @ x) / weights.sum(axis=0)[:, None]
    z = x[:, None, :] - means
    scales = np.einsum("nk,nkd,nke->kde", weights, z, z) / counts[:, None, None]
    floors = np.full(d, floor)
    if floor is None:
        shares, variances = counts / counts.sum(), np.diagonal(scales, axis1=1, axis2=2)
        floors = 1e-6 * (shares @ (variances + (means - shares @ means) ** 2))
    scales = scales + np.diag(floors)
    degrees = [_degrees(r[:, j], u[:, j].tolist(), nu, d) for j, nu in enumerate(old)]
    inverse = np.linalg.inv(np.linalg.cholesky(scales))
    return {
        "means": means,
        "precision_cholesky": np.swapaxes(inverse, -1, -2),
        "degrees": np.array(degrees),
    }


def _estimate(params: Params) -> Params:
    factor = params["precision_cholesky"]
    scales = np.linalg.inv(factor @ np.swapaxes(factor, -1, -2))
    return {"means": params["means"], "scales": scales, "degrees": params["degrees"]}


RECORD = Record(
    name="student-t",
    family=ex.StudentT,
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
)
