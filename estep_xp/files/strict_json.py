"""JSON read strictly: nested lists of numbers, and errors that name the value as it is written."""

from __future__ import annotations

import gc
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estep_xp.files.errors import InputError, show_token
from estep_xp.files.read_file import read_file

MAX_BYTES = 1 << 30
MAX_VALUES = 1 << 25  # about 3 GB of memory while they are read; fewer than MAX_BYTES of digits
_MAX_AXES = 3

Check = Callable[[float], str | None]
Dtype = type[np.floating[Any]]


class NumberToken(str):
    """A number as written in the file, for error messages; converted to float only once."""

    __slots__ = ()


class JsonObject:
    """A JSON object, asked for what it must hold.

    Parameters
    ----------
    place : str
        Where it stands, for error messages: a file, or one and a key.
    record : dict
        Its values, numbers as :class:`NumberToken`.
    """

    def __init__(self, place: str, record: dict[str, Any]) -> None:
        self.place = place
        self.record = record

    def __contains__(self, key: str) -> bool:
        return key in self.record

    def get(self, key: str) -> Any:
        """Return the value of `key`, which must be there."""
        if key not in self.record:
            raise InputError(self.place, f"{key} is missing")
        return self.record[key]

    def require(self, key: str, expected: str) -> None:
        """Raise InputError if `key` is there with another value than `expected`."""
        value = self.record.get(key, expected)
        if type(value) is not type(expected) or value != expected:
            raise InputError(
                f"{self.place}: {key}", f"is {show_token(json_token(value))}; must be {expected}"
            )

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str:
        """Return the text at `key`, one of some; it may be left out if there is a default."""
        if default is not None and key not in self.record:
            return default
        value, choices = self.get(key), tuple(choices)
        if type(value) is str and value in choices:  # isinstance would accept a NumberToken
            return value
        expected = choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
        raise InputError(
            f"{self.place}: {key}", f"is {show_token(json_token(value))}; must be {expected}"
        )

    def objects(self, key: str) -> list[JsonObject] | None:
        """Return the objects in the list at `key`; None if it holds anything else."""
        value = self.get(key)
        if not (isinstance(value, list) and value and all(type(one) is dict for one in value)):
            return None
        return [JsonObject(f"{self.place}: {key}[{i}]", one) for i, one in enumerate(value)]

    def error(self, key: str, index: int, expectation: str) -> InputError:
        """Return the error that one value of the list `key` is not what was expected."""
        return _value_error(f"{self.place}: {key}", index, self.record[key][index], expectation)

    def length(self, key: str, *indices: int) -> int:
        """Return the length of the list at `key`, or of one inside it; it must not be empty."""
        value = self.get(key)
        for index in indices:
            value = value[index]
        if not isinstance(value, list) or not value:
            field = f"{self.place}: {key}{''.join(f'[{index}]' for index in indices)}"
            raise InputError(
                field,
                f"is {show_token(json_token(value))}; must be a list of numbers, one at least",
            )
        return len(value)

    def names(self, key: str, length: int) -> tuple[str, ...] | None:
        """Return the list of names at `key`, all different; None if it is left out."""
        if key not in self.record:
            return None
        field, names = f"{self.place}: {key}", self.record[key]
        if not isinstance(names, list):
            raise InputError(
                field,
                f"is {show_token(json_token(names))}; must be a list of {length} names in quotes",
            )
        if len(names) != length:
            raise InputError(field, f"has length {len(names)}; must have length {length}")
        seen = set()
        for index, name in enumerate(names):
            if type(name) is not str:  # isinstance would accept a NumberToken
                raise _value_error(field, index, name, "must be a name in quotes")
            if name in seen:
                raise _value_error(field, index, name, "is there twice")
            seen.add(name)
        return tuple(names)

    def shape(self, key: str) -> tuple[int, ...]:
        """Return the lengths of the nested list at `key`, by the first list at each depth."""
        indices: tuple[int, ...] = ()
        shape = [self.length(key)]
        value = self.get(key)[0]
        while isinstance(value, list):
            if len(shape) == _MAX_AXES:
                raise InputError(f"{self.place}: {key}", "is nested too deeply")
            indices = (*indices, 0)
            shape.append(self.length(key, *indices))
            value = value[0]
        return tuple(shape)

    def array(
        self,
        key: str,
        shape: tuple[int, ...],
        check: Check | None = None,
        dtype: Dtype = np.float64,
    ) -> NDArray[Any]:
        """Return the nested list `key`, which must have this shape and pass the check."""
        value = self.get(key)
        array = _to_array(value, shape, dtype)
        if array is not None and (check is None or not any(map(check, array.flat))):
            return array
        numbers: list[float] = []  # the slow path names the bad number
        _collect_numbers(f"{self.place}: {key}", value, shape, check, dtype, numbers)
        return np.asarray(numbers, dtype=dtype).reshape(shape)


