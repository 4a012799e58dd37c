"""Whether a message that was guessed is, to rounding, the one that came out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray

_ROUNDINGS = 32  # multiple of the rounding error by which a guess may differ


def agree(guess: AnyArray, found: AnyArray, *, logs: bool, roundings: int = _ROUNDINGS) -> AnyArray:
    """Flags, of the arrays' shape: which numbers of a guess are those found, but for rounding.

    Parameters
    ----------
    guess, found : ndarray, shape (...)
        Messages: probabilities but for a factor, or their logarithms.
    logs : bool
        Whether they are logarithms, whose rounding is that of numbers of size 1 at least.
    roundings : int, optional
        Multiple of the rounding error by which a guess may differ.
    """
    with np.errstate(invalid="ignore"):
        size = 1.0 + abs(found) if logs else abs(found)
        apart = abs(guess - found)
        near = apart <= roundings * float(np.finfo(found.dtype).eps) * size
        # Nothing is close to the logarithm of an impossible state but that logarithm.
        flags: AnyArray = (guess == found) | (near & (apart < math.inf))
    return flags
