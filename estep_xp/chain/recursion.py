"""The recursion of a chain, by which a message goes from row to row; written once.

Forward a message says what the rows so far say of a row's state, backward what the later rows say:

    entered_t = M joint_t−1,    joint_t = entered_t * evidence_t,

up to a positive factor, with M the transposed transitions forward and the transitions themselves
backward. At a reset, the first row of a sequence in the direction of travel, nothing enters: a 1 in
place of the message. Each `Recursion` is a semiring: sums of products where these are safe,
log-sum-exp of sums elsewhere. Messages have components first, and any axes after them: rows that
are worked on side by side, or columns of a matrix that maps messages to messages.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from estep_xp.chain.log_rows import LogRows
from estep_xp.chain.scaled_rows import ScaledRows

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace

# An exponent of what is as good as nothing beside 1. Below, NumPy's exp takes several times longer.
_NEGLIGIBLE = -700.0


@dataclass(frozen=True)
class Recursion(abc.ABC):
    """One step from row to row. Hashable: what programs are compiled for."""

    one: ClassVar[float]  # neutral to `multiply`
    zero: ClassVar[float]  # neutral to sums

    @abc.abstractmethod
    def multiply(self, message: Array, evidence: Array) -> Array:
        """Combine what two sides say of each state."""

    @abc.abstractmethod
    def apply(self, xp: Namespace, matrix: Array, joint: Array) -> Array:
        """Send a message (k, ...) through a matrix (k, k), or through one each (k, k, ...)."""

    @abc.abstractmethod
    def rescale(
        self, xp: Namespace, joint: Array, reference: Array, axes: tuple[int, ...]
    ) -> Array:
        """The message by a factor that keeps its numbers in range, shared along the axes.

        `reference` (k, ...) is what the other direction says of the states, where that matters.
        """

    def step(
        self,
        xp: Namespace,
        joint: Array,
        matrix: Array,
        evidence: Array,
        reset: Array | None,
        reference: Array,
        axes: tuple[int, ...] = (0,),
        *,
        rescale: bool = True,
    ) -> tuple[Array, Array]:
        """Go on by a row: the joint there, and the message that has entered the row.

        `reset` (...) flags messages that begin anew; None where none does.
        """
        if reset is not None:
            # Before and after: a message of NaN, or its derivative, must not get past a reset.
            joint = xp.where(reset, self.one, joint)
        entered = self.apply(xp, matrix, joint)
        if reset is not None:
            entered = xp.where(reset, self.one, entered)
        joint = self.multiply(entered, evidence)
        return self.rescale(xp, joint, reference, axes) if rescale else joint, entered

    def prepare_rows(self, matrix: Any, evidence: Any) -> LogRows | ScaledRows | None:
        """What several rows on NumPy need to be taken at once; None where a step a row is best."""
        del matrix, evidence
        return None

    def steps_in_range(self, least: float, dtype: Any) -> int:
        """How many rows messages may go on without being rescaled, given the least transition."""
        del least, dtype
        return 1


@dataclass(frozen=True)
class Scaled(Recursion):
    """Sums of products of positive numbers, in which nothing cancels; rescaled at each row."""

    one: ClassVar[float] = 1.0
    zero: ClassVar[float] = 0.0

    def multiply(self, message: Array, evidence: Array) -> Array:
        """Multiply."""
        return message * evidence

    def apply(self, xp: Namespace, matrix: Array, joint: Array) -> Array:
        """Multiply matrix and vector."""
        if matrix.ndim > 2:
            return xp.sum(_beside_columns(xp, matrix, joint) * joint[None, ...], axis=1)
        if joint.ndim <= 2:
            return matrix @ joint
        flat = xp.reshape(joint, (joint.shape[0], math.prod(joint.shape[1:])))
        return xp.reshape(matrix @ flat, joint.shape)

    def prepare_rows(self, matrix: Any, evidence: Any) -> ScaledRows:
        """Sums of products, written in place."""
        del evidence
        least = float(matrix.min(initial=1.0))
        return ScaledRows(matrix, self.steps_in_range(least, matrix.dtype))

    def steps_in_range(self, least: float, dtype: Any) -> int:
        """Each row's largest evidence is 1, so that a row takes no more than the least transition.

        A fifth of the exponents is left to messages, the rest to what they are multiplied by.
        """
        if not 0.0 < least < 1.0:
            return 1
        smallest = float(np.finfo(dtype).tiny)
        return max(1, min(64, int(0.2 * math.log(smallest) / math.log(least))))

    def rescale(
        self, xp: Namespace, joint: Array, reference: Array, axes: tuple[int, ...]
    ) -> Array:
        """Divide by the sum; a message of zeros stays."""
        del reference
        total = xp.sum(joint, axis=axes, keepdims=True)
        return joint / xp.where(total > 0, total, 1.0)


@dataclass(frozen=True)
class Logarithmic(Recursion):
    """Log space, with a shift for each target state: one for all would lose the least likely."""

    one: ClassVar[float] = 0.0
    zero: ClassVar[float] = -math.inf

    def multiply(self, message: Array, evidence: Array) -> Array:
        """Add."""
        return message + evidence

    def apply(self, xp: Namespace, matrix: Array, joint: Array) -> Array:
        """Log-sum-exp over the states that messages come from."""
        if matrix.ndim == 2:
            matrix = xp.reshape(matrix, (*matrix.shape, *(1,) * (joint.ndim - 1)))
        else:
            matrix = _beside_columns(xp, matrix, joint)
        terms = matrix + joint[None, ...]
        largest = xp.max(terms, axis=1)
        impossible = largest == -math.inf
        shift = xp.where(impossible, 0.0, largest)
        exponents = terms - shift[:, None, ...]
        # Beside a term of 1 the least do not count.
        exponents = xp.where(exponents < _NEGLIGIBLE, _NEGLIGIBLE, exponents)
        total = xp.sum(xp.exp(exponents), axis=1)
        return xp.where(impossible, largest, shift + xp.log(total))

    def prepare_rows(self, matrix: Any, evidence: Any) -> LogRows | None:
        """Sums of products with a scale for each state."""
        return LogRows.of(matrix, evidence)

    def rescale(
        self, xp: Namespace, joint: Array, reference: Array, axes: tuple[int, ...]
    ) -> Array:
        """Subtract the largest of what both directions say."""
        return joint - finite_or_zero(xp, xp.max(joint + reference, axis=axes, keepdims=True))


def finite_or_zero(xp: Namespace, values: Array) -> Array:
    """Values, but 0 for -inf: a shift that makes no NaN of infinities."""
    return xp.where(values == -math.inf, 0.0, values)


def safe_log(xp: Namespace, values: Array) -> Array:
    """Logarithms, -inf of 0, where the derivative is 0."""
    zero = values == 0
    return xp.where(zero, -math.inf, xp.log(xp.where(zero, 1.0, values)))


def _beside_columns(xp: Namespace, matrices: Array, joint: Array) -> Array:
    """Matrices (k, k, B) made to broadcast against messages (1, k, B) or (1, k, columns, B)."""
    while matrices.ndim < joint.ndim + 1:
        matrices = xp.expand_dims(matrices, axis=2)
    return matrices
