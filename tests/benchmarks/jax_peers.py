"""Peers of the E-step on JAX arrays: plain JAX in two ways, numpyro, gmmx; and PyTorch's."""

from __future__ import annotations

import functools
import math
from typing import Any

from tests.benchmarks.peers import Peer
from tests.benchmarks.problems import Case
from tests.benchmarks.timing import Call

_PER_COMPONENT = ("univariate", "spherical", "diagonal")


def blocking(function: Any, *args: Any) -> Call:
    """A call that returns when its results are there."""
    import jax

    return lambda: jax.block_until_ready(function(*args))


def plain_residuals(case: Case) -> Call:
    """As one writes it down: residuals, standardised, squared and summed."""
    return _plain(case, plain_log_joint(case.problem.family))


def plain_log_joint(family: str) -> Any:
    """That formula, a function of the arrays of `arrays_of`."""
    import jax.numpy as jnp

    def distances(x, means, factors):
        residuals = x[:, None, :] - means
        if family == "full":
            residuals = jnp.einsum("nkd,kde->nke", residuals, factors)
        elif family == "tied":
            residuals = jnp.einsum("nkd,de->nke", residuals, factors)
        else:
            residuals = residuals * factors
        return jnp.sum(residuals**2, axis=-1)

    return _log_joint(family, distances)


def plain_expanded(case: Case) -> Call:
    """Cheaper: rows and means multiplied with the factors one by one, or the square expanded."""
    import jax.numpy as jnp

    def distances(x, means, factors):
        if case.problem.family == "full":
            at_means = jnp.einsum("kd,kde->ke", means, factors)
            return jnp.sum((jnp.einsum("nd,kde->nke", x, factors) - at_means) ** 2, axis=-1)
        if case.problem.family == "tied":
            return jnp.sum(((x @ factors)[:, None, :] - means @ factors) ** 2, axis=-1)
        precisions = jnp.broadcast_to(factors**2, means.shape)
        constant = jnp.sum(means**2 * precisions, axis=-1)
        return x**2 @ precisions.T - 2.0 * x @ (means * precisions).T + constant

    return _plain(case, _log_joint(case.problem.family, distances))


def _log_joint(family: str, distances: Any) -> Any:
    import jax.numpy as jnp

    def log_joint(x, weights, means, factors):
        diagonal = factors
        if family not in _PER_COMPONENT:
            diagonal = jnp.diagonal(factors, axis1=-2, axis2=-1)
        log_determinants = jnp.sum(jnp.log(jnp.broadcast_to(diagonal, means.shape)), axis=-1)
        constants = jnp.log(weights) + log_determinants - 0.5 * x.shape[1] * math.log(2 * math.pi)
        return constants - 0.5 * distances(x, means, factors)

    return log_joint


def _plain(case: Case, log_joint: Any) -> Call:
    import jax

    @jax.jit
    def e_step(*arrays):
        q = log_joint(*arrays)
        return jax.nn.softmax(q, axis=1), jax.nn.logsumexp(q, axis=1)

    return blocking(e_step, *arrays_of(case))


def arrays_of(case: Case) -> list[Any]:
    """Rows (n, d), weights, means (k, d), factors (k, d), (k, 1) or matrices."""
    import jax.numpy as jnp

    factors = case.precision_cholesky
    if case.problem.family in _PER_COMPONENT:
        factors = factors.reshape(case.problem.k, -1)
    means = case.means.reshape(case.problem.k, -1)
    return [jnp.asarray(a) for a in (case.table, case.weights, means, factors)]


