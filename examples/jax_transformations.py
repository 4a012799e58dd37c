"""The E-step under jit, vmap and grad, and a mixture fitted by gradient ascent."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import estep_xp as ex

jax.config.update("jax_enable_x64", True)  # without this line JAX computes in float32

data = Path(__file__).parent / "data" / "faithful.csv"
waiting = jnp.asarray(np.loadtxt(data, delimiter=",", skiprows=1, usecols=1))


def two_waits(short, long):
    """Mixture of short and long waits (minutes) with the given means."""
    variances = jnp.asarray([34.5, 34.4])
    components = ex.UnivariateGaussian(jnp.asarray([short, long]), variances)
    return ex.Mixture(jnp.asarray([0.36, 0.64]), components)


# jit: data and mixture are both traced, so a new mixture needs no new compilation
result = jax.jit(ex.e_step)(waiting, two_waits(54.6, 80.1))
print(f"jit: log-likelihood {result.total_log_likelihood:.6f}")

# vmap: a batch of mixtures is one mixture whose arrays have a leading axis
starts = jnp.asarray([50.0, 55.0, 60.0])
batch = jax.vmap(two_waits, in_axes=(0, None))(starts, 80.0)
totals = jax.vmap(ex.log_likelihood, in_axes=(None, 0))(waiting, batch)
print("vmap: log-likelihoods", *(f"{total:.6f}" for total in totals))

# grad: the gradient with respect to a mixture is a mixture
gradient = jax.grad(ex.log_likelihood, argnums=1)(waiting, two_waits(55.0, 80.0))
print("grad: by the means", *(f"{entry:.6f}" for entry in gradient.components.means))


# Gradient ascent on parameters that may take any value: logits and log-variances.
def constrain(parameters):
    """Mixture that stands for a tuple of logits, means and log-variances."""
    logits, means, log_variances = parameters
    return ex.Mixture(jax.nn.softmax(logits), ex.UnivariateGaussian(means, jnp.exp(log_variances)))


centre, scale = waiting.mean(), waiting.std()
standardised = (waiting - centre) / scale


def mean_log_likelihood(parameters):
    """Average log-likelihood of a row."""
    return ex.log_likelihood(standardised, constrain(parameters)) / waiting.size


def ascend(parameters, _):
    """One step uphill, and the height before it."""
    height, slope = jax.value_and_grad(mean_log_likelihood)(parameters)
    return jax.tree.map(lambda old, up: old + 0.5 * up, parameters, slope), height


start = (jnp.zeros(2), jnp.asarray([-1.0, 1.0]), jnp.zeros(2))
parameters, heights = jax.jit(lambda start: jax.lax.scan(ascend, start, length=400))(start)
history = waiting.size * (heights - jnp.log(scale))  # back to the density per minute
fitted = constrain(parameters)

print("ascent: log-likelihood", *(f"{history[step]:.6f}" for step in (0, 10, 100, 399)))
print("ascent: weights", *(f"{weight:.4f}" for weight in fitted.weights))
print("ascent: means", *(f"{centre + scale * m:.4f}" for m in fitted.components.means))
