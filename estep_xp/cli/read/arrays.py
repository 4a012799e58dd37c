"""NumPy's files: an array in a .npy file, or in a member of a .npz archive."""

from __future__ import annotations

import errno
import io
import math
import os
import stat
import struct
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.read.columns import list_names
from estep_xp.cli.read.rows import BadRows, Block
from estep_xp.cli.system.files import translate_read_errors
from estep_xp.cli.text.errors import SystemFailure
from estep_xp.cli.text.numbers import format_count
from estep_xp.files.errors import InputError, show_token

_BLOCK_SIZE = 1 << 22  # bytes
_INCOMPLETE = "ends before its last row: the file is incomplete"
_NO_HEADER = "is not a .npy file: it ends within its header"
_MAX_HEADER_SIZE = 10_000  # bytes, NumPy's own limit; an array of numbers needs a hundred
_HEADERS = {
    (1, 0): ("<H", np.lib.format.read_array_header_1_0),
    (2, 0): ("<I", np.lib.format.read_array_header_2_0),
}


class ArrayFile:
    """An array of rows in a file; see :class:`~estep_xp.cli.read.rows.Source`.

    Its blocks are read, not mapped into memory: a file that shrinks meanwhile is an error, not a
    crash, and members of archives are read in the same way. Python objects in a file are never
    loaded.

    Parameters
    ----------
    path : Path
        The file's name, for errors.
    open_file : callable
        Opens the file once more, at its beginning.
    stack : ExitStack
        Closes what has been opened.
    size : int, optional
        How many bytes a member of an archive has.
    """

    def __init__(
        self,
        path: Path,
        open_file: Callable[[], IO[bytes]],
        stack: ExitStack,
        size: int | None = None,
    ) -> None:
        self._path = path
        self._open: Callable[[], IO[bytes]] = lambda: stack.enter_context(open_file())
        with self._translate_errors():
            self._file = self._open()
            shape, self._by_column, self._dtype = _read_header(path, self._file)
            self._is_file = isinstance(self._file, io.BufferedReader) and self._file.seekable()
            self._start = self._file.tell() if self._is_file or size is not None else 0
            if self._is_file:
                size = _file_size(self._file)
        if len(shape) not in (1, 2):
            raise InputError(str(path), f"is an array of shape {shape}; must have 1 or 2 axes")
        if self._dtype.kind not in "fiu":
            dtype = show_token(str(self._dtype))
            raise InputError(str(path), f"is an array of {dtype}; must hold real numbers")
        if not shape[0]:
            raise InputError(str(path), "holds no rows")
        # Check before allocating: a damaged header may claim any size.
        if size is not None and math.prod(shape) * self._dtype.itemsize > size - self._start:
            columns = format_count(math.prod(shape[1:]), "column")
            rows = format_count(shape[0], "row")
            raise InputError(str(path), f"{_INCOMPLETE}; by its header it has {columns} and {rows}")
        self.names: tuple[str, ...] | None = None
        self.notes: list[str] = []
        self.index: list[int] = []
        self.total: int | None = shape[0]
        self._n_rows = shape[0]
        self.n_columns = shape[1] if len(shape) == 2 else 1
        self._by_column = self._by_column and self.n_columns > 1
        if self._by_column and size is None:
            raise InputError(str(path), "is stored column by column; must be a file, not a pipe")
        self.position = 0

    def blocks(
        self, columns: Sequence[int], bad: BadRows, kept: Sequence[int] = ()
    ) -> Iterator[Block]:
        """Yield the chosen columns of all rows, block by block, less the rows added to `bad`."""
        read = self._read_columns if self._by_column else self._read_rows
        with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinite, a bad row
            for piece in read([*columns, *kept]):
                block = piece[:, : len(columns)].astype(np.float64)
                bad.add_not_finite(block, columns, self.position)
                self.position += len(block)
                yield Block(block, [tuple(piece[:, len(columns) :].T)] if kept else ())

    def place_of(self, row: int) -> str:
        """Return where a row stands."""
        return f"row {row}, counted from 0"

    def find_index(self) -> dict[int, int | None]:
        """Return no columns: an array has no names."""
        return {}

    def map_columns(self, columns: Sequence[int]) -> NDArray[np.float64] | None:
        """Return the chosen columns of all rows as a memory map.

        None where that cannot be: in an archive, for numbers other than 64-bit floats, and for
        columns that would have to be copied. If the mapped file is truncated meanwhile, the
        system kills the process.
        """
        file = self._file
        if not (self._is_file and isinstance(file, io.BufferedReader)):
            return None
        if self._dtype != np.float64 or list(columns) != list(range(self.n_columns)):
            return None
        order: Literal["F", "C"] = "F" if self._by_column else "C"
        shape = (self._n_rows, self.n_columns)
        try:
            with translate_read_errors(self._path):
                return np.memmap(file, np.float64, "r", self._start, shape, order)
        except ValueError:  # empty or truncated: reading it will say so
            return None
        finally:
            file.seek(self._start)

    def _read_rows(self, columns: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Yield blocks of an array that is stored row by row."""
        row_size = self.n_columns * self._dtype.itemsize
        for count in self._block_sizes(row_size):
            content = self._read(self._file, count * row_size)
            yield content.reshape(count, self.n_columns)[:, columns]

    def _read_columns(self, columns: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Yield blocks of an array that is stored column by column."""
        size = self._dtype.itemsize
        # A file can seek between columns; an archive member would be unpacked anew each time.
        with self._translate_errors():
            files = [self._file if self._is_file else self._open() for _ in columns]
        done = 0
        for count in self._block_sizes(size * len(columns)):
            pieces = []
            for file, column in zip(files, columns, strict=True):
                with self._translate_errors():
                    file.seek(self._start + (column * self._n_rows + done) * size)
                pieces.append(self._read(file, count * size))
            done += count
            yield np.stack(pieces, axis=1)

    def _block_sizes(self, row_size: int) -> Iterator[int]:
        """Yield the sizes of the blocks that make up the whole array."""
        count = max(1, _BLOCK_SIZE // max(1, row_size))
        for start in range(0, self._n_rows, count):
            yield min(count, self._n_rows - start)

    def _read(self, file: IO[bytes], size: int) -> NDArray[Any]:
        pieces: list[bytes] = []  # a pipe may end early
        while size > 0:
            with self._translate_errors():
                pieces.append(file.read(min(_BLOCK_SIZE, size)))
            size -= len(pieces[-1])
            if not pieces[-1]:
                raise InputError(str(self._path), _INCOMPLETE)
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return np.frombuffer(content, dtype=self._dtype)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Turn the errors of a damaged file into one that names it."""
        try:
            with translate_read_errors(self._path):
                yield
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise InputError(str(self._path), f"is damaged: {error}") from error
        except (NotImplementedError, RuntimeError) as error:  # encrypted, or an unknown compression
            raise InputError(str(self._path), f"cannot be unpacked: {error}") from error
        except SystemFailure as error:
            if getattr(error.__cause__, "errno", None) != errno.EINVAL:
                raise
            raise InputError(
                str(self._path), "is damaged: it leads to no place in itself"
            ) from error


def open_npy(path: Path, stack: ExitStack, place: Path) -> ArrayFile:
    """Open the array in the .npy file called `path`, which lies at `place`."""
    return ArrayFile(path, lambda: place.open("rb"), stack)


def open_npz(path: Path, array: str | None, stack: ExitStack, place: Path) -> ArrayFile:
    """Open an array in the .npz archive called `path`: the one called `array`, or the only one."""
    with translate_read_errors(path):
        file = stack.enter_context(place.open("rb"))
    try:
        archive = stack.enter_context(zipfile.ZipFile(file))
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(str(path), "is not a .npz archive") from error
    members = {name.removesuffix(".npy"): name for name in archive.namelist()}
    known = list_names(list(members))
    if array is None:
        if len(members) != 1:
            found = f"holds {len(members)} arrays ({known})" if members else "holds no array"
            raise InputError(str(path), f"{found}; choose one with --array")
        (array,) = members
    elif array not in members:
        raise InputError("--array", f"there is no {show_token(array)} in {path}; it holds {known}")
    member = archive.getinfo(members[array])
    return ArrayFile(path, lambda: archive.open(member), stack, member.file_size)


def _file_size(file: IO[bytes]) -> int | None:
    """Return how many bytes a file has; None if it is no regular file."""
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _read_header(path: Path, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether columns come first, and dtype, from the beginning of a .npy file."""
    try:
        version = np.lib.format.read_magic(file)
    except ValueError as error:
        raise InputError(str(path), "is not a .npy file: it does not begin as one") from error
    if version not in _HEADERS:
        raise InputError(str(path), f"is an array of an unknown version {version} of .npy")
    form, read = _HEADERS[version]
    prefix = file.read(struct.calcsize(form))
    if len(prefix) < struct.calcsize(form):
        raise InputError(str(path), _NO_HEADER)
    (length,) = struct.unpack(form, prefix)
    if length > _MAX_HEADER_SIZE:
        raise InputError(str(path), f"is not a .npy file: its header has {length} bytes")
    header = file.read(length)
    if len(header) < length:
        raise InputError(str(path), _NO_HEADER)
    try:
        with warnings.catch_warnings():  # about old or odd headers
            warnings.simplefilter("ignore")
            shape, by_column, dtype = read(io.BytesIO(prefix + header))
    except Exception as error:  # headers are Python literals; junk raises anything
        words = show_token(header.decode("latin-1").strip())
        raise InputError(
            str(path), f"is not a .npy file: its header, {words}, is none of an array"
        ) from error
    if dtype.hasobject:
        raise InputError(str(path), "is an array of Python objects, which are never loaded")
    # isinstance would accept True and False.
    if any(type(length) is not int or not 0 <= length <= sys.maxsize for length in shape):
        raise InputError(str(path), f"is an array of impossible shape {shape}")
    return shape, by_column, dtype