def plain_univariate(case: Case) -> Call:
    """The formula in one dimension, and exp(q - logsumexp(q)) in place of a softmax."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def e_step(x, weights, means, variances):
        distances = (x[:, None] - means) ** 2 / variances
        q = jnp.log(weights) - 0.5 * (distances + jnp.log(2 * math.pi * variances))
        log_likelihood = jax.nn.logsumexp(q, axis=1)
        return jnp.exp(q - log_likelihood[:, None]), log_likelihood

    arrays = (case.x, case.weights, case.means, case.covariances)
    return blocking(e_step, *map(jnp.asarray, arrays))


def numpyro_mixture(case: Case) -> Call:
    """MixtureSameFamily of numpyro: its component log-probabilities have the weights in them."""
    import jax
    import jax.numpy as jnp
    import numpyro.distributions as dist

    @jax.jit
    def e_step(x, weights, means, factors):
        mixing = dist.CategoricalProbs(weights)
        mixture = dist.MixtureSameFamily(mixing, _distribution(dist, jnp, case, means, factors))
        log_joint = mixture.component_log_probs(x)
        log_likelihood = jax.nn.logsumexp(log_joint, axis=1)
        return jnp.exp(log_joint - log_likelihood[:, None]), log_likelihood

    return blocking(e_step, *_scaled(case, jnp.asarray))


def _distribution(dist: Any, xp: Any, case: Case, means: Any, scale: Any) -> Any:
    """Component distributions of numpyro or PyTorch, whose names are the same."""
    if case.problem.family == "univariate":
        return dist.Normal(means, scale)
    if case.problem.family in _PER_COMPONENT:
        independent = dist.Normal(means, xp.broadcast_to(scale, means.shape))
        return (
            independent.to_event(1)
            if hasattr(independent, "to_event")
            else dist.Independent(independent, 1)
        )
    return dist.MultivariateNormal(means, scale_tril=scale)


def _scaled(case: Case, asarray: Any) -> list[Any]:
    """Rows, weights, means and standard deviations or lower factors of the covariances."""
    import numpy as np

    second = case.covariances
    if case.problem.family in _PER_COMPONENT:
        second = np.sqrt(second)
        second = second[:, None] if case.problem.family == "spherical" else second
    else:
        second = np.linalg.cholesky(second)
    return [asarray(a) for a in (case.x, case.weights, case.means, second)]


def gmmx_mixture(case: Case) -> Call:
    """gmmx, which knows float32 only and so needs JAX's default mode."""
    import jax

    with jax.enable_x64(False):
        x, mixture = jax.numpy.asarray(case.x), gmmx_model(case)

    @jax.jit
    def e_step(x, mixture):
        log_prob = mixture.log_prob(x)[:, :, 0, 0]
        log_likelihood = jax.nn.logsumexp(log_prob, axis=1)
        return jax.numpy.exp(log_prob - log_likelihood[:, None]), log_likelihood

    return in_float32(blocking(e_step, x, mixture))


def gmmx_model(case: Case) -> Any:
    """The mixture as gmmx has it; inside of `jax.enable_x64(False)`."""
    import jax.numpy as jnp
    from gmmx import GaussianMixtureModelJax

    kind = {"diagonal": "diag", "full": "full"}[case.problem.family]
    arrays = map(jnp.asarray, (case.means, case.covariances, case.weights))
    return GaussianMixtureModelJax.from_squeezed(*arrays, covariance_type=kind)


def in_float32(call: Call) -> Call:
    """The call in JAX's default mode."""
    import jax

    @functools.wraps(call)
    def wrapped():
        with jax.enable_x64(False):
            return call()

    return wrapped


def gmmx_can(case: Case) -> bool:
    """There are two families in gmmx, in float32."""
    return case.problem.dtype == "float32" and case.problem.family in ("diagonal", "full")


def pytorch(case: Case) -> Call:
    """torch.distributions, without gradients."""
    import torch
    from torch import distributions as dist

    x, weights, means, scale = _scaled(case, torch.from_numpy)
    mixing = dist.Categorical(weights)
    components = _distribution(dist, torch, case, means, scale)
    rows = x[:, None] if case.problem.family == "univariate" else x[:, None, :]

    def call():
        with torch.no_grad():
            log_joint = components.log_prob(rows) + torch.log_softmax(mixing.logits, -1)
            log_likelihood = torch.logsumexp(log_joint, dim=1)
            return torch.exp(log_joint - log_likelihood[:, None]), log_likelihood

    return call


def _on_cpu(case: Case) -> bool:
    import jax

    del case
    return jax.default_backend() == "cpu"


def _is_univariate(case: Case) -> bool:
    return case.problem.family == "univariate"


def _is_multivariate(case: Case) -> bool:
    return not _is_univariate(case)


PEERS = (
    Peer("plain JAX", "jax", plain_univariate, _is_univariate),
    Peer("plain JAX", "jax", plain_residuals, _is_multivariate),
    Peer("plain JAX, 2nd way", "jax", plain_residuals, _is_univariate),
    Peer("plain JAX, 2nd way", "jax", plain_expanded, _is_multivariate),
    Peer("numpyro", "numpyro", numpyro_mixture),
    Peer("gmmx", "gmmx", gmmx_mixture, gmmx_can),
    Peer("PyTorch", "torch", pytorch, _on_cpu),
)
