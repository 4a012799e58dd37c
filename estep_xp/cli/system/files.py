"""Files: opened with errors that name them, and replaced only by what is whole."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from estep_xp.cli.text.errors import SystemFailure
from estep_xp.files.atomic_write import replace_when_whole
from estep_xp.files.errors import InputError, show_token

# What "-" stands for, known by identity: a file may have such a name.
STANDARD_INPUT = Path("standard input")
STANDARD_OUTPUT = Path("standard output")


def parse_data_path(text: str) -> Path:
    """Return the path of DATA; STANDARD_INPUT for ``-``."""
    return STANDARD_INPUT if text == "-" else parse_file_path("DATA", text)


def parse_output_path(text: str) -> Path:
    """Return the path of OUT; STANDARD_OUTPUT for ``-``."""
    return STANDARD_OUTPUT if text == "-" else parse_file_path("--output", text)


def parse_file_path(option: str, text: str) -> Path:
    """Return the path of a file as it was given; InputError if it names none."""
    if not text or text.endswith(("/", os.sep)):
        found = f"{show_token(text)}, a folder" if text else "empty"
        raise InputError(option, f"is {found}; must be a file")
    return Path(text)


@contextmanager
def translate_read_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system, inside the block, into ones that name `path`.

    A file that is not there is bad input; one that cannot be read is the system's failure.
    """
    try:
        yield
    except FileNotFoundError:
        raise InputError(str(path), "no such file") from None
    except (IsADirectoryError, NotADirectoryError) as error:
        raise InputError(str(path), "must be a file, not a directory") from error
    except OSError as error:
        raise SystemFailure(f"{path}: {error.strerror or error}") from error


@contextmanager
def translate_write_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system, inside the block, into ones that name `path`."""
    try:
        yield
    except OSError as error:
        raise SystemFailure(f"{path}: {error.strerror or error}") from error


def refuse_to_overwrite(path: Path, *inputs: Path, force: bool) -> None:
    """Raise where writing `path` would destroy something.

    Parameters
    ----------
    path : Path
        The file to be written.
    *inputs : Path
        Files that are read meanwhile: `path` may be none of them, under whatever name.
    force : bool
        Whether another existing file may be replaced.

    Raises
    ------
    InputError
        If it is one of the inputs.
    SystemFailure
        If it exists and `force` is not given, or if it is no file.
    """
    if path is STANDARD_OUTPUT:
        return
    with translate_write_errors(path):
        if not os.path.lexists(path):
            return
        for source in inputs:
            if path.exists() and source.exists() and path.samefile(source):
                raise InputError(str(path), f"is {source} itself; write the output to another file")
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise SystemFailure(f"{path}: is not a file that could be replaced")
        if not force:
            raise SystemFailure(f"{path}: exists; give --force to replace it")


def atomic_write(path: Path) -> AbstractContextManager[BinaryIO]:
    """Open a new file that takes the place of `path` when the block ends well.

    It is that of `estep_xp.files.atomic_write`, with errors of the system as SystemFailure.
    """
    return replace_when_whole(path, translate_write_errors)


def require_model_name(path: Path) -> None:
    """Raise InputError unless the name is one for a model's file."""
    if path.suffix.lower() != ".json":
        raise InputError(str(path), "must end in .json, which is the format of models")
