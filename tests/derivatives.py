"""Gradients by all arrays of a mixture, in JAX and in PyTorch.

Functions of plain arrays are the same for both, and one object a family, which is compiled once.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

import estep_xp as ex

N, K, D = 5, 3, 2
SAMPLE_WEIGHT = np.array([0.5, 2.0, 1.0, 0.25, 1.5])
MATRIX = np.random.default_rng(0).standard_normal((N, K))

jax_only = pytest.mark.backends("jax")
derivatives = pytest.mark.backends("jax_jit", "torch")


@functools.cache
def total_of(family):
    def total(x, weights, *fields_and_sample_weight):
        *fields, sample_weight = fields_and_sample_weight
        mixture = ex.Mixture(weights, family(*fields))
        return ex.log_likelihood(x, mixture, sample_weight=sample_weight)

    return total


@functools.cache
def weighted_responsibilities_of(family):
    def weighted(x, weights, *fields_and_matrix):
        *fields, matrix = fields_and_matrix
        step = ex.e_step(x, ex.Mixture(weights, family(*fields)))
        return (step.responsibilities * matrix).sum()

    return weighted


@functools.cache
def jax_gradient(function, count):
    import jax

    return jax.grad(function, argnums=tuple(range(count)))


def differentiate(backend, function, arrays, *constants):
    """Differentiate a scalar function by some arrays, with further arguments held constant."""
    if backend.name != "torch":
        gradient = jax_gradient(function, len(arrays))
        return [backend.to_numpy(g) for g in backend.call(gradient, *arrays, *constants)]
    for array in arrays:
        array.requires_grad_(True)
    function(*arrays, *constants).backward()
    return [np.zeros(a.shape) if a.grad is None else a.grad.numpy() for a in arrays]
