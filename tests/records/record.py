"""What the tests need to know of a family, and small problems made of it.

The references come from scipy.stats, from textbooks, and from 50-digit arithmetic; they share no
code with the library. They take the parameters as the library gets them, already rounded to the
dtype under test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import logsumexp

import estep_xp as ex
from tests import oracle
from tests.backends import Backend

Params = dict[str, np.ndarray]  # fields of a family, or what else goes by a name


class Slopes(NamedTuple):
    """Log-densities (n, k), and their derivatives (n, k, ...) by x and by each field.

    Observations that are counts or kinds have no derivative: None.
    """

    log_density: np.ndarray
    by_x: np.ndarray | None
    by_field: Params


@dataclass(frozen=True)
class Record:
    """A family and its references: every law, backend, gradient and EM test runs over these.

    Fields without a default have to be answered; `slopes` and `maximize` by families whose
    gradients and M-steps are compared with closed forms (`with_slopes`, `with_m_step`).
    """

    name: str
    family: Any
    random: Callable[[int, int, int], Params]  # seed, k, d -> fields of the family, float64
    data: Callable[[int, int, int], np.ndarray]  # seed, n, d -> observations like those, float64
    draw: Callable[..., tuple[np.ndarray, Params]]  # hypothesis' draw, n, k, d -> x and fields
    log_density: Callable[[np.ndarray, Params], np.ndarray]  # x, fields -> (n, k) in float64
    # The same to 50 digits, and the largest term of each; the latter in float64, too.
    exact_log_density: Callable[[np.ndarray, Params], tuple[np.ndarray, np.ndarray]]
    largest_term: Callable[[np.ndarray, Params], np.ndarray]
    # What a row adds to each of the moments, (n, k, ...), before it is multiplied by its share.
    moments: Callable[[np.ndarray, Params], Params]
    # x, responsibilities, floor of variances, old fields -> fields after an M-step
    maximize: Callable[[np.ndarray, np.ndarray, float | None, Params], Params] | None = None
    slopes: Callable[[np.ndarray, Params], Slopes] | None = None
    build: Callable[..., Any] | None = None  # components from arrays, where `family` takes others
    # What M-steps are compared by: fields, or covariances instead of their factors.
    estimate: Callable[[Params], Params] = dict
    covariances: Callable[[Params], np.ndarray] | None = None  # as the family's property has them
    shared: tuple[str, ...] = ()  # fields and moments that all components share: no axis k
    univariate: bool = False  # x is (n,), not (n, d)
    needs_template: bool = (
        False  # a start is made of components, for which their class is not enough
    )
    collapses: bool = False  # onto rows that are equal, at which its densities have no bound
    needs_template: bool = False  # a start is made of components, not of their class
    outside: tuple[float, ...] = ()  # finite numbers that are no observations,
    support: str = "must be finite"  # and what is said of them
    at_bounds: tuple[Params, list[Any]] | None = None  # of parameters, with rows some rule out

    @property
    def is_gaussian(self) -> bool:
        return self.covariances is not None

    @property
    def is_discrete(self) -> bool:
        """Whether observations are no numbers to differentiate by."""
        return self.slopes is not None and self.slopes(*_one(self)).by_x is None

    def start_of(self, k: int) -> Any:
        """What a start of k components takes: the class, or components as a template."""
        if not self.needs_template:
            return self.family
        # Of tuples, which have a hash and mix with arrays of every library.
        return self.family(*(tuple(map(tuple, a)) for a in self.random(7, k, 2).values()))

    def components(self, backend: Backend, params: Params, dtype: Any = None) -> Any:
        build = self.build or self.family
        return build(**{name: backend.asarray(a, dtype) for name, a in params.items()})

    def mixture(self, backend: Backend, weights: Any, params: Params, dtype: Any = None) -> Any:
        components = self.components(backend, params, dtype)
        return ex.Mixture(backend.asarray(weights, dtype), components)

    def log_joint(self, x: np.ndarray, weights: np.ndarray, params: Params) -> np.ndarray:
        """Compute the reference of log w_k + log p(x_i | k), (n, k)."""
        with np.errstate(divide="ignore"):
            return np.log(weights) - np.log(weights.sum()) + self.log_density(x, params)

    def magnitude(self, x: np.ndarray, weights: np.ndarray, params: Params) -> np.ndarray:
        """T of the accuracy contract |log-joint error| <= 16 eps (1 + T), (n, k)."""
        positive = weights[weights > 0]
        largest = max(abs(np.log(weights.sum())), np.abs(np.log(positive)).max())
        return np.maximum(self.largest_term(x, params), largest)

    def at(self, params: Params, index: Any) -> Params:
        """Parameters, or what else goes by a name, of these components, in this order."""
        return {name: a if name in self.shared else a[index] for name, a in params.items()}


def _one(record: Record) -> tuple[np.ndarray, Params]:
    return record.data(0, 1, 1), record.random(0, 1, 1)


def rounded(params: Params, dtype: Any) -> Params:
    """Round the parameters to what ``dtype`` holds, in float64."""
    return {name: a.astype(dtype).astype(np.float64) for name, a in params.items()}


def normalised(log_joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normalise to reference responsibilities (n, k) and log-likelihoods (n,)."""
    log_likelihood = logsumexp(log_joint, axis=1)
    return np.exp(log_joint - log_likelihood[:, None]), log_likelihood


def random_weights(seed: int, k: int) -> np.ndarray:
    """Positive weights that don't sum to 1."""
    return np.random.default_rng([seed, k]).uniform(0.3, 2.0, k)


class Problem(NamedTuple):
    """Numbers of one test, in float64: what the references get and, cast, the library."""

    record: Record
    x: np.ndarray
    weights: np.ndarray
    params: Params

    def arrays(self, backend: Backend, dtype: Any = "float64") -> list[Any]:
        """Give x, weights and the fields of the family, native."""
        return [backend.asarray(a, dtype) for a in (self.x, self.weights, *self.params.values())]

    def mixture(self, backend: Backend, dtype: Any = "float64") -> Any:
        return self.record.mixture(backend, self.weights, self.params, dtype)

    def log_joint(self) -> np.ndarray:
        return self.record.log_joint(self.x, self.weights, self.params)

    def magnitude(self) -> np.ndarray:
        return self.record.magnitude(self.x, self.weights, self.params)

    def oracle(self) -> oracle.Oracle:
        """Everything to 50 digits."""
        exact = self.record.exact_log_density(self.x, self.params)
        return oracle.joint(*exact, self.weights)

    def at(self, index: Any) -> Problem:
        """Return the problem with these components, in this order, each with its weight."""
        params = self.record.at(self.params, index)
        return self._replace(weights=self.weights[index], params=params)


def problem(
    record: Record, seed: int = 1, dtype: Any = "float64", n: int = 5, k: int = 3, d: int = 2
) -> Problem:
    """Make a small problem at random; one shape for most tests, so that compilations are shared."""
    x = record.data(seed, n, d).astype(dtype).astype(float)
    weights = random_weights(seed, k).astype(dtype).astype(float)
    return Problem(record, x, weights, rounded(record.random(seed, k, d), dtype))


def floats(draw: Any, shape: Any, low: float, high: float) -> np.ndarray:
    """Let hypothesis draw numbers that both dtypes can hold."""
    elements = st.floats(low, high, width=32, allow_subnormal=False)
    return draw(hnp.arrays(np.float64, shape, elements=elements))
