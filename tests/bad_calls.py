"""Calls with good arguments, of which a case of ``bad_input.py`` replaces one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import estep_xp as ex


class Raw(NamedTuple):
    """A value that reaches the library as it is, not as an array of the backend."""

    value: Any


# Good arguments, one of which a case replaces. n = 5, k = 3, d = 2.
ROWS = np.array([[0.5, 1.0], [2.0, -1.0], [0.0, 0.0], [3.0, 1.5], [-1.0, 2.0]])
POINTS = ROWS[:, 0]
MEANS = np.array([[0.0, 1.0], [2.0, 0.0], [1.0, -1.0]])
WEIGHTS = np.array([0.25, 0.5, 0.25])
FACTOR = np.array([[1.0, 0.5], [0.0, 2.0]])
COVARIANCE = np.array([[2.0, 0.5], [0.5, 1.0]])


def native(backend, value):
    return value.value if isinstance(value, Raw) else backend.asarray(value)


def arguments(backend, defaults, bad):
    """Native arguments by name; an override that the defaults don't know is a mistake."""
    assert bad.keys() <= defaults.keys()
    return {name: native(backend, value) for name, value in (defaults | bad).items()}


def mixture_call(family, function=ex.e_step, **defaults):
    """Make a call of ``function`` on a mixture, with overrides for x, weights and fields."""
    fields = tuple(defaults)
    defaults |= {"x": POINTS if family is ex.UnivariateGaussian else ROWS, "weights": WEIGHTS}

    def call(backend, **bad):
        given = arguments(backend, defaults, bad)
        components = family(*(given[field] for field in fields))
        return function(given["x"], ex.Mixture(given["weights"], components))

    call.__name__ = family.__name__
    return call


univariate = mixture_call(ex.UnivariateGaussian, means=MEANS[:, 0], variances=np.ones(3))
spherical = mixture_call(ex.SphericalGaussian, means=MEANS, variances=np.ones(3))
diagonal = mixture_call(ex.DiagonalGaussian, means=MEANS, variances=np.ones((3, 2)))
tied = mixture_call(ex.TiedGaussian, means=MEANS, precision_cholesky=FACTOR)
full = mixture_call(ex.FullGaussian, means=MEANS, precision_cholesky=np.stack([FACTOR] * 3))


def from_covariance(backend, **bad):
    given = arguments(backend, {"means": MEANS, "covariance": COVARIANCE}, bad)
    return ex.TiedGaussian.from_covariance(given["means"], given["covariance"])


def from_covariances(backend, **bad):
    defaults = {"means": MEANS, "covariances": np.stack([COVARIANCE] * 3)}
    given = arguments(backend, defaults, bad)
    return ex.FullGaussian.from_covariances(given["means"], given["covariances"])


def posterior(backend, **bad):
    given = arguments(backend, {"log_prob": -ROWS, "weights": np.array([1.0, 2.0])}, bad)
    return ex.posterior(given["log_prob"], given["weights"])


def weighted(backend, **bad):
    given = arguments(backend, {"sample_weight": np.ones(5)}, bad)
    components = ex.UnivariateGaussian(backend.asarray([0.0, 1.0]), backend.asarray([1.0, 2.0]))
    mixture = ex.Mixture(backend.asarray([0.5, 0.5]), components)
    return ex.log_likelihood(backend.asarray(POINTS), mixture, **given)


def mixture_argument(backend, mixture=None, components=None):
    """Pass what is no Mixture, or a Mixture of what is no family."""
    x = backend.asarray(POINTS)
    if components is not None:
        mixture = Raw(ex.Mixture(backend.asarray(WEIGHTS), components.value))
    return ex.e_step(x, mixture.value)


def replaced(array, index, value):
    """Copy ``array`` with one entry replaced."""
    out = np.array(array)
    out[index] = value
    return out


class Case(NamedTuple):
    """A bad call and the words (regular expressions) its message must contain."""

    call: Callable[..., Any]
    bad: dict[str, Any]
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """Tell what is called, which arguments are bad, and the beginning of their values."""
        values = (v.value if isinstance(v, Raw) else v for v in self.bad.values())
        shown = "+".join(re.sub(r"[\s\[\]]+", " ", str(value)).strip()[:30] for value in values)
        return f"{self.call.__name__} {'+'.join(self.bad)} {shown}"


def is_bad(place, value, *expected):
    """Words of the agreed format, ``variances[2] is -1.0; variances must be ...``."""
    return (re.escape(f"{place} is {value}"), *expected)
