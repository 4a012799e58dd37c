"""Sequences of rows, which follow each other in a file: their lengths, by a column of labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.read.columns import column_label, find_columns
from estep_xp.cli.read.kept import Piece, as_text
from estep_xp.cli.read.rows import Block, Source
from estep_xp.files.errors import InputError, show_token

OPTION = "--sequence"


def find_sequence(source: Source, chosen: str) -> int:
    """Return the column that says which sequence a row belongs to.

    Raises
    ------
    InputError
        If there is no such column, or several are named.
    """
    columns = find_columns(OPTION, chosen, source.names, source.n_columns)
    if len(columns) != 1:
        raise InputError(OPTION, f"is {show_token(chosen)}; must be one column")
    return columns[0]


class Labels:
    """The labels of rows in turn, and the lengths of the sequences that they make up.

    Parameters
    ----------
    source : Source
        The file.
    path : Path
        Its name, for errors.
    label : str
        How a message calls the column.
    """

    def __init__(self, source: Source, path: Path, label: str) -> None:
        self._source, self._path, self._label = source, path, label
        self._lengths: dict[str, int] = {}
        self._last: str | None = None
        self._n_rows = 0

    def add(self, pieces: Sequence[Piece]) -> None:
        """Take the labels of the next rows, which are the first column of pieces.

        Raises
        ------
        InputError
            If a row has no label, or a label comes back after another one.
        """
        for word in as_text(piece[0] for piece in pieces):
            if word != self._last:
                self._begin(word.strip())
            self._lengths[word.strip()] += 1
            self._last = word
            self._n_rows += 1

    def _begin(self, label: str) -> None:
        place = f"{self._path} {self._source.place_of(self._n_rows)}"
        if not label:
            raise InputError(place, f"column {self._label} is empty; must name the row's sequence")
        if label in self._lengths and (self._last or "").strip() != label:
            raise InputError(
                place,
                f"column {self._label} is {show_token(label)} again, after "
                f"{show_token((self._last or '').strip())}; rows of one sequence must stand "
                "together, sort them first",
            )
        self._lengths.setdefault(label, 0)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The length of each sequence."""
        return np.asarray(list(self._lengths.values()), dtype=np.int64)


def take_labels(block: Block, labels: Labels) -> Block:
    """Hand the last of the kept columns to `labels`, and return the block without it."""
    labels.add([piece[-1:] for piece in block.kept])
    return block._replace(kept=[piece[:-1] for piece in block.kept])


def labels_of(source: Source, path: Path, column: int) -> Labels:
    """Return an empty collection of labels from a column of a file."""
    return Labels(source, path, column_label(source.names, column))
