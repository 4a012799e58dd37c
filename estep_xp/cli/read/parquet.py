"""Parquet: columns of numbers, read block by block with pyarrow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.read.columns import find_index, text_error
from estep_xp.cli.read.rows import BadRows, Block
from estep_xp.cli.system.extras import require_pyarrow
from estep_xp.cli.system.files import translate_read_errors
from estep_xp.cli.text.errors import SystemFailure
from estep_xp.files.errors import InputError

_BLOCK_ROWS = 1 << 16
_SAMPLE_ROWS = 1000  # rows in which an index is recognised


class ParquetSource:
    """A Parquet file; see :class:`~estep_xp.cli.read.rows.Source`.

    Parameters
    ----------
    path : Path
        The file.
    stack : ExitStack
        Closes what has been opened.
    place : Path
        Where it lies, if it was sent to us under the name `path`.
    """

    def __init__(self, path: Path, stack: ExitStack, place: Path) -> None:
        self._path = path
        self._pyarrow, parquet = require_pyarrow(path)
        with self._translate_errors():
            file = stack.enter_context(place.open("rb"))
            # Buffered, so that columns are read in pieces instead of a row group at once.
            self._file = parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
            self._schema = self._file.schema_arrow
            self.names: tuple[str, ...] | None = tuple(map(str.strip, self._schema.names))
        self.notes: list[str] = []
        self.index: list[int] = []
        self.n_columns = len(self.names)
        self.total: int | None = self._file.metadata.num_rows
        self.position = 0

    def blocks(
        self, columns: Sequence[int], bad: BadRows, kept: Sequence[int] = ()
    ) -> Iterator[Block]:
        """Yield the chosen columns of all rows, block by block, less the rows added to `bad`."""
        for column in columns:
            if not self._holds_numbers(column):
                numeric = [other for other in range(self.n_columns) if self._holds_numbers(other)]
                found = str(self._schema.field(column).type)
                raise text_error(self._path, self.names, column, found, numeric)
        needed = list(dict.fromkeys([*columns, *kept]))
        for batch in self._batches(needed, _BLOCK_ROWS):
            values = dict(zip(needed, batch, strict=True))
            block = np.stack([self._to_floats(values[column]) for column in columns], axis=1)
            bad.add_not_finite(block, columns, self.position)
            self.position += len(block)
            yield Block(block, [tuple(values[column] for column in kept)] if kept else ())

    def _batches(self, columns: Sequence[int], n_rows: int) -> Iterator[list[Any]]:
        """Yield the chosen columns of the next rows, `n_rows` or fewer."""
        names = self._schema.names
        batches = self._file.iter_batches(batch_size=n_rows, columns=[names[c] for c in columns])
        namesakes = [names[:c].count(names[c]) for c in columns]  # earlier columns of the same name
        while True:
            with self._translate_errors():
                batch = next(batches, None)
            if batch is None:
                return
            # The batch holds every column with one of these names, in file order.
            places = batch.schema.get_all_field_indices
            yield [
                batch.column(places(names[column])[before])
                for column, before in zip(columns, namesakes, strict=True)
            ]

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Turn the errors of a damaged file into one that names it."""
        try:
            with translate_read_errors(self._path):
                yield
        except (self._pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise InputError(str(self._path), f"is no whole Parquet file: {error}") from error
        except SystemFailure as error:
            if getattr(error.__cause__, "errno", None) is not None:
                raise
            # No errno: pyarrow raised it for data that it could not decode.
            raise InputError(str(self._path), f"is no whole Parquet file: {error}") from error

    def place_of(self, row: int) -> str:
        """Return where a row stands."""
        return f"row {row}, counted from 0"

    def find_index(self) -> dict[int, int | None]:
        """Return the index columns: those in the metadata of pandas, and those named like one."""
        declared = [self._schema.get_field_index(name) for name in self._pandas_index()]
        names = [
            "data" if column in declared else name for column, name in enumerate(self.names or ())
        ]
        return dict.fromkeys(declared) | find_index(self._path, names, self._first_values)

    def _pandas_index(self) -> list[str]:
        """Return the names of the index's columns by what pandas has written into the file."""
        try:
            names = json.loads(self._schema.metadata[b"pandas"])["index_columns"]
            return [name for name in names if self._schema.names.count(name) == 1]
        except (KeyError, TypeError, ValueError, RecursionError):  # no metadata, or none of pandas
            return []

    def _first_values(self, column: int) -> list[str]:
        """Return some values of a column, from the beginning, as text."""
        values = next(self._batches([column], _SAMPLE_ROWS), None)
        return [] if values is None else list(map(str, values[0].to_pylist()))

    def _holds_numbers(self, column: int) -> bool:
        """Return whether the column holds integers, floating-point numbers or decimals."""
        kind = self._schema.field(column).type
        types = self._pyarrow.types
        return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))

    def _to_floats(self, values: Any) -> NDArray[np.float64]:
        """Return one column of a batch; what is missing becomes NaN."""
        if self._pyarrow.types.is_decimal(values.type):
            # Through text, which rounds once; a direct cast is off in the last digit.
            values = values.cast(self._pyarrow.string()).cast(self._pyarrow.float64())
        numbers = values.to_numpy(zero_copy_only=False)
        return np.asarray(numbers, dtype=np.float64)
