"""Old Faithful's eruptions as a sequence: EM and Viterbi in NumPy, gradient ascent in JAX."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import estep_xp as ex

jax.config.update("jax_enable_x64", True)  # without this line JAX computes in float32

data = Path(__file__).parent / "data" / "faithful.csv"
eruptions = np.loadtxt(data, delimiter=",", skiprows=1, usecols=0)

# NumPy: EM from a mixture, which knows nothing of the order of rows.
mixture = ex.fit(eruptions, ex.initialize(eruptions, 2, ex.UnivariateGaussian)).mixture
short_first = np.argsort(mixture.components.means)
components = ex.UnivariateGaussian(*(values[short_first] for values in mixture.components))
mixture = ex.Mixture(mixture.weights[short_first], components)
start = ex.HMM.from_mixture(mixture, stay=0.5)
hmm = ex.fit(eruptions, start, tol=1e-10).mixture
print(f"BIC: mixture {ex.bic(eruptions, mixture):.3f}, chain {ex.bic(eruptions, hmm):.3f}")
print("EM: transitions", *(f"{p:.4f}" for p in hmm.transitions.ravel()))
print(f"EM: log-likelihood {ex.log_likelihood(eruptions, hmm):.6f}")

path = ex.decode(eruptions, hmm)
print("Viterbi:", "".join("SL"[label] for label in path.labels[:40]))
last = ex.filtered(eruptions, hmm).last
print("next: short with probability", *(f"{p:.4f}" for p in ex.forecast(hmm, last, 3)[:, 0, 0]))

# JAX: the same function, differentiated, on parameters that may take any value.
x = jnp.asarray(eruptions)


def constrain(parameters):
    """Chain that stands for logits, means and log-variances."""
    initial, transitions, means, log_variances = parameters
    components = ex.UnivariateGaussian(means, jnp.exp(log_variances))
    return ex.HMM(jax.nn.softmax(initial), jax.nn.softmax(transitions), components)


def mean_log_likelihood(parameters):
    """Average log-likelihood of a row."""
    return ex.log_likelihood(x, constrain(parameters)) / x.size


def ascend(parameters, _):
    """One step uphill, and the height before it."""
    height, slope = jax.value_and_grad(mean_log_likelihood)(parameters)
    return jax.tree.map(lambda old, up: old + 0.3 * up, parameters, slope), height


begin = (
    jnp.log(jnp.asarray(start.initial)),
    jnp.log(jnp.asarray(start.transitions)),
    jnp.asarray(start.components.means),
    jnp.log(jnp.asarray(start.components.variances)),
)
parameters, heights = jax.jit(lambda begin: jax.lax.scan(ascend, begin, length=400))(begin)
climbed = constrain(parameters)
print("ascent: log-likelihood", *(f"{x.size * heights[step]:.4f}" for step in (0, 10, 100, 399)))
print("ascent: transitions", *(f"{p:.4f}" for p in climbed.transitions.ravel()))
