"""Von Mises components: angles."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import optimize, special, stats

import estep_xp as ex
from tests.oracle import exact, mp
from tests.records.record import Params, Record, Slopes, floats


def _exact(x: np.ndarray, params: Params) -> tuple[np.ndarray, np.ndarray]:
    rows, locations, concentrations = map(exact, (x, *params.values()))
    values = np.empty((len(rows), len(locations)), dtype=object)
    scale = np.empty_like(values)
    for c, (location, kappa) in enumerate(zip(locations, concentrations, strict=True)):
        normalizer = mp.log(2 * mp.pi) + log_i0_scaled(kappa)
        for i, angle in enumerate(rows):
            half = (angle - location) / 2
            values[i, c] = -2 * kappa * mp.sin(half) ** 2 - normalizer
            scale[i, c] = max(abs(kappa * half * mp.sin(half)), abs(normalizer), mp.log(2 * mp.pi))
    return values, scale


def log_i0_scaled(kappa: Any) -> Any:
    """Log I0(κ) − κ; from 1e4 on by its asymptotic series, which mpmath would take minutes for."""
    if kappa < 1e4:
        return mp.log(mp.besseli(0, kappa)) - kappa
    terms = [mp.mpf(1)]
    for i in range(1, 20):
        terms.append(terms[-1] * (2 * i - 1) ** 2 / (8 * i * kappa))
    return mp.log(mp.fsum(terms)) - mp.log(2 * mp.pi * kappa) / 2


def _largest_term(x: np.ndarray, params: Params) -> np.ndarray:
    locations, kappas = params.values()
    half = 0.5 * (x[:, None] - locations)
    normalizer = np.abs(np.log(2.0 * np.pi * special.i0e(kappas)))
    return np.maximum(np.abs(kappas * half * np.sin(half)), normalizer).clip(np.log(2.0 * np.pi))


def _log_density(x: np.ndarray, params: Params) -> np.ndarray:
    locations, kappas = params.values()
    return stats.vonmises.logpdf(x[:, None] - locations, kappas)


def _slopes(x: np.ndarray, params: Params) -> Slopes:
    locations, kappas = params.values()
    angle = x[:, None] - locations
    log_density = kappas * np.cos(angle) - np.log(2 * np.pi * _i0(kappas))
    by_location = kappas * np.sin(angle)
    by_kappa = np.cos(angle) - special.i1e(np.real(kappas)) / special.i0e(np.real(kappas))
    if np.iscomplexobj(kappas):  # a complex step: A' = 1 − A / κ − A²
        real = np.real(kappas)
        ratio = special.i1e(real) / special.i0e(real)
        by_kappa = by_kappa - 1j * np.imag(kappas) * (1.0 - ratio / real - ratio**2)
    return Slopes(log_density, -by_location, {"locations": by_location, "concentrations": by_kappa})


def _i0(kappas: np.ndarray) -> np.ndarray:
    real = np.real(kappas)
    if not np.iscomplexobj(kappas):
        return special.i0(real)
    return special.i0(real) + 1j * np.imag(kappas) * special.i1(real)


def _moments(x: np.ndarray, params: Params) -> Params:
    angle = x[:, None] - params["locations"]
    return {"sines": np.sin(angle), "versines": 1.0 - np.cos(angle)}


def _maximize(x: np.ndarray, r: np.ndarray, _: float | None, __: Params) -> Params:
    """Solve 1 − I1 / I0 = 1 − length of the mean resultant, about its direction."""
    counts = r.sum(axis=0)
    locations = np.angle(r.T @ np.exp(1j * x))
    versines = 2.0 * np.sin(0.5 * (x[:, None] - locations)) ** 2
    lacks = (r * versines).sum(axis=0) / counts
    return {"locations": locations, "concentrations": np.vectorize(_kappa)(lacks)}


def _kappa(lack: float) -> float:
    """Find κ by bisection, and take a Newton step of 50 digits: 1 − I1 / I0 cancels."""
    kappa = optimize.brentq(
        lambda k: 1.0 - lack - special.i1e(k) / special.i0e(k), 1e-12, 1e6, xtol=1e-12, rtol=1e-12
    )
    exact_kappa = mp.mpf(kappa)
    ratio = mp.besseli(1, exact_kappa) / mp.besseli(0, exact_kappa)
    slope = 1 - ratio / exact_kappa - ratio**2
    return float(exact_kappa + (1 - mp.mpf(float(lack)) - ratio) / slope)


def _random(seed: int, k: int, d: int) -> Params:
    del d
    rng = np.random.default_rng([seed, k])
    return {"locations": rng.uniform(-3.0, 3.0, k), "concentrations": rng.uniform(0.3, 4.0, k)}


def _data(seed: int, n: int, d: int) -> np.ndarray:
    del d
    rng = np.random.default_rng([seed, n])
    return rng.vonmises(rng.choice([-2.0, 1.0], n), 1.5)


def _draw(draw: Any, n: int, k: int, d: int) -> tuple[np.ndarray, Params]:
    del d
    x, locations = floats(draw, n, -8.0, 8.0), floats(draw, k, -3.0, 3.0)
    return x, {"locations": locations, "concentrations": 2.0 ** floats(draw, k, -5, 8)}


RECORD = Record(
    name="von-mises",
    family=ex.VonMises,
    random=_random,
    data=_data,
    draw=_draw,
    log_density=_log_density,
    exact_log_density=_exact,
    largest_term=_largest_term,
    moments=_moments,
    maximize=_maximize,
    slopes=_slopes,
    univariate=True,
    collapses=True,
)
