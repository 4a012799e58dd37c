"""NumPy's warnings are the caller's affair: however they are set, results are as without."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import estep_xp as ex

TINY, HUGE = 5e-324, 1e308


def univariate() -> tuple[Any, ex.Mixture]:
    """Components so far apart and narrow that densities and responsibilities underflow."""
    components = ex.UnivariateGaussian([-20.0, 20.0, 0.0], [1.0, 1e-300, 1e300])
    return np.array([18.42, -18.5, 0.1, 1e150]), ex.Mixture([1e-300, 1.0, TINY], components)


def spherical() -> tuple[Any, ex.Mixture]:
    components = ex.SphericalGaussian([[0.0, 1e-160], [1e150, -1e150]], [1e-300, 1e300])
    return np.array([[1e-160, 1e-170], [1e150, 0.0], [3e-150, 1.0]]), ex.Mixture([1, 1], components)


def diagonal() -> tuple[Any, ex.Mixture]:
    variances = [[1e-300, 1e300], [1.0, 1e-10]]
    components = ex.DiagonalGaussian([[0.0, 1e150], [1e3, 0.0]], variances)
    return np.array([[1e-150, 2e150], [1e3, 1e-6], [0.0, 0.0]]), ex.Mixture([TINY, 1], components)


def tied() -> tuple[Any, ex.Mixture]:
    covariance = [[1e-302, 3e-311], [3e-311, 1e-302]]
    components = ex.TiedGaussian.from_covariance([[0.0, 0.0], [1e-150, 0.0]], covariance)
    x = np.array([[1e-152, 3e-160], [1e-150, 1e-151], [TINY, -TINY]])
    return x, ex.Mixture([1e-300, 1e300], components)


def full() -> tuple[Any, ex.Mixture]:
    covariances = [[[1e-302, 3e-311], [3e-311, 1e-302]], [[1e200, 1e-100], [1e-100, 1e-200]]]
    components = ex.FullGaussian.from_covariances([[0.0, 0.0], [1e90, 1e-101]], covariances)
    x = np.array([[1e-152, 3e-160], [2e90, 1e-100], [TINY, 0.0], [3e90, 0.0]])
    return x, ex.Mixture([1.0, 1.0], components)


def blobs() -> tuple[Any, ex.Mixture]:
    """Rows enough for several blocks and for the product form, two components far away."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(1500, 3)), 1e3 + rng.normal(size=(1500, 3))])
    covariances = [np.eye(3), np.eye(3), 1e-4 * np.eye(3)]
    components = ex.FullGaussian.from_covariances([[0] * 3, [1e3] * 3, [-1e3] * 3], covariances)
    return x, ex.Mixture([0.5, 0.5, 1e-300], components)


def single() -> tuple[Any, ex.Mixture]:
    """Single precision at its edges."""
    means, variances = np.float32([[0, 1e-20], [1e18, 3]]), np.float32([[1e-37, 1e-37], [1e37, 1]])
    x = np.float32([[1e-19, 1e-20], [1e18, 3], [1e-45, 0]])
    return x, ex.Mixture(np.float32([1e-38, 1]), ex.DiagonalGaussian(means, variances))


def given() -> tuple[Any, ex.Mixture]:
    """Rows of no density under a component, and weights of zero."""
    components = ex.UnivariateGaussian([0.0, 1.0], [1.0, 1.0])
    return np.array([0.0, 40.0, -1e150]), ex.Mixture([1.0, 0.0], components)


PROBLEMS = [univariate, spherical, diagonal, tied, full, blobs, single, given]


class Cauchy:
    """A family of one's own, with overflow and underflow in its arithmetic."""

    def log_prob(self, x: Any) -> Any:
        x = np.asarray(x).reshape(len(x), -1)[:, :1]
        spread = x * x * 1e300
        return np.stack([-np.log1p(spread), np.log(np.exp(-x * x))], axis=1)[:, :, 0]


