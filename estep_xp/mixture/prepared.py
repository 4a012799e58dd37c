"""What every kernel of a mixture begins with: weights and components, prepared for all blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from estep_xp.arrays.logsumexp import LogNormalized, MixingWeights, mixing_weights, normalize
from estep_xp.families.contract import family_of, nan_where_infinite

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array, Components
    from estep_xp.arrays.block import BlockOps
    from estep_xp.families.family import Evaluated, Family
    from estep_xp.mixture.mixture import Mixture


class Prepared(NamedTuple):
    """What all blocks of a call share."""

    components: Components
    shared: Any  # by the components
    weights: MixingWeights

    @property
    def family(self) -> Family:
        """What answers for the components."""
        return family_of(self.components)

    def call_without_zeros(self, ops: BlockOps, function: Callable[[Prepared], Any]) -> Any:
        """Call `function(prepared)`; with less work if no weight turns out to be zero."""
        if self.weights.gain is None:
            return function(self)
        positive = self._replace(weights=MixingWeights(self.weights.log))
        flag = ops.xp.all(self.weights.gain == 1.0)
        return ops.cond(flag, lambda: function(positive), lambda: function(self))


@dataclass(frozen=True)
class MixtureKernel:
    """What the kernels have in common."""

    k: int  # components
    zeros: bool  # some weight may be zero
    lazy: bool  # results can't be checked: bad rows must show

    normalizes: ClassVar[bool] = True  # log-joints are no results themselves

    def prepare(self, ops: BlockOps, parameters: Mixture) -> Prepared:
        """Prepare weights and components."""
        weights, components = parameters
        mixing = mixing_weights(ops, weights, zeros=self.zeros)
        return Prepared(components, family_of(components)._prepare(ops, mixing.log), mixing)

    @property
    def tails(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one row of the results; by default none are collected."""
        return ()

    @property
    def breadth(self) -> int:
        """Elements per row of the widest results."""
        return self.k

    def width(self, ops: BlockOps, parameters: Mixture) -> int:
        """Scratch elements per row, beyond the row itself."""
        return self.k + family_of(parameters.components)._width(ops)

    def evaluate(self, ops: BlockOps, prepared: Prepared, x: Array) -> Evaluated:
        """Log-joints of a block, as `normalize` takes them."""
        if self.normalizes and prepared.weights.gain is None:
            ops = ops.for_shares()
        return prepared.family._evaluate(ops, prepared.shared, x)

    def normalize(
        self,
        ops: BlockOps,
        prepared: Prepared,
        block: Evaluated,
        masked: Array | None = None,
    ) -> LogNormalized:
        """An evaluated block, normalised."""
        mark = None
        if self.lazy:
            mark = nan_where_infinite(ops, prepared.family._without_holes(ops, block.x))
        return normalize(ops, block.log_joint, prepared.weights, block.bound, masked, mark)


def row_log_likelihoods(ops: BlockOps, normalized: LogNormalized) -> Array:
    """Log-likelihoods (rows,) of a normalised block."""
    logarithm = ops.xp.log(normalized.total)
    return logarithm if normalized.shift is None else normalized.shift + logarithm
