"""OUT: responsibilities, label and log-likelihood of every row, written block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.read.parquet import ParquetWriter
from estep_xp.cli.system.files import replacing, writing
from estep_xp.cli.text.errors import InputError


class Results(NamedTuple):
    """What the E-step says about some rows.

    Attributes
    ----------
    responsibilities : ndarray of shape (n, k)
        Responsibilities.
    labels : ndarray of shape (n,)
        Most responsible component of each row; -1 where no component has any density.
    log_likelihood : ndarray of shape (n,)
        Log-likelihood of each row.
    """

    responsibilities: NDArray[np.float64]
    labels: NDArray[np.int64]
    log_likelihood: NDArray[np.float64]


class Writer(Protocol):
    """A format of OUT: made with the open file and the number of components."""

    def write(self, block: Results) -> None:
        """Append the results of some rows."""
        ...

    def finish(self) -> None:
        """Complete the file."""
        ...

    def discard(self) -> None:
        """Give the file up: what is not whole will be removed."""
        ...


def csv_lines(block: Results, first: NDArray[np.float64] | None = None) -> Iterator[str]:
    """Yield one line of CSV a row; numbers are written so that they read back exactly.

    Parameters
    ----------
    block : Results
        The rows.
    first : ndarray of shape (n,), optional
        What comes before the responsibilities.
    """
    columns = block.responsibilities
    if first is not None:
        columns = np.column_stack([first, columns])
    rows = zip(columns.tolist(), block.labels.tolist(), block.log_likelihood.tolist(), strict=True)
    for numbers, label, log_likelihood in rows:
        yield f"{','.join(map(repr, numbers))},{label},{log_likelihood!r}\n"


def column_names(k: int) -> list[str]:
    """Return the names of the columns of results on `k` components."""
    return [*(f"responsibility_{j}" for j in range(k)), "label", "log_likelihood"]


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
    with replacing(path) as file, writing(path):
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
        file.write(f"{','.join(column_names(k))}\n".encode())

    def write(self, block: Results) -> None:
        self._file.write("".join(csv_lines(block)).encode())

    def finish(self) -> None:
        pass

    def discard(self) -> None:
        pass


class _NpyWriter:
    """A structured array; the number of rows, which comes first, is filled in at the end."""

    def __init__(self, file: BinaryIO, k: int) -> None:
        self._file = file
        self._count = 0
        self._dtype = np.dtype(
            [("responsibilities", "<f8", (k,)), ("label", "<i8"), ("log_likelihood", "<f8")]
        )
        self._header_size = self._write_header()

    def write(self, block: Results) -> None:
        rows = np.empty(len(block.labels), dtype=self._dtype)
        rows["responsibilities"], rows["label"], rows["log_likelihood"] = block
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
    ".parquet": lambda path, file, k: ParquetWriter(path, file, column_names(k)),
}
