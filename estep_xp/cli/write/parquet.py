"""Parquet files of results, written block by block with pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from estep_xp.cli.compute.results import Results, column_dtypes, column_values
from estep_xp.cli.system.extras import require_pyarrow


class ParquetWriter:
    """A Parquet file of results; see :class:`~estep_xp.cli.write.results.Writer`.

    Parameters
    ----------
    path : Path
        Its name, for errors.
    file : BinaryIO
        The file.
    k : int
        How many components there are.
    """

    def __init__(self, path: Path, file: BinaryIO, k: int) -> None:
        self._pyarrow, parquet = require_pyarrow(path)
        self._schema = self._pyarrow.schema(
            [
                (name, self._pyarrow.from_numpy_dtype(np.dtype(dtype)))
                for name, dtype in column_dtypes(k).items()
            ]
        )
        self._writer = parquet.ParquetWriter(file, self._schema)

    def write(self, block: Results) -> None:
        """Append the results of some rows."""
        arrays = [np.ascontiguousarray(column) for column in column_values(block)]
        self._writer.write_batch(self._pyarrow.record_batch(arrays, schema=self._schema))

    def finish(self) -> None:
        """Complete the file."""
        self._writer.close()

    def discard(self) -> None:
        """Abandon the file, which is incomplete and will be removed."""
        self._writer.is_open = False  # else pyarrow completes it later, in a closed file
