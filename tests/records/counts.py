"""Records of the families without centres: parameters and rows at random, 50-digit densities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import estep_xp as ex
from tests.backends import Backend
from tests.oracle import Oracle, exact, mp

N, K, D = 7, 3, 2  # one shape for nearly all tests, so that compilations are shared


@dataclass(frozen=True)
class CountRecord:
    """A family of one array of parameters, and what the tests need to know of it."""

    name: str
    family: Any
    field: str
    sums: str  # the field of its statistics
    random: Callable[[Any, int], np.ndarray]  # generator, k -> parameters
    sample: Callable[[Any, int], np.ndarray]  # generator, n -> rows
    terms: Callable[[Any, Any], list[Any]]  # count, parameter -> terms of the log-density
    zeros: list[Any]  # parameters that are exactly 0, or 1, and possible rows
    outside: list[float]  # numbers that are no observations
    words: str  # of the message about them
    slope: Callable[[np.ndarray, np.ndarray], np.ndarray]  # of the log-density, by parameters

    def components(self, backend: Backend, parameters: Any, dtype: Any = "float64") -> Any:
        return self.family(backend.asarray(parameters, dtype))

    def parameters(self, components: Any) -> Any:
        return getattr(components, self.field)

    def oracle(self, x: np.ndarray, weights: np.ndarray, parameters: np.ndarray) -> Oracle:
        """Log-joints to 50 digits; their scale is the largest of the terms of each kind."""
        rows, rates = (np.reshape(exact(a), (len(a), -1)) for a in (x, parameters))
        total = mp.fsum(exact(weights))
        joint = np.empty((len(x), len(parameters)), dtype=object)
        scale = np.empty(joint.shape, dtype=object)
        for i, k in np.ndindex(*joint.shape):
            terms = [self.terms(*pair) for pair in zip(rows[i], rates[k], strict=True)]
            log_weight = mp.log(exact(weights)[k]) if weights[k] else mp.ninf
            joint[i, k] = mp.fsum(map(mp.fsum, terms)) + log_weight - mp.log(total)
            kinds = [mp.fsum(map(abs, kind)) for kind in zip(*terms, strict=True)]
            finite = [size for size in (*kinds, abs(log_weight)) if size != mp.inf]
            scale[i, k] = max([*finite, abs(mp.log(total))])
        return Oracle(joint, scale)


class CountProblem(NamedTuple):
    """Numbers of one test, rounded to a dtype, in float64."""

    record: CountRecord
    x: np.ndarray
    weights: np.ndarray
    parameters: np.ndarray

    def mixture(self, backend: Backend, dtype: Any = "float64") -> Any:
        components = self.record.components(backend, self.parameters, dtype)
        return ex.Mixture(backend.asarray(self.weights, dtype), components)

    def oracle(self) -> Oracle:
        return self.record.oracle(self.x, self.weights, self.parameters)


def problem(record: CountRecord, dtype: Any = "float64", seed: int = 1, n: int = N) -> CountProblem:
    rng = np.random.default_rng([seed, n])
    numbers = (record.sample(rng, n), rng.uniform(0.3, 2.0, K), record.random(rng, K))
    return CountProblem(record, *(a.astype(dtype).astype(float) for a in numbers))


def textbook(case: CountProblem, sample_weight: Any = None) -> dict[str, np.ndarray]:
    """One step of EM in float64, written as a textbook does."""
    joint = np.asarray(case.oracle().log_joint, dtype=float)
    rows = np.logaddexp.reduce(joint, axis=1)
    s = np.ones(len(case.x)) if sample_weight is None else sample_weight
    r = s[:, None] * np.exp(joint - rows[:, None])
    counts = r.sum(axis=0)
    sums = np.tensordot(r.T, case.x, 1)
    means = (sums.T / counts).T
    return {
        "log_likelihood": s @ rows,
        "n_rows": s.sum(),
        "counts": counts,
        "sums": sums,
        "weights": counts / counts.sum(),
        "parameters": means,
        "responsibilities": r,
    }


def _poisson_terms(x: Any, rate: Any) -> list[Any]:
    logarithm = mp.mpf(0) if x == 0 else x * (mp.log(rate) if rate else mp.ninf)
    return [logarithm, -rate, -mp.loggamma(x + 1)]


def _bernoulli_terms(x: Any, p: Any) -> list[Any]:
    chance = p if x == 1 else 1 - p
    return [mp.log(chance) if chance else mp.ninf]


def _poisson(name: str, tail: tuple[int, ...], zeros: list[Any]) -> CountRecord:
    return CountRecord(
        name=name,
        family=ex.Poisson,
        field="rates",
        sums="sums",
        random=lambda rng, k: rng.uniform(0.5, 12.0, (k, *tail)),
        sample=lambda rng, n: rng.poisson(rng.choice([1.0, 9.0], (n, *tail))),
        terms=_poisson_terms,
        zeros=zeros,
        outside=[-1.0, 1.5, 0.25],
        words="x must be a count: a whole number, not negative",
        slope=lambda x, rates: x / rates - 1.0,
    )


RECORDS = (
    _poisson("poisson", (), [[0.0, 2.0, 5.0], [0.0, 3.0]]),
    _poisson("poisson-features", (D,), [[[0.0, 2.0], [1.0, 3.0], [4.0, 0.0]], [[0, 0], [0, 4]]]),
    CountRecord(
        name="bernoulli",
        family=ex.Bernoulli,
        field="probabilities",
        sums="ones",
        random=lambda rng, k: rng.uniform(0.05, 0.95, (k, D)),
        sample=lambda rng, n: (rng.random((n, D)) < rng.choice([0.3, 0.8], (n, 1))) * 1.0,
        terms=_bernoulli_terms,
        zeros=[[[0.0, 0.5], [1.0, 0.25], [0.5, 1.0]], [[0, 0], [1, 1]]],
        outside=[-1.0, 0.5, 2.0],
        words="x must be 0 or 1",
        slope=lambda x, p: np.where(x == 1, 1.0 / p, -1.0 / (1.0 - p)),
    ),
)
