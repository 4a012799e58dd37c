"""MODEL.json: a Gaussian mixture as a file, read strictly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.files.strict_json import JsonObject, NumberToken, json_token
from estep_xp.files.errors import InputError, show_token

FORMAT = "estep_xp.mixture"
VERSION = 1


class _Family(NamedTuple):
    """How one family of components stands in the file."""

    components: type[Any]
    make: Callable[[Any, Any], Any]  # components from means and covariances
    means: str  # the axes of the means and the covariances: k components, d features
    covariances: str
    variances: bool  # whether the covariances are variances: all positive


_FAMILIES = {
    "univariate": _Family(ex.UnivariateGaussian, ex.UnivariateGaussian, "k", "k", True),
    "spherical": _Family(ex.SphericalGaussian, ex.SphericalGaussian, "kd", "k", True),
    "diagonal": _Family(ex.DiagonalGaussian, ex.DiagonalGaussian, "kd", "kd", True),
    "tied": _Family(ex.TiedGaussian, ex.TiedGaussian.from_covariance, "kd", "dd", False),
    "full": _Family(ex.FullGaussian, ex.FullGaussian.from_covariances, "kd", "kdd", False),
}
FAMILIES = tuple(_FAMILIES)


def components_class(family: str) -> type[Any]:
    """Return the class of the components of a family, by its name in the file."""
    return _FAMILIES[family].components


class Model(NamedTuple):
    """A Gaussian mixture in the numbers of its file.

    Attributes
    ----------
    family : str
        One of univariate, spherical, diagonal, tied and full.
    weights : ndarray of shape (k,)
        Mixing weights.
    means : ndarray of shape (k,) or (k, d)
        Means of the components.
    covariances : ndarray of shape (k,), (k, d), (d, d) or (k, d, d)
        Variances or covariances, by family.
    feature_names : sequence of str or None
        The names of the columns of its data, where these have names.
    """

    family: str
    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    covariances: NDArray[np.float64]
    feature_names: Sequence[str] | None = None

    @classmethod
    def from_mixture(cls, mixture: Any) -> Model:
        """Return the numbers that a file holds for `mixture`."""
        components = mixture.components
        family = next(
            name for name, one in _FAMILIES.items() if isinstance(components, one.components)
        )
        numbers = (mixture.weights, components.means, components.covariances)
        weights, means, covariances = (np.asarray(values, dtype=np.float64) for values in numbers)
        return cls(family, weights, means, covariances)

    def mixture(self) -> Any:
        """Return the mixture, on NumPy arrays; ValueError if a matrix is no covariance."""
        components = _FAMILIES[self.family].make(self.means, self.covariances)
        return ex.Mixture(self.weights, components)

    @property
    def n_components(self) -> int:
        """How many components the mixture has."""
        return int(self.means.shape[0])

    @property
    def n_features(self) -> int:
        """How many columns its data have."""
        return 1 if self.means.ndim == 1 else int(self.means.shape[1])


class ModelFile:
    """A file with a mixture, whose sizes and names are known before its numbers are read.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    InputError
        If there is no such file, it is no JSON, or describes no mixture: it names the value.
    SystemFailure
        If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._record = record = JsonObject(path)
        record.require("format", FORMAT)
        record.require("version", NumberToken(VERSION))
        name = record.get("family")
        if not isinstance(name, str) or name not in _FAMILIES:
            raise InputError(
                f"{path}: family",
                f"is {show_token(json_token(name))}; must be one of {', '.join(_FAMILIES)}",
            )
        self._name = name
        self._sizes = {"k": record.length("means")}
        if "d" in _FAMILIES[name].means:
            self._sizes["d"] = record.length("means", 0)
        self.n_components = self._sizes["k"]
        self.n_features = self._sizes.get("d", 1)
        self.feature_names = record.names("feature_names", self.n_features)

    def read(self) -> Model:
        """Return the mixture; InputError if its numbers are not those of one."""
        record, family, sizes = self._record, _FAMILIES[self._name], self._sizes
        weights = record.array("weights", (sizes["k"],), _not_negative)
        if not weights.any():
            raise record.error("weights", 0, "at least one weight must be positive")
        means = record.array("means", tuple(sizes[axis] for axis in family.means))
        covariances = record.array(
            "covariances",
            tuple(sizes[axis] for axis in family.covariances),
            _positive if family.variances else None,
        )
        model = Model(self._name, weights, means, covariances, self.feature_names)
        try:
            model.mixture()
        except (TypeError, ValueError) as error:  # not a covariance matrix
            raise InputError(str(self._path), str(error)) from error
        return model


def _positive(number: float) -> str | None:
    return None if number > 0 else "must be positive"


def _not_negative(number: float) -> str | None:
    return None if number >= 0 else "must not be negative"
