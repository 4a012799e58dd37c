"""How the log-likelihood answers to each parameter: its gradient, by JAX or in closed form."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.cli.read.inputs import Inputs

_MIN_ROWS = 64


class Gradient(NamedTuple):
    """Derivatives of the log-likelihood; ``nan`` where there are none.

    Attributes
    ----------
    means, variances, weights : ndarray of shape (k,)
        With respect to each parameter as it stands in its field.
    method : str
        How they were computed.
    """

    means: NDArray[np.float64]
    variances: NDArray[np.float64]
    weights: NDArray[np.float64]
    method: str


def gradient_by_statistics(inputs: Inputs) -> Gradient:
    """Return the derivatives in closed form, by Fisher's identity.

    The gradient of the log-likelihood is the expected gradient of the complete one, which needs
    no more than the expected statistics (counts, and moments about the means) of the E-step.
    """
    x, means, variances, weights = inputs
    mixture = ex.Mixture(weights, ex.UnivariateGaussian(means, variances))
    method = "closed form, from the expected statistics"
    try:
        with np.errstate(all="ignore"):  # overflow is shown as infinity or NaN
            statistics = ex.expected_statistics(x, mixture)
    except ValueError:  # zero density: the log-likelihood is -inf
        none = np.full(len(means), np.nan)
        return Gradient(none, none, none, method)
    counts, moments = statistics.counts, statistics.moments
    with np.errstate(all="ignore"):
        # Not counts / weights: that is 0 / 0 at a zero weight, whose one-sided derivative exists.
        log_p = ex.e_step(x, mixture).log_likelihood
        ratios = np.exp(mixture.components.log_prob(x) - log_p[:, None]).sum(axis=0)
        return Gradient(
            moments.first / variances,
            (moments.second / variances - counts) / (2 * variances),
            (ratios - len(x)) / weights.sum(),
            method,
        )


def gradient_by_autodiff(inputs: Inputs) -> Gradient:
    """Return the derivatives by ``jax.grad`` of :func:`estep_xp.log_likelihood`."""
    x, *parameters = inputs
    # Pad to a power of two with rows of zero weight: fewer shapes, fewer compilations.
    size = max(_MIN_ROWS, 1 << (len(x) - 1).bit_length())
    padded = np.concatenate((x, np.full(size - len(x), x[0])))
    sample_weight = (np.arange(size) < len(x)).astype(np.float64)
    means, variances, weights = map(
        np.asarray, _compiled_gradient()(*parameters, padded, sample_weight)
    )
    return Gradient(means, variances, weights, "jax.grad of ex.log_likelihood")


@cache
def _compiled_gradient() -> Any:
    jax: Any = import_module("jax")  # imported on first use: it takes a second
    jax.config.update("jax_enable_x64", True)

    def total(means: Any, variances: Any, weights: Any, x: Any, sample_weight: Any) -> Any:
        mixture = ex.Mixture(weights, ex.UnivariateGaussian(means, variances))
        return ex.log_likelihood(x, mixture, sample_weight=sample_weight)

    return jax.jit(jax.grad(total, argnums=(0, 1, 2)))
