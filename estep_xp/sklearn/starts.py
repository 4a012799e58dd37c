"""Where EM starts: scikit-learn's own choices with the same random numbers, or `initialize`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus

from estep_xp import execution
from estep_xp.arrays.array_types import Array
from estep_xp.arrays.namespace import is_concrete, library_of, space_of, to_host
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.validation import are_finite
from estep_xp.em.estimate import estimate, estimate_at_means
from estep_xp.em.initialize import initialize
from estep_xp.mixture.mixture import Mixture
from estep_xp.sklearn.checks import is_finite
from estep_xp.sklearn.covariance_types import CovarianceType
from estep_xp.sklearn.em import ill_defined


class Start:
    """Starting mixtures for rows, one after the other."""

    def __init__(
        self,
        kind: CovarianceType,
        k: int,
        method: str,
        given: dict[str, Any],
        floor: float,
        random: np.random.RandomState,
    ) -> None:
        self.kind, self.k, self.method = kind, k, method
        self.given, self.floor, self.random = given, floor, random

    @property
    def is_given(self) -> bool:
        """Whether nothing is left to be chosen."""
        return len(self.given) == 3

    def mixture(self, x: Array, sample_weight: Array | None, *, softened: bool = False) -> Mixture:
        """Choose a start; initial parameters that are given take the place of those chosen.

        With `softened` each component is a little like all rows together, so that none begins
        collapsed upon a single row: for starts from few rows.
        """
        space = space_of({"X": x})
        given = {name: space.parameter(f"{name}_init", a) for name, a in self.given.items()}
        weights: Any = None
        components: Any = None
        if not self.is_given:
            weights, components = self._choose(x, sample_weight, softened=softened)
        weights = given.get("weights", weights)
        if "precisions" in given:
            means = given["means"] if components is None else components.means
            components = self.kind.from_precisions(means, given["precisions"])
        if "means" in given:
            components = components._replace(means=given["means"])
        return Mixture(weights, components)

    def _choose(self, x: Array, sample_weight: Array | None, *, softened: bool) -> Mixture:
        if self.method == "auto":
            seed = int(self.random.randint(2**31 - 1))
            return initialize(x, self.k, self.kind.family, seed=seed, sample_weight=sample_weight)
        shares, is_soft = self._shares(x, sample_weight)
        if softened:
            n, d = x.shape
            if shares.ndim == 1:
                shares = (shares[:, None] == np.arange(self.k)).astype(np.float64)
            shares = shares + (d + 1) / n
        elif not is_soft:
            sample_weight = None  # of single rows each counts alike
        known = self._at_means(x, shares) if sample_weight is None else None
        with ill_defined(lambda: is_finite(x)):
            if known is not None:
                return estimate_at_means(x, *known, self.floor)
            return estimate(
                x,
                _beside(x, shares),
                self.kind.family,
                n_components=self.k,
                sample_weight=sample_weight,
                variance_floor=self.floor,
            )

    def _at_means(self, x: Any, shares: Any) -> tuple[Any, Any] | None:
        """Responsibilities (n, k), and components at the means of their rows, of NumPy.

        `estimate` would look at the rows twice more to find these. None where it has to: where
        there is no such mean, or rows are of another library.
        """
        if library_of(x) != "numpy":
            return None
        if shares.ndim == 1:
            shares = shares[:, None] == np.arange(self.k)
        shares = shares.astype(x.dtype, copy=False)
        means = quietly(_means, x, shares)
        if not are_finite(means):
            return None
        return shares, self.kind.family._spread_rows(np, means, np.ones_like(means[0]), 2)

    def _shares(self, x: Array, sample_weight: Array | None) -> tuple[np.ndarray[Any, Any], bool]:
        """Responsibilities or labels of rows, and whether these are of all rows."""
        n, k, random = int(x.shape[0]), self.k, self.random
        if self.method == "random":
            shares = random.uniform(size=(n, k))
            return shares / shares.sum(axis=1, keepdims=True), True
        weight = None if sample_weight is None else _on_host(sample_weight)
        if self.method == "random_from_data":
            rows = n if weight is None else np.flatnonzero(weight)
            places = random.choice(rows, size=k, replace=False)
        else:
            host = _on_host(x)
            if self.method == "kmeans":
                model = KMeans(n_clusters=k, n_init=1, random_state=random)
                return model.fit(host, sample_weight=weight).labels_, True
            _, places = kmeans_plusplus(host, k, sample_weight=weight, random_state=random)
        labels = np.full(n, -1)
        labels[places] = np.arange(k)
        return labels, False


def _means(x: np.ndarray[Any, Any], shares: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Means (k, d) of rows by shares (n, k), not finite where a component has no rows."""
    centre = x.mean(axis=0)
    means: np.ndarray[Any, Any] = centre + shares.T @ (x - centre) / shares.sum(axis=0)[:, None]
    return means


def _on_host(array: Array) -> np.ndarray[Any, Any]:
    """Rows as scikit-learn's k-means takes them."""
    if not is_concrete(array) or library_of(array) == "dask":
        (array,) = execution.driver_of(array).materialize((array,))
    return to_host(array)


def _beside(x: Array, shares: np.ndarray[Any, Any]) -> Any:
    """Responsibilities or labels as an array of the library of rows."""
    space = space_of({"X": x})
    if shares.dtype.kind == "f":
        return space.parameter("responsibilities", shares)
    if space.library in ("numpy", "dask"):
        return shares
    return space.xp.asarray(shares, device=space.device)
