"""JSON read strictly: nested lists of numbers, and errors that name the value as it is written."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.system.files import translate_read_errors
from estep_xp.files.errors import InputError, show_token
from estep_xp.cli.text.numbers import parse_number


class NumberToken(str):
    """A number as written in the file, for error messages; converted to float only once."""

    __slots__ = ()


class JsonObject:
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
                f"{self.path}: {key}", f"is {show_token(json_token(value))}; must be {expected}"
            )

    def error(self, key: str, index: int, expectation: str) -> InputError:
        """Return the error that one value of the list `key` is not what was expected."""
        return _value_error(f"{self.path}: {key}", index, self.record[key][index], expectation)

    def length(self, key: str, *indices: int) -> int:
        """Return the length of the list at `key`, or of one inside it; it must not be empty."""
        value = self.get(key)
        for index in indices:
            value = value[index]
        if not isinstance(value, list) or not value:
            field = f"{self.path}: {key}{''.join(f'[{index}]' for index in indices)}"
            raise InputError(
                field,
                f"is {show_token(json_token(value))}; must be a list of numbers, one at least",
            )
        return len(value)

    def names(self, key: str, length: int) -> tuple[str, ...] | None:
        """Return the list of names at `key`, all different; None if it is left out."""
        if key not in self.record:
            return None
        field, names = f"{self.path}: {key}", self.record[key]
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

    def array(
        self,
        key: str,
        shape: tuple[int, ...],
        check: Callable[[float], str | None] | None = None,
    ) -> NDArray[np.float64]:
        """Return the nested list `key`, which must have this shape and pass the check."""
        value = self.get(key)
        array = _to_array(value, shape)
        if array is not None and (check is None or not any(map(check, array.flat))):
            return array
        numbers: list[float] = []  # the slow path names the bad number
        _collect_numbers(f"{self.path}: {key}", value, shape, check, numbers)
        return np.asarray(numbers, dtype=np.float64).reshape(shape)


def _to_array(value: Any, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Return a nested list of finite numbers of this shape; None if it is anything else."""
    items = [value]
    for length in shape:
        if set(map(type, items)) != {list} or set(map(len, items)) != {length}:
            return None
        items = list(chain.from_iterable(items))
    if set(map(type, items)) != {NumberToken}:
        return None
    array = np.fromiter(map(float, items), np.float64, len(items)).reshape(shape)
    return array if np.isfinite(array).all() else None


def _collect_numbers(
    field: str,
    value: Any,
    shape: tuple[int, ...],
    check: Callable[[float], str | None] | None,
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
            _collect_numbers(f"{field}[{index}]", item, shape[1:], check, numbers)
            continue
        if not isinstance(item, NumberToken):
            raise _value_error(field, index, item, "must be a number")
        try:
            number = parse_number(item)
        except ValueError as error:
            raise _value_error(field, index, item, str(error)) from None
        if check is not None and (expectation := check(number)):
            raise _value_error(field, index, item, expectation)
        numbers.append(number)


def _value_error(field: str, index: int, value: Any, expectation: str) -> InputError:
    return InputError(field, expectation, position=index + 1, token=json_token(value))


def json_token(value: Any) -> str:
    """Return how the file writes `value`."""
    if isinstance(value, NumberToken):
        return value
    if isinstance(value, list):
        return f"a list of length {len(value)}"
    return "an object" if isinstance(value, dict) else json.dumps(value, ensure_ascii=False)


def _read_json(path: Path) -> Any:
    """Return what the file holds, its numbers as :class:`NumberToken`."""
    with translate_read_errors(path):
        content = path.read_bytes()
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
