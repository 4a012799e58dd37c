"""NumPy's floating-point warnings off, for the length of a call."""

from __future__ import annotations

import contextvars
import functools
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


_T = TypeVar("_T")
_P = ParamSpec("_P")


def quietly(function: Callable[..., _T], *arguments: Any) -> _T:
    """Call `function` with floating-point warnings off: results are checked instead.

    A copy of the context holds NumPy's setting, and ends with the call, in C. The two
    methods of `np.errstate` are Python: a KeyboardInterrupt within one leaves its setting behind.
    """
    return contextvars.copy_context().run(_call_with_warnings_off, function, arguments)


def _call_with_warnings_off(function: Callable[..., _T], arguments: tuple[Any, ...]) -> _T:
    np.seterr(all="ignore")
    return function(*arguments)


def quiet(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Decorate a function so that floating-point warnings are off in it."""

    @functools.wraps(function)
    def called(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        return quietly(functools.partial(function, *args, **kwargs))

    return called
