"""Products of families for rows with holes: each part integrates out what its columns lack."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from estep_xp.arrays.array_types import Array
from estep_xp.arrays.summation import add_pairwise
from estep_xp.families.family import Family, ObservedRows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from estep_xp.arrays.block import BlockOps


class PartsWithHoles(Family):
    """What a product answers for rows of which a part was not observed."""

    __slots__ = ()

    parts: tuple[Any, ...]

    def _each(self, *others: tuple[Any, ...]) -> Iterator[Any]:
        """For each part what answers for it, its columns, and its item of others."""
        raise NotImplementedError

    def _for_incomplete_parts(self, ops: BlockOps) -> BlockOps:
        """The operations for a part, which alone cannot tell what is negligible."""
        several = sum(1 for family, _ in self._each() if family._takes_noise)
        return replace(ops, only_shares=False, sharing=max(1, several))

    def _width_incomplete(self, ops: BlockOps) -> int:
        inner = self._for_incomplete_parts(ops)
        return sum(int(family._width_incomplete(inner)) for family, _ in self._each())

    def _prepare_incomplete(self, ops: BlockOps, log_weights: Array | None) -> tuple[Any, ...]:
        inner, (first, *others) = (
            self._for_incomplete_parts(ops),
            [family for family, _ in self._each()],
        )
        return (
            first._prepare_incomplete(inner, log_weights),
            *(family._prepare_incomplete(inner, None) for family in others),
        )

    def _evaluate_incomplete(
        self, ops: BlockOps, prepared: tuple[Any, ...], rows: ObservedRows
    ) -> tuple[Array, Any]:
        inner = self._for_incomplete_parts(ops)
        found = [
            family._evaluate_incomplete(inner, own, _take(ops, columns, rows))
            for family, columns, own in self._each(prepared)
        ]
        joint: Array = add_pairwise([one for one, _ in found], operator.add)
        return joint, tuple(form for _, form in found)

    def _moments_incomplete(
        self,
        ops: BlockOps,
        prepared: tuple[Any, ...],
        rows: ObservedRows,
        form: Any,
        responsibilities: Array,
    ) -> tuple[Array, ...]:
        inner, forms, sums = self._for_incomplete_parts(ops), form or (None,) * len(prepared), []
        for family, columns, own, one in self._each(prepared, forms):
            taken = _take(ops, columns, rows)
            sums += family._moments_incomplete(inner, own, taken, one, responsibilities)
        return tuple(sums)

    def _conditional_moments(
        self, ops: BlockOps, prepared: tuple[Any, ...], rows: ObservedRows
    ) -> tuple[Array, Array]:
        xp, inner = ops.xp, self._for_incomplete_parts(ops)
        found = [
            family._conditional_moments(inner, own, _take(ops, columns, rows))
            for family, columns, own in self._each(prepared)
        ]
        widths, bands = [means.shape[-1] for means, _ in found], []
        for i, (_, covariance) in enumerate(found):
            # Between parts there is no covariance.
            line = [
                covariance
                if i == j
                else 0.0 * xp.broadcast_to(covariance[..., :1], (*covariance.shape[:-1], width))
                for j, width in enumerate(widths)
            ]
            bands.append(xp.concat(line, axis=-1))
        means = xp.concat([one for one, _ in found], axis=-1)
        return means, xp.concat(bands, axis=-2)


def _take(ops: BlockOps, columns: Any, rows: ObservedRows) -> ObservedRows:
    return ObservedRows(columns.take(ops, rows.x), columns.take(ops, rows.seen), None)
