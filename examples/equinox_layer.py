"""A mixture as a layer of an equinox model: how long the next wait is, given the eruption."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import estep_xp as ex
import estep_xp.jax

jax.config.update("jax_enable_x64", True)

N_STEPS = 300

data = Path(__file__).parent / "data" / "faithful.csv"
durations, waits = jnp.asarray(np.loadtxt(data, delimiter=",", skiprows=1)).T
durations = (durations - durations.mean()) / durations.std()


class Forecast(eqx.Module):
    """Mixture of waits whose weights a network makes of an eruption's duration."""

    network: eqx.nn.MLP
    components: ex.UnivariateGaussian  # means, and log-variances

    def __call__(self, duration):
        """Mixture for one duration."""
        logits = self.network(duration[None])
        return ex.jax.constrain(ex.jax.Unconstrained(logits, self.components))


def log_likelihood(model, durations, waits):
    """Log-likelihood of the waits: under vmap, each row has a mixture of its own."""
    rows = jax.vmap(lambda duration, wait: ex.log_likelihood(wait[None], model(duration)))
    return jnp.sum(rows(durations, waits))


def initial_model():
    """Forecast with a random network."""
    start = ex.initialize(waits, 2, ex.UnivariateGaussian, seed=0)
    network = eqx.nn.MLP(1, 2, width_size=8, depth=1, activation=jnp.tanh, key=jax.random.key(0))
    return Forecast(network, ex.jax.unconstrain(start).components)


def loss(model):
    """What training makes small."""
    return -log_likelihood(model, durations, waits) / len(waits)


def train(model):
    """Train all that is an array in the model, and return it with the losses."""
    solver = optax.adam(0.05)
    arrays, rest = eqx.partition(model, eqx.is_array)

    def step(carry, _):
        arrays, state = carry
        value, gradient = eqx.filter_value_and_grad(loss)(eqx.combine(arrays, rest))
        updates, state = solver.update(gradient, state)
        return (eqx.apply_updates(arrays, updates), state), value

    carry, losses = jax.lax.scan(step, (arrays, solver.init(arrays)), length=N_STEPS)
    return eqx.combine(carry[0], rest), losses


def length(tree):
    """Length of all numbers in a tree as one vector."""
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))


def main():
    """Print what the gradient reaches, what training gains, and forecasts."""
    model = initial_model()
    gradient = eqx.filter_jit(eqx.filter_grad(loss))(model)
    print(f"gradient by the network: {length(eqx.filter(gradient.network, eqx.is_array)):.6f}")
    print(f"gradient by the components: {length(gradient.components):.6f}")

    trained, losses = eqx.filter_jit(train)(model)
    print(f"before training: log-likelihood {-len(waits) * losses[0]:.4f}")
    print(f"after {N_STEPS} steps: log-likelihood {log_likelihood(trained, durations, waits):.4f}")
    still = ex.fit(waits, ex.initialize(waits, 2, ex.UnivariateGaussian, seed=0), tol=1e-10)
    print(f"same weights for all rows: log-likelihood {still.log_likelihood:.4f}")
    print("means", *(f"{mean:.4f}" for mean in trained.components.means))
    for quantile in (0.1, 0.9):
        weights = trained(jnp.quantile(durations, quantile)).weights
        print(f"weights at quantile {quantile}:", *(f"{weight:.4f}" for weight in weights))


if __name__ == "__main__":
    main()
