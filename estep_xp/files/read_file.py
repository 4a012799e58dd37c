"""Files read at once, of bounded size, and without waiting for anybody."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from estep_xp.files.errors import InputError


def read_file(path: Path, most: int, *, waits: bool = False) -> bytes:
    """Return what a file holds.

    Parameters
    ----------
    path : Path
        The file.
    most : int
        Largest number of bytes.
    waits : bool
        Whether it may be a pipe or a device, for whose writer to wait.

    Raises
    ------
    InputError
        If it has more bytes, or is no file but a pipe or a device.
    OSError
        If it is a directory, is not there or cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    if not waits:  # a pipe that nobody writes to would not even open
        flags |= getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(str(path), flags)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not (waits or stat.S_ISREG(status.st_mode)):
            raise InputError(str(path), "must be a file, not a pipe or a device")
        content = None
        if status.st_size <= most:  # the size is known before anything is read
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(status.st_size) + _read_rest(file, most - status.st_size)
        if content is None or len(content) > most:
            raise InputError(str(path), f"has more than {most} bytes, the most that are read")
        return content
    finally:
        os.close(descriptor)


def _read_rest(file: BinaryIO, most: int) -> bytes:
    """Return what comes after a file's size, that of a pipe being 0; at most a piece too much."""
    rest = bytearray()
    while len(rest) <= most and (piece := file.read(1 << 16)):
        rest += piece
    return bytes(rest)
