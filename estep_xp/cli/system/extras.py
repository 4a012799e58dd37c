"""Packages that only some commands need: imported when they do, with a hint if they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from estep_xp.cli.text.errors import SystemFailure


def require(module: str, *, wanted_by: str, install: str) -> Any:
    """Return the imported `module`.

    Parameters
    ----------
    module : str
        Its dotted name.
    wanted_by : str
        What needs it, for the error message: a file's name or an option.
    install : str
        What to hand to ``pip install`` if it is missing.

    Raises
    ------
    SystemFailure
        If it is not installed; the message says what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise SystemFailure(
            f"{wanted_by}: needs {package}, which is not installed; pip install {install}"
        ) from error
