"""A Bayesian mixture in numpyro: priors of your own, the likelihood as one factor."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro import distributions as dist
from numpyro.infer import MCMC, NUTS, init_to_value

import estep_xp as ex

jax.config.update("jax_enable_x64", True)

N_WARMUP, N_SAMPLES = 300, 1000

data = Path(__file__).parent / "data" / "faithful.csv"
waiting = jnp.asarray(np.loadtxt(data, delimiter=",", skiprows=1, usecols=1))


def model(x):
    """Two kinds of waits; the components are summed out, so NUTS meets nothing discrete."""
    weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(2)))
    with numpyro.plate("components", 2):
        means = numpyro.sample("means", dist.Normal(70.0, 20.0))
        deviations = numpyro.sample("deviations", dist.HalfNormal(20.0))
    mixture = ex.Mixture(weights, ex.UnivariateGaussian(means, deviations**2))
    numpyro.factor("rows", ex.log_likelihood(x, mixture))


# The maximum of the likelihood: where the chain starts, and what its means should be near.
fit = ex.fit(waiting, ex.initialize(waiting, 2, ex.UnivariateGaussian, seed=0), tol=1e-10)
weights, (means, variances) = fit.mixture
most_likely = {"weights": weights, "means": means, "deviations": jnp.sqrt(variances)}

sampler = MCMC(
    NUTS(model, init_strategy=init_to_value(values=most_likely)),
    num_warmup=N_WARMUP,
    num_samples=N_SAMPLES,
    progress_bar=False,
)
sampler.run(jax.random.key(0), waiting)
samples = sampler.get_samples()

for name, values in most_likely.items():
    print(f"{name}: most likely", *(f"{value:.4f}" for value in values))
    print(f"{name}: posterior mean", *(f"{value:.4f}" for value in samples[name].mean(axis=0)))
    print(f"{name}: posterior deviation", *(f"{value:.4f}" for value in samples[name].std(axis=0)))
