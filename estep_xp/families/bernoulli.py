"""Bernoulli components: features that are 0 or 1, independent within a component."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from estep_xp.arrays.namespace import is_concrete
from estep_xp.arrays.record_repr import parameters, summarized
from estep_xp.arrays.validation import (
    check_not_empty,
    check_not_flushed,
    check_shape,
    check_values,
)
from estep_xp.families.independent_features import IndependentFeatures
from estep_xp.families.limits import Limit, slack
from estep_xp.families.linear_features import LinearForm, are_tables, sum_exactly
from estep_xp.families.log_prob import log_prob

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray, Array, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.namespace import Space
    from estep_xp.arrays.random import Random
    from estep_xp.arrays.shapes import FloatKd, FloatNK, RealKd, RowsLike


@summarized
class BernoulliStatistics(NamedTuple):
    """Sums of features under each component.

    Parameters
    ----------
    ones : array, shape (k, d)
        Σ_i r_ik x_ij: how often feature j was 1.
    """

    ones: FloatKd

    def _shown_fields(self) -> dict[str, Any]:
        return self._asdict()


class _Probabilities(NamedTuple):
    probabilities: RealKd


@summarized
class Bernoulli(IndependentFeatures, _Probabilities):
    """Bernoulli components: binary features, independent within a component.

    Parameters
    ----------
    probabilities : array, shape (k, d)
        Of each component and feature, the probability of a 1, from 0 to 1.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.Bernoulli([[0.9, 0.5], [0.1, 0.5]])
    >>> components.log_prob([[1.0, 0.0]]).round(4)
    array([[-0.7985, -2.9957]])
    """

    __slots__ = ()

    _record = BernoulliStatistics
    _has_full_support = False
    _has_zero_factors = True
    _is_unconstrainable = True
    _is_recenterable = True
    _has_marginals = True
    _takes_prior_counts = True
    _support = "must be 0 or 1"

    def log_prob(self, x: RowsLike) -> FloatNK:
        """Log-probability of each row under each component.

        Parameters
        ----------
        x : array, shape (n, d)
            Zeros and ones.

        Returns
        -------
        array, shape (n, k)
            Σ_j log p_kj where x_j is 1, and log (1 − p_kj) where it is 0, in nats.

        Raises
        ------
        ValueError, TypeError
            If an argument has a wrong shape, dtype or value.

        Examples
        --------
        >>> import estep_xp as ex
        >>> ex.Bernoulli([[0.5, 1.0]]).log_prob([[1.0, 1.0], [1.0, 0.0]]).round(4)
        array([[-0.6931],
               [   -inf]])
        """
        return log_prob(self, x)

    def _shown_fields(self) -> dict[str, Any]:
        return parameters("kd", self._asdict())

    def _checked(self, space: Space) -> Self:
        probabilities = space.parameter("probabilities", self.probabilities)
        check_shape("probabilities", probabilities, ("k", "d"))
        check_not_empty("probabilities", probabilities.shape[0])
        probabilities = check_values(
            space,
            "probabilities",
            check_not_flushed(space, "probabilities", probabilities),
            lambda xp, p: (p >= 0) & (p <= 1),
            "probabilities must be from 0 to 1",
        )
        return type(self)(probabilities)

    def _n_components(self) -> int:
        return int(self.probabilities.shape[0])

    def _rows_shape(self) -> tuple[int | str, ...]:
        return ("n", *self.probabilities.shape[1:])

    @classmethod
    def _supports(cls, x: Array) -> Array:
        return (x == 0) | (x == 1)

    def _width(self, ops: BlockOps) -> int:
        del ops
        k, d = self.probabilities.shape
        return int(k * d)

    def _linear_form(self, x: AnyArray) -> LinearForm | None:
        p: AnyArray = self.probabilities
        if not (are_tables(x, p) and ((p > 0) & (p < 1)).all()):
            return None
        # 0, 1 and infinity are their own squares.
        if not ((x * x == x).all() and x.max() <= 1):
            return None
        ones, zeros = np.log(p), np.log1p(-p)
        size = -float((ones + zeros).sum(axis=1).min())  # of a row of ones
        return LinearForm(ones - zeros, size, sum_exactly(zeros))

    def _log_prob_of_features(self, xp: Namespace, x: Array) -> Array:
        p, x = self.probabilities[None, ...], x[:, None, :]
        # Each logarithm where it is finite, so that no derivative passes through log 0, and its
        # derivative is that from within at the other end.
        some, others = p > 0, p < 1
        bad = 0.0 * p  # a NaN stays one
        logs = xp.where(some, xp.log(xp.where(some, p, 1.0)), bad - xp.inf)
        rest = xp.where(others, xp.log1p(-xp.where(others, p, 0.0)), bad - xp.inf)
        # NaN of 0 / 0 where x is neither: XLA makes any number of exp of a NaN that is a constant.
        binary = (x == 0) | (x == 1)
        terms: Array = xp.where(x == 1, logs, rest)
        if is_concrete(binary) and bool(xp.all(binary)):
            return terms
        return terms + (x - x) / xp.where(binary, xp.ones_like(x), 0.0)

    def _zero_factors(self, xp: Namespace, x: Array) -> tuple[Array, Array]:
        p = self.probabilities[None, ...]
        factors = xp.where(x[:, None, :] == 1, p, 1.0 - p)
        return factors, xp.astype(factors == 0, p.dtype)

    def _means_of_features(self) -> Array:
        return self.probabilities

    def _variances_of_features(self) -> Array:
        return self.probabilities * (1.0 - self.probabilities)

    def _statistics_of_rows(
        self, xp: Namespace, x: Array, responsibilities: Array
    ) -> BernoulliStatistics:
        return BernoulliStatistics(xp.matmul(xp.permute_dims(responsibilities, (1, 0)), x))

    def _limits(self, xp: Namespace, counts: Array, moments: Any) -> tuple[Limit, ...]:
        ones = moments.ones
        most = (1.0 + slack(xp, ones)) * counts[:, None]
        return (Limit("ones", (ones >= 0) & (ones <= most), "must be from 0 to its count"),)

    def _maximize(
        self, xp: Namespace, counts: Array, empty: Array, moments: BernoulliStatistics, floor: Any
    ) -> Self:
        del floor
        share = moments.ones / counts[:, None]
        share = xp.where(share < 1, share, 1.0)  # rounding may exceed it
        return type(self)(xp.where(empty[:, None], self.probabilities, share))

    def _maximize_with_prior(
        self,
        xp: Namespace,
        counts: Array,
        empty: Array,
        moments: BernoulliStatistics,
        floor: Any,
        prior: Any,
    ) -> Self:
        more = BernoulliStatistics(moments.ones + prior)
        return self._maximize(xp, counts + 2.0 * prior, empty, more, floor)

    def _recentered(self, xp: Namespace, counts: Array, moments: Any, new: Any) -> Any:
        del xp, counts, new  # sums of the rows themselves
        return moments

    def _sample(self, xp: Namespace, random: Random, labels: Array) -> Array:
        chosen = xp.take(self.probabilities, labels, axis=0)
        drawn = xp.astype(random.uniform(tuple(chosen.shape)) < chosen, chosen.dtype)
        return drawn + 0.0 * chosen  # a NaN stays one

    def _marginal(self, xp: Namespace, features: tuple[int, ...]) -> Self:
        return type(self)(xp.stack([self.probabilities[:, j] for j in features], axis=1))

    def _conditional(
        self, xp: Namespace, known: tuple[int, ...], others: tuple[int, ...], values: Array
    ) -> Self:
        del known, values  # features are independent
        return self._marginal(xp, others)

    @classmethod
    def _spread_rows(cls, xp: Namespace, means: Array, variances: Array, n_axes: int) -> Self:
        del xp, variances, n_axes
        return cls(means)

    @classmethod
    def _from_shares(cls, xp: Namespace, x: Array, responsibilities: Array) -> Self:
        ones = xp.matmul(xp.permute_dims(responsibilities, (1, 0)), x)
        counts = xp.sum(responsibilities, axis=0)[:, None]
        # One more 0 and one more 1: nothing begins as impossible.
        return cls((ones + 1.0) / (counts + 2.0))

    def _to_unconstrained(self, xp: Namespace) -> tuple[Array, ...]:
        return (xp.log(self.probabilities) - xp.log1p(-self.probabilities),)

    def _from_unconstrained(self, xp: Namespace, *free: Array) -> Self:
        return type(self)(1.0 / (1.0 + xp.exp(-free[0])))