def _to_array(value: Any, shape: tuple[int, ...], dtype: Dtype) -> NDArray[Any] | None:
    """Return a nested list of finite numbers of this shape; None if it is anything else."""
    items = [value]
    for length in shape:
        if set(map(type, items)) != {list} or set(map(len, items)) != {length}:
            return None
        items = list(chain.from_iterable(items))
    if set(map(type, items)) != {NumberToken}:
        return None
    numbers = np.fromiter(map(float, items), np.float64, len(items)).reshape(shape)
    with np.errstate(over="ignore", under="ignore"):
        array = numbers.astype(dtype)
    return array if np.isfinite(array).all() else None


def _collect_numbers(
    field: str,
    value: Any,
    shape: tuple[int, ...],
    check: Check | None,
    dtype: Dtype,
    numbers: list[float],
) -> None:
    """Append the numbers of a nested list to `numbers`, in the order in which they are written."""
    if not isinstance(value, list):
        raise InputError(
            field, f"is {show_token(json_token(value))}; must be a list of length {shape[0]}"
        )
    if len(value) != shape[0]:
        raise InputError(field, f"has length {len(value)}; must have length {shape[0]}")
    for index, item in enumerate(value):
        if len(shape) > 1:
            _collect_numbers(f"{field}[{index}]", item, shape[1:], check, dtype, numbers)
            continue
        if not isinstance(item, NumberToken):
            raise _value_error(field, index, item, "must be a number")
        number, expectation = _parse_number(item, dtype)
        if expectation is None and check is not None:
            expectation = check(number)
        if expectation is not None:
            raise _value_error(field, index, item, expectation)
        numbers.append(number)


def _parse_number(token: NumberToken, dtype: Dtype) -> tuple[float, str | None]:
    """Return a number rounded to `dtype`, and what was expected if it is not finite."""
    written = float(token)  # JSON's grammar allows nothing that float does not, but for NaN
    with np.errstate(over="ignore", under="ignore"):
        number = float(dtype(written))
    if math.isfinite(number):
        return number, None
    if token.lstrip("-") in ("NaN", "Infinity"):
        return number, "must be a finite number"
    most, bits = ("1.8e308", 64) if dtype is np.float64 else ("3.4e38", 32)
    return number, f"must be between -{most} and {most}, the range of a {bits}-bit float"


def _value_error(field: str, index: int, value: Any, expectation: str) -> InputError:
    return InputError(field, expectation, position=index + 1, token=json_token(value))


def json_token(value: Any) -> str:
    """Return how the file writes `value`."""
    if isinstance(value, NumberToken):
        return value
    if isinstance(value, list):
        return f"a list of length {len(value)}"
    return "an object" if isinstance(value, dict) else json.dumps(value, ensure_ascii=False)


def read_object(path: Path, *, waits: bool = False) -> JsonObject:
    """Return the JSON object in a file.

    Parameters
    ----------
    path : Path
        The file.
    waits : bool
        Whether it may be a pipe, for whose writer to wait.

    Raises
    ------
    InputError
        If the file holds no JSON object, or is too large.
    OSError
        If it cannot be read.
    """
    content = read_file(path, MAX_BYTES, waits=waits)
    if (count := content.count(b",")) >= MAX_VALUES:
        expectation = f"has {count + 1} values; a model has at most {MAX_VALUES}"
        raise InputError(str(path), expectation)
    record = _parse_json(path, content)
    if not isinstance(record, dict):
        expectation = "must hold a JSON object with family, weights, means and covariances"
        raise InputError(str(path), expectation)
    return JsonObject(str(path), record)


def _parse_json(path: Path, content: bytes) -> Any:
    """Return what a file holds, its numbers as :class:`NumberToken`."""
    # Without the garbage collector: traversing millions of lists takes as long as parsing them.
    collects = gc.isenabled()
    gc.disable()
    try:
        return json.loads(
            content.decode("utf-8-sig"),
            parse_int=NumberToken,
            parse_float=NumberToken,
            parse_constant=NumberToken,  # NaN and Infinity are not JSON; refused later, by place
            object_pairs_hook=_build_object,
        )
    except json.JSONDecodeError as error:
        where = f"{path} line {error.lineno}"
        raise InputError(where, f"is not JSON: {error.msg} (column {error.colno})") from None
    except UnicodeDecodeError as error:
        raise InputError(str(path), "is not JSON: it must be UTF-8 text") from error
    except RecursionError:
        raise InputError(str(path), "is not a mixture: its lists are nested too deeply") from None
    except ValueError as error:  # raised by _build_object
        raise InputError(str(path), str(error)) from None
    finally:
        if collects:
            gc.enable()


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs; ValueError if a key comes twice."""
    record = dict(pairs)
    if len(record) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"has {key} twice")
    return record
