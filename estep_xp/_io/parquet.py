"""Parquet: columns of numbers, read and written block by block with pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from estep_xp._io.errors import InputError, SystemFailure, shown
from estep_xp._io.extras import require
from estep_xp._io.files import reading
from estep_xp._io.rows import BadRows

if TYPE_CHECKING:
    from estep_xp._io.results import Results

_ROWS = 1 << 16


class ParquetSource:
    """A Parquet file; see :class:`~estep_xp._io.rows.Source`.

    Parameters
    ----------
    path : Path
        The file.
    stack : ExitStack
        Closes what has been opened.
    """

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path = path
        self._pyarrow = require("pyarrow", wanted_by=str(path), install="pyarrow")
        parquet = require("pyarrow.parquet", wanted_by=str(path), install="pyarrow")
        with self._damage():
            file = stack.enter_context(path.open("rb"))
            # Buffered: a column is read piece by piece, not a row group at once.
            self._file = parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
        self._schema = self._file.schema_arrow
        self.names: tuple[str, ...] | None = tuple(self._schema.names)
        self.n_columns = len(self.names)
        if len(set(self.names)) < self.n_columns:
            raise InputError(str(path), f"has columns of the same name: {', '.join(self.names)}")
        self.total: int | None = self._file.metadata.num_rows
        self.position = 0

    def blocks(self, columns: Sequence[int], bad: BadRows) -> Iterator[NDArray[np.float64]]:
        """Yield the chosen columns of all rows, block by block, less the rows added to `bad`."""
        names = [self._schema.names[column] for column in columns]
        for column in columns:
            self._require_numbers(column)
        batches = self._file.iter_batches(batch_size=_ROWS, columns=names)
        while True:
            with self._damage():
                batch = next(batches, None)
            if batch is None:
                return
            block = np.stack([self._numbers(batch.column(name)) for name in names], axis=1)
            bad.add_not_finite(block, columns, self.position)
            self.position += len(block)
            yield block

    @contextmanager
    def _damage(self) -> Iterator[None]:
        """Turn the errors of a damaged file into one that names it."""
        try:
            with reading(self._path):
                yield
        except self._pyarrow.ArrowException as error:
            raise InputError(str(self._path), f"is no whole Parquet file: {error}") from error
        except SystemFailure as error:
            if getattr(error.__cause__, "errno", None) is not None:
                raise
            # pyarrow's own, of what it could not decode
            raise InputError(str(self._path), f"is no whole Parquet file: {error}") from error

    def _require_numbers(self, column: int) -> None:
        """Raise InputError unless the column holds integers or floating-point numbers."""
        field = self._schema.field(column)
        types = self._pyarrow.types
        if not (types.is_integer(field.type) or types.is_floating(field.type)):
            name = shown(field.name)
            raise InputError(
                f"{self._path} column {name}", f"holds {field.type}; must hold real numbers"
            )

    def _numbers(self, values: Any) -> NDArray[np.float64]:
        """Return one column of a batch; what is missing becomes NaN."""
        numbers = values.to_numpy(zero_copy_only=False)
        return np.asarray(numbers, dtype=np.float64)


class ParquetWriter:
    """A Parquet file of results; see :class:`~estep_xp._io.results.Writer`.

    Parameters
    ----------
    path : Path
        Its name, for errors.
    file : BinaryIO
        The file.
    names : list of str
        The names of its columns: "label" holds integers, the others numbers.
    """

    def __init__(self, path: Path, file: BinaryIO, names: list[str]) -> None:
        self._pyarrow = require("pyarrow", wanted_by=str(path), install="pyarrow")
        parquet = require("pyarrow.parquet", wanted_by=str(path), install="pyarrow")
        number, label = self._pyarrow.float64(), self._pyarrow.int64()
        types = [label if name == "label" else number for name in names]
        self._schema = self._pyarrow.schema(list(zip(names, types, strict=True)))
        self._writer = parquet.ParquetWriter(file, self._schema)

    def write(self, block: Results) -> None:
        """Append the results of some rows."""
        columns = [*block.responsibilities.T, block.labels, block.log_likelihood]
        arrays = [np.ascontiguousarray(column) for column in columns]
        self._writer.write_batch(self._pyarrow.record_batch(arrays, schema=self._schema))

    def finish(self) -> None:
        """Complete the file."""
        self._writer.close()

    def discard(self) -> None:
        """Give the file up: what is not whole will be removed."""
        self._writer.is_open = False  # or pyarrow would complete it, in a file closed since
