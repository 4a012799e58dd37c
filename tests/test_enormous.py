"""Options and numbers too large for a float or a machine's integer are refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS

X = [0.1, 0.4, 5.2, 4.8]
MEANS, VARIANCES, WEIGHTS = [0.0, 5.0], [1.0, 1.0], [0.5, 0.5]
ENORMOUS = {"310": 10**310, "-310": -(10**310), "400": 10**400, "5000": 10**5000}
enormous = pytest.mark.parametrize("digits", ENORMOUS)  # pytest can't write the last one


def arguments(backend: Any) -> tuple[Any, ex.Mixture]:
    components = ex.UnivariateGaussian(backend.asarray(MEANS), backend.asarray(VARIANCES))
    return backend.data(X), ex.Mixture(backend.asarray(WEIGHTS), components)


def fit(backend: Any, **options: Any) -> Any:
    return ex.fit(*arguments(backend), **({"max_iter": 2} | options))


def e_step(backend: Any, **options: Any) -> Any:
    return ex.e_step(*arguments(backend), **options)


def initialize(backend: Any, **options: Any) -> Any:
    given = {"n_components": 2, "seed": 0} | options
    return ex.initialize(backend.data(X), family=ex.UnivariateGaussian, **given)


def m_step(backend: Any, **options: Any) -> Any:
    return ex.m_step(ex.expected_statistics(*arguments(backend)), **options)


OPTIONS = [
    (fit, "tol"),
    (fit, "max_iter"),
    (fit, "variance_floor"),
    (fit, "n_init"),
    (fit, "block_size"),
    (fit, "workers"),
    (m_step, "variance_floor"),
    (e_step, "block_size"),
    (e_step, "workers"),
    (initialize, "n_components"),
    (initialize, "block_size"),
]


def refusal(call: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises((ValueError, TypeError)) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert type(caught.value) in (ValueError, TypeError), message
    assert len(message) < 300, message
    return message


@pytest.mark.backends("numpy", "jax")
@enormous
@pytest.mark.parametrize(("call", "option"), OPTIONS, ids=lambda one: getattr(one, "__name__", one))
def test_enormous_options(backend, call, option, digits):
    message = refusal(call, backend, **{option: ENORMOUS[digits]})
    assert message.startswith(f"{option} is "), message


@pytest.mark.parametrize("option", ["max_iter", "n_init", "block_size", "workers"])
def test_more_than_a_machine_counts(option):
    """It need not be enormous: a size beyond the machine's integers breaks what is below."""
    message = refusal(fit, BACKENDS["numpy"], **{option: 2**70})
    assert message.startswith(f"{option} is {2**70}; {option} must be at most "), message


@pytest.mark.parametrize(
    "seed", [-1, -(10**400), -(10**5000), 1.5, "a", None, [1, -2]], ids=range(7)
)
def test_seeds(seed):
    numpy = BACKENDS["numpy"]
    if seed is not None:  # NumPy's own: different each time
        assert refusal(initialize, numpy, seed=seed).startswith("seed is ")
    assert refusal(fit, numpy, seed=seed, n_init=2).startswith("seed is ")


@pytest.mark.filterwarnings("ignore::estep_xp.ConvergenceWarning")  # two iterations are enough
@pytest.mark.parametrize("seed", [0, 2**128, 10**400, [1, 2], np.int64(3)], ids=range(5))
def test_seeds_of_any_size(seed):
    numpy = BACKENDS["numpy"]
    assert initialize(numpy, seed=seed).weights.shape == (2,)
    if not isinstance(seed, list):
        assert np.isfinite(fit(numpy, seed=seed, n_init=2).log_likelihood)


def univariate(**given: Any) -> Any:
    arrays = {"x": X, "weights": WEIGHTS, "means": MEANS, "variances": VARIANCES} | given
    components = ex.UnivariateGaussian(arrays["means"], arrays["variances"])
    weight = arrays.get("sample_weight")
    mixture = ex.Mixture(arrays["weights"], components)
    return ex.log_likelihood(arrays["x"], mixture, sample_weight=weight)


GOOD: dict[str, list[Any]] = {
    "x": X,
    "weights": WEIGHTS,
    "means": MEANS,
    "variances": VARIANCES,
    "sample_weight": [1.0] * 4,
}


@pytest.mark.parametrize("rest", ["floats", "ints", "alone"])
@enormous
@pytest.mark.parametrize("name", GOOD)
def test_enormous_numbers_in_lists(name, digits, rest):
    others = {"floats": GOOD[name], "ints": [1] * len(GOOD[name]), "alone": GOOD[name][:1]}[rest]
    given = {name: [*others[:-1], ENORMOUS[digits]]}
    if rest == "alone":
        given = {"x": X[:1], "weights": [1], "means": [0], "variances": [1]} | given
    message = refusal(univariate, **given)
    assert message.startswith(f"{name}[{len(others) - 1}] is "), message


@enormous
def test_enormous_numbers_in_other_arguments(digits):
    value = ENORMOUS[digits]
    means = [[0.0, 0.0]]
    message = refusal(ex.posterior, [[0.0, value]], [1, 1])
    assert message.startswith("log_prob[0, 1] is "), message
    message = refusal(ex.TiedGaussian.from_covariance, means, [[1, 0], [0, value]])
    assert message.startswith("covariance[1, 1] is "), message
    message = refusal(ex.UnivariateGaussian(value, [1.0]).log_prob, [0.0])
    assert message.startswith("means is "), message
    jnp = pytest.importorskip("jax.numpy")
    message = refusal(univariate, x=jnp.asarray(X), means=[0, value])
    assert message.startswith("means[1] is "), message


def test_integers_beyond_the_machines_that_a_float_holds():
    for big in (2**64, -(2**63) - 1, 10**30):
        expected = univariate(means=[float(big), 5.0], variances=[1e60, 1.0])
        for means in ([big, 5.0], [big, 5]):
            assert univariate(means=means, variances=[10**60, 1]) == expected
