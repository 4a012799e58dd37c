"""Bernoulli components: features that are 0 or 1, independent within a component."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

import estep_xp as ex
from tests.oracle import add_terms, mp
from tests.records.record import Params, Record, Slopes, floats


def _terms(x: Any, p: Any) -> list[Any]:
    """Terms of the log-density of one feature, to 50 digits."""
    chance = p if x == 1 else 1 - p
    return [mp.log(chance) if chance else mp.ninf]


def _random(seed: int, k: int, d: int) -> Params:
    return {"probabilities": np.random.default_rng([seed, k, d]).uniform(0.05, 0.95, (k, d))}


def _data(seed: int, n: int, d: int) -> np.ndarray:
    rng = np.random.default_rng([seed, n, d])
    return (rng.random((n, d)) < rng.choice([0.3, 0.8], (n, 1))) * 1.0


def _draw(draw: Any, n: int, k: int, d: int) -> tuple[np.ndarray, Params]:
    x = draw(hnp.arrays(np.bool_, (n, d), elements=st.booleans()))
    return x.astype(float), {"probabilities": floats(draw, (k, d), 2.0**-6, 1 - 2.0**-6)}


def _log_density(x: np.ndarray, params: Params) -> np.ndarray:
    return stats.bernoulli.logpmf(x[:, None, :], params["probabilities"]).sum(axis=-1)


def _slopes(x: np.ndarray, params: Params) -> Slopes:
    p, x = params["probabilities"], x[:, None, :]
    log_density = (x * np.log(p) + (1.0 - x) * np.log(1.0 - p)).sum(axis=-1)
    return Slopes(log_density, None, {"probabilities": x / p - (1.0 - x) / (1.0 - p)})


def _moments(x: np.ndarray, params: Params) -> Params:
    return {"ones": x[:, None, :] + 0 * params["probabilities"]}


def _maximize(x: np.ndarray, r: np.ndarray, _: float | None, __: Params) -> Params:
    return {"probabilities": r.T @ x / r.sum(axis=0)[:, None]}


RECORD = Record(
    name="bernoulli",
    family=ex.Bernoulli,
    random=_random,
    data=_data,
    draw=_draw,
    log_density=_log_density,
    exact_log_density=lambda x, params: add_terms(_terms, x, params["probabilities"]),
    # All terms have one sign: what is largest is their sum.
    largest_term=lambda x, params: np.abs(_log_density(x, params)),
    moments=_moments,
    maximize=_maximize,
    slopes=_slopes,
    outside=(-1.0, 0.5),
    support="x must be 0 or 1",
    at_bounds=(
        {"probabilities": np.array([[0.0, 0.5], [1.0, 0.25], [0.5, 1.0]])},
        [[0.0, 0.0], [1.0, 1.0]],
    ),
)
