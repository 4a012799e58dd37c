"""Several rows of the recursion of scaled sums at once, for blocks of rows on NumPy.

A step is a product of matrices and one with the evidence, written where they are wanted: next to
these few numbers, what else a step from row to row does would take most of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from estep_xp.arrays.array_types import AnyArray


class ScaledRows(NamedTuple):
    """What all rows of a chain share."""

    matrix: AnyArray  # (k, k)
    in_range: int  # rows that messages may go on without being rescaled

    def of_blocks(self, evidence: AnyArray, blocks: slice) -> ScaledRows:
        """The same of some blocks."""
        del evidence, blocks
        return self

    def room(self, start: int, step: int, has_reset: list[bool]) -> int:
        """How many rows from one on, in the direction of travel, may go at once: all."""
        return start + 1 if step < 0 else len(has_reset) - start

    def go_on(
        self,
        joint: AnyArray,
        rows: slice,
        evidence: AnyArray,
        reference: AnyArray,
        resets: Iterator[AnyArray | None],
        entered: AnyArray | None,
    ) -> AnyArray:
        """Write the messages that enter rows, and return the one (k, ...) that leaves the last.

        `joint` (k, ...) is the message before the rows. `resets` are flags (blocks,) of messages
        that begin anew, None for a row in which none does.
        """
        del rows, reference
        flat = (joint.shape[0], -1)
        now, message = np.array(joint, order="C"), np.empty(joint.shape, joint.dtype)
        # The quicker of the two, by half a microsecond, writes on contiguous numbers alone.
        direct = entered is not None and joint.ndim == 2 and entered[0].flags.c_contiguous
        left, into = now.reshape(flat), message.reshape(flat)
        axes, last = tuple(range(joint.ndim - 1)), len(evidence) - 1
        for i, (seen, reset) in enumerate(zip(evidence, resets, strict=True)):
            if direct and entered is not None:
                message = into = entered[i]
            np.dot(self.matrix, left, out=into)
            if reset is not None:  # messages of a block are in columns of their own, NaN, too
                np.copyto(message, 1.0, where=reset)
            if entered is not None and not direct:
                entered[i] = message
            np.multiply(message, seen, out=now)
            if i % self.in_range == 0 or i == last:
                total = now.sum(axis=axes, keepdims=True)
                np.divide(now, np.where(total > 0, total, 1.0), out=now)
        return now
