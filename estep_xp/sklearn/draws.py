"""Rows drawn as scikit-learn draws them: component after component, with NumPy's old generator."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from estep_xp.arrays.array_types import Array
from estep_xp.arrays.namespace import library_of, space_of, to_host


def draw(estimator: Any, n_samples: int) -> tuple[Array, Array]:
    """Rows (n, d) and labels (n,), arrays like the means, in the widest dtype of their library."""
    if n_samples < 1:
        raise ValueError(
            f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one "
            "sample."
        )
    weights, means, covariances = (
        _on_host(getattr(estimator, name)) for name in ("weights_", "means_", "covariances_")
    )
    if abs(weights.sum() - 1.0) > 1e-12:  # in single precision, or set by hand
        weights = weights / weights.sum()
    random = check_random_state(estimator.random_state)
    counts = random.multinomial(n_samples, weights)
    d, kind = means.shape[1], estimator.covariance_type
    if kind == "tied":
        covariances = np.broadcast_to(covariances, (len(means), d, d))
    parts = []
    for mean, covariance, count in zip(means, covariances, counts, strict=True):
        if kind in ("full", "tied"):
            parts.append(random.multivariate_normal(mean, covariance, int(count)))
        else:
            standard = random.standard_normal(size=(int(count), d))
            parts.append(mean + standard * np.sqrt(covariance))
    return _as_means(estimator.means_, np.vstack(parts), np.repeat(np.arange(len(means)), counts))


def _on_host(value: Any) -> np.ndarray[Any, Any]:
    host = to_host(value) if library_of(value) else np.asarray(value)
    return host.astype(np.float64)


def _as_means(
    means: Any, rows: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]
) -> tuple[Array, Array]:
    """Arrays of the library and on the device of the means."""
    space = space_of({"means": means})
    if space.library == "numpy":
        return rows, labels
    wide = space._replace(dtype=space.wide)
    xp, device = space.xp, space.device
    placed = xp.asarray(labels) if device is None else xp.asarray(labels, device=device)
    return wide.parameter("sample", rows), placed
