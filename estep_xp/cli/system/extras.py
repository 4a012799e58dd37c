"""Packages that only some commands need: imported when they do, with a hint if they are missing."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
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


def require_pyarrow(path: Path) -> tuple[Any, Any]:
    """Return the modules pyarrow and pyarrow.parquet, which the file called `path` needs."""
    install = '"estep_xp[parquet]"'
    pyarrow = require("pyarrow", wanted_by=str(path), install=install)
    return pyarrow, require("pyarrow.parquet", wanted_by=str(path), install=install)
