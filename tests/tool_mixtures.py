"""Mixtures of every Gaussian family from one set of numbers, for the tests of what uses them."""

from __future__ import annotations

import numpy as np

import estep_xp as ex

K, D = 3, 4


def numbers(seed: int = 0, k: int = K, d: int = D) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw weights (k,), means (k, d) and covariances (k, d, d)."""
    random = np.random.default_rng(seed)
    roots = random.standard_normal((k, d, d))
    covariances = roots @ roots.mT + 0.1 * np.eye(d)
    return random.dirichlet(np.ones(k)), 3.0 * random.standard_normal((k, d)), covariances


def gaussian_mixtures(seed: int = 0) -> dict[str, ex.Mixture]:
    """Build a mixture of each family with several features, on NumPy arrays."""
    weights, means, covariances = numbers(seed)
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    families = (
        ex.SphericalGaussian(means, variances[:, 0]),
        ex.DiagonalGaussian(means, variances),
        ex.TiedGaussian.from_covariance(means, covariances[0]),
        ex.FullGaussian.from_covariances(means, covariances),
    )
    return {type(one).__name__: ex.Mixture(weights, one) for one in families}


GAUSSIANS = gaussian_mixtures()


def every_mixture() -> dict[str, ex.Mixture]:
    """Build a mixture of each of the package's families, on NumPy arrays."""
    weights, means, covariances = numbers()
    random = np.random.default_rng(5)
    others = (
        ex.UnivariateGaussian(means[:, 0], covariances[:, 0, 0]),
        ex.Poisson(random.gamma(2.0, 2.0, (K, D))),
        ex.Poisson(random.gamma(2.0, 2.0, K)),
        ex.Bernoulli(random.random((K, D))),
        ex.Categorical(random.gamma(2.0, 2.0, (K, D))),
        ex.Exponential(random.gamma(2.0, 2.0, (K, D))),
        ex.Gamma(*random.gamma(2.0, 2.0, (2, K, D))),
        ex.VonMises(*random.gamma(2.0, 2.0, (2, K))),
    )
    named = {f"{type(one).__name__} {one[0].ndim}": ex.Mixture(weights, one) for one in others}
    return GAUSSIANS | named


def on_backend(backend, mixture: ex.Mixture, dtype: str | None = None) -> ex.Mixture:
    """Bring a mixture to the arrays of a backend."""
    weights, components = mixture
    fields = (backend.asarray(np.asarray(a), dtype) for a in components)
    return ex.Mixture(backend.asarray(weights, dtype), type(components)(*fields))


def covariance_matrices(components) -> np.ndarray:
    """Covariances (k, d, d) of components of any Gaussian family."""
    k, d = components.means.shape
    covariances = components.covariances
    if covariances.shape == (k,):
        return covariances[:, None, None] * np.eye(d)
    if isinstance(components, ex.TiedGaussian):
        return np.broadcast_to(covariances, (k, d, d))
    return covariances if covariances.ndim == 3 else covariances[:, :, None] * np.eye(d)
