"""Eager JAX calls on varying numbers of rows: few programs, and the results of the rows alone.

Expected values are the textbook's formulas in NumPy, or derivatives of `plain` by JAX.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import pytest

import estep_xp as ex
from tests.textbook import assert_trees_close, plain

jax = pytest.importorskip("jax", reason="jax is not installed")
jnp = jax.numpy

import estep_xp.jax as ej  # noqa: E402
from estep_xp.execution.jax import sizes  # noqa: E402

# A few iterations are enough.
pytestmark = pytest.mark.filterwarnings("ignore::estep_xp.ConvergenceWarning")

COMPILED: list[str] = []


def _count(name: str, *_: Any, **__: Any) -> None:
    if name.endswith("backend_compile_duration"):
        COMPILED.append(name)


jax.monitoring.register_event_duration_secs_listener(_count)

MIXTURE = ex.Mixture(
    jax.device_put(np.asarray([0.25, 0.75])),
    ex.DiagonalGaussian(
        jax.device_put(np.asarray([[0.0, 1.0, -1.0], [2.0, 0.0, 1.0]])),
        jax.device_put(np.asarray([[1.0, 0.5, 2.0], [1.5, 1.0, 0.7]])),
    ),
)

LINE = ex.Mixture(
    jax.device_put(np.asarray([0.4, 0.6])),
    ex.UnivariateGaussian(
        jax.device_put(np.asarray([0.0, 3.0])), jax.device_put(np.asarray([1.0, 2.0]))
    ),
)


def rows(n: int, dtype: Any = np.float64) -> np.ndarray:
    return np.random.default_rng(n).normal(1.0, 1.5, size=(n, 3)).astype(dtype)


def weights_of(n: int) -> np.ndarray:
    return np.random.default_rng(n).uniform(0.5, 2.0, size=n)


def on_device(array: Any) -> Any:
    return jax.device_put(np.asarray(array))  # jnp.asarray is compiled for each n


def formula(x: np.ndarray, mixture: ex.Mixture) -> tuple[np.ndarray, np.ndarray]:
    """Responsibilities and log-likelihoods of rows."""
    weights, (means, variances) = jax.tree.map(np.asarray, mixture)
    squares = (x[:, None] - means) ** 2 / variances + np.log(2 * np.pi * variances)
    joint = np.log(weights / weights.sum()) - 0.5 * squares.sum(-1)
    total = np.logaddexp.reduce(joint, axis=1)
    return np.exp(joint - total[:, None]), total


@pytest.mark.parametrize("n", [1, 8, 9, 63, 64, 65, 127, 128, 129, 1000, 4097, 99_999, 2**20])
def test_sizes(n):
    size = sizes.padded_size(n)
    assert n <= size <= max(n + 7, n * 9 / 8)
    assert sizes.padded_size(size) == size


@pytest.mark.parametrize("least", [64, 512, 1024, 2**17])
def test_eight_sizes_in_a_doubling(least):
    assert len({sizes.padded_size(n) for n in range(least + 1, 2 * least + 1)}) == 8


def total(x, mixture, weight=None):
    return ex.log_likelihood(x, mixture, sample_weight=weight)


def curvature(x):
    def of_means(means):
        return total(x, LINE._replace(components=LINE.components._replace(means=means)))

    return jax.hessian(of_means)(LINE.components.means)


CALLS = {
    "e_step": lambda x: ex.e_step(x, LINE),
    "a list": lambda x: ex.e_step(np.asarray(x).tolist(), LINE),
    "labels": lambda x: ex.e_step(x, LINE).labels,
    "entropy": lambda x: ex.e_step(x, LINE).entropy,
    "total": lambda x: ex.e_step(x, LINE).total_log_likelihood,
    "certainty": lambda x: ex.e_step(x, LINE).mean_max_responsibility,
    "posterior": lambda x: ex.posterior(on_device(rows(len(x))), [0.2, 0.3, 0.5]),
    "log_joint": lambda x: ex.log_joint(x, LINE),
    "log_prob": lambda x: LINE.components.log_prob(x),
    "log_likelihood": lambda x: total(x, LINE),
    "weighted": lambda x: total(x, LINE, on_device(weights_of(len(x)))),
    "statistics": lambda x: ex.expected_statistics(x, LINE),
    "gradient": lambda x: jax.grad(total, argnums=1)(x, LINE),
    "value and gradient": lambda x: jax.value_and_grad(total, argnums=1)(x, LINE),
    "gradient, NumPy": lambda x: jax.grad(lambda m: total(np.asarray(x), m))(LINE),
    "gradient by x": lambda x: jax.grad(total)(x, LINE),
    "gradient by weights": lambda x: jax.grad(total, 2)(x, LINE, on_device(weights_of(len(x)))),
    "hessian": curvature,
    "vmap": lambda x: jax.vmap(total, (None, 0))(x, jax.tree.map(lambda a: a[None], LINE)),
    "initialize": lambda x: ex.initialize(x, 2, ex.UnivariateGaussian, seed=0),
    "fit": lambda x: ex.fit(x, LINE, max_iter=3),
    "bic": lambda x: ex.fit(x, LINE, max_iter=1).bic(x),
    "icl": lambda x: ex.fit(x, LINE, max_iter=1).icl(x, sample_weight=on_device(np.ones(len(x)))),
    "scores": lambda x: ej.scores(x, LINE),
    "information": lambda x: ej.observed_information(x, LINE),
}


def test_compilations_are_counted():
    before = len(COMPILED)
    jax.jit(lambda x: x + 1.5)(on_device([1.0]))
    assert len(COMPILED) == before + 1


@pytest.mark.parametrize("name", CALLS)
def test_one_size_is_one_program(name):
    call = CALLS[name]
    call(on_device(rows(97)[:, 0]))
    before = len(COMPILED)
    for n in (98, 99, 101, 103, 104):
        call(on_device(rows(n)[:, 0]))
    assert len(COMPILED) == before


# One cast is that of all functions; what is differentiated by is cast within the derivative.
OTHERS = [
    (name, np.int64)
    for name in ("e_step", "log_prob", "weighted", "statistics", "gradient", "hessian", "fit")
]
OTHERS += [("e_step", dtype) for dtype in (bool, np.int8, np.float16, np.float32, jnp.bfloat16)]


@pytest.mark.parametrize(("i", "name", "dtype"), [(i, *other) for i, other in enumerate(OTHERS)])
def test_rows_of_another_dtype_are_no_other_program(i, name, dtype):
    n = 514 + 2 * i  # a cast that was compiled for one call would be at hand for the next
    assert sizes.padded_size(n - 1) == sizes.padded_size(n) == 576
    x = (3.0 * rows(n)[:, 0] > 4.0) if dtype is bool else 3.0 * rows(n)[:, 0]
    CALLS[name](on_device(x[:-1].astype(dtype)))
    before = len(COMPILED)
    CALLS[name](on_device(x.astype(dtype)))
    assert len(COMPILED) == before


WEIGHTED = {
    "log_likelihood": total,
    "statistics": lambda x, m, weight: ex.expected_statistics(x, m, sample_weight=weight),
    "fit": lambda x, m, weight: ex.fit(x, m, sample_weight=weight, max_iter=3),
    "initialize": lambda x, m, weight: ex.initialize(
        x, 2, type(m.components), seed=0, sample_weight=weight
    ),
    "gradient": jax.grad(total, 1),
    "gradient by x": jax.grad(total, 0),
}
OTHER_WEIGHTS = [(name, np.int64) for name in WEIGHTED]
OTHER_WEIGHTS += [("log_likelihood", dtype) for dtype in (bool, np.float16, np.float32)]


@pytest.mark.parametrize(
    ("i", "name", "dtype"), [(i, *other) for i, other in enumerate(OTHER_WEIGHTS)]
)
def test_sample_weights_of_another_dtype_are_no_other_program(i, name, dtype):
    n = 578 + 2 * i
    assert sizes.padded_size(n - 1) == sizes.padded_size(n) == 640
    x, weight = rows(n)[:, 0], np.ceil(weights_of(n)).astype(dtype)
    WEIGHTED[name](on_device(x[:-1]), LINE, on_device(weight[:-1]))
    before = len(COMPILED)
    WEIGHTED[name](on_device(x), LINE, on_device(weight))
    assert len(COMPILED) == before


DTYPES = (bool, np.int8, np.uint16, np.int64, np.float16, np.float32)
OF_ANOTHER_DTYPE = [*((97, dtype) for dtype in DTYPES), (1, np.int64), (1, np.float16)]
OF_ANOTHER_DTYPE += [(2**19 + 1, bool), (2**19 + 1, np.float32)]  # too many to copy


@pytest.mark.parametrize(("n", "dtype"), OF_ANOTHER_DTYPE)
def test_results_of_another_dtype_are_those_of_its_numbers(n, dtype):
    x = np.abs(3.0 * np.resize(rows(97), (n, 3))).astype(dtype)
    weight = np.ceil(np.resize(weights_of(97), n)).astype(dtype)
    responsibilities, log_likelihood = formula(x.astype(np.float64), MIXTURE)
    given, given_weight = on_device(x), on_device(weight)
    step = ex.e_step(given, MIXTURE)
    np.testing.assert_allclose(step.responsibilities, responsibilities, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(step.log_likelihood, log_likelihood, rtol=1e-12)
    whole = total(given, MIXTURE, given_weight)
    np.testing.assert_allclose(whole, weight.astype(np.float64) @ log_likelihood, rtol=1e-11)
    assert {leaf.dtype for leaf in (*step, whole)} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(given, x)
    np.testing.assert_array_equal(given_weight, weight)


@pytest.mark.parametrize("name", ["grad", "jvp", "value_and_grad"])
def test_derivatives_by_sample_weight_take_few_programs(name):
    def of_rows(n):
        x, weight = on_device(rows(n)[:, 0]), on_device(weights_of(n))
        of_weight = functools.partial(total, x, LINE)
        if name == "jvp":
            return jax.jvp(of_weight, (weight,), (weight,))
        return getattr(jax, name)(of_weight)(weight)

    of_rows(200)
    for n in (2000, 5000):  # either side of what decides on the form of a density
        before = len(COMPILED)
        of_rows(n)
        assert len(COMPILED) - before <= 4
        before = len(COMPILED)
        for fewer in (n - 1, n - 5, n - 9):
            assert sizes.padded_size(fewer) == sizes.padded_size(n)
            of_rows(fewer)
        assert len(COMPILED) == before


def test_a_doubling_takes_few_compilations():
    before = len(COMPILED)
    for n in range(501, 1002, 9):
        ex.e_step(on_device(rows(n)[:, 0]), LINE)
    assert len(COMPILED) - before <= 10  # sizes 512 to 1024, and at most one for whatever


@pytest.mark.parametrize(
    ("n", "dtype"), [(1, np.float32), (97, np.float32), (97, np.float64), (104, np.float64)]
)
def test_results_are_those_of_the_rows(n, dtype):
    x = rows(n, dtype)
    mixture = jax.tree.map(lambda a: a.astype(dtype), MIXTURE)
    rtol = 1e-12 if dtype is np.float64 else 2e-4
    responsibilities, log_likelihood = formula(x.astype(np.float64), mixture)
    step = ex.e_step(on_device(x), mixture)
    np.testing.assert_allclose(step.responsibilities, responsibilities, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(step.log_likelihood, log_likelihood, rtol=rtol)
    assert {step.responsibilities.dtype, step.log_likelihood.dtype} == {np.dtype(dtype)}
    np.testing.assert_array_equal(step.labels, responsibilities.argmax(1))
    certainty = responsibilities.max(1).mean()
    np.testing.assert_allclose(step.mean_max_responsibility, certainty, rtol=rtol)
    np.testing.assert_allclose(step.total_log_likelihood, log_likelihood.sum(), rtol=rtol)
    whole = total(on_device(x), mixture)
    np.testing.assert_allclose(whole, log_likelihood.sum(), rtol=rtol)
    statistics = ex.expected_statistics(on_device(x), mixture)
    assert statistics.n_rows == n
    np.testing.assert_allclose(statistics.log_likelihood, log_likelihood.sum(), rtol=rtol)
    np.testing.assert_allclose(statistics.counts, responsibilities.sum(0), rtol=10 * rtol)
    assert {leaf.dtype for leaf in jax.tree.leaves((whole, statistics))} == {np.dtype(dtype)}


def test_rows_that_are_masked():
    x, weight = rows(97), weights_of(97)
    x[[0, 50, 96]], weight[[0, 50, 96]] = np.nan, 0.0
    kept = weight > 0
    responsibilities, log_likelihood = formula(x[kept], MIXTURE)
    arguments, row_weights = (on_device(x), MIXTURE), on_device(weight)
    statistics = ex.expected_statistics(*arguments, sample_weight=row_weights)
    np.testing.assert_allclose(statistics.n_rows, weight.sum(), rtol=1e-13)
    np.testing.assert_allclose(statistics.counts, weight[kept] @ responsibilities, rtol=1e-12)
    value, slopes = jax.value_and_grad(total, argnums=(0, 1))(*arguments, row_weights)
    np.testing.assert_allclose(value, weight[kept] @ log_likelihood, rtol=1e-12)
    few = on_device(x[kept]), MIXTURE, on_device(weight[kept])
    by_x, by_mixture = jax.jit(jax.grad(plain, argnums=(0, 1)))(*few)
    np.testing.assert_allclose(slopes[0][kept], by_x, rtol=1e-9, atol=1e-12)
    assert not slopes[0][~kept].any()
    assert_trees_close(slopes[1], by_mixture)


@pytest.mark.parametrize("name", ["grad", "jvp", "hessian", "vmap"])
def test_eager_derivatives(name):
    x, weight = on_device(rows(97)[:, 0]), on_device(weights_of(97))
    transformed = {
        "grad": lambda f: jax.grad(f, (0, 1, 2))(x, LINE, weight),
        "jvp": lambda f: jax.jvp(f, (x, LINE, weight), (x, LINE, weight)),
        "hessian": lambda f: jax.hessian(f)(x[:9], LINE, weight[:9]),
        "vmap": lambda f: jax.vmap(jax.grad(f), (0, None, None))(
            jnp.stack([x, 2 * x]), LINE, weight
        ),
    }[name]
    expected = jax.jit(lambda: transformed(plain))()  # compiled at once
    assert_trees_close(transformed(total), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("argnum", [0, 1])
def test_derivatives_of_results_of_rows(argnum):
    x = on_device(rows(97)[:, 0])

    def ours(x, mixture):
        by_row = ex.e_step(x, mixture).log_likelihood
        return jnp.sum(by_row) + by_row[-1]

    def expected(x, mixture):
        return plain(x, mixture) + plain(x[-1:], mixture)

    by_plain = jax.jit(jax.grad(expected, argnum))(x, LINE)
    assert_trees_close(jax.grad(ours, argnum)(x, LINE), by_plain)


def test_a_fit_is_that_of_the_rows():
    x = rows(97)
    mixture = jax.tree.map(np.asarray, MIXTURE)
    for _ in range(3):
        responsibilities, _ = formula(x, mixture)
        counts = responsibilities.sum(0)
        means = responsibilities.T @ x / counts[:, None]
        variances = np.einsum("nk,nkd->kd", responsibilities, (x[:, None] - means) ** 2)
        variances = variances / counts[:, None] + 1e-6
        mixture = ex.Mixture(counts / 97, ex.DiagonalGaussian(means, variances))
    fitted = ex.fit(on_device(x), MIXTURE, max_iter=3, tol=0, variance_floor=1e-6)
    assert_trees_close(fitted.mixture, mixture)
    _, log_likelihood = formula(x, mixture)
    np.testing.assert_allclose(fitted.log_likelihood, log_likelihood.sum(), rtol=1e-12)
    expected = (1 + 2 * 6) * math.log(97) - 2 * log_likelihood.sum()
    np.testing.assert_allclose(fitted.bic(on_device(x)), expected, rtol=1e-12)


def test_bad_rows_are_those_that_were_given():
    x = rows(97)
    x[96, 1] = np.nan
    for call in (ex.e_step, ex.log_likelihood, ex.expected_statistics, ex.fit):
        with pytest.raises(ValueError, match=r"x\[96, 1\] is nan"):
            call(on_device(x), MIXTURE)
    with pytest.raises(ValueError, match=r"x\[96, 1\] is nan"):
        ex.initialize(on_device(x), 2, ex.DiagonalGaussian, seed=0)


def test_rows_of_no_density_are_those_that_were_given():
    x = rows(97)
    x[96] = 1e200
    for call in (ex.e_step, ex.log_likelihood):
        with pytest.warns(RuntimeWarning, match=r"^1 row has zero .* the first is row 96"):
            result = call(on_device(x), MIXTURE)
        assert jax.tree.leaves(result)[-1].min() == -math.inf
    for call in (ex.expected_statistics, ex.fit):
        with pytest.raises(ValueError, match=r"^1 row has zero .* the first is row 96"):
            call(on_device(x), MIXTURE)
    value, _ = jax.value_and_grad(total, argnums=1)(on_device(x), MIXTURE)
    assert value == -math.inf


class Exponential(NamedTuple):
    """A family of one's own that has no density at 0 and below, nor a derivative."""

    rates: Any

    def log_prob(self, x):
        return jnp.log(self.rates) - x[:, None] * self.rates + 0.0 * jnp.log(x[:, None])


