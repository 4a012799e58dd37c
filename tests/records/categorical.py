"""Categorical components: rows of one of four kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import estep_xp as ex
from tests.oracle import exact, mp
from tests.records.record import Params, Record, Slopes, floats

M = 4


def _exact(x: np.ndarray, params: Params) -> tuple[np.ndarray, np.ndarray]:
    rows, table = x.astype(int), exact(params["probabilities"])
    values = np.empty((len(rows), len(table)), dtype=object)
    scale = np.empty_like(values)
    for c, chances in enumerate(table):
        total = mp.log(mp.fsum(chances))
        for i, kind in enumerate(rows):
            log = mp.log(chances[kind]) if chances[kind] else mp.ninf
            values[i, c] = log - total
            scale[i, c] = max(abs(total), abs(log) if chances[kind] else 0)
    return values, scale


def _log_density(x: np.ndarray, params: Params) -> np.ndarray:
    p = params["probabilities"]
    with np.errstate(divide="ignore"):
        return np.log(p / p.sum(axis=1, keepdims=True))[:, x.astype(int)].T


def _largest_term(x: np.ndarray, params: Params) -> np.ndarray:
    p = params["probabilities"]
    logs = np.log(np.where(p > 0, p, 1.0))[:, x.astype(int)].T
    return np.maximum(np.abs(logs), np.abs(np.log(p.sum(axis=1))))


def _indicators(x: np.ndarray) -> np.ndarray:
    return (x[:, None] == np.arange(M)) * 1.0


def _slopes(x: np.ndarray, params: Params) -> Slopes:
    p, own = params["probabilities"], _indicators(x)[:, None, :]
    total = p.sum(axis=1)
    log_density = np.log((own * p).sum(axis=-1)) - np.log(total)
    return Slopes(log_density, None, {"probabilities": own / p - 1.0 / total[:, None]})


def _moments(x: np.ndarray, params: Params) -> Params:
    return {"kinds": _indicators(x)[:, None, :] + 0 * params["probabilities"]}


def _maximize(x: np.ndarray, r: np.ndarray, _: float | None, __: Params) -> Params:
    return {"probabilities": r.T @ _indicators(x) / r.sum(axis=0)[:, None]}


def _random(seed: int, k: int, d: int) -> Params:
    del d
    return {"probabilities": np.random.default_rng([seed, k]).uniform(0.05, 2.0, (k, M))}


def _data(seed: int, n: int, d: int) -> np.ndarray:
    del d
    rng = np.random.default_rng([seed, n])
    return np.floor(rng.choice([1.5, 4.0], n) * rng.random(n))


def _draw(draw: Any, n: int, k: int, d: int) -> tuple[np.ndarray, Params]:
    del d
    x = draw(hnp.arrays(np.int64, n, elements=st.integers(0, M - 1)))
    return x.astype(float), {"probabilities": 2.0 ** floats(draw, (k, M), -6, 6)}


RECORD = Record(
    name="categorical",
    family=ex.Categorical,
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
    needs_template=True,
    outside=(-1.0, 4.0, 0.5),
    support="x must be a kind: a whole number from 0 to 3",
    at_bounds=(
        {"probabilities": np.array([[0.0, 0.5, 0.5, 0.0], [1.0, 0.0, 3.0, 1.0], [0.5, 1, 1, 1]])},
        [0.0, 1.0, 3.0],
    ),
)
