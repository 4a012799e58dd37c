"""E-step of a two-component mixture on Old Faithful's waiting times, with NumPy alone."""

from pathlib import Path

import numpy as np

import estep_xp as ex

data = Path(__file__).parent / "data" / "faithful.csv"
waiting = np.loadtxt(data, delimiter=",", skiprows=1, usecols=1)

# minutes to the next eruption: short waits and long ones
mixture = ex.Mixture([0.36, 0.64], ex.UnivariateGaussian([54.6, 80.1], [34.5, 34.4]))
result = ex.e_step(waiting, mixture)

print("waiting  short     long      label")
for i in range(6):
    short, long = result.responsibilities[i]
    print(f"{waiting[i]:7.0f}  {short:.6f}  {long:.6f}  {result.labels[i]}")

print("rows per label:", np.bincount(result.labels))
print(f"average max responsibility: {result.mean_max_responsibility:.6f}")
print(f"log-likelihood: {result.total_log_likelihood:.6f}")

unsure = waiting[np.argmax(result.entropy)]
print(f"least certain: a wait of {unsure:.0f} minutes")
