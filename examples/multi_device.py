"""Rows spread over eight devices: each keeps its own, and only sums are exchanged."""

import os
import re
from pathlib import Path

import numpy as np

import estep_xp as ex

# A stand-in for eight GPUs: JAX splits the CPU, if it is told so before it starts.
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

jax.config.update("jax_enable_x64", True)
# Devices that are parts of one CPU share its threads: one program at a time, lest two programs
# wait for each other.
jax.config.update("jax_cpu_enable_async_dispatch", False)

data = Path(__file__).parent / "data" / "faithful.csv"
rows = np.loadtxt(data, delimiter=",", skiprows=1)  # eruptions and waits; 272 = 8 * 34 of them
start = jax.tree.map(jnp.asarray, ex.initialize(rows, 2, ex.FullGaussian, seed=0))

mesh = Mesh(np.asarray(jax.devices()), ("rows",))
x = jax.device_put(rows, NamedSharding(mesh, PartitionSpec("rows")))


def lies(array):
    """How an array lies on the devices."""
    pieces = {shard.data.shape for shard in array.addressable_shards}
    return f"{array.shape} in {len(array.sharding.device_set)} pieces {pieces}"


def exchanges(function):
    """Operations by which devices exchange numbers, in the program compiled for this data."""
    text = jax.jit(function).lower(x, start).compile().as_text()
    return re.findall(r" (all-\w+|collective-\w+|reduce-scatter)(?:-start)?\(", text) or ["none"]


print("x:", lies(x))

# What there is one of for each row lies where the row lies: nothing has to move.
result = jax.jit(ex.e_step)(x, start)
print("responsibilities:", lies(result.responsibilities))
print("log_likelihood:", lies(result.log_likelihood))
print("e_step exchanges:", *exchanges(ex.e_step))

# Sums over all rows are added up on each device first; then there is one small exchange.
print("expected_statistics exchanges:", *exchanges(ex.expected_statistics))

# So a fit is the same program as ever, and finds the same on one device as on eight.
fit = jax.jit(ex.fit)
for name, observations in (("eight devices", x), ("one device", jnp.asarray(rows))):
    result = jax.block_until_ready(fit(observations, start))
    print(f"{name}: log-likelihood {result.log_likelihood:.8f} after {result.n_iter} iterations")
    print(f"{name}: weights", *(f"{weight:.6f}" for weight in result.mixture.weights))
    print(f"{name}: mean waits", *(f"{mean:.4f}" for mean in result.mixture.components.means[:, 1]))
