"""A mixture fitted by an optimiser of optax instead of EM: minus the log-likelihood, minimised."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import estep_xp as ex
import estep_xp.jax

jax.config.update("jax_enable_x64", True)

N_STEPS = 80

data = Path(__file__).parent / "data" / "faithful.csv"
geyser = jnp.asarray(np.loadtxt(data, delimiter=",", skiprows=1))
start = ex.initialize(geyser, 2, ex.FullGaussian, method="k-means++", seed=0)


def loss(parameters):
    """Minus the log-likelihood of a row, of parameters that may take any value."""
    return -ex.log_likelihood(geyser, ex.jax.constrain(parameters)) / len(geyser)


solver = optax.lbfgs()
value_and_gradient = optax.value_and_grad_from_state(loss)


def step(carry, _):
    """One step of L-BFGS, and the loss before it."""
    parameters, state = carry
    value, gradient = value_and_gradient(parameters, state=state)
    updates, state = solver.update(
        gradient, state, parameters, value=value, grad=gradient, value_fn=loss
    )
    return (optax.apply_updates(parameters, updates), state), value


@jax.jit
def minimise(mixture):
    """Mixture of the least loss, and the losses on the way."""
    parameters = ex.jax.unconstrain(mixture)
    carry = parameters, solver.init(parameters)
    (parameters, _), losses = jax.lax.scan(step, carry, length=N_STEPS)
    return ex.jax.constrain(parameters), losses


fitted, losses = minimise(start)
history = -len(geyser) * losses
print("start: log-likelihood", f"{history[0]:.6f}")
print("L-BFGS: log-likelihood", f"{ex.log_likelihood(geyser, fitted):.6f}", f"in {N_STEPS} steps")
em = ex.fit(geyser, start, tol=1e-10, variance_floor=0.0)
print("EM: log-likelihood", f"{em.log_likelihood:.6f}", f"in {em.n_iter} iterations")
for name, mixture in (("L-BFGS", fitted), ("EM", em.mixture)):
    print(f"{name}: weights", *(f"{weight:.6f}" for weight in mixture.weights))
    print(f"{name}: mean waits", *(f"{mean:.4f}" for mean in mixture.components.means[:, 1]))
