"""The oracle of chains against sums over all paths."""

from __future__ import annotations

import numpy as np
import pytest

from tests import chain_oracle


@pytest.mark.parametrize("varying", [False, True])
def test_forward_backward_is_the_sum_over_all_paths(varying):
    rng = np.random.default_rng(1)
    log_prob, initial = rng.normal(size=(5, 3)) * 3, rng.random(3)
    transitions = rng.random((5, 3, 3) if varying else (3, 3))
    transitions[..., 0, 2] = 0.0
    smoothed = chain_oracle.smooth(log_prob, initial, transitions)
    paths = chain_oracle.brute_force(log_prob, initial, transitions)
    np.testing.assert_allclose(smoothed.log_likelihood, paths.log_likelihood, rtol=1e-15)
    for name in ("responsibilities", "transitions", "initial"):
        np.testing.assert_allclose(
            getattr(smoothed, name), getattr(paths, name), rtol=1e-14, err_msg=name
        )
