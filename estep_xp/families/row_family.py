"""Families whose density and statistics are written for rows as users see them: rows first.

A driver may lay a block out with its rows last; here it is turned, so that a family's file holds
formulas and nothing else.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from estep_xp.arrays.block import expand_components
from estep_xp.families.family import Evaluated, Family

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace
    from estep_xp.arrays.block import BlockOps


class RowFamily(Family):
    """A family that answers for rows (n, ...) with arrays (n, k)."""

    __slots__ = ()

    @abc.abstractmethod
    def _log_prob_of_rows(self, xp: Namespace, x: Array) -> Array:
        """Log-densities (n, k) of rows."""

    @abc.abstractmethod
    def _statistics_of_rows(self, xp: Namespace, x: Array, responsibilities: Array) -> Any:
        """Return a NamedTuple of sums over rows, linear in the responsibilities (n, k).

        The sums may be about the current parameters, which are those of `self`.
        """

    def _prepare(self, ops: BlockOps, log_weights: Array | None) -> Array | None:
        del ops
        return log_weights

    def _evaluate(self, ops: BlockOps, prepared: Array | None, x: Array) -> Evaluated:
        log_prob = self._log_prob_of_rows(ops.xp, rows_first(ops, x))
        joint = to_layout(ops, log_prob)
        if prepared is not None:
            joint = joint + expand_components(prepared, ops.axis)
        return Evaluated(x, joint)

    def _moments_block(
        self, ops: BlockOps, prepared: Any, block: Evaluated, responsibilities: Array
    ) -> tuple[Array, ...]:
        del prepared
        by_row = to_layout(ops, responsibilities)
        sums = self._statistics_of_rows(ops.xp, rows_first(ops, block.x), by_row)
        return tuple(sums)


def rows_first(ops: BlockOps, x: Array) -> Array:
    """Turn a block's rows to the first axis."""
    return x if ops.axis == 1 else ops.xp.moveaxis(x, -1, 0)


def to_layout(ops: BlockOps, values: Array) -> Array:
    """Turn (n, k) into the layout of a block, or back."""
    return values if ops.axis == 1 else ops.xp.permute_dims(values, (1, 0))
