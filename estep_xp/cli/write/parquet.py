"""Parquet files of rows, written block by block with pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.compute.results import Field, split_columns
from estep_xp.cli.read.kept import Piece, as_arrow
from estep_xp.cli.system.extras import require_pyarrow
from estep_xp.files.errors import InputError


class ParquetWriter:
    """A Parquet file of rows; see :class:`~estep_xp.cli.write.rows.Writer`.

    Parameters
    ----------
    path : Path
        Its name, for errors.
    file : BinaryIO
        The file.
    kept : sequence of str
        The names of columns that come from another file.
    fields : sequence of Field
        What a row holds beside them.
    """

    def __init__(
        self, path: Path, file: BinaryIO, kept: Sequence[str], fields: Sequence[Field]
    ) -> None:
        self._pyarrow, self._parquet = require_pyarrow(path)
        self._path, self._file = path, file
        self._kept = kept
        self._types = [
            (name, self._pyarrow.from_numpy_dtype(np.dtype(field.dtype)))
            for field in fields
            for name in field.columns
        ]
        self._writer: Any = None  # the types of kept columns are those of their first rows

    def write(self, values: Sequence[NDArray[Any]], kept: Sequence[Piece] = ()) -> None:
        """Append rows: the values of each field, (n,) or (n, m), and pieces of kept columns."""
        try:
            columns = [as_arrow(self._pyarrow, column) for column in zip(*kept, strict=True)]
            writer = self._open([column.type for column in columns])
            columns += [self._pyarrow.array(np.ascontiguousarray(c)) for c in split_columns(values)]
            table = self._pyarrow.Table.from_arrays(columns, schema=writer.schema)
            writer.write_table(table)
        except (self._pyarrow.ArrowNotImplementedError, self._pyarrow.ArrowInvalid) as error:
            raise InputError(
                "--keep", f"a column cannot stand in {self._path}: {error}; write .csv instead"
            ) from error

    def finish(self) -> None:
        """Complete the file."""
        self._open([self._pyarrow.null()] * len(self._kept)).close()

    def discard(self) -> None:
        """Abandon the file, which is incomplete and will be removed."""
        if self._writer is not None:
            self._writer.is_open = False  # else pyarrow completes it later, in a closed file

    def _open(self, types: Sequence[Any]) -> Any:
        """Return the writer of the file, which is made at the first call."""
        if self._writer is None:
            kept = list(zip(self._kept, types, strict=True))
            schema = self._pyarrow.schema(kept + self._types)
            self._writer = self._parquet.ParquetWriter(self._file, schema)
        return self._writer
