"""Rows of which a part is missing, or known with an error: components seen through that veil.

`Missing`, `Noisy` and `MissingNoisy` wrap the components of a mixture for one call. To kernels and
drivers each is a family like any other, whose rows are the observations and, beside them as more
features, the variances or covariances of their errors. What the density and the moments of such
rows are, the family inside answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from estep_xp.arrays.block import expand_rows
from estep_xp.families.family import Evaluated, Family, ObservedRows
from estep_xp.families.row_family import rows_first

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Components, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.namespace import Space


class _Components(NamedTuple):
    components: Any


class PreparedBoth(NamedTuple):
    """What all rows share: for rows that are complete, where there may be some, and for others."""

    complete: Any
    incomplete: Any


class ByIncomplete(NamedTuple):
    """The form of a block all of whose rows were evaluated as incomplete ones."""

    form: Any


class Incomplete(Family, _Components):
    """What the wrappers share; each says what its rows may lack."""

    __slots__ = ()

    allows_missing: ClassVar[bool]  # NaN is a feature that was not observed
    has_noise: ClassVar[bool]  # variances or covariances of errors stand beside the observations

    # What holds of the components holds of them through the veil.
    _is_builtin = property(lambda self: self.components._is_builtin)
    _has_full_support = property(lambda self: self.components._has_full_support)
    _has_expected_log_prob = property(lambda self: self.components._has_expected_log_prob)

    def _checked(self, space: Space) -> Components:
        raise NotImplementedError  # components are checked before they are wrapped

    def _n_components(self) -> int | None:
        n: int | None = self.components._n_components()
        return n

    def _rows_shape(self) -> None:
        return None

    def _prepare(self, ops: BlockOps, log_weights: Array | None) -> PreparedBoth:
        own = self.components
        complete = None if self.has_noise else own._prepare(ops, log_weights)
        return PreparedBoth(complete, own._prepare_incomplete(ops, log_weights))

    def _width(self, ops: BlockOps) -> int:
        own = self.components
        return int(own._width(ops) + own._width_incomplete(ops))

    def _without_holes(self, ops: BlockOps, x: Array) -> Array:
        if not self.allows_missing:
            return x
        values, noise = self._parts(ops, x)
        missing = ops.xp.isnan(values)
        values = ops.xp.where(missing, 0.0, values)
        if noise is None:
            return values
        # An error of what was not observed is not read.
        return values + _sum_features(ops, _where_seen(ops, noise, ~missing))

    def _evaluate(self, ops: BlockOps, prepared: PreparedBoth, x: Array) -> Evaluated:
        rows = self.observed(ops, x)
        own = self.components
        whole = _are_whole(ops, rows)
        if prepared.complete is None or (ops.values_visible and not bool(ops.xp.all(whole))):
            joint, form = own._evaluate_incomplete(ops, prepared.incomplete, rows)
            return Evaluated(x, joint, form=ByIncomplete(form))
        block = own._evaluate(ops, prepared.complete, rows.x)

        def merged() -> Array:
            joint, _ = own._evaluate_incomplete(ops, prepared.incomplete, rows)
            return ops.xp.where(expand_rows(whole, ops.axis), block.log_joint, joint)

        joint = ops.cond(ops.xp.all(whole), lambda: block.log_joint + 0.0, merged)
        return Evaluated(x, joint, form=block.form)

    def _moments_block(
        self, ops: BlockOps, prepared: PreparedBoth, block: Evaluated, responsibilities: Array
    ) -> tuple[Array, ...]:
        xp, own = ops.xp, self.components
        rows = self.observed(ops, block.x)
        if isinstance(block.form, ByIncomplete) or prepared.complete is None:
            form = None if block.form is None else block.form.form
            every: tuple[Array, ...] = own._moments_incomplete(
                ops, prepared.incomplete, rows, form, responsibilities
            )
            return every
        whole = _are_whole(ops, rows)
        flags = expand_rows(whole, ops.axis)
        complete = block._replace(x=rows.x)
        sums = own._moments_block(
            ops, prepared.complete, complete, xp.where(flags, responsibilities, 0.0)
        )

        def of_incomplete() -> tuple[Array, ...]:
            shares = xp.where(flags, 0.0, responsibilities)
            more: tuple[Array, ...] = own._moments_incomplete(
                ops, prepared.incomplete, rows, None, shares
            )
            return more

        more = ops.cond(xp.all(whole), lambda: tuple(map(xp.zeros_like, sums)), of_incomplete)
        return tuple(one + other for one, other in zip(sums, more, strict=True))

    def conditional(
        self, ops: BlockOps, prepared: PreparedBoth, x: Array
    ) -> tuple[Array, Array, Array]:
        """What is known of v given rows and component, rows first.

        Flags (n, d) of what was observed without an error, means (n, k, d) and covariances
        (n, k, d, d).
        """
        xp, own, rows = ops.xp, self.components, self.observed(ops, x)
        means, covariances = own._conditional_moments(ops, prepared.incomplete, rows)
        values, seen = (rows_first(ops, array) for array in (rows.x, rows.seen))
        if values.ndim == 1:
            values, seen = values[:, None], seen[:, None]
        if rows.noise is not None:
            seen = seen & ~seen
        return seen, xp.where(seen[:, None, :], values[:, None, :], means), covariances

    def observed(self, ops: BlockOps, x: Array) -> ObservedRows:
        """A block's observations with a number for every entry, flags of what was seen, errors."""
        values, noise = self._parts(ops, x)
        seen = ~ops.xp.isnan(values)
        if not self.allows_missing:
            return ObservedRows(values, seen | ~seen, noise)
        if ops.values_visible and bool(ops.xp.all(seen)):
            return ObservedRows(values, seen, noise)
        values = ops.xp.where(seen, values, self.components._placeholder(ops))
        if noise is not None:
            noise = _where_seen(ops, noise, seen)
        return ObservedRows(values, seen, noise)

    def _parts(self, ops: BlockOps, x: Array) -> tuple[Array, Array | None]:
        """Observations of a block, and what is known of their errors; features as in the rows."""
        if not self.has_noise:
            return x, None
        shape = self.components._rows_shape()
        d = int(shape[1]) if len(shape) == 2 else 1
        values, noise = (x[:d, :], x[d:, :]) if ops.axis == 0 else (x[:, :d], x[:, d:])
        if len(shape) == 1:
            return (values[0, :], noise[0, :]) if ops.axis == 0 else (values[:, 0], noise[:, 0])
        if noise.shape[ops.axis] == d:
            return values, noise
        n = x.shape[1 - ops.axis]
        return values, ops.xp.reshape(noise, (d, d, n) if ops.axis == 0 else (n, d, d))

    def _moments(self, *sums: Array) -> Any:
        return self.components._moments(*sums)

    def _maximize(
        self, xp: Namespace, counts: Array, empty: Array, moments: Any, floor: Any
    ) -> Components:
        maximized: Components = self.components._maximize(xp, counts, empty, moments, floor)
        return maximized

    def _expected_log_prob(
        self, ops: BlockOps, old: Any, counts: Array, moments: tuple[Array, ...]
    ) -> Array:
        # By Fisher's identity derivatives are those of the expected log-density of complete rows.
        expected: Array = self.components._expected_log_prob(ops, old.components, counts, moments)
        return expected


