"""Problems at which floating point is at its worst, with their 50-digit oracles."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import pytest

import estep_xp as ex
from tests import oracle
from tests.oracle import FAMILIES

N, K, D = 6, 3, 3  # one shape for all cases, so JAX compiles each function once a family
DTYPES = ("float32", "float64")
CONCRETE = pytest.mark.backends("numpy", "numpy_features", "jax")
COMPILED = pytest.mark.backends("numpy", "numpy_features", "jax", "jax_jit")


@dataclass(frozen=True)
class Case:
    """Parameters and rows in float64, to be shaped for a family and rounded to a dtype."""

    means: np.ndarray  # (k, d)
    variances: np.ndarray  # (k, d); the tied family takes the first component's
    x: np.ndarray  # (n, d)
    weights: tuple[float, ...] = (0.2, 0.5, 0.6)
    correlation: float = 0.4  # size of the off-diagonal entries of P before P is scaled

    def fields(self, family):
        """Return the family's two fields; the univariate family takes the first feature."""
        if family == "UnivariateGaussian":
            return self.means[:, 0], self.variances[:, 0]
        d = self.means.shape[1]
        above = np.triu(np.random.default_rng(d).uniform(-1.0, 1.0, (d, d)), 1)
        factors = (np.eye(d) + self.correlation * above) / np.sqrt(self.variances)[:, None, :]
        return self.means, {
            "SphericalGaussian": self.variances[:, 0],
            "DiagonalGaussian": self.variances,
            "TiedGaussian": factors[0],
            "FullGaussian": factors,
        }[family]

    def rows(self, family):
        """Return x in the family's shape."""
        return self.x[:, 0] if family == "UnivariateGaussian" else self.x


@dataclass(frozen=True)
class Problem:
    """What a library function is given, rounded to its dtype, and the oracle of exactly that."""

    family: str
    dtype: str
    fields: tuple[np.ndarray, np.ndarray]
    weights: np.ndarray
    x: np.ndarray

    @functools.cached_property
    def oracle(self):
        return oracle.mixture(self.family, self.fields, self.weights, self.x)

    def arguments(self, backend):
        """Return x and the mixture as the backend's arrays."""
        fields = [backend.asarray(field, self.dtype) for field in self.fields]
        components = getattr(ex, self.family)(*fields)
        weights = backend.asarray(self.weights, self.dtype)
        return backend.data(self.x, self.dtype), ex.Mixture(weights, components)


def problem_of(case, family, dtype):
    """Round a case to a dtype, in a family's shapes."""
    fields = tuple(np.array(field, dtype=dtype) for field in case.fields(family))
    weights = np.array(case.weights, dtype=dtype)
    return Problem(family, dtype, fields, weights, np.array(case.rows(family), dtype=dtype))


@functools.cache
def problem(name, family, dtype):
    """Return a case by its name, so that all backends share its oracle."""
    return problem_of(CASES[name][0], family, dtype)


