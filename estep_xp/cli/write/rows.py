"""OUT: columns of many rows, written block by block as .csv, .npy or .parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.compute.results import Field, column_names, csv_lines, split_columns
from estep_xp.cli.read.kept import Piece, as_text, quote_csv
from estep_xp.cli.system.files import STANDARD_OUTPUT, atomic_write, translate_write_errors
from estep_xp.cli.system.terminal import StdoutFile
from estep_xp.cli.write.parquet import ParquetWriter
from estep_xp.files.errors import InputError


class Writer(Protocol):
    """A format of OUT: made with its name, the open file, the names of kept columns, and fields."""

    def write(self, values: Sequence[NDArray[Any]], kept: Sequence[Piece] = ()) -> None:
        """Append rows: the values of each field, (n,) or (n, m), and pieces of kept columns."""
        ...

    def finish(self) -> None:
        """Complete the file."""
        ...

    def discard(self) -> None:
        """Abandon the file, which is incomplete and will be removed."""
        ...


@contextmanager
def open_rows(path: Path, fields: Sequence[Field], kept: Sequence[str] = ()) -> Iterator[Writer]:
    """Open a writer of rows in the format that the name's ending says.

    The file takes the place of `path` when the block ends well, and leaves no trace otherwise.
    Standard output gets the rows of a CSV file as they come.

    Parameters
    ----------
    path : Path
        A .csv, .npy or .parquet file, or STANDARD_OUTPUT.
    fields : sequence of Field
        What a row holds.
    kept : sequence of str
        The names of columns that come before these from another file.
    """
    if path is STANDARD_OUTPUT:
        writer: Writer = _CsvWriter(path, StdoutFile(), kept, fields)
        yield writer
        writer.finish()
        return
    make = _WRITERS[path.suffix.lower()]
    with atomic_write(path) as file, translate_write_errors(path):
        writer = make(path, file, kept, fields)
        try:
            yield writer
            writer.finish()
        except BaseException:
            writer.discard()
            raise


def require_format(path: Path, *, keeps: bool = False) -> None:
    """Raise InputError unless the name's ending says a format that can be written.

    Parameters
    ----------
    path : Path
        The name, or STANDARD_OUTPUT.
    keeps : bool
        Whether columns of another file will be kept.
    """
    if path is STANDARD_OUTPUT:
        return
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise InputError(str(path), f"must end in one of {' '.join(_WRITERS)}, which is its format")
    if keeps and suffix == ".npy":
        raise InputError(
            "--keep", f"is for tables; {path} is an array of results alone: write .csv or .parquet"
        )


class _CsvWriter:
    """Comma-separated values with a heading."""

    def __init__(
        self, _: Path, file: BinaryIO | StdoutFile, kept: Sequence[str], fields: Sequence[Field]
    ) -> None:
        self._file = file
        # Written with the first rows: where there are none, an error is all that is said.
        self._heading = ",".join(quote_csv([*kept, *column_names(fields)])) + "\n"

    def write(self, values: Sequence[NDArray[Any]], kept: Sequence[Piece] = ()) -> None:
        lines = csv_lines(split_columns(values))
        if kept:
            words = [quote_csv(as_text(column)) for column in zip(*kept, strict=True)]
            lines = map(",".join, zip(*words, lines, strict=True))
        self._file.write("\n".join([f"{self._heading}{next(lines)}", *lines, ""]).encode())
        self._heading = ""

    def finish(self) -> None:
        self._file.write(self._heading.encode())

    def discard(self) -> None:
        pass


class _NpyWriter:
    """A structured array; the header, with the number of rows, is rewritten at the end."""

    def __init__(self, _: Path, file: BinaryIO, __: Sequence[str], fields: Sequence[Field]) -> None:
        self._file = file
        self._count = 0
        self._dtype = np.dtype(
            [
                (field.name, field.dtype, (len(field.columns),))
                if field.is_block
                else (field.name, field.dtype)
                for field in fields
            ]
        )
        self._header_size = self._write_header()

    def write(self, values: Sequence[NDArray[Any]], _: Sequence[Piece] = ()) -> None:
        rows = np.empty(len(values[0]), dtype=self._dtype)
        for name, value in zip(self._dtype.names or (), values, strict=True):
            rows[name] = value
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


_WRITERS: dict[str, Callable[[Path, BinaryIO, Sequence[str], Sequence[Field]], Writer]] = {
    ".csv": _CsvWriter,
    ".npy": _NpyWriter,
    ".parquet": ParquetWriter,
}
