"""What type checkers know of results: mypy reads this file, nothing runs it."""

from __future__ import annotations

from typing import Any, NamedTuple, assert_type

import jax
import numpy as np

import estep_xp as ex
import estep_xp.jax
from estep_xp.arrays.array_types import Array

x = np.zeros((6, 2))
full = ex.FullGaussian.from_covariances([[0.0, 0.0]], [[[1.0, 0.0], [0.0, 1.0]]])
mixture = ex.Mixture([1.0], full)


def check_that_a_mixture_knows_its_family() -> None:
    assert_type(full, ex.FullGaussian)
    assert_type(mixture, ex.Mixture[ex.FullGaussian])
    assert_type(mixture._replace(weights=[2.0]), ex.Mixture[ex.FullGaussian])
    assert_type(ex.marginal(mixture, [0]), ex.Mixture[ex.FullGaussian])
    assert_type(ex.condition(mixture, [0], [1.0]), ex.Mixture[ex.FullGaussian])
    assert_type(ex.initialize(x, 2, ex.TiedGaussian, seed=0), ex.Mixture[ex.TiedGaussian])
    assert_type(ex.initialize(x, 1, full, seed=0), ex.Mixture[ex.FullGaussian])


def check_that_em_keeps_the_family() -> None:
    result = ex.fit(x, mixture)
    assert_type(result, ex.EMResult[ex.FullGaussian])
    assert_type(result.mixture.components, ex.FullGaussian)
    result.mixture.components.covariances.shape
    result.mixture.components.precision_cholesky.shape
    statistics = ex.expected_statistics(x, mixture)
    assert_type(statistics, ex.Statistics[ex.FullGaussian])
    assert_type(ex.merge(statistics, statistics), ex.Statistics[ex.FullGaussian])
    assert_type(ex.scale(statistics, 0.5), ex.Statistics[ex.FullGaussian])
    assert_type(ex.recenter(statistics, mixture), ex.Statistics[ex.FullGaussian])
    assert_type(ex.m_step(statistics), ex.Mixture[ex.FullGaussian])


def check_that_jax_keeps_the_family() -> None:
    free = ex.jax.unconstrain(mixture)
    assert_type(free, ex.jax.Unconstrained[ex.FullGaussian])
    assert_type(ex.jax.constrain(free), ex.Mixture[ex.FullGaussian])
    assert_type(ex.jax.em_step(mixture, x), ex.Mixture[ex.FullGaussian])
    assert_type(ex.jax.fit(x, mixture).mixture, ex.Mixture[ex.FullGaussian])


class Laplace(NamedTuple):
    """A family of the user's."""

    centres: Any

    def log_prob(self, x: Any) -> Any:
        return -abs(x[:, None] - self.centres)


def check_a_family_of_the_users() -> None:
    start = ex.Mixture([1.0], Laplace(np.zeros(1)))
    assert_type(start, ex.Mixture[Laplace])
    assert_type(ex.fit(x[:, 0], start), ex.EMResult[Laplace])


def check_a_family_that_is_not_known(unknown: ex.Mixture) -> ex.Mixture:
    unknown.components.log_prob(x)
    return mixture


def check_that_arrays_of_libraries_are_arrays(of_numpy: np.ndarray, of_jax: jax.Array) -> None:
    arrays: list[Array] = [of_numpy, of_jax]
    assert_type(-arrays[0] @ arrays[1][..., None] >= 0.0, Array)
