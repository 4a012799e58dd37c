"""Shapes and dtypes of real calls, held against the annotations of public functions and records.

jaxtyping's import hook would do this for functions, but not here: their annotations name what is
imported for type checkers alone, and the hook does not look into a NamedTuple. So annotations are
read here, in their module's names and those of `arrays/shapes.py`, and beartype compares.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, get_args

from beartype.door import die_if_unbearable
from jaxtyping import AbstractArray, jaxtyped

from estep_xp.arrays import array_types, shapes


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that checks its arguments, calls this one, and checks what it returns.

    An axis has one size in all of them: the n rows of x are those of the responsibilities.
    """
    signature = inspect.signature(function)

    @jaxtyped(typechecker=None)  # within which axes keep their sizes
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            check(value, _annotation(function, name))
        result = function(*args, **kwargs)
        check(result, _annotation(function, "return"))
        return result

    return call


@jaxtyped(typechecker=None)
def check_property(record: Any, name: str) -> None:
    """Check a record and what one of its properties returns."""
    check(record, None)
    check(getattr(record, name), _annotation(getattr(type(record), name).fget, "return"))


def check(value: Any, hint: Any) -> None:
    """Raise unless an array has the shape that the hint describes, a record those of its fields."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        for name in value._fields:
            check(getattr(value, name), _annotation(type(value), name))
    elif _names_a_shape(hint) and not isinstance(value, list):
        die_if_unbearable(value, hint)


def _annotation(owner: Any, name: str) -> Any:
    """What an annotation of a function or a NamedTuple stands for; None if there is none."""
    if isinstance(owner, type):  # of a family, or the NamedTuple that the family is
        owner = next(one for one in owner.__mro__ if "_fields" in vars(one))
    owner = inspect.unwrap(owner)
    hint = inspect.get_annotations(owner).get(name)
    text = getattr(hint, "__forward_arg__", hint)  # a NamedTuple's are wrapped
    return _evaluated(text, sys.modules[owner.__module__]) if isinstance(text, str) else hint


def _evaluated(text: str, module: Any) -> Any:
    names = vars(array_types) | vars(module) | vars(shapes)
    try:
        return eval(text, names)
    except NameError:  # of another kind than shapes, imported for type checkers alone
        return None


def _names_a_shape(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(map(_names_a_shape, get_args(hint)))
