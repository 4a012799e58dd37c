"""Mistakes that a type checker must find: mypy fails if one of these errors is missing."""

from __future__ import annotations

from typing import Any

import numpy as np

import estep_xp as ex
from estep_xp.arrays.array_types import Array

x = np.zeros((6, 2))
mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([0.0, 1.0], [1.0, 1.0]))


def ask_for_what_a_family_has_not(unknown: ex.Mixture) -> None:
    ex.fit(x, mixture).mixture.components.covariance  # type: ignore[attr-defined]
    ex.fit(x, mixture).mixture.components.precision_cholesky  # type: ignore[attr-defined]
    unknown.components.means  # type: ignore[attr-defined]


def mix_families_up(statistics: ex.Statistics[ex.UnivariateGaussian]) -> None:
    wrong: ex.Mixture[ex.FullGaussian] = ex.m_step(statistics)  # type: ignore[arg-type]
    ex.m_step(mixture)  # type: ignore[call-overload]
    ex.fit(mixture.components, x)  # type: ignore[arg-type]
    del wrong


class NoDensity:
    def sample(self, n: int) -> Any: ...


def give_what_has_no_density() -> None:
    ex.Mixture([1.0], NoDensity())  # type: ignore[type-var]


def ask_an_array_for_what_not_every_library_has(array: Array) -> None:
    array.T  # type: ignore[attr-defined]
    array.mT  # type: ignore[attr-defined]
    array.size  # type: ignore[attr-defined]
    array.device  # type: ignore[attr-defined]
    array.sum()  # type: ignore[attr-defined]
    len(array)  # type: ignore[arg-type]
    for _ in array:  # type: ignore[attr-defined]
        pass
    array[0] = 1.0  # type: ignore[index]
    np.exp(array)  # type: ignore[call-overload]
