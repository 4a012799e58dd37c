"""Gamma components: positive numbers (n,), and independent ones (n, d)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import optimize, special, stats

import estep_xp as ex
from tests.oracle import add_terms, mp
from tests.records.record import Params, Record, Slopes, floats


def _terms(x: Any, shape: Any, rate: Any) -> list[Any]:
    """Terms of the log-density of one number, to 50 digits."""
    return [shape * mp.log(rate), (shape - 1) * mp.log(x), -rate * x, -mp.loggamma(shape)]


def _sum(terms: np.ndarray) -> np.ndarray:
    return terms if terms.ndim == 2 else terms.sum(axis=-1)


def _largest_term(x: np.ndarray, params: Params) -> np.ndarray:
    (a, b), x = params.values(), x[:, None, ...]
    terms = a * np.log(b) + 0 * x, (a - 1.0) * np.log(x), b * x, special.gammaln(a) + 0 * x
    return np.max([_sum(np.abs(term)) for term in terms], axis=0)


def _log_density(x: np.ndarray, params: Params) -> np.ndarray:
    a, b = params.values()
    return _sum(stats.gamma.logpdf(x[:, None, ...], a, scale=1.0 / b))


def _slopes(x: np.ndarray, params: Params) -> Slopes:
    (a, b), x = params.values(), x[:, None, ...]
    log_density = _sum(a * np.log(b) + (a - 1.0) * np.log(x) - b * x - special.loggamma(a))
    by_shape = np.log(b) + np.log(x) - special.digamma(a)
    return Slopes(log_density, (a - 1.0) / x - b, {"shapes": by_shape, "rates": a / b - x})


def _moments(x: np.ndarray, params: Params) -> Params:
    """Rows, and of their shares of the current means logarithms and what these lack of v − 1."""
    (a, b), x = params.values(), x[:, None, ...]
    share = x * b / a - 1.0
    logs = np.log1p(share)
    return {"sums": x + 0.0 * a, "logs": logs, "excess": share - logs}


def _maximize(x: np.ndarray, r: np.ndarray, _: float | None, __: Params) -> Params:
    """Solve log a − ψ(a) = log(mean) − mean log, by bisection."""
    counts = r.sum(axis=0)
    means = (np.tensordot(r.T, x, 1).T / counts).T
    logs = (np.tensordot(r.T, np.log(x), 1).T / counts).T
    gaps = np.log(means) - logs
    shapes = np.vectorize(_shape)(gaps)
    return {"shapes": shapes, "rates": shapes / means}


def _shape(gap: float) -> float:
    return optimize.brentq(
        lambda a: np.log(a) - special.digamma(a) - gap, 1e-8, 1e8, xtol=1e-15, rtol=1e-15
    )


def _record(name: str, univariate: bool) -> Record:
    def features(d: int) -> tuple[int, ...]:
        return () if univariate else (d,)

    def random(seed: int, k: int, d: int) -> Params:
        rng = np.random.default_rng([seed, k, d])
        shape = (k, *features(d))
        return {"shapes": rng.uniform(0.5, 6.0, shape), "rates": rng.uniform(0.3, 3.0, shape)}

    def data(seed: int, n: int, d: int) -> np.ndarray:
        rng = np.random.default_rng([seed, n, d])
        return rng.gamma(3.0, rng.choice([0.3, 3.0], (n, *features(d))))

    def draw(draw: Any, n: int, k: int, d: int) -> tuple[np.ndarray, Params]:
        x = floats(draw, (n, *features(d)), 2.0**-10, 64.0)
        shapes, rates = (2.0 ** floats(draw, (k, *features(d)), -5, 5) for _ in range(2))
        return x, {"shapes": shapes, "rates": rates}

    return Record(
        name=name,
        family=ex.Gamma,
        random=random,
        data=data,
        draw=draw,
        log_density=_log_density,
        exact_log_density=lambda x, params: add_terms(_terms, x, *params.values()),
        largest_term=_largest_term,
        moments=_moments,
        maximize=_maximize,
        slopes=_slopes,
        univariate=univariate,
        collapses=True,
        outside=(-1.0, 0.0),
        support="x must be positive",
    )


RECORDS = (_record("gamma", True), _record("gamma-features", False))