def test_a_users_family_sees_no_other_rows():
    x = np.abs(rows(97)[:, 0]) + 0.1
    mixture = ex.Mixture(on_device([0.5, 0.5]), Exponential(on_device([1.0, 3.0])))
    joint = np.log(0.5 * np.asarray([1.0, 3.0])) - x[:, None] * [1.0, 3.0]
    expected = np.logaddexp.reduce(joint, axis=1)
    responsibilities = np.exp(joint - expected[:, None])
    np.testing.assert_allclose(
        ex.e_step(on_device(x), mixture).log_likelihood, expected, rtol=1e-12
    )
    value, slopes = jax.value_and_grad(total, argnums=1)(on_device(x), mixture)
    np.testing.assert_allclose(value, expected.sum(), rtol=1e-12)
    by_rates = (responsibilities * (1 / np.asarray([1.0, 3.0]) - x[:, None])).sum(0)
    np.testing.assert_allclose(slopes.components.rates, by_rates, rtol=1e-10)


def test_compiled_and_large_calls_are_left_alone():
    x = on_device(rows(97))
    program = str(jax.make_jaxpr(lambda mixture: ex.log_likelihood(x, mixture))(MIXTURE))
    assert "97" in program
    assert "104" not in program
    assert sizes.pad_rows((on_device(np.zeros(2**20 + 1)),)) is None
    assert sizes.pad_rows((on_device(np.zeros((0, 3))),)) is None
