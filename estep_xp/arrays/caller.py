"""Warnings that point at the line of the user's program, however deep they are found out."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

_PACKAGE = str(Path(__file__).parents[1])


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the first line below, on the stack, that is none of the package's."""
    frame, level = sys._getframe(1), 2  # 1 is this function
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
