"""MODEL.json: a Gaussian mixture as a file, read strictly and written exactly."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.cli.system.files import reading, replacing, writing
from estep_xp.cli.text.errors import InputError, shown
from estep_xp.cli.text.numbers import parse_number

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


def components_of(family: str) -> type[Any]:
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


def encode_model(model: Model) -> bytes:
    """Return the content of a file that holds `model`: the same numbers give the same bytes."""
    record: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    if model.feature_names is not None:
        record["feature_names"] = list(model.feature_names)
    record["family"] = model.family
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
    for key in ("weights", "means", "covariances"):
        # repr, which json.dumps uses, writes the shortest digits that read back as the same float.
        numbers = json.dumps(getattr(model, key).tolist(), allow_nan=False)
        lines.append(f"  {json.dumps(key)}: {numbers}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def write_model(path: Path, model: Model) -> None:
    """Write `model` to `path`, replacing what is there.

    Raises
    ------
    SystemFailure
        If it cannot be written.
    """
    with replacing(path) as file, writing(path):
        file.write(encode_model(model))


def require_model_name(path: Path) -> None:
    """Raise InputError unless the name is one for a model's file."""
    if path.suffix.lower() != ".json":
        raise InputError(str(path), "must end in .json, which is the format of models")


def read_model(path: Path) -> Model:
    """Return the mixture in the file at `path`.

    Raises
    ------
    InputError
        If there is no such file, it is no JSON, or describes no mixture: it names the value.
    SystemFailure
        If it cannot be read.
    """
    return ModelFile(path).read()


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
        self._record = record = _Record(path)
        record.require("format", FORMAT)
        record.require("version", _Number(VERSION))
        name = record.get("family")
        if not isinstance(name, str) or name not in _FAMILIES:
            raise InputError(
                f"{path}: family",
                f"is {shown(_token(name))}; must be one of {', '.join(_FAMILIES)}",
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
        except (TypeError, ValueError) as error:  # a matrix that is no covariance
            raise InputError(str(self._path), str(error)) from error
        return model


class _Number(str):
    """A number as the file writes it: an error shows it so, and nothing is rounded too early."""

    __slots__ = ()


class _Record:
    """The JSON object in a file, asked for what it must hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        record = _read_json(path)
        if not isinstance(record, dict):
            expectation = "must hold a JSON object with family, weights, means and covariances"
            raise InputError(str(path), expectation)
        self.record: dict[str, Any] = record

    def get(self, key: str) -> Any:
        """Return the value of `key`, which must be there."""
        if key not in self.record:
            raise InputError(str(self.path), f"{key} is missing")
        return self.record[key]

    def require(self, key: str, expected: str) -> None:
        """Raise InputError if `key` is there with another value than `expected`."""
        value = self.record.get(key, expected)
        if type(value) is not type(expected) or value != expected:
            raise InputError(
                f"{self.path}: {key}", f"is {shown(_token(value))}; must be {expected}"
            )

    def error(self, key: str, index: int, expectation: str) -> InputError:
        """Return the error that one value of the list `key` is not what was expected."""
        return _error(f"{self.path}: {key}", index, self.record[key][index], expectation)

    def length(self, key: str, *indices: int) -> int:
        """Return the length of the list at `key`, or of one inside it; it must not be empty."""
        value = self.get(key)
        for index in indices:
            value = value[index]
        if not isinstance(value, list) or not value:
            field = f"{self.path}: {key}{''.join(f'[{index}]' for index in indices)}"
            raise InputError(
                field, f"is {shown(_token(value))}; must be a list of numbers, one at least"
            )
        return len(value)

    def names(self, key: str, length: int) -> tuple[str, ...] | None:
        """Return the list of names at `key`, all different; None if it is left out."""
        if key not in self.record:
            return None
        field, names = f"{self.path}: {key}", self.record[key]
        if not isinstance(names, list):
            raise InputError(
                field, f"is {shown(_token(names))}; must be a list of {length} names in quotes"
            )
        if len(names) != length:
            raise InputError(field, f"has length {len(names)}; must have length {length}")
        seen = set()
        for index, name in enumerate(names):
            if type(name) is not str:  # a _Number is one, too
                raise _error(field, index, name, "must be a name in quotes")
            if name in seen:
                raise _error(field, index, name, "is there twice")
            seen.add(name)
        return tuple(names)

    def array(
        self,
        key: str,
        shape: tuple[int, ...],
        check: Callable[[float], str | None] | None = None,
    ) -> NDArray[np.float64]:
        """Return the nested list `key`, which must have this shape and pass the check."""
        value = self.get(key)
        array = _convert(value, shape)
        if array is not None and (check is None or not any(map(check, array.flat))):
            return array
        numbers: list[float] = []  # number by number, to name the bad one
        _collect(f"{self.path}: {key}", value, shape, check, numbers)
        return np.asarray(numbers, dtype=np.float64).reshape(shape)


def _convert(value: Any, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Return a nested list of finite numbers of this shape; None if it is anything else."""
    items = [value]
    for length in shape:
        if set(map(type, items)) != {list} or set(map(len, items)) != {length}:
            return None
        items = list(chain.from_iterable(items))
    if set(map(type, items)) != {_Number}:
        return None
    array = np.fromiter(map(float, items), np.float64, len(items)).reshape(shape)
    return array if np.isfinite(array).all() else None


def _collect(
    field: str,
    value: Any,
    shape: tuple[int, ...],
    check: Callable[[float], str | None] | None,
    numbers: list[float],
) -> None:
    """Append the numbers of a nested list to `numbers`, in the order in which they are written."""
    if not isinstance(value, list):
        raise InputError(field, f"is {shown(_token(value))}; must be a list of length {shape[0]}")
    if len(value) != shape[0]:
        raise InputError(field, f"has length {len(value)}; must have length {shape[0]}")
    for index, item in enumerate(value):
        if len(shape) > 1:
            _collect(f"{field}[{index}]", item, shape[1:], check, numbers)
            continue
        if not isinstance(item, _Number):
            raise _error(field, index, item, "must be a number")
        try:
            number = parse_number(item)
        except ValueError as error:
            raise _error(field, index, item, str(error)) from None
        if check is not None and (expectation := check(number)):
            raise _error(field, index, item, expectation)
        numbers.append(number)


def _positive(number: float) -> str | None:
    return None if number > 0 else "must be positive"


def _not_negative(number: float) -> str | None:
    return None if number >= 0 else "must not be negative"


def _error(field: str, index: int, value: Any, expectation: str) -> InputError:
    return InputError(field, expectation, position=index + 1, token=_token(value))


def _token(value: Any) -> str:
    """Return how the file writes `value`."""
    if isinstance(value, _Number):
        return value
    if isinstance(value, list):
        return f"a list of length {len(value)}"
    return "an object" if isinstance(value, dict) else json.dumps(value, ensure_ascii=False)


def _read_json(path: Path) -> Any:
    """Return what the file holds, its numbers as :class:`_Number`."""
    with reading(path):
        content = path.read_bytes()
    # Millions of lists are no garbage: to look for some among them takes as long as to read them.
    collects = gc.isenabled()
    gc.disable()
    try:
        return json.loads(
            content.decode("utf-8-sig"),
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_Number,  # NaN, Infinity: no JSON, and refused where they stand
            object_pairs_hook=_without_duplicates,
        )
    except json.JSONDecodeError as error:
        where = f"{path} line {error.lineno}"
        raise InputError(where, f"is not JSON: {error.msg} (column {error.colno})") from None
    except UnicodeDecodeError as error:
        raise InputError(str(path), "is not JSON: it must be UTF-8 text") from error
    except RecursionError:
        raise InputError(str(path), "is not a mixture: its lists are nested too deeply") from None
    except ValueError as error:  # from the hook below
        raise InputError(str(path), str(error)) from None
    finally:
        if collects:
            gc.enable()


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs; ValueError if a key comes twice."""
    record = dict(pairs)
    if len(record) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"has {key} twice")
    return record
