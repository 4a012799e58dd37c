"""Log-likelihood, and with its gradient: ours beside automatic differentiation of the formula."""

from __future__ import annotations

from typing import Any, NamedTuple

import estep_xp as ex
from tests.benchmarks.jax_peers import arrays_of, blocking, plain_log_joint
from tests.benchmarks.problems import Case
from tests.benchmarks.timing import Call


class Pair(NamedTuple):
    """A total and the same with its gradient by the mixture, compiled."""

    value: Call
    gradient: Call  # value, and the mixture's gradient


def ours(case: Case) -> Pair:
    """The public function, differentiated as anybody would."""
    import jax

    x, mixture = jax.tree.map(jax.numpy.asarray, (case.x, case.mixture()))

    def total(mixture: ex.Mixture, x: Any) -> Any:
        return ex.log_likelihood(x, mixture)

    gradient = jax.jit(jax.value_and_grad(total))
    return Pair(blocking(jax.jit(total), mixture, x), blocking(gradient, mixture, x))


def plain(case: Case) -> Pair:
    """The einsum formulation with logsumexp, and what JAX makes of it."""
    import jax

    x, *parameters = arrays_of(case)
    log_joint = plain_log_joint(case.problem.family)

    def total(parameters: list[Any], x: Any) -> Any:
        return jax.numpy.sum(jax.nn.logsumexp(log_joint(x, *parameters), axis=1))

    gradient = jax.jit(jax.value_and_grad(total))
    return Pair(blocking(jax.jit(total), parameters, x), blocking(gradient, parameters, x))


def shown(case: Case, pair: Pair) -> list[Any]:
    """What both have: the total, and its slopes in the means, by row."""
    value, gradient = pair.gradient()
    means = gradient.components.means if isinstance(gradient, ex.Mixture) else gradient[1]
    n = len(case.x)
    return [pair.value() / n, value / n, means.reshape(case.problem.k, -1) / n]
