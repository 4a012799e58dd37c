"""PyTorch differentiates the same functions: a mixture fitted by one of its optimisers."""

from pathlib import Path

import numpy as np
import torch

import estep_xp as ex

N_STEPS = 40

data = Path(__file__).parent / "data" / "faithful.csv"
geyser = torch.asarray(np.loadtxt(data, delimiter=",", skiprows=1))
start = ex.initialize(geyser, 2, ex.DiagonalGaussian, method="k-means++", seed=0)

# Parameters that may take any value: logits, means and log-variances.
logits = torch.log(start.weights).requires_grad_()
means = start.components.means.clone().requires_grad_()
log_variances = torch.log(start.components.variances).requires_grad_()
parameters = [logits, means, log_variances]


def constrained():
    """Mixture that the parameters stand for."""
    components = ex.DiagonalGaussian(means, torch.exp(log_variances))
    return ex.Mixture(torch.softmax(logits, dim=0), components)


def loss():
    """Minus the log-likelihood of a row, and in each parameter its gradient."""
    optimiser.zero_grad()
    value = -ex.log_likelihood(geyser, constrained()) / len(geyser)
    value.backward()
    return value


optimiser = torch.optim.LBFGS(parameters, max_iter=N_STEPS, line_search_fn="strong_wolfe")

value = loss()
print(f"start: log-likelihood {-len(geyser) * value.item():.6f}")
print("gradient by the mean waits", *(f"{slope:.6f}" for slope in means.grad[:, 1]))

optimiser.step(loss)
with torch.no_grad():
    fitted = constrained()
    print(f"L-BFGS: log-likelihood {ex.log_likelihood(geyser, fitted):.6f}")
    em = ex.fit(geyser, start, tol=1e-10, variance_floor=0.0)
print(f"EM: log-likelihood {em.log_likelihood:.6f}")
for name, mixture in (("L-BFGS", fitted), ("EM", em.mixture)):
    print(f"{name}: weights", *(f"{weight:.6f}" for weight in mixture.weights))
    print(f"{name}: mean waits", *(f"{mean:.4f}" for mean in mixture.components.means[:, 1]))
