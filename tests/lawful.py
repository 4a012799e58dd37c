"""Problems drawn for the laws, and solutions that know how far each number may be off."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import logsumexp

import estep_xp as ex
from tests.oracle import FLOAT64_SLACK
from tests.records import Params, Record, rounded

# The same examples on every run. The fixture ``backend`` has no state that examples could share.
LAW = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
numpy_only = pytest.mark.backends("numpy")  # laws of the algorithm rather than of its driver


@dataclass(frozen=True)
class Problem:
    """A mixture and its rows as NumPy arrays of one dtype, in the shapes of its family."""

    record: Record
    params: Params
    weights: np.ndarray
    x: np.ndarray

    @property
    def dtype(self):
        return self.x.dtype

    @property
    def log_joint_bound(self):
        """How far each log-joint may be off, (n, k)."""
        x, weights = (a.astype(np.float64) for a in (self.x, self.weights))
        scale = self.record.magnitude(x, weights, rounded(self.params, np.float64))
        floor = FLOAT64_SLACK if self.dtype == np.float64 else 0.0
        return np.maximum(16 * np.finfo(self.dtype).eps * (1 + scale), floor)

    def arguments(self, backend):
        """Return x and the mixture as the backend's arrays."""
        return backend.data(self.x), self.record.mixture(backend, self.weights, self.params)

    def at(self, index):
        """Return the problem with these components, in this order, each with its weight."""
        params = self.record.at(self.params, index)
        return replace(self, params=params, weights=self.weights[index])


@dataclass(frozen=True)
class Solution:
    """What the library makes of a problem, in float64, and how far each number may be off."""

    log_joint: np.ndarray
    responsibilities: np.ndarray
    log_likelihood: np.ndarray
    bound: np.ndarray
    tiny: float

    def permuted(self, rows=slice(None), components=slice(None)):
        """Return the solution with its rows and components in another order."""
        both = (rows, slice(None)), (slice(None), components)
        matrices = (self.log_joint, self.responsibilities, self.bound)
        log_joint, responsibilities, bound = (a[both[0]][both[1]] for a in matrices)
        return Solution(log_joint, responsibilities, self.log_likelihood[rows], bound, self.tiny)

    def assert_same(self, other, shift=0.0):
        """Check that two solutions are the same, but for a shift of the log-likelihood."""
        np.testing.assert_array_equal(self.log_joint == -np.inf, other.log_joint == -np.inf)
        finite = self.log_joint > -np.inf
        error = np.abs(np.where(finite, self.log_joint, 0) + shift - other.log_joint)
        assert (error <= self.bound + other.bound)[finite].all(), error
        slack = self.log_likelihood_bound + other.log_likelihood_bound
        error = np.abs(self.log_likelihood + np.ravel(shift) - other.log_likelihood)
        assert (error <= slack).all(), error
        relative = np.maximum(self.bound, slack[:, None] / 2)
        relative = np.expm1(2 * np.maximum(relative, other.bound))
        error = np.abs(self.responsibilities - other.responsibilities)
        assert (error <= relative * other.responsibilities + self.tiny).all(), error

    @property
    def log_likelihood_bound(self):
        """How far each log-likelihood may be off, (n,): see ``oracle.py``."""
        return logsumexp(self.log_joint + self.bound, axis=1) - logsumexp(self.log_joint, axis=1)


def solve(backend, problem, **options):
    """Run the library on a problem."""
    x, mixture = problem.arguments(backend)
    result = ex.e_step(x, mixture, **options)
    return solution_of(backend, ex.log_joint(x, mixture), result, problem)


def solution_of(backend, log_joint, result, problem):
    """Collect results, checking their dtype."""
    arrays = [backend.to_numpy(a) for a in (log_joint, *result)]
    assert {a.dtype for a in arrays} == {problem.dtype}
    wide = [a.astype(np.float64) for a in arrays]
    return Solution(*wide, problem.log_joint_bound, float(np.finfo(problem.dtype).tiny))


def total_of(backend, problem, sample_weight=None, **options):
    """Return the total log-likelihood, and how far it may be off."""
    x, mixture = problem.arguments(backend)
    if sample_weight is not None:
        options["sample_weight"] = backend.data(sample_weight.astype(problem.dtype))
    total = backend.to_numpy(ex.log_likelihood(x, mixture, **options))
    assert total.dtype == problem.dtype
    solution = solve(backend, problem)
    weights = 1.0 if sample_weight is None else sample_weight
    rounding = np.finfo(problem.dtype).eps * 8 * np.abs(solution.log_likelihood)
    return float(total), (weights * (solution.log_likelihood_bound + rounding)).sum()


def floats(low, high):
    """Return a strategy of numbers that both dtypes can hold."""
    return st.floats(low, high, width=32, allow_subnormal=False)


def compiles(backend):
    """Tell whether each new shape, dtype or kind of weights costs a compilation."""
    return backend.name != "numpy"


def shapes(backend):
    """Return a strategy of (n, k, d)."""
    if compiles(backend):
        return st.just((7, 3, 2))
    return st.tuples(st.integers(1, 12), st.integers(1, 4), st.integers(1, 4))


def dtypes(backend):
    """Return a strategy of dtypes."""
    return st.sampled_from(["float32"] if compiles(backend) else ["float32", "float64"])


@st.composite
def mixing_weights(draw, backend, k):
    """Draw weights (k,) that don't sum to one; some may be zero, not all."""
    values = draw(hnp.arrays(np.float64, k, elements=floats(2**-10, 2**10)))
    if compiles(backend):
        return values
    zeros = draw(hnp.arrays(np.bool_, k, elements=st.integers(0, 3).map(lambda i: i == 0)))
    return np.where(zeros & ~zeros.all(), 0.0, values)


@st.composite
def problems(draw, backend, record):
    """Draw a problem of one dtype."""
    n, k, d = draw(shapes(backend))
    dtype = draw(dtypes(backend))
    x, params = record.draw(draw, n, k, d)
    params = {name: a.astype(dtype) for name, a in params.items()}
    weights = draw(mixing_weights(backend, k)).astype(dtype)
    return Problem(record, params, weights, x.astype(dtype))
