"""Two groups that drift, followed batch by batch with `partial_fit`, and the picture of it."""

import sys

import matplotlib as mpl
import numpy as np

mpl.use("agg")

import matplotlib.pyplot as plt

from estep_xp.sklearn import GaussianMixture

N_BATCHES, N_ROWS = 200, 100
STEP = 0.1  # of a batch in what is known: old batches are forgotten, by half in seven of them


def centres(t):
    """Where the two groups are at the time of batch t."""
    angle = 2 * np.pi * t / N_BATCHES
    return np.array([[-3 + np.sin(angle), 0.0], [3 - np.sin(angle), 2 * (1 - np.cos(angle))]])


def batch(t):
    """Rows of that time: 30 % of the first group, 70 % of the second."""
    random = np.random.default_rng([0, t])
    group = (random.random(N_ROWS) < 0.7).astype(int)
    return centres(t)[group] + random.standard_normal((N_ROWS, 2))


def in_order(gm):
    """Means of the components, the one further left first."""
    return gm.means_[np.argsort(gm.means_[:, 0])]


def draw(path, found, true):
    """Draw the paths of the true centres and of the means that were found."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    rows = np.concatenate([batch(t) for t in range(0, N_BATCHES, 20)])
    axes.plot(*rows.T, ".", color="0.8", markersize=2, label="some rows")
    for group, colour in enumerate(("C0", "C1")):
        axes.plot(*true[:, group].T, "--", color="0.3", label="centre" if group == 0 else None)
        axes.plot(*found[:, group].T, color=colour, label=f"mean of component {group}")
    axes.set(title=f"{N_BATCHES} batches of {N_ROWS} rows, step size {STEP}", aspect="equal")
    axes.legend()
    figure.savefig(path, dpi=120)


following = GaussianMixture(2, random_state=0)
averaging = GaussianMixture(2, random_state=0)
found, true, late = [], [], []
for t in range(N_BATCHES):
    following.partial_fit(batch(t), step_size=STEP)
    averaging.partial_fit(batch(t))  # steps that become shorter: for rows that do not drift
    found.append(in_order(following))
    true.append(centres(t))
    late.append([np.abs(in_order(gm) - centres(t)).max() for gm in (following, averaging)])

off, off_averaging = np.mean(late[20:], axis=0)
print(f"following, step size {STEP}: means are off by {off:.2f} on average")
print(f"step size t ** -0.6: by {off_averaging:.2f}")
print(f"log-likelihood per row, a running mean: {following.lower_bound_:.2f}")
draw(sys.argv[1] if len(sys.argv) > 1 else "drifting_stream.png", np.array(found), np.array(true))
