"""Several rows of the recursion of log space at once, by sums of products that are watched.

A log-sum-exp takes an exponential for each transition and row. Here each state has a scale of its
own, r_j, from the message before the rows, so large that no transition raises a state:
r_j >= r_i + log A_ij along every path. With u_j = exp(message_j - r_j) and A'_ij =
A_ij exp(r_i - r_j) <= 1 a step is a sum of products, u' = A' u, as exact as in log space: the least
likely state has a scale, too. What falls below the range of floats would be missed, and that is
looked for afterwards.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray

_FEWEST_ROWS = 3  # at once
_MOST_ROWS = 16  # at once; the scales of a part of the blocks may not suit the others for long
_SHARE = 0.7  # of the exponents of floats that rows may use up


class LogRows(NamedTuple):
    """What all rows of a chain share."""

    entries: AnyArray  # (k, p) log-transitions to i from its p sources, -inf where there are fewer
    sources: AnyArray  # (k, p)
    paths: AnyArray  # (k, k) the best sum of log-transitions on any path from j to i
    seen: AnyArray  # (n, k, blocks) exponentials of the evidence
    drops: AnyArray  # (n,) by how much a state may fall behind in a row

    @classmethod
    def of(cls, matrix: AnyArray, evidence: AnyArray) -> LogRows:
        """Log-transitions (k, k) from j to i at [i, j], and the evidence (n, k, blocks)."""
        exists = matrix > -math.inf
        sources = np.argsort(~exists, axis=1, kind="stable")[:, : max(1, exists.sum(axis=1).max())]
        k = len(matrix)
        paths: AnyArray = np.where(np.eye(k, dtype=bool), np.maximum(matrix, 0.0), matrix)
        for j in range(k):  # what paths through the first states come to, then also through j
            np.maximum(paths, paths[:, j, None] + paths[j], out=paths)
        entries = np.take_along_axis(matrix, sources, axis=1)
        return cls(entries, sources, paths, np.exp(evidence), _drops(evidence))

    def of_blocks(self, evidence: AnyArray, blocks: slice) -> LogRows:
        """The same of some blocks, with their evidence (n, k, some)."""
        return self._replace(seen=self.seen[..., blocks], drops=_drops(evidence))

    def room(self, start: int, step: int, has_reset: list[bool]) -> int:
        """How many rows from one on, in the direction of travel, may go at once: without a reset.

        0 where there are few, which are rather taken one by one.
        """
        ahead = self.drops[start::step][:_MOST_ROWS]
        room = -_SHARE * math.log(float(np.finfo(self.drops.dtype).tiny))
        count = int(np.searchsorted(np.cumsum(ahead), room))
        resets = has_reset[start::step][:count]
        count = resets.index(True) if True in resets else count
        return count if count >= _FEWEST_ROWS else 0

    def go_on(
        self,
        joint: AnyArray,
        rows: slice,
        evidence: AnyArray,
        reference: AnyArray,
        resets: Any = None,
        out: AnyArray | None = None,
    ) -> AnyArray | None:
        """Write the log-messages that enter rows, and return the one that leaves the last.

        None where something is lost, or not finite. `joint` (k, ...) is the message before the
        rows; messages leave each row with a largest sum with `reference` of 0. Without `out`
        (rows, k, ...) only the last one is computed. Not one of the rows has a reset.
        """
        del resets
        few = float(np.finfo(joint.dtype).tiny) ** (0.5 + 0.5 * _SHARE)
        beside = (1,) * (joint.ndim - 1)
        best = _along_paths(self.paths, joint)
        scale = np.where(best == -math.inf, 0.0, best)
        now = np.exp(joint - scale)
        entries = self.entries.reshape(*self.entries.shape, *beside)
        factors = np.exp(entries + (best[self.sources] - scale[:, None]))
        shape = (evidence.shape[0], *joint.shape)
        seen = self.seen[rows] if joint.ndim == 2 else self.seen[rows][:, :, None]
        entered, left = np.empty(shape, joint.dtype), np.empty(shape, joint.dtype)
        terms = np.empty_like(factors)
        for t in range(shape[0]):
            np.multiply(now[self.sources], factors, out=terms)
            np.add.reduce(terms, axis=1, out=entered[t])
            now = np.multiply(entered[t], seen[t], out=left[t])
        # States that were never reached are 0 for good; no other one may be as small as that.
        small = (entered < few) & (best > -math.inf)
        if small.any() and (small & self._reached(joint, left)).any():
            return None
        small = left < few
        if small.any() and (small & (entered > 0) & (evidence > -math.inf)).any():
            return None
        if not np.isfinite(now).all():
            return None
        if out is None:
            last = np.log(now) + scale
            axes = tuple(range(joint.ndim - 1))
            largest = (last + reference[-1]).max(axis=axes, keepdims=True)
            return last - np.where(largest == -math.inf, 0.0, largest)
        messages = np.add(np.log(entered), scale, out=out)
        joints = messages + evidence
        largest = (joints + reference).max(axis=tuple(range(1, joint.ndim)), keepdims=True)
        largest[largest == -math.inf] = 0.0
        messages[1:] -= largest[:-1]
        return joints[-1] - largest[-1]

    def _reached(self, joint: AnyArray, left: AnyArray) -> AnyArray:
        """Whether a source of a state has something to give, for each row."""
        before = np.concatenate([joint[None] > -math.inf, left[:-1] > 0])
        exists = (self.entries > -math.inf).reshape(*self.entries.shape, *(1,) * (joint.ndim - 1))
        reached = np.zeros_like(before)
        for one in range(self.sources.shape[1]):
            reached |= before[:, self.sources[:, one]] & exists[:, one]
        return reached


def _drops(evidence: AnyArray) -> AnyArray:
    drops: AnyArray = -np.where(evidence > -math.inf, evidence, 0.0).min(axis=(1, 2))
    return drops


def _along_paths(paths: AnyArray, joint: AnyArray) -> AnyArray:
    """The best of each message along the paths from where it is."""
    best = paths[:, 0].reshape(-1, *(1,) * (joint.ndim - 1)) + joint[0]
    for j in range(1, len(paths)):
        np.maximum(best, paths[:, j].reshape(-1, *(1,) * (joint.ndim - 1)) + joint[j], out=best)
    return best
