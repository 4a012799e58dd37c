"""Reading of whole files, and some contents of files: for tests."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from estep_xp.cli.read import rows
from estep_xp.cli.read.data import choose_columns, open_data

MINUS = "\N{MINUS SIGN}"
BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
AB = ("a", "b")
X = np.arange(20.0).reshape(10, 2) / 7
THIRD = 1 / 3


def read(path: Path, columns=None, d=2, n_rows=3, array=None):
    """Return all rows of a file as one array, and the names of its columns."""
    with ExitStack() as stack:
        source = open_data(path, array, stack)
        chosen = choose_columns(source, path, columns, d)
        blocks = list(rows.read_blocks(source, chosen, path, n_rows))
        assert all(len(block) == n_rows for block in blocks[:-1])
        assert source.position == source.total
    return np.concatenate(blocks).tolist(), source.names