def draw(seed):
    """Return a standard normal for the means, one for the rows, and variances around one."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(K, D)), rng.normal(size=(N, D)), rng.uniform(0.5, 2.0, (K, D))


def offset(value):
    """Means and rows far from zero; the larger offsets spread more, or float32 has few numbers."""
    means, x, variances = draw(1)
    spread = max(1.0, value * 1e-6)
    return Case(value + 2 * spread * means, spread**2 * variances, value + 3 * spread * x)


def clusters(value):
    """Means so far apart that no common centre is near them all, and rows around each."""
    means, x, variances = draw(2)
    means = means + value * np.array([[1.0], [-1.0], [1.0]])
    return Case(means, variances, np.tile(means, (N // K, 1)) + x)


def mixed_offsets():
    """Features with offsets of their own."""
    means, x, variances = draw(3)
    offsets = np.array([1e4, 1.0, 1e6])
    return Case(offsets + 2 * means, variances, offsets + 3 * x)


def outlier_row():
    """One row that has nothing to do with the others."""
    means, x, variances = draw(4)
    x[4] *= 1e6
    return Case(2 * means, variances, 3 * x)


def outlier_mean():
    """One component that has nothing to do with the rows."""
    means, x, variances = draw(5)
    means[1] *= 1e7
    return Case(2 * means, variances, 3 * x)


def variance(value):
    """Everything on the scale of one very small or very large variance."""
    means, x, variances = draw(6)
    return Case(2 * math.sqrt(value) * means, value * variances, 3 * math.sqrt(value) * x)


def variance_of_unit_data(value):
    """Rows of scale one under very small or very large variances; one row is a mean itself."""
    means, x, variances = draw(7)
    x[2] = means[1]
    return Case(means, value * variances, x)


def component_ratio():
    """Variances of 1e-6, 1 and 1e6 in one mixture."""
    means, x, variances = draw(8)
    scales = np.array([[1e-3], [1.0], [1e3]])
    return Case(scales * means, scales**2 * variances, np.tile(scales, (N // K, 1)) * x)


def feature_ratio():
    """Features of scales 1e-3, 1 and 1e3, so that P has a condition number of 1e6."""
    means, x, variances = draw(9)
    scales = np.array([1.0, 1e-3, 1e3])
    return Case(2 * scales * means, scales**2 * variances, 3 * scales * x, correlation=0.0)


def ill_conditioned(size):
    """Precision factors dominated by what is off their diagonals."""
    means, x, variances = draw(10)
    return Case(2 * means, variances, 3 * x, correlation=size)


def far(sigmas):
    """Rows that many standard deviations away from every mean."""
    means, x, variances = draw(11)
    direction = x / np.linalg.norm(x, axis=1, keepdims=True)
    direction[:, 0] = np.sign(direction[:, 0])  # the only feature of the univariate family
    return Case(means, np.tile(variances[:1], (K, 1)), sigmas * direction)


def odds(value):
    """Two components whose odds are ``value`` where x is on one of them, a third between them."""
    means, x, variances = np.zeros((K, D)), np.zeros((N, D)), np.ones((K, D))
    position = math.sqrt(-math.log(value) / 2)
    means[0, 0], means[1, 0] = -position, position
    x[:, 0] = position * np.array([1.0, -1.0, 0.99, -0.97, 0.3, 0.0])
    x[:, 1] = [0.0, 0.0, 1.0, -2.0, 3.0, 0.0]
    return Case(means, variances, x, (1.0, 1.0, 1.0), correlation=0.0)


def ties():
    """Two components that are the same, with the same weight."""
    means, x, variances = draw(12)
    means[1], variances[1] = means[0], variances[0]
    return Case(2 * means, variances, 3 * x, (1.0, 1.0, 3.0))


def symmetric():
    """Rows in the middle of two components."""
    means, x, variances = draw(13)
    means[1], variances[:] = -means[0], 1.0
    means[2] = 50.0
    return Case(2 * means, variances, 0 * x, (2.0, 2.0, 1.0), correlation=0.0)


def weights(*values):
    """Means and rows of scale one, with weights as extreme as it takes."""
    means, x, variances = draw(14)
    return Case(2 * means, variances, 3 * x, values)


def dead_component_at_the_rows():
    """Rows on a component of weight zero, so far from the others that those underflow beside it."""
    means, x, variances = draw(17)
    means[1:] += 200.0
    return Case(means, variances, x, (0.0, 0.5, 0.6))


def residual(value, deviation):
    """Residuals whose squares overflow, but not once they are standardised."""
    means, x, variances = draw(15)
    return Case(deviation * means, deviation**2 * variances, value * (3 + np.abs(x)))


def one_overflows(value, deviation):
    """One component infinitely far from every row, beside two that are not."""
    means, x, variances = draw(16)
    variances *= np.array([[deviation**2], [value**2], [value**2]])
    return Case(deviation * means, variances, value * (3 + np.abs(x)))


BOTH, WIDE = DTYPES, ("float64",)
ALL = FAMILIES
VECTOR = FAMILIES[1:]
MATRIX = FAMILIES[3:]
FREE = tuple(family for family in FAMILIES if family != "TiedGaussian")

# name: (case, dtypes that can hold it, families it says something about)
CASES = {
    "offset-1e2": (offset(1e2), BOTH, ALL),
    "offset-1e4": (offset(1e4), BOTH, ALL),
    "offset-1e6": (offset(1e6), BOTH, ALL),
    "offset-1e8": (offset(1e8), BOTH, ALL),
    "clusters-1e4": (clusters(1e4), BOTH, ALL),
    "clusters-1e8": (clusters(1e8), BOTH, ALL),
    "offsets-mixed": (mixed_offsets(), BOTH, VECTOR),
    "outlier-row": (outlier_row(), BOTH, ALL),
    "outlier-mean": (outlier_mean(), BOTH, ALL),
    "variance-1e-30": (variance(1e-30), BOTH, ALL),
    "variance-1e30": (variance(1e30), BOTH, ALL),
    "variance-1e-36": (variance(1e-36), BOTH, ALL),
    "variance-1e-300": (variance(1e-300), WIDE, ALL),
    "variance-1e300": (variance(1e300), WIDE, ALL),
    "unit-data-variance-1e-30": (variance_of_unit_data(1e-30), BOTH, ALL),
    "unit-data-variance-1e30": (variance_of_unit_data(1e30), BOTH, ALL),
    "component-ratio-1e12": (component_ratio(), BOTH, FREE),
    "feature-ratio-1e12": (feature_ratio(), BOTH, VECTOR),
    "ill-conditioned-1e3": (ill_conditioned(1e3), BOTH, MATRIX),
    "ill-conditioned-1e6": (ill_conditioned(1e6), BOTH, MATRIX),
    "far-40": (far(40.0), BOTH, ALL),
    "far-1000": (far(1000.0), BOTH, ALL),
    "odds-1e-18": (odds(1e-18), BOTH, ALL),
    "odds-1e-36": (odds(1e-36), BOTH, ALL),
    "odds-1e-300": (odds(1e-300), WIDE, ALL),
    "ties": (ties(), BOTH, ALL),
    "symmetric": (symmetric(), BOTH, ALL),
    "weights-zero": (weights(0.0, 0.5, 0.6), BOTH, ALL),
    "weights-zero-at-the-rows": (dead_component_at_the_rows(), BOTH, ALL),
    "weights-only-one": (weights(0.0, 3.0, 0.0), BOTH, ALL),
    "weights-1e-30": (weights(1e-30, 2e-30, 5e-30), BOTH, ALL),
    "weights-1e30": (weights(1e30, 2e30, 5e30), BOTH, ALL),
    "weights-1e-200": (weights(1e-200, 2e-200, 5e-200), WIDE, ALL),
    "weights-1e200": (weights(1e200, 2e200, 5e200), WIDE, ALL),
    "weights-ratio-1e30": (weights(1e-30, 1.0, 1e-10), BOTH, ALL),
    "weights-ratio-1e300": (weights(1e-300, 1.0, 1e-10), WIDE, ALL),
    "weights-sum-overflows-float32": (weights(3e38, 2e38, 1e38), BOTH, ALL),
    "weights-sum-overflows": (weights(1.5e308, 1e308, 0.5e308), WIDE, ALL),
    "square-overflows-float32": (residual(1e20, 1e15), BOTH, ALL),
    "square-overflows": (residual(1e160, 1e150), WIDE, ALL),
    "one-overflows-float32": (one_overflows(1e5, 1e-15), BOTH, FREE),
    "one-overflows": (one_overflows(1e10, 1e-150), WIDE, FREE),
}
SELECTED = ("offset-1e8", "variance-1e-30", "far-1000", "odds-1e-36", "weights-zero")

everywhere = pytest.mark.parametrize(
    ("name", "family", "dtype"),
    [(n, family, t) for n, (_, dtypes, families) in CASES.items() for family in families
     for t in dtypes],
)  # fmt: skip
by_family = pytest.mark.parametrize("family", FAMILIES)
by_dtype = pytest.mark.parametrize("dtype", DTYPES)
one_program = pytest.mark.one_program("family", "dtype")  # see conftest.py
