"""Poisson components: counts (n,), and independent counts (n, d)."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special, stats

import estep_xp as ex
from tests.oracle import add_terms, mp
from tests.records.record import Params, Record, Slopes, floats


def _terms(x: Any, rate: Any) -> list[Any]:
    """Terms of the log-density of one count, to 50 digits."""
    logarithm = mp.mpf(0) if x == 0 else x * (mp.log(rate) if rate else mp.ninf)
    return [logarithm, -rate, -mp.loggamma(x + 1)]


def _largest_term(x: np.ndarray, params: Params) -> np.ndarray:
    rates, x = params["rates"], x[:, None, ...]
    terms = np.abs(special.xlogy(x, rates)), rates + 0 * x, special.gammaln(x + 1.0) + 0 * rates
    return np.max([a if a.ndim == 2 else a.sum(axis=-1) for a in terms], axis=0)


def _log_density(x: np.ndarray, params: Params) -> np.ndarray:
    terms = stats.poisson.logpmf(x[:, None, ...], params["rates"])
    return terms if terms.ndim == 2 else terms.sum(axis=-1)


def _slopes(x: np.ndarray, params: Params) -> Slopes:
    rates, x = params["rates"], x[:, None, ...]
    terms = x * np.log(rates) - rates - special.gammaln(x + 1.0)
    log_density = terms if terms.ndim == 2 else terms.sum(axis=-1)
    return Slopes(log_density, None, {"rates": x / rates - 1.0})


def _moments(x: np.ndarray, params: Params) -> Params:
    return {"sums": x[:, None, ...] + 0 * params["rates"]}


def _maximize(x: np.ndarray, r: np.ndarray, _: float | None, __: Params) -> Params:
    return {"rates": (np.tensordot(r.T, x, 1).T / r.sum(axis=0)).T}


def _record(name: str, univariate: bool, at_bounds: tuple[Params, list[Any]]) -> Record:
    def features(d: int) -> tuple[int, ...]:
        return () if univariate else (d,)

    def random(seed: int, k: int, d: int) -> Params:
        rng = np.random.default_rng([seed, k, d])
        return {"rates": rng.uniform(0.5, 12.0, (k, *features(d)))}

    def data(seed: int, n: int, d: int) -> np.ndarray:
        rng = np.random.default_rng([seed, n, d])
        return rng.poisson(rng.choice([1.0, 9.0], (n, *features(d)))).astype(float)

    def draw(draw: Any, n: int, k: int, d: int) -> tuple[np.ndarray, Params]:
        x = draw(hnp.arrays(np.int64, (n, *features(d)), elements=st.integers(0, 60)))
        return x.astype(float), {"rates": 2.0 ** floats(draw, (k, *features(d)), -6, 6)}

    return Record(
        name=name,
        family=ex.Poisson,
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
        outside=(-1.0, 1.5),
        support="x must be a count: a whole number, not negative",
        at_bounds=at_bounds,
    )


RECORDS = (
    _record("poisson", True, ({"rates": np.array([0.0, 2.0, 5.0])}, [0.0, 3.0])),
    _record(
        "poisson-features",
        False,
        ({"rates": np.array([[0.0, 2.0], [1.0, 3.0], [4.0, 0.0]])}, [[0.0, 0.0], [0.0, 4.0]]),
    ),
)
