"""Files written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def name_file(path: Path) -> Iterator[None]:
    """Let errors of the operating system, inside the block, name `path` and no other file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


@contextmanager
def replace_when_whole(
    path: Path, translate: Callable[[Path], AbstractContextManager[None]] = name_file
) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` when the block ends well.

    Until then `path` is as it was, and whatever ends the block early removes the new file. It lies
    in the same directory, so that renaming it is one step, and has the rights that any new file
    would have.

    Parameters
    ----------
    path : Path
        The file to be written; where it is a symbolic link, the file that the link names.
    translate : callable
        Gives the context in which the file is opened, flushed and renamed, and which decides on
        errors of the operating system.

    Yields
    ------
    BinaryIO
        The new file.

    Raises
    ------
    OSError
        Unless `translate` makes another error of it: if the file cannot be created, written or
        renamed.
    """
    with translate(path):
        place = Path(os.path.realpath(path))
        if place.is_symlink():  # a link to itself
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    partial = place.with_name(f".estep_xp-{secrets.token_hex(8)}.part")
    try:  # from here on, since an interrupt may come as soon as the file is there
        with translate(path):
            # O_EXCL refuses an existing file or link. The umask is taken off 0o666.
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            file = os.fdopen(os.open(partial, flags, 0o666), "wb")
        try:
            yield file
            with translate(path):
                file.flush()
                os.fsync(file.fileno())  # the rename must not reach the disk before the content
        finally:
            with suppress(OSError):  # the flush above has reported a full disk
                file.close()
        with translate(path):
            partial.replace(place)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
