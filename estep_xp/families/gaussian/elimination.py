"""Hidden features eliminated from precision Cholesky factors, for many patterns of holes at once.

Elimination is modified Gram-Schmidt on the rows of P, whose products are the precision: a row W_i
of an observed feature is made orthogonal to those of hidden ones, and W Wᵀ is the precision of what
was observed. It keeps the digits that elimination from the precision itself, whose condition is
that of P squared, would lose.

Features are eliminated from the last one on, and patterns that have the same holes among the
features so far are one node until they differ: sorted patterns share most of the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from estep_xp.arrays.array_types import AnyArray

_CHUNK_NUMBERS = 1 << 18  # of an array of a chunk of patterns; half as many take longer


class _Level(NamedTuple):
    """The nodes of one feature; those that hide it are the last."""

    feature: int
    parents: AnyArray | None  # (nodes,): nodes of the feature before; None: the same nodes
    begin: int  # the first node that hides the feature
    steps: AnyArray  # (d, hiding, k): how much of row `feature` was taken from each row


class Elimination(NamedTuple):
    """Hidden features eliminated from the factors of k components, for P patterns."""

    factors: AnyArray  # W (k, P, d, d), rows of hidden features 0
    pivots: AnyArray  # (k, P, d): squared lengths of rows of hidden features, 1 of others
    levels: list[_Level]
    nodes: AnyArray  # (P,): the last level's node of each pattern

    def expansions(self) -> AnyArray:
        """A (k, P, d, d): W = A P, but for what W has of rows of hidden features.

        A row of an observed feature says how hidden ones follow it; a row of a hidden feature,
        over its pivot's root, is what the covariance of hidden features is made of.
        """
        k, _, d, _ = self.factors.shape
        unit = np.eye(d)[:, :, None, None]
        a = _Nodes(np.empty((d, d, 1, k)))
        for level in self.levels:
            part = a.descend(level.parents, level.begin, unit[level.feature])
            for column in part:
                column -= level.steps * column[level.feature].copy()
        return a.by_pattern(self.nodes)


class _Nodes:
    """Matrices of nodes, column by column from the last on: (columns, d, nodes, k)."""

    def __init__(self, empty: AnyArray) -> None:
        self.columns = empty
        self.used = 0

    def descend(self, parents: AnyArray | None, begin: int, column: AnyArray) -> AnyArray:
        """Give nodes to a level, and a new column to all; return those that hide its feature."""
        if parents is not None:
            d, _, _, k = self.columns.shape
            columns = np.empty((d, d, len(parents), k))
            some = self.columns[: self.used]
            np.take(some, parents, axis=2, out=columns[: self.used], mode="clip")
            self.columns = columns
        self.columns[self.used] = column
        self.used += 1
        return self.columns[: self.used, :, begin:]

    def by_pattern(self, nodes: AnyArray) -> AnyArray:
        """The matrices of patterns (k, P, d, d)."""
        return np.ascontiguousarray(self.columns[::-1, :, nodes].transpose(3, 2, 1, 0))


def eliminate_in_chunks(factors: AnyArray, seen: AnyArray) -> Iterator[Elimination]:
    """Eliminate hidden features of patterns (P, d) from factors (k, d, d)."""
    k, d, _ = factors.shape
    size = max(1, _CHUNK_NUMBERS // (k * d * d))
    for start in range(0, len(seen), size):
        yield _eliminate(factors, seen[start : start + size])


def _eliminate(factors: AnyArray, seen: AnyArray) -> Elimination:
    k, d, _ = factors.shape
    columns = factors.transpose(2, 1, 0)[:, :, None, :]
    flags = seen.T.astype(factors.dtype)
    w = _Nodes(np.empty((d, d, 1, k)))
    nodes = np.zeros(len(seen), dtype=np.intp)
    n_nodes, levels = 1, []
    pivots = np.ones((k, len(seen), d))
    for j in range(d - 1, -1, -1):
        keys, first, nodes = np.unique(
            nodes + n_nodes * ~seen[:, j], return_index=True, return_inverse=True
        )
        begin = int(np.searchsorted(keys, n_nodes))
        same = begin in (0, n_nodes) and len(keys) == n_nodes
        parents = None if same else keys % n_nodes
        n_nodes = len(keys)
        part = w.descend(parents, begin, columns[j])
        # Rows of hidden features that are done stay as they are.
        rows = flags[:, first[begin:], None]
        steps, lengths = _orthogonalize(part, j, rows)
        levels.append(_Level(j, parents, begin, steps))
        hidden = ~seen[:, j]
        pivots[:, hidden, j] = lengths[nodes[hidden] - begin].T
    left = w.by_pattern(nodes)
    left *= seen[:, :, None]
    return Elimination(left, pivots, levels, nodes)


def _orthogonalize(w: AnyArray, j: int, flags: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Make rows of w (columns, d, nodes, k) orthogonal to row j, in place."""
    lengths = np.zeros(w.shape[2:])
    steps: Any = np.zeros(w.shape[1:])
    for column in w:
        lengths += column[j] * column[j]
        steps += column * column[j]
    if lengths.size:
        steps /= lengths
        steps[j] = 0.0
        steps[j + 1 :] *= flags[j + 1 :]
        for column in w:
            column -= steps * column[j].copy()
    return steps, lengths
