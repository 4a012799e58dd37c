"""The objective `gmm` of GradBench and ADBench, and what its gradient costs beside others."""

import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import multigammaln

import estep_xp as ex

jax.config.update("jax_enable_x64", True)

SIZES = ((2, 5), (8, 10), (64, 100))  # d, K

# Time of a gradient over time of the objective at n = 1000, as others have published it.
PUBLISHED = {
    "C++ by hand": "1.8 to 4.0",
    "Tapenade": "2.3 to 4.4",
    "Enzyme": "4.7 to 11",
    "Futhark in C": "3.0 to 5.9",
    "PyTorch": "1.8 to 3.3",
}


def objective(alphas, means, icf, x, gamma=1.0, m=0):
    """Log-likelihood plus the Wishart prior's log-density, as GradBench writes it.

    ADBench, from which it comes, has the prior with the opposite sign.
    """
    d = x.shape[1]
    logarithms, others = icf[:, :d], icf[:, d:]
    # GradBench's factor Q, column by column below its diagonal, is the transpose of ours, row by
    # row above it. So it is taken as it is: nothing is inverted, and no covariance is formed,
    # which would be hopeless at the condition numbers of 1e16 that occur.
    diagonals = jnp.exp(logarithms)
    rows, columns = np.triu_indices(d, k=1)
    factors = jax.vmap(jnp.diag)(diagonals).at[:, rows, columns].set(others)
    mixture = ex.Mixture(jax.nn.softmax(alphas), ex.FullGaussian(means, factors))

    degrees = d + m + 1
    constant = degrees * d * jnp.log(gamma / np.sqrt(2.0)) - multigammaln(degrees / 2, d)
    squares = jnp.sum(diagonals**2) + jnp.sum(others**2)
    prior = len(means) * constant - gamma**2 / 2 * squares + m * jnp.sum(logarithms)
    return ex.log_likelihood(x, mixture) + prior


def instance(d, k, n=1000):
    """Random arguments: of GradBench's distributions, though not its numbers."""
    random = np.random.default_rng([d, k])
    arguments = (
        random.standard_normal(k),
        random.random((k, d)),
        random.standard_normal((k, d * (d + 1) // 2)),
        random.standard_normal((n, d)),
    )
    return tuple(map(jnp.asarray, arguments))


def seconds(functions, arguments, rounds=15):
    """Median time of each compiled function, called in turns."""
    for function in functions:
        jax.block_until_ready(function(*arguments))  # compiles it
    taken = [[] for _ in functions]
    for _ in range(rounds):
        for function, times in zip(functions, taken, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(function(*arguments))
            times.append(time.perf_counter() - start)
    return map(statistics.median, taken)


def main(sizes):
    """Print a line for each size, and what others take."""
    value = jax.jit(objective)
    both = jax.jit(jax.value_and_grad(objective, argnums=(0, 1, 2)))
    print(" d    K       objective  objective, ms  with gradient, ms  ratio")
    for d, k in sizes:
        arguments = instance(d, k)
        plain, with_gradient = seconds((value, both), arguments)
        print(
            f"{d:2} {k:4} {value(*arguments):15.6f} {1e3 * plain:14.3f} "
            f"{1e3 * with_gradient:18.3f} {with_gradient / plain:6.2f}"
        )
    for name, ratio in PUBLISHED.items():
        print(f"{name}: {ratio}")


if __name__ == "__main__":
    # Other sizes are given as 16x25 64x25, say.
    given = [tuple(map(int, size.split("x"))) for size in sys.argv[1:]]
    main(given or SIZES)
