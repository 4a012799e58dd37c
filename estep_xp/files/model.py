"""The file of a model: its format and version, its components, and what joins them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from estep_xp.chain.hmm import HMM
from estep_xp.chain.model import prepare_model
from estep_xp.families import contract
from estep_xp.files.components import describe_components, read_components, sizes_of
from estep_xp.files.errors import InputError
from estep_xp.files.strict_json import (
    MAX_BYTES,
    MAX_VALUES,
    Dtype,
    JsonObject,
    NumberToken,
    read_object,
)
from estep_xp.mixture.call import prepare_mixture
from estep_xp.mixture.mixture import Mixture

VERSION = 1

_DTYPES: dict[str, Dtype] = {"float64": np.float64, "float32": np.float32}


class Structure(NamedTuple):
    """What joins components, in a file: a record whose last field holds the components.

    `read` makes the record of the file, components and dtype; `check` raises ValueError for values
    that a call would refuse, and returns the record with its arrays in one dtype.
    """

    name: str  # the file's "format"
    record: type
    read: Callable[[JsonObject, Any, Dtype], Any]
    check: Callable[[Any], Any]


def _read_mixture(record: JsonObject, components: Any, dtype: Dtype) -> Mixture:
    k = contract.family_of(components)._n_components()
    shape = record.shape("weights") if k is None else (k,)
    weights = record.array("weights", shape, _not_negative, dtype)
    if not weights.any():
        raise record.error("weights", 0, "at least one weight must be positive")
    return Mixture(weights, components)


def _check_mixture(mixture: Mixture) -> Mixture:
    return prepare_mixture(mixture)[1]


def _read_chain(record: JsonObject, components: Any, dtype: Dtype) -> HMM:
    k = contract.family_of(components)._n_components()
    initial = record.shape("initial") if k is None else (k,)
    shape = record.shape("transitions")
    if len(shape) != 3:  # one matrix, or what is said to be none
        shape = (initial[0], initial[0])
    return HMM(
        record.array("initial", initial, _not_negative, dtype),
        record.array("transitions", shape, _not_negative, dtype),
        components,
    )


def _check_chain(hmm: HMM) -> HMM:
    varies = len(hmm.transitions.shape) == 3
    return prepare_model(hmm, hmm.transitions.shape[0] if varies else None)[1]


# The first is meant where a file does not say its format.
STRUCTURES = (
    Structure("estep_xp.mixture", Mixture, _read_mixture, _check_mixture),
    Structure("estep_xp.hmm", HMM, _read_chain, _check_chain),
)


class ModelFile:
    """A file with a model, whose sizes and names are known before many numbers are read.

    Parameters
    ----------
    path : Path
        The file.
    waits : bool
        Whether it may be a pipe, for whose writer to wait.

    Raises
    ------
    InputError
        If it is no JSON, or describes no model: it names the value.
    OSError
        If there is no such file, or it cannot be read.
    """

    def __init__(self, path: Path, *, waits: bool = False) -> None:
        self._record = record = read_object(path, waits=waits)
        by_name = {structure.name: structure for structure in STRUCTURES}
        self._structure = by_name[record.choice("format", by_name, STRUCTURES[0].name)]
        record.require("version", NumberToken(VERSION))
        self._model: Any = None
        sizes = sizes_of(record)
        if sizes is None:
            components = self.read().components
            family = contract.family_of(components)
            rows, k = family._rows_shape() or (), family._n_components() or 0
            sizes = k, int(rows[1]) if len(rows) == 2 else 1
        self.n_components, self.n_features = sizes
        self.feature_names = record.names("feature_names", self.n_features)

    @property
    def is_chain(self) -> bool:
        """Whether the model is one whose rows depend on each other."""
        return self._structure.record is HMM

    def read(self) -> Any:
        """Return the model, on NumPy arrays; InputError if its numbers are not those of one."""
        if self._model is None:
            record = self._record
            dtype = _DTYPES[record.choice("dtype", _DTYPES, "float64")]
            try:
                components = read_components(record, dtype)
                model = self._structure.read(record, components, dtype)
                self._model = self._structure.check(model)
            except InputError:
                raise
            except (TypeError, ValueError) as error:  # not a covariance matrix, say
                raise InputError(record.place, str(error)) from error
        return self._model


def _not_negative(number: float) -> str | None:
    return None if number >= 0 else "must not be negative"


def encode_model(model: Any, feature_names: Sequence[str] | None) -> bytes:
    """Return the content of a file that holds a model: the same numbers give the same bytes.

    Parameters
    ----------
    model : Mixture or HMM
        Checked, and on NumPy arrays of one dtype.
    feature_names : sequence of str or None
        The names of the columns of its data, where these have names.

    Raises
    ------
    InputError
        If it is too large to be read again.
    """
    structure = next(one for one in STRUCTURES if one.record is type(model))
    *fields, components = model._asdict().items()
    described = describe_components(components[1])
    record = {"format": structure.name, "version": VERSION}
    if feature_names is not None:
        record["feature_names"] = list(feature_names)
    record["family"] = described.pop("family")
    arrays = dict(fields) | described
    if (dtype := str(next(_arrays_in(arrays)).dtype)) != "float64":
        record["dtype"] = dtype
    if (count := sum(array.size for array in _arrays_in(arrays))) >= MAX_VALUES:
        raise InputError("model", f"has {count} numbers; a file holds fewer than {MAX_VALUES}")
    lines = [f"  {json.dumps(key)}: {_encode(value)}" for key, value in (record | arrays).items()]
    content = ("{\n" + ",\n".join(lines) + "\n}\n").encode()
    if len(content) > MAX_BYTES:
        raise InputError("model", f"takes {len(content)} bytes; a file holds at most {MAX_BYTES}")
    return content


def _encode(value: Any) -> str:
    # repr, which json.dumps uses, writes the shortest digits that read back as the same float64.
    return json.dumps(value, allow_nan=False, default=lambda array: array.tolist())


def _arrays_in(value: Any) -> Iterator[Any]:
    """Yield the arrays in a description of components."""
    if isinstance(value, dict):
        for one in value.values():
            yield from _arrays_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from _arrays_in(one)
    elif isinstance(value, np.ndarray):
        yield value