class Missing(Incomplete):
    """NaN is a feature that was not observed."""

    __slots__ = ()
    allows_missing, has_noise = True, False


class Noisy(Incomplete):
    """Every feature was observed, with an error."""

    __slots__ = ()
    allows_missing, has_noise = False, True


class MissingNoisy(Incomplete):
    """NaN is a feature that was not observed; the others were, with an error."""

    __slots__ = ()
    allows_missing, has_noise = True, True


def wrapper_for(*, missing: bool, noise: bool) -> type[Incomplete] | None:
    """The wrapper for rows that may lack values, or have errors; None for other rows."""
    if noise:
        return MissingNoisy if missing else Noisy
    return Missing if missing else None


def _are_whole(ops: BlockOps, rows: ObservedRows) -> Array:
    """Flags (rows,) of rows that were observed in full."""
    return rows.seen if rows.seen.ndim == 1 else ops.xp.all(rows.seen, axis=ops.axis)


def _where_seen(ops: BlockOps, noise: Array, seen: Array) -> Array:
    """Errors, but 0 for what was not observed."""
    if noise.ndim == seen.ndim:
        return ops.xp.where(seen, noise, 0.0)
    if ops.axis == 0:
        return ops.xp.where(seen[:, None, :] & seen[None, :, :], noise, 0.0)
    return ops.xp.where(seen[:, :, None] & seen[:, None, :], noise, 0.0)


def _sum_features(ops: BlockOps, noise: Array) -> Array:
    """Zeros like the observations of a block, but NaN in rows whose errors are not finite."""
    nothing = 0.0 * noise
    if noise.ndim == 1:
        return nothing
    features = tuple(range(noise.ndim - 1)) if ops.axis == 0 else tuple(range(1, noise.ndim))
    total = ops.xp.sum(nothing, axis=features)
    return expand_rows(total, ops.axis)