def calls(x: Any, mixture: ex.Mixture) -> dict[str, Callable[[], Any]]:
    """Every public function, property and method."""
    weight = np.linspace(0.0, 1.0, len(x)) ** 400  # subnormal ones, too
    components = mixture.components
    family = type(components)
    half, single = np.float16(x), as_single(mixture)
    log_joint = ex.log_joint(x, mixture)
    step = ex.e_step(x, mixture)
    finite = np.isfinite(step.log_likelihood)
    statistics = ex.expected_statistics(x[finite], mixture, sample_weight=weight[finite])
    result = ex.EMResult(statistics.mixture, statistics.log_likelihood, 3, True, log_joint[:, 0])

    def fitted(**options: Any) -> Any:
        return ex.fit(x[finite], mixture, max_iter=3, variance_floor=1e-3, **options)

    return {
        "e_step": lambda: ex.e_step(x, mixture),
        "e_step in blocks": lambda: ex.e_step(x, mixture, block_size=2, workers=2),
        "labels": lambda: step.labels,
        "entropy": lambda: step.entropy,
        "total_log_likelihood": lambda: step.total_log_likelihood,
        "mean_max_responsibility": lambda: step.mean_max_responsibility,
        "mean_max_responsibility of none": lambda: (
            ex.e_step(x[:0], mixture).mean_max_responsibility
        ),
        "posterior": lambda: ex.posterior(log_joint, np.ones(log_joint.shape[1])),
        "log_joint": lambda: ex.log_joint(x, mixture),
        "log_likelihood": lambda: ex.log_likelihood(x, mixture),
        "weighted": lambda: ex.log_likelihood(x, mixture, sample_weight=weight),
        "log_prob": lambda: components.log_prob(x),
        "covariances": lambda: components.covariances,
        "statistics": lambda: ex.expected_statistics(x[finite], mixture),
        "weighted statistics": lambda: ex.expected_statistics(
            x[finite], mixture, sample_weight=weight[finite]
        ),
        "merge": lambda: ex.merge(statistics, statistics),
        "m_step": lambda: ex.m_step(statistics, variance_floor=1e-3),
        "initialize": lambda: ex.initialize(x, 2, family, seed=0),
        "fit": fitted,
        "accelerated fit": lambda: fitted(accelerate=True),
        "several fits": lambda: fitted(n_init=2),
        "weighted fit": lambda: fitted(sample_weight=weight[finite]),
        "aic": lambda: result.aic(x),
        "aic of the fit": lambda: result.aic(),
        "bic": lambda: result.bic(x, sample_weight=weight),
        "icl": lambda: result.icl(x, sample_weight=weight),
        "repr": lambda: [repr(one) for one in (step, mixture, components, statistics, result)],
        "table": lambda: step._repr_html_(),
        "pickle": lambda: pickle.loads(pickle.dumps(statistics)),
        "copy": lambda: copy.deepcopy(mixture),
        "own family": lambda: ex.log_joint(x, ex.Mixture([1.0, 1e-320], Cauchy())),
        "float16": lambda: ex.log_joint(half, mixture),
        "cast": lambda: ex.log_joint(x, single),
        "lists": lambda: ex.log_joint(x.tolist(), mixture),
    }


def as_single(mixture: ex.Mixture) -> ex.Mixture:
    """Return a univariate mixture of single precision, to which rows have to be cast."""
    ones = np.ones_like(mixture.components.means[:1], dtype=np.float32)
    if ones.ndim == 1:
        return ex.Mixture(ones, ex.UnivariateGaussian(ones, ones))
    return ex.Mixture(ones[:, 0], ex.DiagonalGaussian(ones, ones))


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call gives, or its error in words, and its own warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = call()
        except (ValueError, TypeError) as error:
            value = f"{type(error).__name__}: {error}"
    return value, [str(one.message) for one in caught]


def assert_same(one: Any, other: Any, name: str) -> None:
    if isinstance(one, (tuple, list)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b, name)
    elif isinstance(one, str):
        assert one == other, name
    elif not isinstance(one, Cauchy):
        np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize("make", PROBLEMS, ids=lambda make: make.__name__)
def test_floating_point_errors_of_the_caller(make):
    """NumPy told to raise, and to warn (of what is not a warning of ours), as by default not."""
    with np.errstate(all="ignore"):
        x, mixture = make()
        quiet = {name: outcome(call) for name, call in calls(x, mixture).items()}
    for mode in ("raise", "warn"):
        for name in quiet:
            with np.errstate(all="ignore"):
                call = calls(x, mixture)[name]
            with np.errstate(all=mode):  # type: ignore[call-overload]
                assert_same(outcome(call), quiet[name], f"{name} ({mode})")


@pytest.mark.parametrize("mode", ["raise", "warn"])
def test_factorising_under_floating_point_errors(mode):
    for call in (
        lambda: ex.TiedGaussian.from_covariance([[0, 0]], [[1e-302, 3e-311], [3e-311, 1e-302]]),
        lambda: ex.FullGaussian.from_covariances([[0.0]], [[[1e300]]]),
        lambda: ex.FullGaussian.from_covariances([[0.0]], [[[TINY]]]),
        lambda: ex.TiedGaussian.from_covariance([[0, 0]], [[1e-310, 0], [0, 1e308]]),
        lambda: ex.TiedGaussian.from_covariance([[0, 0]], [[1e-310, 1], [1, 1e308]]),
        lambda: ex.TiedGaussian.from_covariance([[0, 0]], [[1, 2], [2, 1]]),
        lambda: ex.TiedGaussian.from_covariance([[0, 0]], [[-1, 0], [0, np.inf]]),
        lambda: ex.TiedGaussian.from_covariance([[0, 0]], [[HUGE, -HUGE], [HUGE, HUGE]]),
        lambda: ex.TiedGaussian([[0, 0]], [[1e-160, HUGE], [0, 1e160]]).covariances,
        lambda: ex.TiedGaussian([[0, 0]], [[1e200, 0], [0, TINY]]).covariances,
        lambda: ex.TiedGaussian([[0, 0]], [[1e-160, np.nan], [0, 1e160]]).covariances,
        lambda: ex.UnivariateGaussian([0.0], [TINY]).covariances,
        lambda: ex.UnivariateGaussian(np.float32([0.0]), [1e-300]).covariances,
    ):
        with np.errstate(all="ignore"):
            quiet = outcome(call)
        with np.errstate(all=mode):  # type: ignore[call-overload]
            assert_same(outcome(call), quiet, mode)
