"""All rows of a file at once, for what goes over them again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.read.arrays import ArrayFile
from estep_xp.cli.read.kept import Piece
from estep_xp.cli.read.rows import Source, read_rows

_BLOCK_SIZE = 1 << 22  # bytes


def read_table(
    source: Source,
    columns: Sequence[int],
    path: Path,
    advance: Callable[[int], None],
    *,
    holes: bool = False,
    kept: Sequence[int] = (),
    keep: Callable[[Sequence[Piece]], None] | None = None,
) -> NDArray[np.float64]:
    """Return the chosen columns of all rows.

    An array that lies in its file as it is needed is mapped into memory, after a look at all of
    it: it may be larger than memory. Everything else is loaded.

    Parameters
    ----------
    source : Source
        The file.
    columns : sequence of int
        The columns to read.
    path : Path
        The file's name, for errors.
    advance : callable
        Called after each block with the number of rows read.
    holes : bool
        Whether values may be missing; they are NaN.
    kept : sequence of int
        Columns that are wanted as they stand, and `keep` takes them, piece by piece.
    keep : callable, optional
        Called after each block with the pieces of these columns.

    Returns
    -------
    ndarray of shape (n, d)
        The rows.

    Raises
    ------
    InputError
        If there is a bad row, or none at all.
    """
    mapped = source.map_columns(columns) if isinstance(source, ArrayFile) else None
    # A bytearray grows in place; concatenating a list of blocks would need twice the memory.
    loaded = bytearray()
    n_rows = 0
    block_rows = max(1, _BLOCK_SIZE // (8 * len(columns)))
    for block, pieces in read_rows(source, columns, path, block_rows, kept, holes=holes):
        if keep is not None:
            keep(pieces)
        n_rows += len(block)
        if mapped is None:
            loaded += block.tobytes()
        advance(n_rows)
    if mapped is not None:
        return mapped
    return np.frombuffer(loaded, dtype=np.float64).reshape(n_rows, len(columns))
