"""Families whose features are independent, and whose statistics are sums of the features.

Then a feature that was not observed adds nothing to the density, and to the sums what is expected
of it.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

from estep_xp.arrays.block import expand_components
from estep_xp.arrays.linalg import diagonal_matrix
from estep_xp.arrays.summation import sum_pairwise
from estep_xp.families.row_family import RowFamily, rows_first, to_layout

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray, Array, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.families.family import ObservedRows
    from estep_xp.families.linear_features import LinearForm


class IndependentFeatures(RowFamily):
    """A family that answers for the features of rows, (n, d), one by one; or for rows (n,)."""

    __slots__ = ()

    _takes_missing = True

    @abc.abstractmethod
    def _log_prob_of_features(self, xp: Namespace, x: Array) -> Array:
        """Log-densities (n, k, d) of features, or (n, k) of rows (n,)."""

    @abc.abstractmethod
    def _means_of_features(self) -> Array:
        """Return the mean (k, d) or (k,) of each feature."""

    @abc.abstractmethod
    def _variances_of_features(self) -> Array:
        """Return the variance of each feature, shaped like the means."""

    def _linear_form(self, x: AnyArray) -> LinearForm | None:
        """Log-densities of rows of NumPy as a product of matrices; None where they are none."""
        del x
        return None

    def _log_prob_of_rows(self, xp: Namespace, x: Array) -> Array:
        form = self._linear_form(x)
        log_prob = None if form is None else form.log_densities(x)
        if log_prob is not None:
            return log_prob
        return _sum_features(xp, self._log_prob_of_features(xp, x))

    def _zero_factors(self, xp: Namespace, x: Array) -> tuple[Array, Array]:
        """Of the densities (n, k, d) or (n, k) of features, a factor that may be 0, and its power.

        The power is 0 where the factor is not 0; any number from 2 on counts as 2.
        """
        raise NotImplementedError

    def _split_zeros(
        self, ops: BlockOps, prepared: Array | None, x: Array
    ) -> tuple[Array, Array, Array]:
        if not self._has_zero_factors:
            return super()._split_zeros(ops, prepared, x)
        xp, x = ops.xp, rows_first(ops, x)
        factors, powers = self._zero_factors(xp, x)
        rest = _sum_features(xp, xp.where(powers > 0, 0.0, self._log_prob_of_features(xp, x)))
        zeros = _sum_features(xp, powers)
        gain = _sum_features(xp, xp.where(powers == 1.0, factors, 0.0))
        rest, zeros, gain = (to_layout(ops, one) for one in (rest, zeros, gain))
        if prepared is not None:
            rest = rest + expand_components(prepared, ops.axis)
        return rest, zeros, gain

    def _width_incomplete(self, ops: BlockOps) -> int:
        del ops
        return 0

    def _prepare_incomplete(self, ops: BlockOps, log_weights: Array | None) -> Array | None:
        return self._prepare(ops, log_weights)

    def _evaluate_incomplete(
        self, ops: BlockOps, prepared: Array | None, rows: ObservedRows
    ) -> tuple[Array, None]:
        xp = ops.xp
        x, seen = (rows_first(ops, array) for array in (rows.x, rows.seen))
        terms = xp.where(seen[:, None, ...], self._log_prob_of_features(xp, x), 0.0)
        joint = to_layout(ops, _sum_features(xp, terms))
        if prepared is not None:
            joint = joint + expand_components(prepared, ops.axis)
        return joint, None

    def _moments_incomplete(
        self,
        ops: BlockOps,
        prepared: Array | None,
        rows: ObservedRows,
        form: None,
        responsibilities: Array,
    ) -> tuple[Array, ...]:
        del prepared, form
        xp = ops.xp
        x, seen = (rows_first(ops, array) for array in (rows.x, rows.seen))
        shares = to_layout(ops, responsibilities)
        (sums,) = self._statistics_of_rows(xp, xp.where(seen, x, 0.0), shares)
        hidden = xp.astype(~seen, x.dtype)
        unseen = xp.matmul(xp.permute_dims(shares, (1, 0)), hidden)
        return (sums + unseen * self._means_of_features(),)

    def _conditional_moments(
        self, ops: BlockOps, prepared: Array | None, rows: ObservedRows
    ) -> tuple[Array, Array]:
        del prepared
        xp = ops.xp
        x, seen = (rows_first(ops, array)[:, None, ...] for array in (rows.x, rows.seen))
        means, variances = self._means_of_features(), self._variances_of_features()
        means = xp.where(seen, x, means[None, ...])
        variances = xp.where(seen, 0.0, variances[None, ...])
        if means.ndim == 2:  # of rows (n,)
            means, variances = means[:, :, None], variances[:, :, None]
        return means, diagonal_matrix(xp, variances)


def _sum_features(xp: Namespace, terms: Array) -> Array:
    if terms.ndim == 2:
        return terms
    return sum_pairwise(lambda terms, axis: xp.sum(terms, axis=axis), terms, 2)
