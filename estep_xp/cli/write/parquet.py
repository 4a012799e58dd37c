"""Parquet files of results, written block by block with pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from estep_xp.cli.results import Results
from estep_xp.cli.system.extras import require_pyarrow


class ParquetWriter:
    """A Parquet file of results; see :class:`~estep_xp.cli.write.results.Writer`.

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
        self._pyarrow, parquet = require_pyarrow(path)
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
