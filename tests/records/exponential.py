"""Exponential components: waiting times (n,), and independent ones (n, d)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

import estep_xp as ex
from tests.oracle import add_terms, mp
from tests.records.record import Params, Record, Slopes, floats


def _terms(x: Any, rate: Any) -> list[Any]:
    """Terms of the log-density of one number, to 50 digits."""
    return [mp.log(rate), -rate * x]


def _sum(terms: np.ndarray) -> np.ndarray:
    return terms if terms.ndim == 2 else terms.sum(axis=-1)


def _largest_term(x: np.ndarray, params: Params) -> np.ndarray:
    rates, x = params["rates"], x[:, None, ...]
    return np.maximum(_sum(rates * x), _sum(np.abs(np.log(rates)) + 0 * x))


def _log_density(x: np.ndarray, params: Params) -> np.ndarray:
    return _sum(stats.expon.logpdf(x[:, None, ...], scale=1.0 / params["rates"]))


def _slopes(x: np.ndarray, params: Params) -> Slopes:
    rates, x = params["rates"], x[:, None, ...]
    log_density = _sum(np.log(rates) - rates * x)
    return Slopes(log_density, -rates + 0 * x, {"rates": 1.0 / rates - x})


def _moments(x: np.ndarray, params: Params) -> Params:
    return {"sums": x[:, None, ...] + 0 * params["rates"]}


def _maximize(x: np.ndarray, r: np.ndarray, _: float | None, __: Params) -> Params:
    return {"rates": (r.sum(axis=0) / np.tensordot(r.T, x, 1).T).T}


def _record(name: str, univariate: bool) -> Record:
    def features(d: int) -> tuple[int, ...]:
        return () if univariate else (d,)

    def random(seed: int, k: int, d: int) -> Params:
        rng = np.random.default_rng([seed, k, d])
        return {"rates": rng.uniform(0.2, 4.0, (k, *features(d)))}

    def data(seed: int, n: int, d: int) -> np.ndarray:
        rng = np.random.default_rng([seed, n, d])
        return rng.exponential(rng.choice([0.3, 4.0], (n, *features(d))))

    def draw(draw: Any, n: int, k: int, d: int) -> tuple[np.ndarray, Params]:
        x = floats(draw, (n, *features(d)), 0.0, 64.0)
        return x, {"rates": 2.0 ** floats(draw, (k, *features(d)), -6, 6)}

    return Record(
        name=name,
        family=ex.Exponential,
        random=random,
        data=data,
        draw=draw,
        log_density=_log_density,
        exact_log_density=lambda x, params: add_terms(_terms, x, params["rates"]),
        largest_term=_largest_term,
        moments=_moments,
        maximize=_maximize,
        slopes=_slopes,
        univariate=univariate,
        outside=(-0.5,),
        support="x must not be negative",
    )


RECORDS = (_record("exponential", True), _record("exponential-features", False))
