"""Closed-form gradients of mixtures in NumPy: Fisher's identity, written apart from the library.

With p_ik the density of row i under component k, an objective f enters through the responsibilities
r_ik = w_k p_ik / sum_j w_j p_ij and the log-likelihoods l_i. Its *pull* b_ik is df/d(log joint_ik)
over r_ik: the sample weight s_i for sum_i s_i l_i, and A_ik - sum_j r_ij A_ij for sum_ik A_ik r_ik.
Then, for a field t of component k,

    df/dt_k = sum_i r_ik b_ik dlog p_ik/dt_k,
    df/dw_k = sum_i (p_ik / sum_j w_j p_ij) b_ik - sum_ij r_ij b_ij / sum_j w_j,

also where w_k = 0. Nothing here takes absolute values, comparisons or conjugates of the inputs, so
complex arguments work, and complex steps differentiate these gradients once more to full precision.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tests.records import Params, Problem, Slopes


class Shares(NamedTuple):
    """Responsibilities (n, k), their ratios to the weights (n, k), log-likelihoods (n,)."""

    responsibilities: np.ndarray
    ratios: np.ndarray
    log_likelihood: np.ndarray


def shares(log_density: np.ndarray, weights: np.ndarray) -> Shares:
    """Normalise; the ratio r_ik / w_k stands also where w_k = 0."""
    largest = np.where(weights.real > 0, log_density.real, -np.inf).max(axis=1, keepdims=True)
    densities = np.exp(log_density - largest)
    total = densities @ weights
    log_likelihood = largest[:, 0] + np.log(total) - np.log(weights.sum())
    ratios = densities / total[:, None]
    return Shares(weights * ratios, ratios, log_likelihood)


class Gradient(NamedTuple):
    """Derivatives by x, weights and each field, and how large their summands are."""

    value: dict[str, np.ndarray]
    magnitude: dict[str, np.ndarray]


def pull_of(
    share: Shares, sample_weight: np.ndarray | float, matrix: np.ndarray | float
) -> np.ndarray:
    """Give the pull of sum_i s_i l_i + sum_ik A_ik r_ik, for s and A as given."""
    matrix = matrix + np.zeros(share.responsibilities.shape)
    mean = (share.responsibilities * matrix).sum(axis=1, keepdims=True)
    return np.reshape(sample_weight, (-1, 1)) + matrix - mean


def gradient(
    case: Problem,
    sample_weight: np.ndarray | float = 0.0,
    matrix: np.ndarray | float = 0.0,
) -> Gradient:
    """Differentiate sum_i s_i l_i + sum_ik A_ik r_ik by x, weights and the family's fields.

    By x only where observations are numbers that a density varies smoothly with.
    """
    slopes = case.record.slopes(case.x, case.params)
    share = shares(slopes.log_density, case.weights)
    pull = pull_of(share, sample_weight, matrix)
    value = _collected(slopes, share, case.weights, case.params, pull)
    # The same sums over absolute values: what rounding errors are measured by.
    large = (
        np.abs(pull)
        + np.abs(matrix)
        + (share.responsibilities * np.abs(matrix)).sum(axis=1, keepdims=True)
    )
    by_x = None if slopes.by_x is None else np.abs(slopes.by_x)
    by_field = {name: np.abs(a) for name, a in slopes.by_field.items()}
    sizes = Slopes(slopes.log_density, by_x, by_field)
    # Minus the weights: the one difference of the formulas becomes a sum too.
    magnitude = _collected(sizes, share, -case.weights, case.params, large)
    return Gradient(value, magnitude)


def _collected(
    slopes: Slopes, share: Shares, weights: np.ndarray, params: Params, pull: np.ndarray
) -> dict[str, np.ndarray]:
    joint = share.responsibilities * pull
    out = {"weights": (share.ratios * pull).sum(axis=0) - joint.sum() / weights.sum()}
    if slopes.by_x is not None:
        out = {"x": np.einsum("nk,nk...->n...", joint, slopes.by_x)} | out
    for name, by_field in slopes.by_field.items():
        summed = np.einsum("nk,nk...->k...", joint, by_field)
        shared = summed.shape != params[name].shape  # tied: one factor for all components
        out[name] = summed.sum(axis=0) if shared else summed
    return out


def assert_gradient(
    actual: list[np.ndarray],
    case: Problem,
    dtype: str = "float64",
    sample_weight: np.ndarray | float = 0.0,
    matrix: np.ndarray | float = 0.0,
) -> None:
    """Compare gradients by x, weights and fields with the closed form.

    They may be off by 32 eps (1 + T) of the sum of the absolute values of their terms: that is what
    the accuracy contract leaves to the responsibilities. A derivative without terms, such as those
    below the diagonal of a factor, must be exactly 0.
    """
    expected = gradient(case, sample_weight, matrix)
    bound = 32 * np.finfo(dtype).eps * (1 + case.magnitude().max())
    for name, result in zip(("x", "weights", *case.params), actual, strict=True):
        if name not in expected.value:
            continue
        value, size = expected.value[name], expected.magnitude[name]
        assert result.shape == value.shape, name
        assert result.dtype == dtype, name
        off = np.abs(result - value) > bound * size
        assert not off.any(), f"{name}: {result} instead of {value}"
