"""Rows of log-densities of any size: those whose exponentials overflow, and all others."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex

OFFSETS = np.asarray([0.0, -1.0, -40.0])
WEIGHTS = np.asarray([1.0, 2.0, 1.0])


@pytest.mark.backends("numpy", "jax", "array_api_strict", "torch")
@pytest.mark.parametrize(("dtype", "most"), [("float32", 100), ("float64", 800)])
def test_log_densities_of_any_size(backend, dtype, most):
    """Exponentials overflow at 88.7 and 709.8, and are subnormal below -87 and -708."""
    shifts = np.linspace(-most, most, 41).round()
    log_prob = shifts[:, None] + OFFSETS  # exact
    weights = backend.asarray(WEIGHTS, dtype)
    calls = [log_prob]
    if backend.name == "numpy":  # where the values of a block decide on the shift: also one by one
        calls += np.split(log_prob, len(log_prob))
    shares = WEIGHTS * np.exp(OFFSETS)
    for rows in calls:
        found = ex.posterior(backend.asarray(rows, dtype), weights)
        allowed = 16 * np.finfo(dtype).eps * (1 + np.abs(rows).max(axis=1))
        r = backend.to_numpy(found.responsibilities)
        error = np.abs(r / (shares / shares.sum()) - 1).max(axis=1)
        np.testing.assert_array_less(error, allowed, err_msg=str(rows[error >= allowed]))
        total = rows[:, 0] + np.log(shares.sum() / WEIGHTS.sum())
        np.testing.assert_array_less(abs(backend.to_numpy(found.log_likelihood) - total), allowed)
