"""When a fit stops: the rule itself, totals that keep their digits, and single precision."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import estep_xp as ex
from estep_xp import execution
from estep_xp.arrays.namespace import space_of
from estep_xp.em.stopping import Convergence, Objective, Rule
from tests.backends import BACKENDS

libraries = pytest.mark.backends("numpy", "array_api_strict", "jax", "jax_jit", "torch", "dask")
NUMPY = BACKENDS["numpy"]


# Totals


class Total:
    """A kernel that adds up numbers, and counts them."""

    tails = ()
    breadth = 1

    def width(self, *_):
        return 1

    def prepare(self, *_):
        return None

    def block(self, ops, _, x):
        return (), (*ops.sum_rows(x), ops.xp.sum(ops.xp.ones_like(x)))


KERNEL = Total()


def totals(x, *, block_size=None):
    options = execution.check_options(block_size, None)
    parameters = (np.zeros(1, np.float32),)
    space = space_of({"x": x})
    return execution.driver_for(space).sum_rows(KERNEL, space, (x,), parameters, options)


@libraries
@pytest.mark.parametrize("n", [0, 1, 7, 10_007])
@pytest.mark.parametrize("block_size", [None, 1000])
def test_totals_in_single_precision_keep_what_rounding_takes(backend, n, block_size):
    """Within a block as between blocks: a plain sum of these is off in its sixth digit."""
    x = np.float32(np.random.default_rng(n).normal(size=n) - 90.9)
    value, compensation, count = (
        backend.to_numpy(part)
        for part in backend.call(totals, backend.data(x, "float32"), block_size=block_size)
    )
    assert value.dtype == compensation.dtype == np.float32
    assert count == n
    expected = math.fsum(x.tolist())
    assert value == np.float32(expected)
    assert abs(float(value) + float(compensation) - expected) <= 2.0**-40 * abs(expected)


@pytest.mark.backends("numpy", "jax", "torch", "array_api_strict")
@pytest.mark.parametrize("bad", [-np.inf, np.nan])
def test_totals_that_are_not_finite(backend, bad):
    """Nothing is left of them: they must not become NaN for being infinite."""
    x = np.float32([1.0, bad, 2.0, 3.0])
    value, compensation, _ = (backend.to_numpy(one) for one in totals(backend.data(x, "float32")))
    np.testing.assert_array_equal(value, np.float32(bad))
    assert np.isfinite(compensation)


# The rule


def followed(heights, tol=1e-6, n_rows=1.0, dtype=np.float64):
    """After how many heights a fit stops, and how; None if it goes on."""
    first, *others = (Objective(dtype(total), dtype(total - dtype(total))) for total in heights)
    convergence = Convergence.start(first, dtype(1))
    rule = Rule(tol, n_rows, 1, float(np.finfo(dtype).eps))
    for i, objective in enumerate(others, 1):
        convergence = convergence.update(np.where, objective, rule)
        if convergence.ended:
            return i, "converged" if convergence.converged else "exhausted"
    return None


def climb(n, rate=0.5):
    return [-3.0 - rate**i for i in range(n)]


def test_as_soon_as_the_change_is_small():
    assert followed(climb(60)) == (20, "converged")


def test_a_fall_that_the_floor_explains_does_not_end_it():
    """From a start of higher likelihood than the floor allows, down and up once."""
    assert followed([-3.0 - 0.1 * i for i in range(30)]) is None
    assert (
        followed([-1.0 - 0.1 * i for i in range(30)] + [-4.0 + 0.01 * i for i in range(90)]) is None
    )


def test_up_and_down_ends_it():
    see_saw = [-3.0 - 0.1 * (i % 2) for i in range(99)]
    steps, how = followed(see_saw[1:])
    assert how == "converged" if see_saw[steps + 1] == -3.0 else "exhausted"
    assert steps < 20
    rising = [one + 0.01 * i for i, one in enumerate(see_saw)]
    assert followed(rising) is None


@pytest.mark.parametrize("seed", range(20))
def test_rounding_neither_ends_a_climb_nor_prolongs_a_stand(seed):
    """Terms of a hundred a row in single precision: some change is below any tolerance by luck."""
    rng = np.random.default_rng(seed)
    noise = 1e-5 * rng.uniform(-1, 1, 400)
    rises = np.where(np.arange(400) < 150, 4e-6, 0.0)
    heights = -100.0 + np.cumsum(rises) + noise
    steps, how = followed(heights.tolist(), dtype=np.float32)
    assert 150 - 30 <= steps <= 150 + 80
    assert how == "converged"


def test_a_tolerance_of_zero_asks_for_all_iterations():
    assert followed([-3.0] * 99, tol=0.0) is None
    assert followed([-3.0 - 0.1 * (i % 2) for i in range(99)], tol=0.0) is None


def test_differences_are_taken_before_rounding():
    """A million in single precision has a spacing of 0.06."""
    heights = [1e6 + 0.01 * i for i in range(9)]
    assert followed(heights, tol=1e-4, n_rows=10.0, dtype=np.float32) is None
    assert followed([1e6, 1e6 + 0.01], tol=0.2, n_rows=1.0, dtype=np.float32)[0] == 1


# Fits in single precision


def from_float64(backend, start):
    """A start in single precision."""
    components = type(start.components)(*(backend.asarray(a, "float32") for a in start.components))
    return ex.Mixture(backend.asarray(start.weights, "float32"), components)


@pytest.mark.one_program("seed")  # see conftest.py
@pytest.mark.backends("numpy", "jax", "jax_jit", "torch")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_optimum_of_double_precision(backend, seed):
    """Log-densities of -36 a row, and a total of -700,000, whose spacing is above tol."""
    units, n = 1e15, 20_000
    rng = np.random.default_rng(seed)
    x = np.float32((rng.normal(size=n) + np.repeat([0.0, 2.0], [n // 4, n - n // 4])) * units)
    wide = x.astype(float)
    components = ex.UnivariateGaussian(np.array([-0.5, 2.5]) * units, np.ones(2) * units**2)
    start = ex.Mixture(np.array([0.5, 0.5]), components)
    expected = ex.fit(wide, start)
    result = backend.call(ex.fit, backend.data(x, "float32"), from_float64(backend, start))
    assert bool(result.converged)
    host = (result.mixture.weights, *result.mixture.components)
    weights, *arrays = (backend.to_numpy(array).astype(float) for array in host)
    total = ex.log_likelihood(wide, ex.Mixture(weights, ex.UnivariateGaussian(*arrays)))
    assert float(total) > float(expected.log_likelihood) - 0.02
    assert abs(float(result.log_likelihood) - float(total)) < 0.5


@pytest.mark.one_program("factor", "accelerate")  # see conftest.py
@pytest.mark.backends("numpy", "jax", "torch")
@pytest.mark.parametrize("factor", [2, 3, 5, 0.7])
@pytest.mark.parametrize("accelerate", [False, True])
def test_features_that_depend_on_each_other_end_in_a_warning(backend, factor, accelerate):
    """In double precision three iterations do; in single the history only goes up and down."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=40), rng.normal(size=40) + 6])
    x = np.stack([x, factor * x + 1], axis=1)
    for dtype in ("float64", "float32"):
        rows = backend.data(x, dtype)
        start = ex.initialize(rows, 2, ex.FullGaussian, seed=0)
        with pytest.warns(ex.CollapseWarning, match="components 0 and 1 have collapsed"):
            result = ex.fit(rows, start, accelerate=accelerate)
        assert result.n_iter < 150
        rises = np.diff(backend.to_numpy(result.history))
        assert rises.min(initial=0.0) > (-1e-9 if dtype == "float64" else -3.0)


def test_the_best_of_several_starts_is_chosen_before_rounding():
    """Two fits whose totals are the same number in single precision."""
    x = np.float32(np.random.default_rng(0).normal(size=3000) * 1e-3 + 100)
    start = ex.initialize(x, 2, ex.UnivariateGaussian, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        alone = [
            ex.fit(x, ex.initialize(x, 2, ex.UnivariateGaussian, seed=seed), max_iter=3)
            for seed in (0, 1, 2)
        ]
        best = ex.fit(x, start, n_init=3, max_iter=3)
    wide = [float(ex.log_likelihood(x.astype(float), widened(one.mixture))) for one in alone]
    assert float(ex.log_likelihood(x.astype(float), widened(best.mixture))) >= max(wide) - 0.01


def widened(mixture):
    components = type(mixture.components)(*(np.float64(a) for a in mixture.components))
    return ex.Mixture(np.float64(mixture.weights), components)
