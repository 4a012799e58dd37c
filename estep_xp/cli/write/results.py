"""OUT: responsibilities, label and log-likelihood of every row, written block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from estep_xp.cli.compute.results import (
    Results,
    csv_heading,
    csv_lines,
    structured_dtype,
    structured_rows,
)
from estep_xp.cli.system.files import atomic_write, translate_write_errors
from estep_xp.cli.write.parquet import ParquetWriter
from estep_xp.files.errors import InputError


class Writer(Protocol):
    """A format of OUT: made with the open file and the number of components."""

    def write(self, block: Results) -> None:
        """Append the results of some rows."""
        ...

    def finish(self) -> None:
        """Complete the file."""
        ...

    def discard(self) -> None:
        """Abandon the file, which is incomplete and will be removed."""
        ...


@contextmanager
def open_results(path: Path, k: int) -> Iterator[Writer]:
    """Open a writer of results in the format that the name's ending says.

    The file takes the place of `path` when the block ends well, and leaves no trace otherwise.

    Parameters
    ----------
    path : Path
        A .csv, .npy or .parquet file.
    k : int
        How many components there are.
    """
    make = _WRITERS[path.suffix.lower()]
    with atomic_write(path) as file, translate_write_errors(path):
        writer = make(path, file, k)
        try:
            yield writer
            writer.finish()
        except BaseException:
            writer.discard()
            raise


def require_format(path: Path) -> None:
    """Raise InputError unless the name's ending says a format that can be written."""
    if path.suffix.lower() not in _WRITERS:
        raise InputError(str(path), f"must end in one of {' '.join(_WRITERS)}, which is its format")


class _CsvWriter:
    """Comma-separated values with a heading."""

    def __init__(self, file: BinaryIO, k: int) -> None:
        self._file = file
        file.write(csv_heading(k).encode())

    def write(self, block: Results) -> None:
        self._file.write("".join(csv_lines(block)).encode())

    def finish(self) -> None:
        pass

    def discard(self) -> None:
        pass


class _NpyWriter:
    """A structured array; the header, with the number of rows, is rewritten at the end."""

    def __init__(self, file: BinaryIO, k: int) -> None:
        self._file = file
        self._count = 0
        self._dtype = structured_dtype(k)
        self._header_size = self._write_header()

    def write(self, block: Results) -> None:
        rows = structured_rows(block)
        self._file.write(rows.view(np.uint8).data)
        self._count += len(rows)

    def finish(self) -> None:
        self._file.seek(0)
        if self._write_header() != self._header_size:
            raise RuntimeError("the header of a .npy file outgrew the room that was left for it")

    def discard(self) -> None:
        pass

    def _write_header(self) -> int:
        description = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": description, "fortran_order": False, "shape": (self._count,)}
        np.lib.format.write_array_header_1_0(self._file, header)
        return self._file.tell()


_WRITERS: dict[str, Callable[[Path, BinaryIO, int], Writer]] = {
    ".csv": lambda _, file, k: _CsvWriter(file, k),
    ".npy": lambda _, file, k: _NpyWriter(file, k),
    ".parquet": lambda path, file, k: ParquetWriter(path, file, k),
}
